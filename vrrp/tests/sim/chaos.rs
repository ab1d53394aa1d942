//! What goes wrong, drawn by weight.

use std::time::Duration;

use lb_vrrp::{Family, State};

use super::{
    Guard,
    lan::Link,
    node::Pause,
    world::{Broken, World},
};

impl World {
    /// One disturbance.
    pub(crate) fn disturb(&mut self) -> Result<(), Broken> {
        let nodes = self.nodes.len();
        let index = self.random.index(nodes);
        match self.random.range(0, 100) {
            0..8 => self.cut_off(index),
            8..14 => self.cut_one_way(index),
            14..20 => self.part(),
            20..30 => self.make_lossy(),
            30..40 => self.heal_network(),
            40..50 => self.pause_node(index),
            50..54 => self.kill(index),
            54..58 => self.kill_speaker(index),
            58..62 => return self.stop(index),
            62..70 => return self.boot_dead(),
            70..82 => return self.change_backends(index),
            82..86 => return self.toggle_leaving(index),
            86..89 => return self.toggle_fault(index),
            89..92 => {
                let up = !self.nodes[index].link_up;
                self.promises.forget_all();
                return self.set_link(index, up);
            }
            92..94 => {
                self.promises.forget_all();
                self.nodes[index].kernel_slow = !self.nodes[index].kernel_slow;
            }
            94..95 => self.nodes[index].kernel_refuses = !self.nodes[index].kernel_refuses,
            95..97 => return self.steal(index),
            97..98 => self.client = None,
            _ => return self.wake_early(index),
        }
        Ok(())
    }

    /// Everything is well again but for what nodes know of their backends: links, pauses, kernels, dead nodes.
    pub(crate) fn calm_down(&mut self) -> Result<(), Broken> {
        self.heal_network();
        for index in 0..self.nodes.len() {
            self.nodes[index].kernel_slow = false;
            self.nodes[index].kernel_refuses = false;
            if !self.nodes[index].link_up {
                self.set_link(index, true)?;
            }
        }
        self.boot_dead()
    }

    /// Where both families are spoken, the other one is heard: nothing may move.
    pub(crate) fn lose_ipv6_multicast(&mut self) {
        if self.nodes[0].config.members[0].family() == Family::Ipv4 {
            self.note(|| "network: drops IPv6 multicast".to_owned());
            self.lan.drops_ipv6 = true;
            self.promises.forget_all();
        }
    }

    fn heal_network(&mut self) {
        self.note(|| "network: heals".to_owned());
        self.lan.heal();
        self.promises.forget_all();
    }

    fn cut_off(&mut self, index: usize) {
        self.note(|| format!("network: node {index} is cut off"));
        for other in (0..=self.nodes.len()).filter(|other| *other != index) {
            self.lan.set_both(index, other, Link::CUT);
        }
        self.promises.forget_all();
    }

    fn cut_one_way(&mut self, from: usize) {
        let to = self.random.index(self.nodes.len());
        self.note(|| format!("network: node {to} does not hear node {from}"));
        self.lan.set(from, to, Link::CUT);
        self.promises.forget_all();
    }

    /// The nodes fall into two halves; the client hears both.
    fn part(&mut self) {
        let nodes = self.nodes.len();
        let side: Vec<bool> = (0..nodes).map(|index| index == 0 || self.random.per_mille(300)).collect();
        self.note(|| format!("network: parts, {side:?}"));
        for one in 0..nodes {
            for other in (0..nodes).filter(|other| side[one] != side[*other]) {
                self.lan.set(one, other, Link::CUT);
            }
        }
        self.promises.forget_all();
    }

    fn make_lossy(&mut self) {
        let interval = self.nodes[0].interval();
        let link = Link {
            cut: false,
            loss_per_mille: self.random.range(0, 400),
            duplicate_per_mille: self.random.range(0, 200),
            delay: (Duration::from_micros(50), self.random.between(Duration::from_micros(100), interval / 2)),
        };
        self.note(|| format!("network: {link:?}"));
        let stations = self.nodes.len() + 1;
        let everywhere = self.random.per_mille(500);
        for from in 0..stations {
            for to in 0..stations {
                if everywhere || self.random.per_mille(300) {
                    self.lan.set(from, to, link);
                }
            }
        }
        self.promises.forget_all();
    }

    fn pause_node(&mut self, index: usize) {
        let interval = self.nodes[index].interval();
        let duration = self.random.between(interval / 10, 12 * interval).as_nanos() as u64;
        let pause = match self.random.range(0, 1000) {
            0..350 if self.guard == Guard::Takes => Pause::Speaker,
            0..700 => Pause::Process,
            _ => Pause::Machine,
        };
        self.pause(index, pause, duration);
    }

    fn boot_dead(&mut self) -> Result<(), Broken> {
        for index in 0..self.nodes.len() {
            let ended = self.nodes[index].ended && self.nodes[index].state() == State::Initialize;
            if self.nodes[index].group.is_none() || ended {
                self.boot(index)?;
            }
        }
        Ok(())
    }

    /// Backends are lost or come back: for one node, or for all, each noticing in its own time.
    fn change_backends(&mut self, index: usize) -> Result<(), Broken> {
        let lost = if self.random.per_mille(500) { 0 } else { self.random.index(4) };
        let everyone = self.random.per_mille(500);
        for other in 0..self.nodes.len() {
            if everyone || other == index {
                let now = self.now;
                self.note(|| format!("node {other}: {lost} backends are lost"));
                self.nodes[other].tracker.lose(now, lost);
                if self.nodes[other].group.is_some() {
                    self.tell_readiness(other)?;
                }
            }
        }
        Ok(())
    }

    fn toggle_leaving(&mut self, index: usize) -> Result<(), Broken> {
        let leaving = !self.nodes[index].tracker.leaving;
        self.note(|| format!("node {index}: leaving is {leaving}"));
        self.nodes[index].tracker.leaving = leaving;
        if !leaving {
            // The end of a switchover, as far as the election knows: the one that gave keeps off.
            let gave = self.nodes[index].state() == State::Backup;
            self.note(|| format!("node {index}: yields is {gave}"));
            self.nodes[index].tracker.yields = gave;
        }
        if self.nodes[index].group.is_some() { self.tell_readiness(index) } else { Ok(()) }
    }

    fn toggle_fault(&mut self, index: usize) -> Result<(), Broken> {
        let fault = !self.nodes[index].tracker.fault;
        self.note(|| format!("node {index}: fault is {fault}"));
        self.nodes[index].tracker.fault = fault;
        if self.nodes[index].group.is_some() { self.tell_readiness(index) } else { Ok(()) }
    }
}
