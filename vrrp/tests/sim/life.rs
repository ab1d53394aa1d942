//! Starting, ending, killing and pausing the processes of a node.

use std::time::Duration;

use lb_vrrp::{Group, MemberId, Moment, authentication::Receiver, group::Start};

use super::{
    Guard,
    node::Pause,
    tracker::Tracker,
    world::{Broken, Event, MILLISECOND, World},
};

impl World {
    /// Starts the program: leftovers are removed first.
    pub(crate) fn boot(&mut self, index: usize) -> Result<(), Broken> {
        let checked = self.random.between(Duration::from_millis(20), Duration::from_millis(300));
        let node = &mut self.nodes[index];
        self.promises.forget(index);
        node.kernel.clear();
        node.tracker = Tracker::started(self.now, node.tracker.lost, checked);
        self.start_group(index, Start::Fresh)?;
        for to in (0..self.nodes.len()).filter(|to| *to != index) {
            for delay in self.lan.deliveries(&mut self.random, index, to) {
                self.schedule(delay.as_nanos() as u64, Event::Hello { to });
            }
        }
        Ok(())
    }

    /// The program without the seconds of its start: ready at once.
    pub(crate) fn boot_settled(&mut self, index: usize) -> Result<(), Broken> {
        self.nodes[index].tracker = Tracker::settled();
        self.start_group(index, Start::Fresh)?;
        self.tell_readiness(index)
    }

    fn start_group(&mut self, index: usize, start: Start) -> Result<(), Broken> {
        self.note(|| format!("node {index}: starts, {start:?}"));
        let node = &mut self.nodes[index];
        node.incarnation += 1;
        node.ended = false;
        node.unpause(self.now);
        // It listens anew, also where that is no transition.
        node.unheard_since = self.now;
        node.inbox.clear();
        let now = node.local(self.now);
        let mut group = Group::new(node.config.clone(), now);
        for member in 0..node.config.members.len() {
            group.handle_source(now, MemberId(member), Some(node.source_of(MemberId(member))));
            let link = if node.link_up { Ok(()) } else { Err("link of eth0 is down".to_owned()) };
            group.handle_link(now, MemberId(member), link);
        }
        node.receivers = node.config.members.iter().map(|_| Receiver::default()).collect();
        if start == Start::Fresh {
            node.kernel.clear();
            node.wanted.clear();
        }
        if let Some((past, readiness)) = node.known.take() {
            group.handle_past(past);
            group.handle_yielding(now, node.tracker.yields);
            group.handle_readiness(now, readiness);
        }
        group.handle_startup(now, start);
        node.group = Some(group);
        self.drain(index)?;
        let incarnation = self.nodes[index].incarnation;
        let after = self.random.range(0, 30 * MILLISECOND);
        self.schedule(after, Event::ReadinessTold { node: index, incarnation });
        Ok(())
    }

    /// `kill -9` of both processes: the addresses stay until their lease ends them.
    pub(crate) fn kill(&mut self, index: usize) {
        self.note(|| format!("node {index}: killed"));
        self.promises.forget(index);
        let node = &mut self.nodes[index];
        (node.group, node.known) = (None, None);
        node.incarnation += 1;
        node.resigning = false;
        node.must_drop.clear();
        node.unaware.clear();
        node.unpause(self.now);
        node.wake_at = None;
        node.tracker_next = None;
        node.inbox.clear();
        node.wanted.clear();
    }

