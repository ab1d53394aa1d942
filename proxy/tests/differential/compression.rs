//! Which responses are compressed, and what their heads say then. The server answers with the lines that a request asks for.

use std::fmt::Write;

use lb_proxy::{
    Proxy,
    config::{Compression, MediaRange, Mode},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::{haproxy::HAProxy, rig::*};

struct Case {
    name: &'static str,
    /// The first line of the request, and its Accept-Encoding lines.
    asked: (&'static str, &'static [&'static str]),
    /// The first line of the response, and its lines.
    answered: (&'static str, &'static [&'static str]),
    /// What we do otherwise.
    differs: Option<Outcome>,
}

/// What came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Outcome {
    is_coded: bool,
    varies: bool,
    tag: String,
}

const PLAIN: Outcome = Outcome { is_coded: false, varies: false, tag: String::new() };
const VARIES: Outcome = Outcome { is_coded: false, varies: true, tag: String::new() };
const CODED: Outcome = Outcome { is_coded: true, varies: true, tag: String::new() };

const GET: &str = "GET / HTTP/1.1";
const OK: &str = "HTTP/1.1 200 OK";
const PAGE: &[&str] = &["Content-Type: text/html", "Content-Length: 5"];
const GZIP: (&str, &[&str]) = (GET, &["gzip"]);

fn case(
    name: &'static str,
    asked: (&'static str, &'static [&'static str]),
    answered: (&'static str, &'static [&'static str]),
) -> Case {
    Case { name, asked, answered, differs: None }
}

impl Case {
    fn differs(self, outcome: Outcome) -> Self {
        Self { differs: Some(outcome), ..self }
    }
}

fn cases() -> Vec<Case> {
    let tagged = |tag: &str, outcome| Outcome { tag: tag.to_owned(), ..outcome };
    vec![
        case("page", GZIP, (OK, PAGE)),
        case("chunks", GZIP, (OK, &["Content-Type: text/html", "Transfer-Encoding: chunked"])),
        // What a client is asked.
        case("nothing is said of codings", (GET, &[]), (OK, PAGE)).differs(VARIES),
        case("another coding", (GET, &["br"]), (OK, PAGE)).differs(VARIES),
        case("one of several", (GET, &["br, gzip"]), (OK, PAGE)),
        case("in several lines", (GET, &["br", "GZIP"]), (OK, PAGE)),
        case("any", (GET, &["*"]), (OK, PAGE)),
        case("refused", (GET, &["gzip;q=0"]), (OK, PAGE)).differs(VARIES),
        case("refused with digits", (GET, &["gzip;q=0.000"]), (OK, PAGE)).differs(VARIES),
        case("hardly liked", (GET, &["gzip;q=0.001"]), (OK, PAGE)),
        // RFC 9110 §12.5.3: what is named is not meant by the asterisk; what is liked better goes first.
        case("any but this", (GET, &["gzip;q=0, *"]), (OK, PAGE)).differs(VARIES),
        case("rather plain", (GET, &["identity, gzip;q=0.5"]), (OK, PAGE)).differs(VARIES),
        case("HTTP/1.0", ("GET / HTTP/1.0", &["gzip"]), (OK, PAGE)).differs(VARIES),
        // RFC 9110 §9.3.2: the fields of what GET would get.
        case("HEAD", ("HEAD / HTTP/1.1", &["gzip"]), (OK, PAGE)).differs(CODED),
        // Status
        case("201", GZIP, ("HTTP/1.1 201 Created", PAGE)),
        case("202", GZIP, ("HTTP/1.1 202 Accepted", PAGE)),
        case("203", GZIP, ("HTTP/1.1 203 Other", PAGE)),
        case("206", GZIP, ("HTTP/1.1 206 Partial Content", PAGE)),
        case("304", GZIP, ("HTTP/1.1 304 Not Modified", &["ETag: \"a\""])),
        case("404", GZIP, ("HTTP/1.1 404 Not Found", PAGE)),
        case("500", GZIP, ("HTTP/1.1 500 Internal Server Error", PAGE)),
        // Type
        case("parameters", GZIP, (OK, &["Content-Type: Text/HTML;charset=utf-8", "Content-Length: 5"])),
        case("another type", GZIP, (OK, &["Content-Type: image/png", "Content-Length: 5"])),
        case("no type", GZIP, (OK, &["Content-Length: 5"])),
        case("multipart", GZIP, (OK, &["Content-Type: multipart/mixed; boundary=a", "Content-Length: 5"])),
        // There types are what a type begins with.
        case("longer type", GZIP, (OK, &["Content-Type: text/html5", "Content-Length: 5"])).differs(PLAIN),
        // What the server forbids, or has done.
        case("coded", GZIP, (OK, &["Content-Encoding: br", "Content-Type: text/html", "Content-Length: 5"])),
        case(
            "no-transform",
            GZIP,
            (OK, &["Cache-Control: private, no-transform", "Content-Type: text/html", "Content-Length: 5"]),
        ),
        case("strong", GZIP, (OK, &["ETag: \"a\"", "Content-Type: text/html", "Content-Length: 5"])),
        case("weak", GZIP, (OK, &["ETag: W/\"a\"", "Content-Type: text/html", "Content-Length: 5"])),
        case("no tag", GZIP, (OK, &["ETag: a", "Content-Type: text/html", "Content-Length: 5"])),
        case(
            "two tags",
            GZIP,
            (OK, &["ETag: \"a\"", "ETag: \"b\"", "Content-Type: text/html", "Content-Length: 5"]),
        ),
        case(
            "strong and plain",
            (GET, &[]),
            (OK, &["ETag: \"a\"", "Content-Type: text/html", "Content-Length: 5"]),
        )
        .differs(tagged("\"a\"", VARIES)),
        // There only content whose length or chunks are announced.
        case("until close", GZIP, (OK, &["Content-Type: text/html", "Connection: close"])).differs(CODED),
        case("no content", GZIP, (OK, &["Content-Type: text/html", "Content-Length: 0"])),
    ]
}

/// `hello`, framed as the lines say.
async fn server() -> Scripted {
    Scripted::start(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let mut response = String::new();
            // HAProxy writes names in lower case.
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            for (_, line) in lines.filter(|(name, _)| name.eq_ignore_ascii_case("x-respond")) {
                write!(response, "{line}\r\n").unwrap();
            }
            response.push_str("\r\n");
            let has_content = !response.contains("Length: 0") && !response.contains(" 304 ");
            if has_content && !head.starts_with("HEAD") {
                let is_chunked = response.contains("chunked");
                response.push_str(if is_chunked { "5\r\nhello\r\n0\r\n\r\n" } else { "hello" });
            }
            let is_last = response.contains("Connection: close");
            if stream.write_all(response.as_bytes()).await.is_err() || is_last {
                break;
            }
        }
    })
    .await
}

async fn ask(stream: impl AsyncRead + AsyncWrite, case: &Case) -> Outcome {
    let mut stream = std::pin::pin!(stream);
    let mut request = format!("{}\r\nHost: a\r\nConnection: close\r\n", case.asked.0);
    for line in case.asked.1 {
        write!(request, "Accept-Encoding: {line}\r\n").unwrap();
    }
    for line in std::iter::once(&case.answered.0).chain(case.answered.1) {
        write!(request, "X-Respond: {line}\r\n").unwrap();
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    timeout(LONG, stream.read_to_end(&mut response)).await.expect("no whole response").unwrap();
    let end = response.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..end]).to_ascii_lowercase();
    let line =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or("");
    let is_coded = line("content-encoding") == "gzip";
    let has_magic = response.windows(3).any(|part| part == [0x1f, 0x8b, 8]);
    let is_head = case.asked.0.starts_with("HEAD");
    assert_eq!(is_coded && !is_head, has_magic, "{}: {head}", case.name);
    if is_head && is_coded {
        assert_eq!(line("content-length"), "", "that of what GET would get is not known: {head}");
    } else if is_coded {
        assert_eq!((line("content-length"), line("transfer-encoding")), ("", "chunked"), "{}", case.name);
    }
    Outcome {
        is_coded,
        varies: line("vary").contains("accept-encoding"),
        tag: head.lines().filter_map(|line| line.strip_prefix("etag: ")).collect::<Vec<_>>().join(" "),
    }
}

#[tokio::test]
async fn responses_are_compressed_as_by_haproxy_but_where_we_say_so() {
    let server = server().await;
    let sections = format!(
        "frontend front\n  bind unix@FOLDER/front\n  compression algo gzip\n  compression type text/html\n  \
         default_backend back\nbackend back\n  server s1 {}\n",
        server.address
    );
    let haproxy = HAProxy::start(&sections, "front").await;
    let mut config = config(Mode::Http, &[server.address]);
    config.frontends[0].compression = Some(Compression {
        types: vec![MediaRange::parse("text/html").unwrap()],
        minimum_size: 0,
        ..Compression::default()
    });
    let proxy = Proxy::start(config).unwrap();
    let mut failures = String::new();
    for case in cases() {
        let theirs = ask(UnixStream::connect(haproxy.socket("front")).await.unwrap(), &case).await;
        let ours = ask(TcpStream::connect(address(&proxy)).await.unwrap(), &case).await;
        let expected = case.differs.clone().unwrap_or_else(|| theirs.clone());
        if ours != expected || case.differs.is_some_and(|differs| differs == theirs) {
            writeln!(failures, "{}:\n  HAProxy {theirs:?}\n  ours    {ours:?}", case.name).unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
