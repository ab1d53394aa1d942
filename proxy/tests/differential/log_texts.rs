//! Lines of logs with what was captured, and in texts of one's own: each word of HAProxy's `log-format` beside what the book
//! says stands for it here.

use std::fmt::Write;

use lb_proxy::{
    Config, Proxy,
    config::{
        AccessLog, Backend, BackendId, Capture, CapturedCookie, CapturedHeader, LogDestination, LogFormat,
        LogTarget, Mode, Server, UniqueId,
    },
    rules::{Action, Condition, Destination, PathPattern, Redirect, Rule, Text as Written},
    sample::{LOG_WORDS, LogWord, Names, Place, Stage, Template, Text},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{haproxy::HAProxy, logs::Log, peers::Recording, rig::config};

const CAPTURES: &str = "  capture request header Host len 10\n  capture request header X-A len 20\n  \
    capture response header Content-Length len 20\n  capture response header X-B len 20\n  capture cookie SESS len 12\n  \
    unique-id-format id-%HM\n  http-request deny if { path /denied }\n  \
    http-request redirect location /there if { path /moved }\n";

const RESPONSE: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-B: q\"#|}\u{e4}\r\nSet-Cookie: SESS2=zzz; Path=/\r\n\r\nok";

const REQUESTS: [&str; 8] = [
    "GET /a?b=1 HTTP/1.1\r\nHost: a.very.long.host\r\nX-A: one\r\nX-A: t{w}|\"#o\r\nCookie: a=b; SESSION=qwertyuiop; SESS=1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\nCookie: x=1\r\nCookie: SESS=2\r\n\r\n",
    "GET /? HTTP/1.0\r\nCookie: xSESS=2\r\n\r\n",
    NOT_ASCII,
    "GET /x HTTP/1.1\r\nHost: b\r\nX-A: a\tb\r\n\r\n",
    BAD,
    "GET /denied HTTP/1.1\r\nHost: b\r\nCookie: SESS=2\r\n\r\n",
    "GET /moved HTTP/1.1\r\nHost: b\r\nCookie: SESS=2\r\n\r\n",
];

const NOT_ASCII: &str = "GET /\u{e4} HTTP/1.0\r\n\r\n";

const BAD: &str = "GET\r\n\r\n";

/// Between the words of a text.
const BETWEEN: char = '~';

fn template(text: &str, stage: Stage, becomes: Text) -> Template {
    Template::parse(text, &Place { stage, backend: true, text: becomes, names: &Names::default() }).unwrap()
}

fn capture() -> Capture {
    let header = |name: &str, length| CapturedHeader { name: name.to_owned(), length };
    Capture {
        request_headers: vec![header("Host", 10), header("X-A", 20)],
        response_headers: vec![header("Content-Length", 20), header("X-B", 20)],
        cookie: Some(CapturedCookie { name: "SESS".to_owned(), is_prefix: true, length: 12 }),
    }
}

/// Those of [`CAPTURES`].
fn rules() -> Vec<Rule> {
    let there = Written::new("/there", template("/there", Stage::Request, Text::Location));
    let there = Destination::Location(there);
    let redirect = Action::Redirect(Redirect::new(there, 302));
    [("/denied", Action::Deny(403)), ("/moved", redirect)]
        .map(|(path, action)| Rule {
            when: Condition::Path(vec![PathPattern::Exact(path.into())]),
            then: vec![action],
        })
        .into()
}

/// Both with a frontend of that name for each format, in front of the same server.
struct Pair {
    haproxy: HAProxy,
    proxy: Proxy,
    names: Vec<&'static str>,
    theirs: Log,
    ours: Log,
    _server: Recording,
}

impl Pair {
    async fn start(mode: Mode, formats: Vec<(&'static str, String, LogFormat)>) -> Self {
        let server = Recording::answering(RESPONSE).await;
        let (theirs, ours) = (Log::start(), Log::start());
        let (word, captures) = if mode == Mode::Http { ("http", CAPTURES) } else { ("tcp", "") };
        let mut config: Config = config(mode, &[]);
        config.threads = std::num::NonZeroUsize::MIN;
        config.backends = vec![Backend::new("b", mode, vec![Server::new("s", server.server.address)])];
        let one = config.frontends.remove(0);
        let mut sections = "frontend stats\n  bind unix@FOLDER/stats\n  stats uri /\n".to_owned();
        let names = formats.iter().map(|(name, ..)| *name).collect();
        for (name, option, format) in formats {
            writeln!(
                sections,
                "frontend {name}\n  mode {word}\n  bind unix@FOLDER/{name}\n  log 127.0.0.1:{} local0\n  {option}\n{captures}  \
                 default_backend b",
                theirs.port
            )
            .unwrap();
            let to = LogDestination::Udp(([127, 0, 0, 1], ours.port).into());
            let mut frontend = one.clone();
            frontend.name = name.to_owned();
            frontend.default_backend = Some(BackendId(0));
            frontend.log = AccessLog { targets: vec![LogTarget::new(to)], format, ..AccessLog::default() };
            if mode == Mode::Http {
                frontend.log.capture = capture();
                frontend.rules = rules();
                let template = template("id-{request.method}", Stage::Request, Text::Field);
                frontend.unique_id = Some(UniqueId { header: None, template });
            }
            config.frontends.push(frontend);
        }
        write!(sections, "backend b\n  mode {word}\n  server s {}\n", server.server.address).unwrap();
        let haproxy = HAProxy::start(&sections, "stats").await;
        let proxy = Proxy::start(config).unwrap();
        Self { haproxy, proxy, names, theirs, ours, _server: server }
    }

    /// What both say of this request to the frontend of that number; the client waits for the end of the answer.
    async fn play(&self, frontend: usize, request: &str) -> [String; 2] {
        let mut client = UnixStream::connect(self.haproxy.socket(self.names[frontend])).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        assert!(client.read(&mut answer).await.unwrap() > 0);
        drop(client);
        let theirs = self.theirs.line().await;
        let address = self.proxy.status().frontends[frontend].binds[0].address.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(client.read(&mut answer).await.unwrap() > 0);
        drop(client);
        [theirs, self.ours.line().await].map(|line| line.split_once("]: ").unwrap().1.to_owned())
    }
}

#[tokio::test]
async fn both_log_the_same_of_headers_and_cookies() {
    let formats = vec![
        ("httplog", "option httplog".to_owned(), LogFormat::Http),
        ("clf", "option httplog clf".to_owned(), LogFormat::Clf),
    ];
    let pair = Pair::start(Mode::Http, formats).await;
    for frontend in 0..2 {
        for request in REQUESTS {
            let [theirs, ours] = pair.play(frontend, request).await.map(|line| masked(&line));
            assert_eq!(theirs, ours, "{}: {request}", pair.names[frontend]);
        }
    }
}

/// Without dates, the client, times, bytes and how many connections are open.
fn masked(line: &str) -> String {
    let line = line.replacen("unix:1 [", "127.0.0.1:1 [", 1).replacen("unix - -", "127.0.0.1 - -", 1);
    let patterns = [
        (r"127\.0\.0\.1:\d+ \[[^\]]*\]", "CLIENT [DATE]"),
        (r"127\.0\.0\.1 - - \[[^\]]*\]", "CLIENT [DATE]"),
        (r#"(\d{3}) \d+ "" "" \d+ \d{3} "#, r#"$1 B "" "" PORT MS "#),
        (r" \d+/\d+/\d+/\d+/\d+ 200 \d+ ", " TIMES 200 B "),
        (r" -1/-1/-1/-1/\d+ 400 ", " NO-TIMES 400 "),
        (r" \d+/-1/-1/-1/\d+ (302|403) \d+ ", " ANSWERED $1 B "),
        (r"(..--) \d+/\d+/\d+/\d+/0 0/0 ", "$1 LOAD "),
        (r#"("b" "s") \d+ \d+ \d+ \d+ \d+ "#, "$1 TIMES "),
        (r#"("<NOSRV>") (?:-1|\d+) -1 -1 -1 \d+ "#, "$1 NO-TIMES "),
        (r"(..--) \d+ \d+ \d+ \d+ 0 0 0 ", "$1 LOAD "),
    ];
    let mask = |line: String, (pattern, by): &(&str, &str)| {
        regex::Regex::new(pattern).unwrap().replace_all(&line, *by).into_owned()
    };
    patterns.iter().fold(line, mask)
}

/// Words with what stands for them here.
fn words(fits: fn(&LogWord) -> bool) -> Vec<(&'static str, &'static str)> {
    LOG_WORDS.iter().filter(|row| fits(row)).filter_map(|row| Some((row.word, row.template?))).collect()
}

fn formats(words: &[(&'static str, &'static str)], stage: Stage) -> Vec<(&'static str, String, LogFormat)> {
    let joined = |of: fn(&(&'static str, &'static str)) -> &'static str| {
        words.iter().map(of).collect::<Vec<_>>().join(&BETWEEN.to_string())
    };
    let format = LogFormat::Template(template(&joined(|(_, ours)| ours), stage, Text::Log));
    vec![("own", format!("log-format {}", joined(|(theirs, _)| theirs)), format)]
}

/// What has to be the same of a word's value.
fn compared(word: &str, value: &str) -> String {
    let figures = || value.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect::<String>();
    let numbers = || regex::Regex::new("[0-9]+").unwrap().replace_all(value, "9").into_owned();
    match word {
        // Their client comes over a Unix socket.
        "%ci" | "%cp" | "%fi" | "%fp" => String::new(),
        "%T" | "%Tl" | "%t" | "%tr" | "%trg" | "%trl" | "%Ts" | "%ms" => figures(),
        // Heads are written differently; how many connections are open is a matter of the moment.
        "%B" | "%U" | "%ac" | "%fc" | "%bc" | "%sc" | "%pid" => numbers(),
        time if time.starts_with("%T") && value != "-1" => numbers(),
        _ => value.to_owned(),
    }
}

async fn words_are_the_same(
    pair: &Pair,
    words: &[(&str, &str)],
    request: &str,
    different: &[(&str, &str, &str)],
) {
    let [theirs, ours] = pair.play(0, request).await;
    let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.split(BETWEEN).collect(), ours.split(BETWEEN).collect());
    assert_eq!((theirs.len(), ours.len()), (words.len(), words.len()), "{theirs:?}\n{ours:?}");
    let mut found = Vec::new();
    for ((word, _), (theirs, ours)) in words.iter().zip(theirs.into_iter().zip(ours)) {
        if compared(word, theirs) != compared(word, ours) {
            found.push((*word, theirs, ours));
        }
    }
    assert_eq!(found, different, "{request}");
}

#[tokio::test]
async fn each_word_says_the_same_as_what_the_book_has_for_it() {
    let words = words(|_| true);
    let pair = Pair::start(Mode::Http, formats(&words, Stage::Response)).await;
    for request in REQUESTS {
        // As the notes in the book say.
        let different: &[_] = match request {
            BAD | NOT_ASCII => &[("%hr", "", "-"), ("%hs", "", "-")],
            _ => &[],
        };
        words_are_the_same(&pair, &words, request, different).await;
    }
}

#[tokio::test]
async fn words_of_connections_say_the_same_as_what_the_book_has_for_them() {
    // Those that HAProxy has in mode http only.
    const HTTP: [&str; 10] = ["%CC", "%CS", "%TR", "%Ta", "%Tr", "%r", "%tr", "%trg", "%trl", "%tsc"];
    let words = words(|row| {
        let names = Names::default();
        let place = Place { stage: Stage::Connection, backend: true, text: Text::Log, names: &names };
        row.template.is_some_and(|text| Template::parse(text, &place).is_ok()) && !HTTP.contains(&row.word)
    });
    assert!(words.len() > 25, "{words:?}");
    let pair = Pair::start(Mode::Tcp, formats(&words, Stage::Connection)).await;
    let different = [("%ST", "0", "-1"), ("%hr", "", "-"), ("%hs", "", "-")];
    words_are_the_same(&pair, &words, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &different).await;
}
