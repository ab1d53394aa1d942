//! Tells the client when another exchange is due.

use std::time::Duration;

use nix::{
    errno::Errno,
    sys::{
        epoll::Epoll,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};

use crate::sockets;

/// A timer that is an event each time that an exchange is due.
#[derive(Debug)]
pub(crate) struct Pace {
    timer: TimerFd,
    /// From one exchange to the next.
    pub(crate) every: Duration,
}

impl Pace {
    /// So many exchanges a second (0.1 at least); its events have this number.
    pub(crate) fn begin(epoll: &Epoll, pace: f64, number: usize) -> anyhow::Result<Self> {
        let every = Duration::from_secs_f64(1.0 / pace.max(0.1));
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        timer.set(Expiration::Interval(every.into()), TimerSetTimeFlags::empty())?;
        sockets::watch(epoll, &timer, number)?;
        Ok(Self { timer, every })
    }

    /// Lets it fire again, if it has: the kernel sets an interval anew only once its last one is read.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        match self.timer.wait() {
            Ok(()) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::epoll::EpollEvent;

    use super::*;

    #[test]
    fn pace_is_told_again_and_again() {
        let epoll = sockets::epoll().unwrap();
        let pace = Pace::begin(&epoll, 1000.0, 7).unwrap();
        for time in 0..5 {
            let mut events = [EpollEvent::empty()];
            assert_eq!(epoll.wait(&mut events, 10_000_u16), Ok(1), "nothing was due the {time}th time");
            assert_eq!(events[0].data(), 7);
            pace.go_on().unwrap();
        }
    }
}
