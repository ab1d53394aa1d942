//! TLS that passes through: where a connection goes by the name that its client wants, before anything is encrypted.

use std::{process::Command, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{Backend, BackendId, Mode, Server},
    rules::{Action, Condition, HostPattern, HostSet, Rule, Value, ValuePattern},
    sample::{Expression, Names, Place, Stage, Text},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::rig::*;

/// What OpenSSL has sent for www.Example.com.
const WWW: &[u8] = include_bytes!("../fuzz/corpus/client_hello/tls13");
/// For mail.example.org, in records of 50 bytes.
const MAIL: &[u8] = include_bytes!("../fuzz/corpus/client_hello/fragments");
const NAMELESS: &[u8] = include_bytes!("../fuzz/corpus/client_hello/nameless");

fn sni(names: &[&str]) -> Condition {
    Condition::Sni(HostSet::new(names.iter().map(|name| HostPattern::parse(name).unwrap()).collect()))
}

/// What a placeholder says is one of these.
fn value(placeholder: &str, patterns: Vec<ValuePattern>) -> Condition {
    let names = Names::default();
    let place = Place { stage: Stage::Connection, backend: false, text: Text::Plain, names: &names };
    Condition::Value(Value::new(placeholder, Expression::parse(placeholder, &place).unwrap()), patterns)
}

/// `d` by default; `w` for *.example.com, `m` for what ends in example.org; what is no TLS is refused if `strict`.
struct Rig {
    servers: [Scripted; 3],
    config: Config,
}

impl Rig {
    async fn new(strict: bool) -> Self {
        let servers = [Scripted::named("d").await, Scripted::named("w").await, Scripted::named("m").await];
        let mut config = config(Mode::Tcp, &[servers[0].address]);
        config.frontends[0].timeout.inspect = LONG;
        for (server, name) in servers[1..].iter().zip(["w", "m"]) {
            config.backends.push(Backend::new(name, Mode::Tcp, vec![Server::new("s1", server.address)]));
        }
        let to = |when, backend| Rule { when, then: vec![Action::Backend(BackendId(backend))] };
        config.frontends[0].rules = vec![
            to(sni(&["*.example.com"]), 1),
            to(value("{client_hello.sni}", vec![ValuePattern::Suffix(".example.org".into())]), 2),
        ];
        if strict {
            let is_tls = value("{client_hello.version}", vec![ValuePattern::Present]);
            let rule = Rule { when: Condition::Not(Box::new(is_tls)), then: vec![Action::Reject] };
            config.frontends[0].rules.insert(0, rule);
        }
        Self { servers, config }
    }
}

/// Who gets `bytes`, sent in these pieces, and that he gets all of them.
async fn served_by(proxy: &Proxy, pieces: &[&[u8]]) -> char {
    let mut client = connect(proxy).await;
    client.set_nodelay(true).unwrap();
    for piece in pieces {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let all = pieces.concat();
    let answer = read_n(&mut client, 1 + all.len()).await;
    assert_eq!(answer[1..], all);
    // What comes later comes through as well.
    client.write_all(b"more").await.unwrap();
    assert_eq!(read_n(&mut client, 4).await, b"more");
    char::from(answer[0])
}

#[tokio::test]
async fn connection_goes_where_its_client_hello_says() {
    let rig = Rig::new(false).await;
    let proxy = Proxy::start(rig.config).unwrap();
    for (bytes, expected) in [(WWW, 'w'), (MAIL, 'm'), (NAMELESS, 'd'), (b"SSH-2.0-x\r\n", 'd')] {
        assert_eq!(served_by(&proxy, &[bytes]).await, expected);
        // Byte by byte, and in two.
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(served_by(&proxy, &bytewise).await, expected);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        assert_eq!(served_by(&proxy, &[first, second]).await, expected);
        // With what the client says behind it.
        assert_eq!(served_by(&proxy, &[bytes, &[0x17; 20_000]]).await, expected);
    }
    drop(rig.servers);
}

#[tokio::test]
async fn slow_client_hello_is_waited_for_and_then_not() {
    let mut rig = Rig::new(false).await;
    rig.config.frontends[0].timeout.inspect = Duration::from_millis(50);
    let proxy = Proxy::start(rig.config).unwrap();
    // Half of it, and nothing more in time: what is known decides, and nothing is lost.
    assert_eq!(served_by(&proxy, &[&WWW[..100]]).await, 'd');
    // A client that waits to be greeted.
    let mut client = connect(&proxy).await;
    assert_eq!(read_n(&mut client, 1).await, b"d");
}

#[tokio::test]
async fn what_is_no_client_hello_can_be_refused() {
    let rig = Rig::new(true).await;
    let proxy = Proxy::start(rig.config).unwrap();
    let mut refused = 0;
    let huge = [&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xff][..], &[0; 16 * 1024]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0, 0], &huge, &[0xff; 300]] {
        let mut client = connect(&proxy).await;
        client.write_all(bytes).await.unwrap();
        let end = read_all(&mut client).await;
        // What comes in one piece is taken before the end, which is none by a reset then.
        let is_one_piece = bytes.len() < 1000;
        assert!(end.as_ref().map_or(!is_one_piece, Vec::is_empty), "{end:?}");
        refused += 1;
        counted(&proxy, "denied_total", refused).await;
    }
    // So can one that ends in the middle.
    let mut client = connect(&proxy).await;
    client.write_all(&WWW[..100]).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    counted(&proxy, "denied_total", refused + 1).await;
    assert!(rig.servers.iter().all(|server| server.accepted() == 0));
    assert_eq!(served_by(&proxy, &[NAMELESS]).await, 'd');
}

