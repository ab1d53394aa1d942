//! The same file of HAProxy's in two programs: the installed HAProxy reads it, lbctl what `import` makes of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{Daemon, PATIENCE, lbctl, unused_address};

/// Where a file may listen.
const LISTENERS: [&str; 3] = ["WEB", "OTHER", "STATS"];

/// Both of them, in front of the same servers.
pub(crate) struct Both {
    haproxy: HAProxy,
    daemon: Daemon,
    theirs: BTreeMap<&'static str, SocketAddr>,
    ours: BTreeMap<&'static str, SocketAddr>,
    /// Where HAProxy logs to, and where lbctl does.
    logs: [UdpSocket; 2],
    /// What `import` said.
    pub(crate) notes: String,
}

struct HAProxy {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Both {
    /// Starts both with `converted/NAME.cfg`.
    pub(crate) fn start(name: &str) -> Self {
        Self::before(&[], name)
    }

    /// The same, with servers of the test's own.
    pub(crate) fn before(servers: &[(&'static str, SocketAddr)], name: &str) -> Self {
        Self::with(servers, &folder().join(format!("{name}.cfg")))
    }

    /// Starts both with a file.
    pub(crate) fn with(servers: &[(&'static str, SocketAddr)], source: &Path) -> Self {
        let folder = folder();
        let text = fs::read_to_string(source).expect("a file");
        let used = |word: &&&str| text.contains(&format!("\"${word}\""));
        let listeners = || LISTENERS.iter().filter(used).map(|word| (*word, unused_address())).collect();
        let (theirs, ours): (BTreeMap<_, _>, BTreeMap<_, _>) = (listeners(), listeners());
        let logs = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("bound"));
        let mut shared =
            vec![("FILES", folder.display().to_string()), ("DEAD", unused_address().to_string())];
        shared.extend(["A", "B"].map(|server| (server, echo(server).to_string())));
        shared.extend(servers.iter().map(|(name, address)| (*name, address.to_string())));
        let variables = |of: &BTreeMap<&'static str, SocketAddr>, log: &UdpSocket| {
            let listeners = of.iter().map(|(name, address)| (*name, address.to_string()));
            let log = ("LOG", log.local_addr().expect("bound").to_string());
            listeners.chain([log]).chain(shared.clone()).collect::<Vec<_>>()
        };
        let output = lbctl()
            .arg("import")
            .arg(source)
            .env_clear()
            .envs(variables(&ours, &logs[1]))
            .output()
            .expect("lbctl import runs");
        let notes = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{notes}");
        let toml = String::from_utf8(output.stdout).expect("text");
        let haproxy = HAProxy::start(source, variables(&theirs, &logs[0]), &theirs);
        let daemon = Daemon::spawn(&toml, ours["WEB"], None);
        Self { haproxy, daemon, theirs, ours, logs, notes }
    }

    /// What HAProxy and what lbctl answers.
    pub(crate) fn ask(&self, listener: &str, request: &str) -> [String; 2] {
        [&self.theirs, &self.ours].map(|of| exchange(of[listener], request))
    }

    /// Waits until an answer of both has `wanted` in it.
    pub(crate) fn wait_for(&mut self, listener: &str, request: &str, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        let has = |answer: &String| answer.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase());
        while !self.ask(listener, request).iter().all(has) {
            assert!(Instant::now() < end, "{:?}\n{}", self.ask(listener, request), self.daemon.log());
            assert!(self.haproxy.child.try_wait().expect("a child").is_none(), "HAProxy has ended");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What both have written about one more request, without the header of their lines.
    pub(crate) fn lines(&self, listener: &str, request: &str) -> [String; 2] {
        let _ = self.ask(listener, request);
        self.request_lines()
    }

    /// Where HAProxy listens, and where lbctl does.
    pub(crate) fn addresses(&self, listener: &str) -> [SocketAddr; 2] {
        [self.theirs[listener], self.ours[listener]]
    }

    /// The next line of each about a request, without its header. Whoever waits until they listen shakes no hands.
    pub(crate) fn request_lines(&self) -> [String; 2] {
        self.logs.each_ref().map(|socket| {
            let mut buffer = [0; 8192];
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            loop {
                let length = socket.recv(&mut buffer).expect("a line");
                let line = String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned();
                // What it says of itself has another level.
                if let Some((_, message)) = line.strip_prefix("<134>").and_then(|line| line.split_once("]: "))
                    && !message.ends_with(" SSL handshake")
                {
                    return message.to_owned();
                }
            }
        })
    }

    /// The next line of HAProxy's log, or of ours.
    pub(crate) fn next_line(&self, of: usize) -> String {
        let mut buffer = [0; 8192];
        self.logs[of].set_read_timeout(Some(PATIENCE)).expect("set");
        let length = self.logs[of].recv(&mut buffer).expect("a line");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    }

    /// Servers are up in HAProxy before their first check, and here after it.
    pub(crate) fn wait_until_servers(&self, what: &str, are: impl Fn(&str) -> bool) {
        self.daemon.wait_until(&format!("all servers {what}"), |daemon| {
            let status = daemon.status_json().unwrap_or_default();
            let backends = status["backends"].as_array().into_iter().flatten();
            let mut servers =
                backends.flat_map(|backend| backend["servers"].as_array().into_iter().flatten());
            servers.all(|server| server["state"].as_str().is_some_and(&are))
        });
    }

    /// Asks both, and says where they differ.
    pub(crate) fn compare(&self, listener: &str, request: &str) -> Result<(), String> {
        let [theirs, ours] = self.ask(listener, request).map(|answer| comparable(&answer));
        if theirs == ours {
            return Ok(());
        }
        Err(format!("{request:?}\n--- HAProxy\n{theirs}\n--- lbctl\n{ours}\n"))
    }
}

/// Where files are, and what they name.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/converted")
}

impl HAProxy {
    fn start(
        source: &Path,
        variables: Vec<(&'static str, String)>,
        listeners: &BTreeMap<&'static str, SocketAddr>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("created");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(source)
            .env_clear()
            .env("PATH", format!("{path}:/usr/sbin"))
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the package haproxy is missing");
        let end = Instant::now() + PATIENCE;
        for address in listeners.values() {
            while TcpStream::connect(address).is_err() {
                let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                assert!(child.try_wait().expect("a child").is_none(), "HAProxy refuses its file: {}", log());
                assert!(Instant::now() < end, "HAProxy never listened: {}", log());
                thread::sleep(Duration::from_millis(5));
            }
        }
        Self { child, _folder: folder }
    }
}

impl Drop for HAProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that says who it is and what it was told; `~404` in a path is the status that it answers with, and `~leak` a
/// field more.
fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while serve(name, &stream).is_some() {});
        }
    });
    address
}

