//! What wakes the loop: the proxy's health, the speaker, requests, hellos, signals, its own tasks, and time.

use std::{future::pending, io};

use lb_proxy::{Grown, StateChange};
use lb_vrrp::Moment;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    Daemon,
    certificates::Seen,
    clock,
    control::Command,
    draining::Drained,
    hello::endpoint::Datagram,
    neighbours::Neighbours,
    pausing::Pausing,
    probes::Looked,
    reload,
    speaker_link::Report,
    stop::{Patience, Stage},
    upgrade,
    watchdog::Watchdog,
};
use crate::control::FrontendOrder;

/// A task of the loop's own is done.
#[derive(Debug)]
pub(super) enum Step {
    /// This many exchanges were reset for a group.
    Reset { exchanges: usize },
    /// Short exchanges are finished.
    Drained(Drained),
    /// Short exchanges are finished, so many others reset, and the drain or switchover that began then goes on.
    ReadyToGive { begun: Moment, reset: usize },
    /// The speaker's process is gone.
    SpeakerGone,
    /// Connections have had their time; in the processes before this one so many were cut.
    WoundUp { cut_before: u64 },
    /// The data plane was told which node this is, or can't be.
    Told { error: Option<String> },
    /// The files of certificates were looked at.
    Certificates(Seen),
    /// Of a reload.
    Reload(reload::Step),
    /// Of an upgrade.
    Upgrade(upgrade::Step),
    /// What a process before this one has counted.
    Counted(Vec<Grown>),
    /// What a tracker looks at is different.
    Looked(Looked),
}

/// What wakes the loop.
pub(super) enum Event {
    Health,
    /// A server or a backend has another state.
    Changed(StateChange),
    Speaker(Option<Report>),
    Command(Command),
    Datagram(io::Result<Datagram>),
    Step(Step),
    /// One that ends the process.
    Signal(&'static str, Patience),
    /// An order for all frontends, and the signal that gave it.
    Frontends(FrontendOrder, &'static str),
    Reload,
    ReopenLogs,
    Timeout,
}

/// Those that end nothing. One that comes while the process starts is heard once it runs; without this it would end or suspend it.
pub(super) struct Harmless {
    hangup: Signal,
    user2: Signal,
    pausing: Pausing,
    quit: Signal,
}

impl Harmless {
    /// In a runtime.
    pub(super) fn await_all() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
            pausing: Pausing::await_both()?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    harmless: Harmless,
}

impl Signals {
    /// Those that end a process end one that starts at once, until then.
    pub(super) fn new(mut harmless: Harmless) -> io::Result<Self> {
        harmless.pausing.begin()?;
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            harmless,
        })
    }

    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Signal("SIGTERM", Patience::Short),
            _ = self.interrupt.recv() => Event::Signal("SIGINT", Patience::Short),
            _ = self.harmless.hangup.recv() => Event::Reload,
            // HAProxy's soft stop: whoever scripted that means an orderly one.
            _ = self.user1.recv() => Event::Signal("SIGUSR1", Patience::Full),
            _ = self.harmless.user2.recv() => Event::ReopenLogs,
            (order, name) = self.harmless.pausing.next() => Event::Frontends(order, name),
            _ = self.harmless.quit.recv() => {
                // HAProxy frees what its pools have too much of.
                tracing::info!("SIGQUIT: there is nothing to free; lbctl stop ends lbctl");
                Event::Timeout
            }
        }
    }
}

impl Daemon {
    pub(super) async fn next_event(&mut self) -> Event {
        let wait = self.next_timeout().saturating_since(clock::now());
        tokio::select! {
            Ok(()) = self.health.changed() => Event::Health,
            Some(change) = receive(&mut self.changes) => Event::Changed(change),
            message = receive(&mut self.from_speaker) => Event::Speaker(message),
            Some(command) = self.commands.recv() => Event::Command(command),
            received = listen(self.neighbours.as_ref()) => Event::Datagram(received),
            Some(step) = self.steps.recv() => Event::Step(step),
            event = self.signals.next() => event,
            () = tokio::time::sleep(wait) => Event::Timeout,
        }
    }

    pub(super) fn next_timeout(&self) -> Moment {
        let trackers = self.groups.iter().filter_map(|group| group.tracker.poll_timeout()).map(|(at, _)| at);
        let neighbours = self.neighbours.as_ref().map(Neighbours::poll_timeout);
        let stop = self.stop.as_ref().and_then(|stop| match stop.stage {
            Stage::Leaving { until } => Some(until),
            Stage::Draining | Stage::Resigning | Stage::Finishing | Stage::Over => None,
        });
        // What is being reset is counted first.
        let giving = self.giving.as_ref().filter(|_| self.resets == 0);
        let giving = giving.and_then(super::draining::Drain::poll_timeout);
        let watchdog = self.watchdog.as_ref().map(Watchdog::poll_timeout);
        let alarms = self.alarms.poll_timeout();
        let rehearsals = self.rehearsals.iter().map(super::draining::Rehearsal::poll_timeout);
        let all = trackers
            .chain(neighbours)
            .chain(stop)
            .chain(giving)
            .chain(watchdog)
            .chain(alarms)
            .chain(rehearsals);
        all.fold(self.surroundings.next_look(), Moment::min)
    }
}

async fn receive<T>(messages: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match messages {
        Some(messages) => messages.recv().await,
        None => pending().await,
    }
}

async fn listen(neighbours: Option<&Neighbours>) -> io::Result<Datagram> {
    match neighbours {
        Some(neighbours) => neighbours.receive().await,
        None => pending().await,
    }
}
