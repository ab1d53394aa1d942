//! The verbs' side of the control interface: one request, one answer, a deadline.

use std::{
    error::Error as _,
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt, net::UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{net::UnixStream, task::spawn_blocking};

use super::{ErrorReport, StopReport, VERSION_HEADER, VersionReport};
use crate::{
    output::text::{printable, printable_lines},
    process::Process,
    service,
};

/// Where a daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lbctl/control.sock";

/// For a daemon to accept; others may be before.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Bytes of an answer; a status of a thousand servers has a tenth of it.
const ANSWER_LIMIT: usize = 16 << 20;

/// Between two lines of an answer in lines; one comes each second.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// A daemon that answers nothing else for so long is stuck, however long what was asked for may take.
const ALIVE_LIMIT: Duration = Duration::from_secs(3);

/// Between two looks if it is.
const ALIVE_EVERY: Duration = Duration::from_secs(1);

/// Bytes of a line.
const LONGEST_LINE: usize = 1 << 20;

/// Speaks to one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// What a daemon said.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// The daemon's version, if it is not ours.
    pub other_version: Option<String>,
}

/// Why there is no answer. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket, or nobody behind it.
    #[error("lbctl is not running here ({}); start it: {}", why.replace("PATH", &socket.display().to_string()), service::start())]
    NotRunning {
        /// Where it would listen.
        socket: PathBuf,
        /// What was found; `PATH` stands for the socket.
        why: &'static str,
    },
    /// Somebody has removed the socket of a daemon that runs.
    #[error("lbctl runs here, but {} is gone: somebody has removed it or its folder. It serves on, and takes no orders until it has a new \
             one: {}", socket.display(), service::restart())]
    Removed {
        /// Where it listens.
        socket: PathBuf,
    },
    /// The socket belongs to others.
    #[error("no right to {}{}", socket.display(), keeper.way_in(socket))]
    NoRight {
        /// The socket.
        socket: PathBuf,
        /// Who may use it.
        keeper: Keeper,
    },
    /// It took the connection and said nothing.
    #[error("lbctl does not answer on {} within {} s; is it stopped (kill -STOP) or stuck? see: {}", socket.display(), limit.as_secs(), service::log())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long we waited.
        limit: Duration,
    },
    /// It answers, but is not done with what it was asked for.
    #[error("lbctl is not done within {} s, and answers other questions: it waits for something, and goes on when that is over; see: lbctl status", limit.as_secs())]
    NotDone {
        /// How long we waited.
        limit: Duration,
    },
    /// It ended, or was killed, before it answered.
    #[error("lbctl ended before it answered ({}){}; see: lbctl status, {}", socket.display(), if *is_order { ": whether what was ordered is done is not known" } else { "" }, service::log())]
    Ended {
        /// Where it listened.
        socket: PathBuf,
        /// It was to do something.
        is_order: bool,
    },
    /// It refused.
    #[error("the daemon refuses: {}", reason(.0))]
    Refused(ErrorReport),
    /// It said something that we can't read.
    #[error("can't read the answer of lbctl{}: {why}", daemon_version(version.as_deref()))]
    Unreadable {
        /// Its version, if it named one.
        version: Option<String>,
        /// What is off.
        why: String,
    },
    /// Anything else.
    #[error("can't reach lbctl on {}: {source}", socket.display())]
    Other {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Does a process of this network namespace listen on a socket that had this name? The kernel tells it by that also when the
/// name is gone.
fn is_listened_on(socket: &Path) -> bool {
    let Ok(sockets) = std::fs::read("/proc/net/unix") else { return false };
    let Ok(path) = std::path::absolute(socket) else { return false };
    let path = path.as_os_str().as_bytes();
    // Flags of a listener, as SO_ACCEPTCON is shown there.
    let listens = |line: &[u8]| line.split(|byte| *byte == b' ').nth(3) == Some(b"00010000");
    sockets.split(|byte| *byte == b'\n').any(|line| {
        let name = line.strip_suffix(path).and_then(|rest| rest.strip_suffix(b" "));
        name.is_some() && listens(line)
    })
}

fn reason(report: &ErrorReport) -> &str {
    if report.detail.is_empty() { &report.title } else { &report.detail }
}

/// What keeps others out: the socket, or a folder above it.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    owner: String,
    group: String,
    /// Whose last nine bits are the rights.
    mode: u32,
}

