//! The daemon's side: asks for a command, waits for its end.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixDatagram as StdSocket,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::Interest,
    net::UnixDatagram,
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep, timeout},
};

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

/// A command was not run, or nobody knows how far it has come.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct NotRun {
    /// One sentence without a full stop.
    pub why: String,
    /// It has not begun, and may be run later.
    pub is_later: bool,
}

impl NotRun {
    fn over(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_later: false }
    }

    fn later(why: &str) -> Self {
        Self { why: why.to_owned(), is_later: true }
    }
}

/// Runs commands of the file. Clones are the same; the default runs none.
#[derive(Clone, Debug, Default)]
pub struct Runner(Option<Arc<Home>>);

/// To who starts the process that runs commands, and starts another one when it has died.
#[derive(Debug)]
struct Home {
    socket: OwnedFd,
    state: Mutex<State>,
    replaced: AtomicU64,
}

#[derive(Debug)]
enum State {
    Open(Arc<Conversation>),
    /// It has died, and there is no other one yet.
    Between,
    /// There will be none.
    Over,
}

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
    /// In a runtime. `home`: to who starts the process.
    ///
    /// # Errors
    /// The runtime does not take a socket, or there are no descriptors.
    pub fn new(home: OwnedFd) -> io::Result<Self> {
        let home = StdSocket::from(home);
        home.set_nonblocking(true)?;
        let home = Arc::new(Home {
            socket: home.into(),
            state: Mutex::new(State::Over),
            replaced: AtomicU64::new(0),
        });
        if let Some(reader) = home.join()? {
            tokio::spawn(keep(Arc::downgrade(&home), reader));
        }
        Ok(Self(Some(home)))
    }

    /// Runs a command, and waits until it has ended.
    ///
    /// # Errors
    /// It was not run.
    pub async fn run(&self, order: Order) -> Result<Ended, NotRun> {
        let Some(home) = &self.0 else {
            let why = format!("the process that runs commands was not started; {}", service::restart());
            return Err(NotRun::over(why));
        };
        let Order { command, input, limit } = order;
        if input.len() > INPUT_MAX {
            return Err(NotRun::over(format!("{} bytes are too many for a command to read", input.len())));
        }
        let conversation = match &*home.state() {
            State::Open(conversation) => Arc::clone(conversation),
            State::Between => return Err(NotRun::later(ANEW)),
            State::Over => return Err(NotRun::over(gone())),
        };
        let number = conversation.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        conversation.waiting.add(number, sender);
        let message = ToRunner::Run { number, command, input, limit };
        if let Err(error) = packets::send(&conversation.socket, &message, &[]) {
            conversation.waiting.take(number);
            return Err(NotRun::later(match error.kind() {
                io::ErrorKind::WouldBlock => "the process that runs commands does not answer",
                _ => ANEW,
            }));
        }
        match timeout(limit + MARGIN, answer).await {
            Ok(Ok(answer)) => answer.map_err(NotRun::over),
            Ok(Err(_)) => Err(NotRun::over(CUT)),
            Err(_) => {
                conversation.waiting.take(number);
                Err(NotRun::over("it could not be ended, and was not started again"))
            }
        }
    }

    /// The same way to the same process, for another daemon; `None` where there is none.
    pub fn share(&self) -> Option<OwnedFd> {
        self.0.as_ref()?.socket.try_clone().ok()
    }

    /// How often the process has died and another one has its place.
    pub fn replaced(&self) -> u64 {
        self.0.as_ref().map_or(0, |home| home.replaced.load(Ordering::Relaxed))
    }
}

impl Home {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A conversation with the process that there is from now on, which ends with the task; `None` if nobody will start one.
    fn join(&self) -> io::Result<Option<JoinHandle<()>>> {
        let (ours, theirs) = packets::pair()?;
        if packets::send(&self.socket, &ToRunner::Join, &[theirs.as_fd()]).is_err() {
            *self.state() = State::Over;
            return Ok(None);
        }
        let socket = StdSocket::from(ours);
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UnixDatagram::from_std(socket)?);
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let listening = tokio::spawn(listen(Arc::clone(&socket), Arc::clone(&waiting)));
        let reader = listening.abort_handle();
        *self.state() =
            State::Open(Arc::new(Conversation { socket, waiting, next: AtomicU64::new(1), reader }));
        Ok(Some(listening))
    }
}

/// Whenever the process has died, another one is asked for.
async fn keep(home: Weak<Home>, mut listening: JoinHandle<()>) {
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        let _ = (&mut listening).await;
        let Some(there) = home.upgrade() else { return };
        *there.state() = State::Between;
        tracing::warn!("the process that runs commands has died: another one is started");
        drop(there);
        pause = if begun.elapsed() > PAUSES.1 { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        sleep(pause).await;
        let Some(there) = home.upgrade() else { return };
        match there.join() {
            Ok(Some(next)) => {
                there.replaced.fetch_add(1, Ordering::Relaxed);
                listening = next;
            }
            Ok(None) => return tracing::error!("{}", gone()),
            // No descriptors are left: it looks once more.
            Err(error) => {
                tracing::warn!(%error, "no process that runs commands");
                listening = tokio::spawn(async {});
            }
        }
    }
}

const ANEW: &str = "the process that runs commands has died, and another one is just being started";

const CUT: &str = "the process that runs commands has died, and nobody knows how far the command has come";

/// Before another one is asked for: the first time, and where each dies at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

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
