//! CLOCK_BOOTTIME: reading it, and sleeping until a moment of it.

#![allow(unsafe_code, reason = "tokio asks for a promise about the descriptors that it watches")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Duration,
};

use nix::{
    sys::{
        time::TimeSpec,
        timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::{ClockId, clock_gettime},
};
use tokio::io::unix::AsyncFd;

use crate::Moment;

impl Moment {
    /// Reads CLOCK_BOOTTIME.
    pub fn now() -> Self {
        let now =
            clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every Linux since 2.6.39 has CLOCK_BOOTTIME");
        Self::default() + Duration::from(now)
    }
}

/// A timer that counts suspended time: a node that slept finds its deadline passed at once.
#[derive(Debug)]
pub(super) struct Deadline {
    timer: AsyncFd<Timer>,
    armed: Option<Moment>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Deadline {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, flags)?;
        // SAFETY: the timer owns its descriptor, which stays open and the same as long as the timer lives.
        let timer = unsafe { AsyncFd::register(Timer(timer)) }?;
        Ok(Self { timer, armed: None })
    }

    /// Passes at `at`; replaces any earlier deadline.
    pub(super) fn arm(&mut self, at: Moment) -> io::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        // A timer of zero would never fire.
        let after_boot = Duration::from_nanos(at.as_nanos().max(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(after_boot));
        self.timer.get_ref().0.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.armed = Some(at);
        Ok(())
    }

    /// Returns once the deadline has passed, once per deadline.
    pub(super) async fn passed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(nix::unistd::read(&timer.get_ref().0, &mut expirations)?)) {
                Ok(Ok(_)) => {
                    self.armed = None;
                    return Ok(());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                // Armed again in the meantime.
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Deadline;
    use crate::Moment;

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_passes_at_its_moment_and_not_before() {
        let mut deadline = Deadline::new().unwrap();
        let at = Moment::now() + Duration::from_millis(3);
        deadline.arm(at).unwrap();
        deadline.passed().await.unwrap();
        assert!(Moment::now() >= at);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_in_the_past_passes_at_once() {
        let mut deadline = Deadline::new().unwrap();
        deadline.arm(Moment::default()).unwrap();
        deadline.passed().await.unwrap();
    }
}