impl Keeper {
    /// The socket, or the first folder above it that can be looked at.
    fn of(socket: &Path) -> Self {
        let found = socket.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
        let (path, [uid, gid, mode]) = found
            .map_or((socket, [0; 3]), |(path, meta)| (path, [meta.uid(), meta.gid(), meta.mode() & 0o777]));
        let owner = match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => uid.to_string(),
        };
        let group = match nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)) {
            Ok(Some(group)) => group.name,
            Ok(None) | Err(_) => gid.to_string(),
        };
        Self { path: path.to_owned(), owner, group, mode }
    }

    /// The rest of the sentence. Nobody shall join root's group for a status, nor one that has no right itself.
    fn way_in(&self, socket: &Path) -> String {
        let Self { path, owner, group, mode } = self;
        let whose = if path == socket { String::new() } else { format!("{}: ", path.display()) };
        // Connecting takes the right to write, a folder that to pass.
        let bit = if path == socket { 0o020 } else { 0o010 };
        let way = if group == "root" || mode & bit == 0 {
            format!(
                "only {owner} may use it, so use sudo (a group `lbctl`, made before lbctl starts, lets others in)"
            )
        } else {
            format!("join the group `{group}` (usermod -aG {group} YOU, then log in again), or use sudo")
        };
        format!(" ({whose}user {owner}, group {group}, mode {mode:04o}): {way}")
    }
}

fn daemon_version(version: Option<&str>) -> String {
    version.map(|version| format!(" {version} (this is {})", env!("CARGO_PKG_VERSION"))).unwrap_or_default()
}

/// Part of the reason may be what was sent.
fn unreadable(version: Option<String>, error: &(impl std::fmt::Display + ?Sized)) -> ClientError {
    ClientError::Unreadable { version, why: printable(&error.to_string()) }
}

/// That of the daemon which answered.
fn version(response: &Response<Incoming>) -> Option<String> {
    response.headers().get(VERSION_HEADER)?.to_str().ok().map(str::to_owned)
}

