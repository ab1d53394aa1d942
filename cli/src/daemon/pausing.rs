//! HAProxy's SIGTTOU and SIGTTIN, which pause and resume all frontends. Of two, the one that came last counts.
//!
//! Handlers would run on any thread, the later one perhaps first, and a loop that is woken sees that both have been there. So every thread
//! holds these two back, and one waits for them and takes them by a descriptor (signalfd(2)). Of two that wait there together nobody knows
//! the order, the kernel included: then clients are served.

use std::{io, os::fd::AsFd, sync::Arc, thread};

use lb_proxy::Proxy;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal as Kind},
        signalfd::{SfdFlags, SignalFd},
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};

use super::{Daemon, orders::Refused};
use crate::control::FrontendOrder;

/// It only waits.
const STACK: usize = 128 << 10;

/// Their names.
const PAUSE: (FrontendOrder, &str) = (FrontendOrder::Pause, "SIGTTOU");
const RESUME: (FrontendOrder, &str) = (FrontendOrder::Resume, "SIGTTIN");

/// The order of a signal, and its name.
pub(super) type Paused = (FrontendOrder, &'static str);

fn both() -> SigSet {
    SigSet::from_iter([Kind::SIGTTOU, Kind::SIGTTIN])
}

/// Both wait from here on, until somebody takes them. To be called before the first thread is started, which inherits it.
pub(super) fn hold_back() {
    let _ = both().thread_block();
}

/// `start`, from where both come through: what is started has them as others have. To be called on a thread that starts programs.
pub(crate) fn let_through<T>(start: impl FnOnce() -> T) -> T {
    let held = SigSet::thread_get_mask();
    let _ = both().thread_unblock();
    let started = start();
    let _ = held.map(|held| held.thread_set_mask());
    started
}

/// Where they are heard.
pub(super) struct Pausing {
    waiting: Option<SignalFd>,
    heard: Option<mpsc::UnboundedReceiver<Paused>>,
    /// One that comes while a thread lets them through.
    pause: Signal,
    resume: Signal,
}

impl Pausing {
    /// In a runtime, once they are held back.
    pub(super) fn await_both() -> io::Result<Self> {
        let waiting = SignalFd::with_flags(&both(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            waiting: Some(waiting),
            heard: None,
            pause: signal(SignalKind::from_raw(Kind::SIGTTOU as i32))?,
            resume: signal(SignalKind::from_raw(Kind::SIGTTIN as i32))?,
        })
    }

    /// Starts the thread that takes them. To be called when this thread has given away what it has to.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let (hear, heard) = mpsc::unbounded_channel();
        thread::Builder::new().name("signals".to_owned()).stack_size(STACK).spawn(move || {
            loop {
                let mut comes = [PollFd::new(waiting.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut comes, PollTimeout::NONE);
                if last(&waiting).is_some_and(|order| hear.send(order).is_err()) {
                    return;
                }
            }
        })?;
        self.heard = Some(heard);
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Paused {
        let heard = async {
            match &mut self.heard {
                Some(heard) => heard.recv().await,
                None => None,
            }
        };
        tokio::select! {
            Some(order) = heard => order,
            _ = self.pause.recv() => PAUSE,
            _ = self.resume.recv() => RESUME,
        }
    }
}

/// What those that wait now come to.
fn last(waiting: &SignalFd) -> Option<Paused> {
    let mut found: Option<Paused> = None;
    while let Ok(Some(signal)) = waiting.read_signal() {
        let is_resume = signal.ssi_signo == Kind::SIGTTIN as u32;
        if is_resume || found.is_none() {
            found = Some(if is_resume { RESUME } else { PAUSE });
        }
    }
    found
}

/// Orders for all frontends, each after the one before.
#[derive(Debug, Default)]
pub(super) struct InTurn(Option<JoinHandle<()>>);

impl InTurn {
    fn add(&mut self, order: impl Future<Output = ()> + Send + 'static) {
        let before = self.0.take();
        self.0 = Some(tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            order.await;
        }));
    }
}

impl Daemon {
    pub(super) fn order_all_frontends(&mut self, order: FrontendOrder, by: &'static str) {
        if let Err(Refused::Now(why) | Refused::Missing(why)) = self.no_order_now() {
            tracing::warn!("{by} is ignored: {why}");
            return;
        }
        let names: Vec<_> =
            self.config.proxy.frontends.iter().map(|frontend| frontend.name.clone()).collect();
        let proxy: Arc<Proxy> = Arc::clone(&self.proxy);
        self.pausing.add(async move {
            for name in names {
                let outcome = match order {
                    FrontendOrder::Pause => proxy.pause(&name, by).await,
                    FrontendOrder::Resume => proxy.resume(&name, by).await,
                };
                if let Err(error) = outcome {
                    tracing::error!(frontend = name, by, "{error}");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn of_two_that_wait_together_the_one_that_serves_clients_counts() {
        // Signals of this thread alone: others of this process have theirs.
        thread::spawn(|| {
            hold_back();
            let waiting =
                SignalFd::with_flags(&both(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).unwrap();
            assert_eq!(last(&waiting), None);
            for (sent, expected) in [
                (&[Kind::SIGTTOU][..], PAUSE),
                (&[Kind::SIGTTIN], RESUME),
                (&[Kind::SIGTTOU, Kind::SIGTTIN], RESUME),
                (&[Kind::SIGTTIN, Kind::SIGTTOU], RESUME),
            ] {
                for &signal in sent {
                    nix::sys::signal::raise(signal).unwrap();
                }
                assert_eq!(last(&waiting), Some(expected), "{sent:?}");
                assert_eq!(last(&waiting), None);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_started_has_them_as_others_have() {
        thread::spawn(|| {
            hold_back();
            let mask = |line: String| line.contains("0000000000300000");
            let held = || {
                let output =
                    std::process::Command::new("grep").args(["SigBlk", "/proc/self/status"]).output();
                mask(String::from_utf8(output.unwrap().stdout).unwrap())
            };
            assert!(held());
            assert!(!let_through(held));
            assert!(held(), "and holds them back again");
        })
        .join()
        .unwrap();
    }

    #[tokio::test]
    async fn orders_are_carried_out_in_turn_however_long_one_takes() {
        let mut turn = InTurn::default();
        let done = Arc::new(Mutex::new(Vec::new()));
        for (number, milliseconds) in [(1, 30), (2, 0), (3, 10), (4, 0)] {
            let done = Arc::clone(&done);
            turn.add(async move {
                tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
                done.lock().unwrap().push(number);
            });
        }
        turn.0.take().unwrap().await.unwrap();
        assert_eq!(*done.lock().unwrap(), [1, 2, 3, 4]);
    }
}
