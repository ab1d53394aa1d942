//! Messages to the daemon. A daemon that does not read them must not hold up the speaker, nor fill its memory.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, time::Duration};

use tokio::net::UnixDatagram;

use super::{protocol::FromSpeaker, room::packet};

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

    /// Sends now, or keeps it for the next time. A status is not kept: there will be a newer one. What the daemon has no room for is
    /// not sent: it would be cut.
    pub(super) fn send(&self, message: &FromSpeaker) {
        let Some(packet) = packet(message) else { return };
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram as StdSocket;

    use super::{super::protocol::LogLevel, *};

    fn line(number: usize) -> FromSpeaker {
        FromSpeaker::Log { level: LogLevel::Info, text: number.to_string() }
    }

    /// Both are full, the socket and what waits for it: whoever speaks goes on at once.
    #[tokio::test]
    async fn a_daemon_that_reads_nothing_holds_nothing_up_and_has_the_first_and_the_last_of_it_later() {
        const LINES: usize = 20_000;
        let (ours, theirs) = crate::packets::pair().unwrap();
        let [ours, theirs] = [ours, theirs].map(|socket| {
            let socket = StdSocket::from(socket);
            socket.set_nonblocking(true).unwrap();
            UnixDatagram::from_std(socket).unwrap()
        });
        ours.writable().await.unwrap();
        let outbox = Outbox::new(Rc::new(ours));
        for number in 0..LINES {
            outbox.send(&line(number));
            outbox.send(&FromSpeaker::Status { at: lb_vrrp::Moment::from_nanos(1), groups: Vec::new() });
        }
        assert_eq!(outbox.waiting.borrow().len(), WAITING);
        let (mut heard, mut room) = (Vec::new(), [0; 1024]);
        while heard.last() != Some(&(LINES - 1)) {
            theirs.readable().await.unwrap();
            while let Ok(length) = theirs.try_recv(&mut room) {
                let message: FromSpeaker = serde_json::from_slice(&room[..length]).unwrap();
                if let FromSpeaker::Log { text, .. } = message {
                    heard.push(text.parse::<usize>().unwrap());
                }
            }
            outbox.flush().await;
        }
        assert!(heard.is_sorted());
        assert_eq!(heard[0], 0);
        assert_eq!(heard[heard.len() - WAITING..], (LINES - WAITING..LINES).collect::<Vec<_>>());
    }
}