impl Client {
    /// For the daemon behind `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// `GET path`.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Answer<T>, ClientError> {
        self.within(limit, self.request(Method::GET, path, Bytes::new())).await
    }

    /// `POST path` with `body`; waits for the answer for as long as the daemon lives, and not for one that is stuck.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| unreadable(None, &error))?;
        tokio::select! {
            answer = self.request(Method::POST, path, body.into()) => answer,
            stuck = self.stuck() => Err(stuck),
        }
    }

    /// Returns once the daemon does not answer.
    async fn stuck(&self) -> ClientError {
        loop {
            tokio::time::sleep(ALIVE_EVERY).await;
            // One that is about to end listens no more, and still has an answer.
            let answer = self.get::<VersionReport>("/v1/version", ALIVE_LIMIT).await;
            if let Err(stuck @ ClientError::Silent { .. }) = answer {
                return stuck;
            }
        }
    }

    /// The same for at most `limit`: what was asked for may still be done then.
    pub async fn post_within<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<Answer<T>, ClientError> {
        let done = tokio::time::timeout(limit, self.post(path, body)).await;
        done.unwrap_or(Err(ClientError::NotDone { limit }))
    }

    /// `POST path` with `body`, answered line by line. A daemon that says nothing for some seconds is stuck: a line that says
    /// nothing comes each second.
    pub async fn lines(&self, path: &str, body: &impl Serialize) -> Result<Lines, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| unreadable(None, &error))?;
        self.in_lines(Method::POST, path, body.into()).await
    }

    /// `GET path`, answered in the same way.
    pub async fn read_lines(&self, path: &str) -> Result<Lines, ClientError> {
        self.in_lines(Method::GET, path, Bytes::new()).await
    }

    async fn in_lines(&self, method: Method, path: &str, body: Bytes) -> Result<Lines, ClientError> {
        let answer = self.within(LINE_LIMIT, self.send(method, path, body)).await?;
        Ok(Lines { client: self.clone(), body: answer.into_body(), bytes: Vec::new() })
    }

    /// Returns when nobody listens any more and the process of `report` has ended, or after `limit` with an error.
    pub async fn wait_for_the_end(&self, report: &StopReport, limit: Duration) -> Result<(), ClientError> {
        // It has the lock of the socket as long as it lives: another one could not start before. One that can't be found has
        // ended.
        let process = report.pid.and_then(|pid| match report.pid_namespace {
            Some(namespace) => Process::find_in(namespace, pid).ok(),
            None => Process::find(pid).ok(),
        });
        let gone = async {
            while self
                .connect()
                .await
                .map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if let Some(process) = process {
                process.ended().await;
            }
            Ok(())
        };
        self.within(limit, gone).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Silent { socket: self.socket.clone(), limit }),
        }
    }

    /// A queue that is full of others is waited in: on a thread, because a socket that does not block has no place in it.
    async fn connect(&self) -> io::Result<UnixStream> {
        let path = self.socket.clone();
        let connected = spawn_blocking(move || -> io::Result<StdStream> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.set_write_timeout(Some(CONNECT_LIMIT))?;
            socket.connect(&SockAddr::unix(path)?)?;
            socket.set_write_timeout(None)?;
            socket.set_nonblocking(true)?;
            Ok(StdStream::from(OwnedFd::from(socket)))
        });
        UnixStream::from_std(connected.await.map_err(io::Error::other)??)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await.map_err(|error| self.no_connection(error))?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|e| self.broken(e, false))?;
        tokio::spawn(connection);
        let is_order = method == Method::POST;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "lbctl")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| unreadable(None, &error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(error, is_order))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, version) = (response.status(), version(&response));
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let mut report = serde_json::from_slice(&body).unwrap_or_else(|_| ErrorReport {
            status: status.as_u16(),
            title: status.to_string(),
            detail: String::new(),
        });
        // Whatever poses as the daemon, or has a say in its reasons: none of it is for the terminal to obey. What `check` says of a
        // file has several lines.
        report.title = printable(&report.title);
        report.detail = printable_lines(&report.detail);
        // What an older daemon does not know is not there for no other reason.
        if let (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, Some(version)) = (status, version)
            && version != env!("CARGO_PKG_VERSION")
        {
            let ours = env!("CARGO_PKG_VERSION");
            report.detail = format!("{} (the daemon is version {version}, this is {ours})", report.detail);
        }
        Err(ClientError::Refused(report))
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, ClientError> {
        let is_order = method == Method::POST;
        let response = self.send(method, path, body).await?;
        let version = version(&response);
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| match error.downcast_ref() {
            Some(error) if is_gone(error) => ClientError::Ended { socket: self.socket.clone(), is_order },
            _ => unreadable(version.clone(), &*error),
        });
        let body = body?.to_bytes();
        let value = serde_json::from_slice(&body).map_err(|error| unreadable(version.clone(), &error))?;
        Ok(Answer { value, other_version: version.filter(|version| version != env!("CARGO_PKG_VERSION")) })
    }

    fn no_connection(&self, source: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound if is_listened_on(&socket) => ClientError::Removed { socket },
            io::ErrorKind::NotFound => ClientError::NotRunning { socket, why: "no PATH" },
            io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { socket, why: "nobody listens on PATH" }
            }
            io::ErrorKind::PermissionDenied => {
                ClientError::NoRight { keeper: Keeper::of(&self.socket), socket }
            }
            io::ErrorKind::WouldBlock => ClientError::Silent { socket, limit: CONNECT_LIMIT },
            _ => ClientError::Other { socket, source },
        }
    }

    fn broken(&self, error: hyper::Error, is_order: bool) -> ClientError {
        let socket = self.socket.clone();
        if is_gone(&error) {
            return ClientError::Ended { socket, is_order };
        }
        ClientError::Other { socket, source: io::Error::other(error) }
    }
}