fn serve(name: &str, mut stream: &TcpStream) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let mut told = String::from_utf8_lossy(&head).trim_end().to_owned();
    let length = fields(&told).find(|(name, _)| name == "content-length").map(|(_, value)| value);
    let mut content = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or_default()];
    stream.read_exact(&mut content).ok()?;
    told.push_str(&format!("\r\n\r\n{}", String::from_utf8_lossy(&content)));
    let status: u16 = told
        .split_once('~')
        .and_then(|(_, rest)| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(200);
    let more = if told.contains("~leak") { "X-Leak: 1\r\n" } else { "" };
    let body = if told.starts_with("HEAD ") { "" } else { told.as_str() };
    let answer = format!(
        "HTTP/1.1 {status} Said\r\nX-Server: {name}\r\nX-Powered-By: PHP\r\nContent-Type: text/plain\r\nSet-Cookie: session={name}; Path=/\r\n{more}Content-Length: {}\r\n\r\n{body}",
        told.len()
    );
    stream.write_all(answer.as_bytes()).ok()?;
    let ends = fields(&told).any(|field| field == ("connection".to_owned(), "close".to_owned()));
    (!ends).then_some(())
}

/// All that comes back for `request`, which asks for the end of the connection. Its characters are bytes: `é` is 0xE9.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut answer = Vec::new();
    // One that refuses may break the connection before all is said.
    let bytes: Vec<u8> = request.chars().map(|c| u8::try_from(c).expect("a byte")).collect();
    let _ = stream.write_all(&bytes);
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn fields(head: &str) -> impl Iterator<Item = (String, String)> {
    let lines = head.split("\r\n\r\n").next().unwrap_or_default().split("\r\n").skip(1);
    lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    })
}

/// An answer, and what its server was told: names in lower case and in order; what means the same and differs is left out.
fn comparable(answer: &str) -> String {
    let (head, content) = split(answer);
    if content.contains(" HTTP/1.1\r\n") {
        let (told, content) = split(content);
        return format!("{head}\n\n{told}\n\n{content}");
    }
    let (status, _) = status(answer);
    let own = format!("<html><body><h1>{status} ");
    // The page of an error has words of its own.
    if content.starts_with(&own) { format!("{head}\n\n{own}") } else { format!("{head}\n\n{content}") }
}

/// `404` and `Not Found`. A page of `errorfile` is sent by HAProxy with the version that it begins with.
fn status(answer: &str) -> (&str, &str) {
    let line = answer.split("\r\n").next().unwrap_or_default();
    let (version, rest) = line.split_once(' ').unwrap_or_default();
    if version.starts_with("HTTP/1.") { rest.split_once(' ').unwrap_or((rest, "")) } else { ("", line) }
}

/// The head of a message, and its content.
fn split(message: &str) -> (String, &str) {
    // What ends a connection is said in as many ways as there are programs. The length is that of the content, dates are
    // those of the clock. Why the three fields below are said more often here is in docs/coming-from-haproxy.md.
    const LEFT_OUT: [&str; 5] = ["connection", "keep-alive", "content-length", "transfer-encoding", "date"];
    let (head, content) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let first = match status(head) {
        ("", line) => line.to_owned(),
        // Reasons are for people, and of two words for one status each is good.
        (status, _) => status.to_owned(),
    };
    let mut lines: Vec<_> = fields(head)
        .filter(|(name, value)| {
            let is_ours =
                [("cache-control", "private"), ("vary", "Accept-Encoding")].contains(&(name, value));
            !LEFT_OUT.contains(&name.as_str()) && !is_ours
        })
        .map(|(name, value)| format!("{name}: {}", value.replace(", charset=\"UTF-8\"", "")))
        .collect();
    lines.sort();
    (format!("{first}\n{}", lines.join("\n")), content)
}
