//! What the control socket accepts from: something else after its file was made anew.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::sleep,
};

/// After an error: others need a moment to let go of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// An error that goes on is told again after this.
const REMINDER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) struct Listening {
    current: UnixListener,
    /// In the place of `current`.
    next: mpsc::UnboundedReceiver<UnixListener>,
    told: Option<Instant>,
}

impl Listening {
    pub(super) fn new(current: UnixListener, next: mpsc::UnboundedReceiver<UnixListener>) -> Self {
        Self { current, next, told: None }
    }

    /// The next connection, however long that takes.
    pub(super) async fn accept(&mut self) -> UnixStream {
        loop {
            tokio::select! {
                Some(next) = self.next.recv() => self.current = next,
                accepted = self.current.accept() => match accepted {
                    Ok((stream, _)) => return stream,
                    Err(error) => {
                        self.tell(&error);
                        sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= REMINDER) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, "can't accept on the control socket: verbs get no answer");
        }
    }
}