/// The other side ended, or has closed the connection, in the middle.
fn is_gone(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || matches!(
            cause,
            Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof)
        )
}

/// An answer in lines.
#[derive(Debug)]
pub struct Lines {
    client: Client,
    body: Incoming,
    bytes: Vec<u8>,
}

impl Lines {
    /// The next one, without its end; `None` when there is no more. What is left over at the end is one, too.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).take(end).collect();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.bytes.len() > LONGEST_LINE {
                return Err(ClientError::Unreadable {
                    version: None,
                    why: "a line without an end".to_owned(),
                });
            }
            let more = async { Ok(self.body.frame().await) };
            match self.client.within(LINE_LIMIT, more).await? {
                None if self.bytes.is_empty() => return Ok(None),
                None => {
                    let rest = std::mem::take(&mut self.bytes);
                    return Ok(Some(String::from_utf8_lossy(&rest).into_owned()));
                }
                Some(Ok(frame)) => self.bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) if is_malformed(&error) => {
                    return Err(unreadable(None, &causes(&error)));
                }
                // It was killed.
                Some(Err(_)) => return Ok(None),
            }
        }
    }
}

/// What came is no HTTP, and not only less than was to come?
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause
        .is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}

/// An error and what is behind it: hyper tells the one without the other.
fn causes(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn it_says_whose_the_socket_is_and_sends_nobody_into_a_group_that_is_no_way_in() {
        let text = |path: &str, group: &str, mode| {
            let keeper =
                Keeper { path: path.into(), owner: "root".to_owned(), group: group.to_owned(), mode };
            ClientError::NoRight { socket: DEFAULT_SOCKET.into(), keeper }.to_string()
        };
        assert_eq!(
            text(DEFAULT_SOCKET, "lbctl", 0o660),
            "no right to /run/lbctl/control.sock (user root, group lbctl, mode 0660): join the group `lbctl` \
             (usermod -aG lbctl YOU, then log in again), or use sudo"
        );
        let folder = text("/run/lbctl", "lbctl", 0o750);
        assert!(folder.contains("(/run/lbctl: user root, group lbctl, mode 0750): join"), "{folder}");
        for (group, mode) in [("root", 0o660), ("lbctl", 0o600)] {
            let closed = text(DEFAULT_SOCKET, group, mode);
            assert!(closed.contains("only root may use it, so use sudo"), "{closed}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_ends_before_it_answers_is_told_and_what_that_means_for_an_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            for answer in ["", "", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1_000]).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let client = Client::new(&path);
        let limit = Duration::from_secs(60);
        let ordered = client.post::<StopReport>("/v1/stop", &()).await.unwrap_err().to_string();
        let is_not_known = ": whether what was ordered is done is not known; see: lbctl status, ";
        assert!(
            ordered.starts_with("lbctl ended before it answered (") && ordered.contains(is_not_known),
            "{ordered}"
        );
        for _ in 0..2 {
            let asked = client.get::<StopReport>("/v1/status", limit).await.unwrap_err().to_string();
            assert!(
                asked.starts_with("lbctl ended before it answered (") && !asked.contains("ordered"),
                "{asked}"
            );
        }
    }

    #[tokio::test]
    async fn a_queue_that_is_full_is_waited_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let first = Client::new(&path).connect().await.unwrap();
        let client = Client::new(&path);
        let mut second = std::pin::pin!(client.connect());
        let early = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
        assert!(early.is_err(), "nobody has accepted the first one: {early:?}");
        listener.accept().unwrap();
        second.await.unwrap();
        drop(first);
    }
}