/// More than is looked at, in many records: it is known at once where its beginning says so, else when so much is here. Where it goes
/// then is up to the rules, and nothing of it is lost.
#[tokio::test]
async fn huge_client_hello_names_nobody_and_is_lost_to_nobody() {
    let hello = |length: usize, record: usize| {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        // With a name at its beginning, where others would have found it.
        let message = [&[1, high, middle, low], &WWW[9..], &vec![0; length - (WWW.len() - 9)]].concat();
        let records = message.chunks(record).map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1, length[0], length[1]], part].concat()
        });
        records.collect::<Vec<_>>().concat()
    };
    let huge = [hello(70_000, 16_384), hello(70_000, 100), hello(200_000, 1000), hello(12_000, 10)];
    let rig = Rig::new(false).await;
    let proxy = Proxy::start(rig.config.clone()).unwrap();
    for bytes in &huge {
        assert_eq!(served_by(&proxy, &[bytes]).await, 'd');
    }
    let strict = Rig::new(true).await;
    let proxy = Proxy::start(strict.config).unwrap();
    for (number, bytes) in huge.iter().enumerate() {
        let mut client = connect(&proxy).await;
        // It may be closed before all of it is taken.
        let _ = client.write_all(bytes).await;
        assert!(read_all(&mut client).await.map_or(true, |said| said.is_empty()));
        counted(&proxy, "denied_total", number as u64 + 1).await;
    }
    assert!(strict.servers.iter().all(|server| server.accepted() == 0));
    assert_eq!(served_by(&proxy, &[NAMELESS]).await, 'd');
}

#[tokio::test]
async fn who_asks_for_nothing_waits_for_nothing() {
    let mut rig = Rig::new(false).await;
    rig.config.frontends[0].rules.clear();
    let proxy = Proxy::start(rig.config).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(read_n(&mut client, 1).await, b"d");
}

/// An OpenSSL server with a certificate of its own on a port of its own choice; it says its name to whoever asks.
struct TlsServer {
    child: std::process::Child,
    address: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl TlsServer {
    async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
            .arg("-keyout")
            .arg(path("key.pem"))
            .arg("-out")
            .arg(path("cert.pem"))
            .stderr(std::process::Stdio::null())
            .status();
        assert!(made.expect("openssl is missing").success());
        std::fs::write(path("name"), name).unwrap();
        let address = std::net::SocketAddr::new(apart().ip(), 8443);
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-HTTP", "-accept", &address.to_string()])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address, _folder: folder };
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, listens).await.expect("openssl never listened");
        server
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The subject of the certificate that `openssl s_client` gets for this name.
async fn subject(proxy: &Proxy, name: Option<&str>) -> String {
    let named = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
    let output = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &address(proxy).to_string()])
        .args(named)
        .stdin(std::process::Stdio::null())
        .output();
    let output = tokio::time::timeout(LONG, output).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or(&text).trim().to_owned()
}

#[tokio::test]
async fn tls_of_real_clients_ends_at_the_server_that_they_want() {
    let (www, mail) = (TlsServer::start("www.example.com").await, TlsServer::start("mail.example.org").await);
    let mut rig = Rig::new(true).await;
    rig.config.backends[1].servers[0].address = www.address.into();
    rig.config.backends[2].servers[0].address = mail.address.into();
    rig.config.backends[0].servers[0].address = mail.address.into();
    let proxy = Proxy::start(rig.config).unwrap();
    assert_eq!(subject(&proxy, Some("www.example.com")).await, "CN = www.example.com");
    assert_eq!(subject(&proxy, Some("WWW.example.COM")).await, "CN = www.example.com");
    assert_eq!(subject(&proxy, Some("mail.example.org")).await, "CN = mail.example.org");
    assert_eq!(subject(&proxy, None).await, "CN = mail.example.org");
}