    /// An orderly end, or what the speaker does when the daemon dies.
    pub(crate) fn stop(&mut self, index: usize) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let now = node.local(self.now);
        let Some(group) = node.group.as_mut().filter(|_| node.paused.is_none()) else { return Ok(()) };
        group.handle_shutdown(now, "the daemon ended");
        node.ended = true;
        self.note(|| format!("node {index}: told to end"));
        self.drain(index)
    }

    /// `kill -9` of the speaker: the daemon starts another.
    pub(crate) fn kill_speaker(&mut self, index: usize) {
        let was_active = self.nodes[index].is_active();
        let wanted = self.nodes[index].wanted.clone();
        let node = &mut self.nodes[index];
        let (past, state) = (node.group.as_ref().map(|group| group.status().past()), node.state());
        let (readiness, _) = node.tracker.readiness(self.now, state);
        self.kill(index);
        self.nodes[index].known = past.map(|past| (past, readiness));
        self.nodes[index].wanted = wanted;
        let incarnation = self.nodes[index].incarnation;
        let after = self.random.range(MILLISECOND, 40 * MILLISECOND);
        self.schedule(after, Event::SpeakerBack { node: index, incarnation, was_active });
        if was_active && self.guard == Guard::Takes {
            self.guard_watches(index);
        }
    }

    /// The daemon takes the addresses away when nobody has advertised for 2.5 intervals.
    fn guard_watches(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some(last) = node.last_sent else { return };
        let due = node.world(last + node.interval() * 5 / 2).max(self.now) - self.now;
        let incarnation = node.incarnation;
        let late = self.random.range(10_000, 2 * MILLISECOND);
        self.schedule(due + late, Event::GuardLooks { node: index, incarnation, last });
    }

    /// Nothing has begun to go on with them since.
    pub(crate) fn guard_looks(&mut self, index: usize, last: Moment) -> Result<(), Broken> {
        let node = &mut self.nodes[index];
        let is_frozen = node.paused == Some(Pause::Speaker) && node.is_active();
        if node.last_sent != Some(last) || !(is_frozen || node.group.is_none()) {
            return Ok(());
        }
        node.withdrawn = true;
        self.note(|| format!("node {index}: its daemon withdraws"));
        while !self.nodes[index].kernel.is_empty() {
            self.steal(index)?;
        }
        Ok(())
    }

    pub(crate) fn speaker_back(&mut self, index: usize, was_active: bool) -> Result<(), Broken> {
        let is_withdrawn = std::mem::take(&mut self.nodes[index].withdrawn);
        match self.nodes[index].last_sent.filter(|_| was_active) {
            Some(last) if is_withdrawn => self.start_group(index, Start::Withdrawn { last }),
            Some(last) => self.start_group(index, Start::ResumeActive { last }),
            None => self.start_group(index, Start::Fresh),
        }
    }

    pub(crate) fn pause(&mut self, index: usize, pause: Pause, duration: u64) {
        if !self.nodes[index].is_awake() {
            return;
        }
        self.note(|| format!("node {index}: {pause:?} pauses for {} ms", duration / MILLISECOND));
        self.promises.forget(index);
        let node = &mut self.nodes[index];
        node.paused = Some(pause);
        node.paused_at = self.now;
        node.pauses += 1;
        let number = node.pauses;
        if pause == Pause::Speaker && node.is_active() {
            self.guard_watches(index);
        }
        let pause = number;
        self.schedule(duration, Event::Resume { node: index, pause });
    }

    /// `pause` is the number of the pause that is over: it may have ended before, with its process, and be another one now.
    pub(crate) fn resume(&mut self, index: usize, pause: u64) -> Result<(), Broken> {
        if self.nodes[index].paused.is_none() || self.nodes[index].pauses != pause {
            return Ok(());
        }
        self.note(|| format!("node {index}: goes on"));
        self.promises.resumed(self.now, &mut self.nodes[index]);
        self.nodes[index].unpause(self.now);
        self.nodes[index].unheard_since = self.now;
        let link_up = self.nodes[index].link_up;
        let timer_first = self.random.per_mille(500);
        if timer_first {
            self.wake(index)?;
        }
        for input in std::mem::take(&mut self.nodes[index].inbox) {
            self.input(index, input)?;
        }
        self.set_link(index, link_up)?;
        self.tell_readiness(index)
    }
}
