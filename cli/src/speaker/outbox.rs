//! Messages to the daemon. A daemon that does not read them must not hold up the speaker, nor fill its memory.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use tokio::net::UnixDatagram;

use super::protocol::FromSpeaker;

/// Messages that wait for a daemon that does not read; the oldest go first.
const WAITING: usize = 256;

/// How long the last messages may take.
const FLUSH_LIMIT: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    socket: RefCell<Rc<UnixDatagram>>,
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

impl Outbox {
    pub(super) fn new(socket: Rc<UnixDatagram>) -> Self {
        Self { socket: RefCell::new(socket), waiting: RefCell::default() }
    }

    /// Another daemon is at the other end: what the last one has not read is nothing to it.
    pub(super) fn redirect(&self, socket: Rc<UnixDatagram>) {
        self.waiting.borrow_mut().clear();
        self.socket.replace(socket);
    }

    fn socket(&self) -> Rc<UnixDatagram> {
        Rc::clone(&self.socket.borrow())
    }

    /// Sends now, or keeps it for the next time. A status is not kept: there will be a newer one.
    pub(super) fn send(&self, message: &FromSpeaker) {
        let Ok(packet) = serde_json::to_vec(message) else { return };
        let mut waiting = self.waiting.borrow_mut();
        if matches!(message, FromSpeaker::Status { .. }) {
            if self.drain(&mut waiting) {
                let _ = self.socket().try_send(&packet);
            }
            return;
        }
        if waiting.len() == WAITING {
            waiting.pop_front();
        }
        waiting.push_back(packet);
        self.drain(&mut waiting);
    }

    /// Waits for the daemon to take what is left.
    pub(super) async fn flush(&self) {
        let _ = tokio::time::timeout(FLUSH_LIMIT, async {
            while !self.drain(&mut self.waiting.borrow_mut()) {
                if self.socket().writable().await.is_err() {
                    return;
                }
            }
        })
        .await;
    }

    /// Whether nothing waits any more.
    fn drain(&self, waiting: &mut VecDeque<Vec<u8>>) -> bool {
        while let Some(packet) = waiting.front() {
            match self.socket().try_send(packet) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                // Sent; or it can't be sent at all: too long, or nobody is there.
                Ok(_) | Err(_) => {
                    waiting.pop_front();
                }
            }
        }
        true
    }
}
