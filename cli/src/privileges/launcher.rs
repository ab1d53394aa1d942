//! The one thread that may start programs, and whose capabilities they get. Every other thread has given them away.

use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread,
};

use rustix::thread::CapabilitySet;

use super::{
    capabilities::{self, Plan},
    oom::Score,
};
use crate::keeper::{as_others, prefer_starter};

/// Its calls are short.
const STACK: usize = 256 << 10;

/// What is to be started: it gets the capabilities for that.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// A speaker.
    Speaker,
    /// The daemon that takes this one's place, which starts speakers in its turn.
    Daemon,
    /// No program: the launcher itself does what needs its capabilities.
    Here,
}

type Work = Box<dyn FnOnce() + Send>;

/// Starts programs. Clones are the same; the default is for a process that has not given anything away: the calling thread.
#[derive(Clone, Default)]
pub struct Launcher(Option<Sender<(Purpose, Work)>>);

impl Launcher {
    /// Starts the thread. It is to be called while the thread that calls still has what `plan` gives.
    pub(super) fn start(plan: Plan, score: Option<Arc<Score>>) -> io::Result<Self> {
        let (sender, orders) = channel();
        let (ready, is_ready) = sync_channel(1);
        thread::Builder::new().name("launcher".to_owned()).stack_size(STACK).spawn(move || {
            let restricted = capabilities::restrict_launcher(plan.launcher());
            let failed = restricted.is_err();
            let _ = ready.send(restricted);
            if !failed {
                work(plan, score.as_deref(), &orders);
            }
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Self(Some(sender)))
    }

    /// What `start` returns, called where programs may be started.
    ///
    /// # Errors
    /// The capabilities can't be passed on.
    pub fn run<T: Send + 'static>(
        &self,
        purpose: Purpose,
        start: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some(orders) = &self.0 else { return Ok(start()) };
        let (done, outcome) = sync_channel(1);
        let work: Work = Box::new(move || {
            // Who waits for it is there until it comes.
            let _ = done.send(start());
        });
        orders.send((purpose, work)).map_err(|_| io::Error::other("the launcher has ended"))?;
        outcome.recv().map_err(|_| io::Error::other("the launcher could not pass its capabilities on"))
    }
}

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Launcher(thread)" } else { "Launcher(here)" })
    }
}

fn work(plan: Plan, score: Option<&Score>, orders: &Receiver<(Purpose, Work)>) {
    // A speaker in place of a dead one has no time to lose, also while it is no program yet that could ask for any.
    let is_preferred = !plan.speaker.is_empty() && prefer_starter();
    while let Ok((purpose, work)) = orders.recv() {
        let given = match purpose {
            Purpose::Speaker => plan.speaker,
            Purpose::Daemon => plan.launcher(),
            Purpose::Here => CapabilitySet::empty(),
        };
        // Work that is dropped is an error for who waits.
        if capabilities::pass_on(given).is_ok() {
            match (score, purpose) {
                (Some(score), Purpose::Speaker) => score.lowered(work),
                (_, Purpose::Daemon | Purpose::Here) if is_preferred => as_others(work),
                _ => work(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::keeper::may_run_before_others;

    /// CapEff of a program that is started.
    fn of_a_program(launcher: &Launcher, purpose: Purpose) -> u64 {
        let output = launcher.run(purpose, || Command::new("cat").arg("/proc/self/status").output());
        effective(&String::from_utf8_lossy(&output.unwrap().unwrap().stdout))
    }

    fn effective(status: &str) -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[test]
    fn programs_get_what_is_meant_for_them_whoever_asks() {
        // A thread of its own, as it does not get anything back. Who is not root has nothing to pass on.
        let given = thread::spawn(|| {
            let plan = Plan::new(capabilities::permitted().unwrap(), true, false);
            capabilities::bound(plan.launcher()).unwrap();
            let launcher = Launcher::start(plan, None).unwrap();
            capabilities::restrict(CapabilitySet::empty()).unwrap();
            let own = effective(&fs::read_to_string("/proc/thread-self/status").unwrap());
            assert_eq!(own, 0);
            let speaker = of_a_program(&launcher, Purpose::Speaker);
            (
                plan,
                speaker,
                of_a_program(&launcher, Purpose::Daemon),
                of_a_program(&launcher, Purpose::Speaker),
            )
        });
        let (plan, speaker, daemon, again) = given.join().unwrap();
        assert_eq!((speaker, daemon), (plan.speaker.bits(), plan.launcher().bits()));
        assert_eq!(again, speaker);
    }

    #[test]
    fn speakers_begin_before_others_and_daemons_do_not_where_that_is_allowed() {
        let (may, [speaker, daemon, again]) = thread::spawn(|| {
            let plan = Plan::new(capabilities::permitted().unwrap(), true, false);
            // Where no right is to be given there is nothing to ask for.
            let asks = !plan.speaker.is_empty();
            let launcher = Launcher::start(plan, None).unwrap();
            let policies = [Purpose::Speaker, Purpose::Daemon, Purpose::Speaker].map(|purpose| {
                let output = launcher.run(purpose, || Command::new("cat").arg("/proc/self/stat").output());
                let stat = String::from_utf8_lossy(&output.unwrap().unwrap().stdout).into_owned();
                // The 41st field, of which two are before the last parenthesis.
                stat.rsplit(") ").next().unwrap().split(' ').nth(38).unwrap().parse::<i32>().unwrap()
            });
            (asks && may_run_before_others(), policies)
        })
        .join()
        .unwrap();
        let preferred = if may { libc::SCHED_RR } else { libc::SCHED_OTHER };
        assert_eq!([speaker, daemon, again], [preferred, libc::SCHED_OTHER, preferred]);
    }

    #[test]
    fn what_needs_its_capabilities_is_done_for_whoever_asks() {
        let outcome = thread::spawn(|| {
            let plan = Plan::new(capabilities::permitted().unwrap(), true, false);
            let launcher = Launcher::start(plan, None).unwrap();
            capabilities::restrict(CapabilitySet::empty()).unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let dropped = launcher.run(Purpose::Here, move || lb_proxy::drop_newcomers(listener.into()));
            (plan.speaker.contains(CapabilitySet::NET_ADMIN), dropped.unwrap())
        });
        let (may, dropped) = outcome.join().unwrap();
        assert!(dropped.is_ok() || !may, "{dropped:?}");
    }

    #[test]
    fn default_starts_on_the_calling_thread() {
        let here = thread::current().id();
        let there = Launcher::default().run(Purpose::Speaker, || thread::current().id());
        assert_eq!(there.unwrap(), here);
    }
}
