//! A proxy made from a file, servers that say who they are and remember what they were sent, and clients.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use lb_proxy::Proxy;
use lbctl::config;
use tokio::runtime::{Builder, Runtime};

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Request heads, each with the name of the server that got it.
pub(crate) type Seen = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A server that answers every request with its name, and with more if `extra` has field lines.
pub(crate) fn server(name: &'static str, extra: &'static str, seen: &Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let Some(head) = read_head(&mut stream) else { return };
                seen.lock().unwrap().push((name, head));
                let length = name.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n{name}"
                );
                let _ = stream.write_all(answer.as_bytes());
                // Until the peer ends: a reset would take the answer with it.
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Sends `request` and reads all that is answered, until the peer ends.
pub(crate) fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// A proxy with the frontend `web`, and its servers `app` (the default) and `other`.
pub(crate) struct Rig {
    proxy: Option<Proxy>,
    runtime: Runtime,
    pub(crate) seen: Seen,
    pub(crate) app: SocketAddr,
    pub(crate) other: SocketAddr,
}

impl Rig {
    /// `frontend` and `backend` are lines of `[frontend.web]` and `[backend.app]`, `rest` are other sections.
    pub(crate) fn new(frontend: &str, backend: &str, rest: &str) -> Self {
        let seen = Seen::default();
        let app = server("app", "Server: app/1\r\nX-App: 1\r\n", &seen);
        let other = server("other", "", &seen);
        let file = format!(
            "[frontend.web]\nbind = \"127.0.0.1:1\"\ndefault_backend = \"app\"\n{frontend}\n\
             [backend.app]\ncheck = false\nservers = [\"{app}\"]\n{backend}\n\
             [backend.other]\ncheck = false\nservers = [\"{other}\"]\n{rest}\n"
        );
        let mut config =
            config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{file}\n{report}")).proxy;
        config.threads = std::num::NonZeroUsize::MIN;
        config.frontends[0].binds[0].address.set_port(0);
        // Nothing drives it later: the workers have runtimes of their own, and nothing is checked here.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let proxy = runtime.block_on(async { Proxy::start(config).unwrap() });
        Self { proxy: Some(proxy), runtime, seen, app, other }
    }

    /// With these rules on the frontend.
    pub(crate) fn with_rules(rules: &str) -> Self {
        Self::new(&format!("rules = [{rules}]"), "", "")
    }

    /// With these rules on the frontend, for requests and for responses.
    pub(crate) fn with_rules_and_responses(rules: &str, responses: &str) -> Self {
        Self::new(&format!("rules = [{rules}]\nresponse_rules = [{responses}]"), "", "")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.as_ref().unwrap().status().frontends[0].binds[0].address.unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// The answer to a request with this target and these field lines.
    pub(crate) fn get(&self, target: &str, fields: &str) -> String {
        self.send(&format!("GET {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"))
    }

    /// The answer to `request`, after which the connection ends.
    pub(crate) fn send(&self, request: &str) -> String {
        ask(self.connect(), request)
    }

    /// What the servers were sent since this was last asked.
    pub(crate) fn taken(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// Entries of a table, by its name.
    pub(crate) fn table(&self, name: &str) -> u64 {
        let tables = self.proxy.as_ref().unwrap().status().tables;
        tables.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("{tables:?}")).entries
    }

    /// A counter of the frontend.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let status = self.proxy.as_ref().unwrap().status();
        status.frontends[0].counters.iter().find(|(counter, _)| *counter == name).unwrap().1
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let proxy = self.proxy.take();
        let _inside = self.runtime.enter();
        drop(proxy);
    }
}

/// The status of an answer; 0 if there is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The value of a field of an answer or of a request.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
