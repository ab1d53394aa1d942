//! What is done to the holder, and how it is undone.

use lb_tests::{order::other, processes::Process};
use lb_vrrp::Moment;
use lbctl::lab::{How, VIP, now};
use nix::sys::signal::Signal;

use crate::{
    cases::Case,
    files::{DEGRADED_FILE, FAULT_FILE, System},
    pair::{Pair, keepers},
};

/// Everything that comes or goes on the node's front network is lost; its carrier stays.
const CUT: &str = "nft add table netdev cut \
    && nft 'add chain netdev cut in { type filter hook ingress device eth0 priority 0; policy drop; }' \
    && nft 'add chain netdev cut out { type filter hook egress device eth0 priority 0; policy drop; }'";

impl Pair {
    /// Does it to `victim`. The moment is that just before.
    ///
    /// # Errors
    /// It can't be done.
    pub(crate) fn harm(&self, case: Case, victim: &str) -> anyhow::Result<Moment> {
        let is_ours = self.system == System::Lbctl;
        let all = self.processes(victim);
        match case {
            Case::Stop if is_ours => return self.lab.fail(victim, How::Stop),
            Case::Worker | Case::Workers => return self.lab.fail(victim, How::Worker),
            Case::Cable => return self.lab.fail(victim, How::Cable),
            Case::Servers => return self.lab.fail(victim, How::Backends),
            Case::ServersBoth => {
                let at = self.lab.fail(victim, How::Backends)?;
                self.lab.fail(other(victim), How::Backends)?;
                return Ok(at);
            }
            Case::Heal => {
                let at = now();
                self.shell(victim, "nft delete table netdev cut")?;
                return Ok(at);
            }
            Case::Fault if is_ours => return self.touch(victim, FAULT_FILE),
            Case::Degraded => return self.touch(victim, DEGRADED_FILE),
            Case::Added => {
                let at = now();
                self.reload(victim, true)?;
                return Ok(at);
            }
            Case::Deleted => {
                let at = now();
                self.shell(victim, &format!("ip address delete {VIP}/32 dev eth0"))?;
                return Ok(at);
            }
            Case::Stop
            | Case::Kill
            | Case::Speaker
            | Case::Both
            | Case::Freeze
            | Case::FreezeSpeaker
            | Case::Fault => {}
        }
        let signal = match case {
            Case::Stop => Signal::SIGTERM,
            Case::Freeze | Case::FreezeSpeaker => Signal::SIGSTOP,
            _ => Signal::SIGKILL,
        };
        if case == Case::Kill {
            // Keepalived's first process would start the other one again, and its end would let that resign in order.
            keepers(&all).for_each(|keeper| keeper.signal(Signal::SIGSTOP));
        }
        let targets = if is_ours { ours(case, &all) } else { theirs(case, &all) };
        anyhow::ensure!(!targets.is_empty(), "{victim} has no process for that: {all:?}");
        let at = now();
        targets.iter().for_each(|process| process.signal(signal));
        Ok(at)
    }

    /// What comes before the harm: a node can only be healed that is cut off.
    ///
    /// # Errors
    /// It can't be done.
    pub(crate) fn prepare(&self, case: Case, victim: &str) -> anyhow::Result<()> {
        if case == Case::Heal {
            self.shell(victim, CUT)?;
            let heir = other(victim);
            let limit = std::time::Duration::from_millis(u64::from(self.interval) * 4 + 5000);
            let end = std::time::Instant::now() + limit;
            while !self.lab.holders()?.iter().any(|holder| holder == heir) {
                anyhow::ensure!(std::time::Instant::now() < end, "{heir} does not take over after the cut");
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            // Clients have found it, and the kernel believes what it is told anew.
            std::thread::sleep(std::time::Duration::from_millis(1500));
        }
        Ok(())
    }

    /// Undoes it, and waits until the pair is well.
    ///
    /// # Errors
    /// It does not get so.
    pub(crate) fn undo(&self, case: Case, victim: &str) -> anyhow::Result<()> {
        match case {
            Case::Freeze | Case::FreezeSpeaker => {
                self.processes(victim).iter().for_each(|process| process.signal(Signal::SIGCONT));
            }
            Case::Cable | Case::Servers => drop(self.lab.heal(victim)?),
            Case::ServersBoth => {
                std::thread::scope(|scope| -> anyhow::Result<()> {
                    let one = scope.spawn(|| self.lab.heal(victim));
                    self.lab.heal(other(victim))?;
                    one.join().map_err(|_| anyhow::anyhow!("healing panicked"))??;
                    Ok(())
                })?;
            }
            Case::Fault | Case::Degraded => {
                self.shell(victim, &format!("rm -f {FAULT_FILE} {DEGRADED_FILE}"))?;
            }
            Case::Added => self.reload(victim, false)?,
            Case::Stop
            | Case::Kill
            | Case::Speaker
            | Case::Both
            | Case::Worker
            | Case::Workers
            | Case::Heal
            | Case::Deleted => {}
        }
        self.restore()
    }

    fn touch(&self, node: &str, file: &str) -> anyhow::Result<Moment> {
        let at = now();
        self.lab.write_file(node, file, "")?;
        Ok(at)
    }

    fn shell(&self, node: &str, command: &str) -> anyhow::Result<()> {
        let output = self.lab.exec(node, ["sh", "-c", command])?;
        anyhow::ensure!(output.success(), "{node}: {command}: {}", output.stderr);
        Ok(())
    }
}

/// The daemon before the speaker, which it would start again.
fn ours(case: Case, all: &[Process]) -> Vec<Process> {
    let daemon = all.iter().filter(|process| process.is_daemon());
    let speaker = all.iter().filter(|process| process.is_speaker());
    match case {
        Case::Speaker | Case::FreezeSpeaker => speaker.cloned().collect(),
        Case::Both => daemon.chain(speaker).cloned().collect(),
        _ => daemon.cloned().collect(),
    }
}

fn theirs(case: Case, all: &[Process]) -> Vec<Process> {
    let haproxy = all.iter().filter(|process| process.program() == "haproxy");
    let keepalived: Vec<_> = keepers(all).cloned().collect();
    let is_child = |process: &&Process| keepalived.iter().any(|keeper| keeper.pid == process.parent);
    let vrrp = all.iter().filter(|process| process.program() == "keepalived").filter(is_child);
    match case {
        Case::Stop => keepalived,
        Case::Speaker => vrrp.cloned().collect(),
        Case::FreezeSpeaker => keepalived.iter().chain(vrrp).cloned().collect(),
        Case::Freeze | Case::Fault => haproxy.cloned().collect(),
        _ => vrrp.chain(&keepalived).chain(haproxy).cloned().collect(),
    }
}
