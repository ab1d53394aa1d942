//! The daemon's side: asks for a command, waits for its end.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixDatagram as StdSocket,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{io::Interest, net::UnixDatagram, sync::oneshot, task::AbortHandle, time::timeout};

use super::protocol::{Ended, FromRunner, MESSAGE_MAX, ToRunner};
use crate::{packets, service};

/// For the answer, past what the command may take.
const MARGIN: Duration = Duration::from_secs(2);

/// Bytes of [`Order::input`]: what fits into a pipe of the smallest size is read by nobody before it starts.
const INPUT_MAX: usize = 32 << 10;

/// A command to be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// A program's whole path and its arguments, as the file has them.
    pub command: Vec<String>,
    /// What it reads on its standard input: at most 32 KiB.
    pub input: String,
    /// It is ended after that.
    pub limit: Duration,
}

/// Runs commands of the file. Clones are the same; the default runs none.
#[derive(Clone, Debug, Default)]
pub struct Runner(Option<Arc<Conversation>>);

#[derive(Debug)]
struct Conversation {
    socket: Arc<UnixDatagram>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
    reader: AbortHandle,
}

/// Who waits for an answer, by the number of the order; `None` once none will come.
#[derive(Debug)]
struct Waiting(Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>);

type Answer = Result<Ended, String>;

impl Runner {
    /// In a runtime. `socket`: to the process.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = StdSocket::from(socket);
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UnixDatagram::from_std(socket)?);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let reader = tokio::spawn(listen(Arc::clone(&socket), Arc::clone(&waiting))).abort_handle();
        Ok(Self(Some(Arc::new(Conversation { socket, waiting, next: AtomicU64::new(1), reader }))))
    }

    /// Runs a command, and waits until it has ended.
    ///
    /// # Errors
    /// It was not run: one sentence without a full stop.
    pub async fn run(&self, order: Order) -> Result<Ended, String> {
        let Some(conversation) = &self.0 else {
            return Err(format!("the process that runs commands was not started; {}", service::restart()));
        };
        let Order { command, input, limit } = order;
        if input.len() > INPUT_MAX {
            return Err(format!("{} bytes are too many for a command to read", input.len()));
        }
        let number = conversation.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        conversation.waiting.add(number, sender);
        let message = ToRunner::Run { number, command, input, limit };
        if let Err(error) = packets::send(&conversation.socket, &message, &[]) {
            conversation.waiting.take(number);
            return Err(match error.kind() {
                io::ErrorKind::WouldBlock => "the process that runs commands does not answer".to_owned(),
                _ => gone(),
            });
        }
        match timeout(limit + MARGIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone()),
            Err(_) => {
                conversation.waiting.take(number);
                Err("it could not be ended, and was not started again".to_owned())
            }
        }
    }

    /// A socket for another daemon, which talks to the same process; `None` where there is none.
    pub fn share(&self) -> Option<OwnedFd> {
        let conversation = self.0.as_ref()?;
        let (ours, theirs) = packets::pair().ok()?;
        packets::send(&conversation.socket, &ToRunner::Join, &[theirs.as_fd()]).ok()?;
        Some(ours)
    }
}

fn gone() -> String {
    format!("the process that runs commands has ended; {}", service::restart())
}

async fn listen(socket: Arc<UnixDatagram>, waiting: Arc<Waiting>) {
    let mut room = vec![0; MESSAGE_MAX];
    loop {
        let received = socket.async_io(Interest::READABLE, || packets::receive(&socket, &mut room)).await;
        let (number, answer) = match received {
            Ok(Some((FromRunner::Ended { number, ended }, _))) => (number, Ok(ended)),
            Ok(Some((FromRunner::Refused { number, why }, _))) => (number, Err(why)),
            Ok(None) | Err(_) => break,
        };
        if let Some(waits) = waiting.take(number) {
            // Who does not want to know any more has gone.
            let _ = waits.send(answer);
        }
    }
    waiting.close();
}

impl Waiting {
    fn with<T>(&self, change: impl FnOnce(&mut Option<HashMap<u64, oneshot::Sender<Answer>>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Dropped at once, where no answer will come.
    fn add(&self, number: u64, sender: oneshot::Sender<Answer>) {
        self.with(|all| all.as_mut().map(|all| all.insert(number, sender)));
    }

    fn take(&self, number: u64) -> Option<oneshot::Sender<Answer>> {
        self.with(|all| all.as_mut()?.remove(&number))
    }

    fn close(&self) {
        self.with(Option::take);
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
