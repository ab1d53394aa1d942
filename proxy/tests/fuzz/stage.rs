//! Proxies of several configurations, each in front of a server that reads strictly.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use lb_proxy::{
    Config, Proxy,
    config::{Compression, Cookie, CookieMode, Mode, ReuseMode},
    rules::{Action, Condition, Rule, Text, ValuePattern},
    sample::{self, Names, Place, Template},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    oracle::{self, Request},
    rig::{self, Scripted},
};

/// What the proxy does beside passing on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Nothing; connections to servers are used again as by default.
    Plain,
    /// Rules refuse what has the field `X: y` and write fields, a cookie is inserted that servers never see, and everybody
    /// uses the connections of everybody.
    Rules,
    /// The server's cookie is written anew, and responses are compressed.
    Rewrite,
    /// The server's cookie gets a prefix, rules write fields, and responses are compressed; no connection is used again.
    Prefix,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Plain, Kind::Rules, Kind::Rewrite, Kind::Prefix];

/// The name of the cookie, and its value for the one server.
pub(crate) const COOKIE: &str = "SRV";
pub(crate) const VALUE: &str = "one";

impl Kind {
    pub(crate) fn has_rules(self) -> bool {
        matches!(self, Self::Rules | Self::Prefix)
    }

    pub(crate) fn compresses(self) -> bool {
        matches!(self, Self::Rewrite | Self::Prefix)
    }

    pub(crate) fn cookie(self) -> Option<CookieMode> {
        match self {
            Self::Plain => None,
            Self::Rules => Some(CookieMode::Insert),
            Self::Rewrite => Some(CookieMode::Rewrite),
            Self::Prefix => Some(CookieMode::Prefix),
        }
    }

    fn configure(self, config: &mut Config) {
        if self.has_rules() {
            let refused = Condition::Header("X".into(), vec![ValuePattern::Exact("y".to_owned())]);
            config.frontends[0].rules = vec![
                Rule { when: refused, then: vec![Action::Deny(403)] },
                Rule { when: Condition::ALWAYS, then: vec![set("x-rule", sample::Stage::Request)] },
            ];
            let said = vec![set("x-said", sample::Stage::Response)];
            config.frontends[0].response_rules = vec![Rule { when: Condition::ALWAYS, then: said }];
        }
        if let Some(mode) = self.cookie() {
            config.backends[0].cookie =
                Some(Cookie { mode, indirect: mode == CookieMode::Insert, ..Cookie::new(COOKIE) });
            config.backends[0].servers[0].cookie = Some(VALUE.to_owned());
        }
        if self.compresses() {
            config.frontends[0].compression = Some(Compression { minimum_size: 0, ..Compression::default() });
        }
        config.backends[0].options.pool.reuse = match self {
            Self::Plain | Self::Rewrite => ReuseMode::default(),
            Self::Rules => ReuseMode::Always,
            Self::Prefix => ReuseMode::Never,
        };
    }
}

/// Sets the field to `ruled`.
fn set(name: &str, stage: sample::Stage) -> Action {
    let names = Names::default();
    let place = Place { stage, backend: false, text: sample::Text::Field, names: &names };
    Action::SetHeader(name.into(), Text::new("ruled", Template::parse("ruled", &place).unwrap()))
}

/// Requests that a server has understood, each with the number of its answer.
type Log = Arc<Mutex<Vec<Result<(u64, Request), String>>>>;

/// A running proxy and its server.
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) proxy: Proxy,
    log: Log,
    _server: Scripted,
}

impl Stage {
    pub(crate) async fn start(kind: Kind) -> Self {
        let log = Log::default();
        let server = server(Arc::clone(&log)).await;
        let mut config = rig::config(Mode::Http, &[server.address]);
        kind.configure(&mut config);
        Self { kind, proxy: Proxy::start(config).unwrap(), log, _server: server }
    }

    /// What the server has understood since this was last asked; or what it has not.
    pub(crate) fn understood(&self) -> Result<Vec<(u64, Request)>, String> {
        std::mem::take(&mut *self.log.lock().unwrap()).into_iter().collect()
    }
}

/// Reads strictly, and answers each request once it is whole.
async fn server(log: Log) -> Scripted {
    let serial = Arc::new(AtomicU64::new(0));
    Scripted::start(move |mut stream| {
        let (log, serial) = (Arc::clone(&log), Arc::clone(&serial));
        async move {
            let mut bytes = Vec::new();
            loop {
                match oracle::request(&bytes) {
                    Ok(Some((request, length))) => {
                        bytes.drain(..length);
                        let number = serial.fetch_add(1, Ordering::SeqCst);
                        let answer = answer(number, request.method == b"HEAD");
                        log.lock().unwrap().push(Ok((number, request)));
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => match stream.read_buf(&mut bytes).await {
                        Ok(0) | Err(_) => return,
                        Ok(_) => {}
                    },
                    Err(error) => {
                        log.lock().unwrap().push(Err(format!("{error}: {}", bytes.escape_ascii())));
                        return;
                    }
                }
            }
        }
    })
    .await
}

/// The content of an answer: no other has it.
pub(crate) fn content(number: u64) -> Vec<u8> {
    let length = usize::try_from(number * 37 % 500).unwrap();
    format!("answer {number} {}", "x".repeat(length)).into_bytes()
}

fn answer(number: u64, to_head: bool) -> Vec<u8> {
    let content = content(number);
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nX-Serial: {number}\r\nContent-Type: text/plain\r\nSet-Cookie: {COOKIE}=servers; Path=/\r\n"
    )
    .into_bytes();
    let is_chunked = number % 2 == 1;
    if is_chunked {
        answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    } else {
        write!(answer, "Content-Length: {}\r\n\r\n", content.len()).unwrap();
    }
    match (to_head, is_chunked) {
        (true, _) => {}
        (false, false) => answer.extend(content),
        (false, true) => {
            let (first, second) = content.split_at(content.len() / 2);
            for chunk in [first, second] {
                write!(answer, "{:x}\r\n", chunk.len()).unwrap();
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
        }
    }
    answer
}
