//! Lines that the file describes.

use lb_proxy::{
    Config, Proxy,
    config::{Capture, CapturedCookie, CapturedHeader, LogFormat, Mode, UniqueId},
    rules::{Action, Condition, Rule, Text},
    sample::{self, Names, Place, Stage, Template, VariableName},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Scripted, config, connect, read_n},
    syslog::{Syslog, end},
};

fn format(text: &str, stage: Stage, names: &Names) -> LogFormat {
    let place = Place { stage, backend: true, text: sample::Text::Log, names };
    LogFormat::Template(Template::parse(text, &place).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// Of a rule.
pub(crate) fn text(value: &str, stage: Stage, names: &Names) -> Text {
    let place = Place { stage, backend: stage == Stage::Response, text: sample::Text::Plain, names };
    Text::new(value.to_owned(), Template::parse(value, &place).unwrap())
}

/// A proxy whose lines are like this.
async fn saying(text: &str, server: &Recording, change: impl FnOnce(&mut Config)) -> (Proxy, Syslog) {
    let syslog = Syslog::start().await;
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.format = format(text, Stage::Response, &Names::default());
    change(&mut config);
    (Proxy::start(config).unwrap(), syslog)
}

/// The message, without its end.
async fn line(syslog: &Syslog) -> String {
    let line = syslog.raw().await;
    line.split_once("]: ").unwrap().1.trim_end().to_owned()
}

const RESPONSE: &str =
    "HTTP/1.1 201 Made\r\nContent-Length: 2\r\nX-B: b\r\nSet-Cookie: S=2; Path=/\r\n\r\nok";

#[tokio::test]
async fn line_has_what_the_request_and_the_response_were_and_how_it_went() {
    let server = Recording::answering(RESPONSE).await;
    let text = "{client.ip} {local.ip} {frontend.name} {backend.name}/{server.name} {request.method} {request.path} \
        {request.query} {request.target} {request.host} {request.authority} {request.version} {request.header.x-a} \
        {request.query.b} {request.cookie.S} {response.status} {response.header.x-b} {log.request} {log.status} \
        {log.bytes.sent} {log.bytes.received} {log.termination} {log.cookie.request} {log.cookie.response} \
        {log.headers.request} {log.headers.response} {log.connections.process} {log.connections.frontend} \
        {log.connections.backend} {log.connections.server} {log.retries} {log.queue.server} {log.queue.backend} \
        {log.server.ip}:{log.server.port} {request.id} {{{request.method|lower}}}";
    let (proxy, syslog) = saying(text, &server, |config| {
        config.frontends[0].log.capture = Capture {
            request_headers: ["Host", "X-A"]
                .map(|name| CapturedHeader { name: name.into(), length: 5 })
                .into(),
            response_headers: vec![CapturedHeader { name: "X-B".into(), length: 9 }],
            cookie: Some(CapturedCookie { name: "S".into(), is_prefix: false, length: 9 }),
        };
        let place = Place {
            stage: Stage::Request,
            backend: false,
            text: sample::Text::Field,
            names: &Names::default(),
        };
        let template = Template::parse("id-{request.method}", &place).unwrap();
        config.frontends[0].unique_id = Some(UniqueId { header: None, template });
    })
    .await;
    let mut client = connect(&proxy).await;
    let request = "GET /a?b=1 HTTP/1.1\r\nHost: WWW.example.com:81\r\nX-A: x|y\r\nCookie: S=1\r\n\r\n";
    let answer = ask(&mut client, request).await;
    assert_eq!(
        line(&syslog).await,
        format!(
            "127.0.0.1 127.0.0.1 front back/s1 GET /a b=1 /a?b=1 www.example.com WWW.example.com:81 1.1 x|y \
             1 1 201 b GET /a?b=1 HTTP/1.1 201 {} {} ---- S=1 S=2 {{WWW.e|x#7Cy}} {{b}} 1 1 0 0 0 0 0 {} id-GET {{get}}",
            answer.len(),
            request.len(),
            server.server.address
        )
    );
    // What is not there is a dash, and nothing is left of the request before.
    client.write_all(b"GET\r\n\r\n").await.unwrap();
    assert_eq!(
        line(&syslog).await,
        "127.0.0.1 127.0.0.1 front front/<NOSRV> - - - - - - - - - - 400 - <BADREQ> 400 0 0 PR-- - - - - \
         1 1 0 0 0 0 0 -:- - {-}"
    );
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn dates_and_times_have_the_forms_of_haproxy_and_of_others() {
    let server = Recording::answering(OK).await;
    let text = "{log.date} {log.date.clf} {log.date.gmt} {log.date.iso} {log.date.unix_ms} {log.time.request} {log.time.queue} \
        {log.time.connect} {log.time.response} {log.time.data} {log.time.total}";
    let (proxy, syslog) = saying(text, &server, |_| {}).await;
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let (date, clock) = (r"\d\d/[A-Z][a-z]{2}/\d{4}", r"\d\d:\d\d:\d\d");
    let dates = format!(
        r"^{date}:{clock}\.\d{{3}} {date}:{clock} [+-]\d{{4}} {date}:{clock} \+0000 \d{{4}}-\d\d-\d\dT{clock}\.\d{{6}}[+-]\d\d:\d\d \d{{13}} "
    );
    let said = line(&syslog).await;
    let times = regex::Regex::new(&dates).unwrap().replace(&said, "").into_owned();
    let times: Vec<i64> = times.split(' ').map(|time| time.parse().unwrap()).collect();
    assert!(times.iter().all(|&time| time >= 0) && times[..5].iter().sum::<i64>() == times[5], "{said}");
    client.write_all(b"GET\r\n\r\n").await.unwrap();
    let said = line(&syslog).await;
    assert!(said.contains(" -1 -1 -1 -1 -1 "), "{said}");
}

#[tokio::test]
async fn variables_are_those_that_the_last_rule_has_left() {
    let server = Recording::answering(RESPONSE).await;
    let mut names = Names::default();
    let [seen, kind, user] =
        ["seen", "response.kind", "session.user"].map(|name| VariableName::parse(name).unwrap());
    let seen_id = names.declare(&seen, Stage::Request);
    let kind_id = names.declare(&kind, Stage::Response);
    let user_id = names.declare(&user, Stage::Request);
    let always = |then| Rule { when: Condition::All(Vec::new()), then: vec![then] };
    let text = |value: &str, stage| text(value, stage, &names);
    let (proxy, syslog) = saying("-", &server, |config| {
        let frontend = &mut config.frontends[0];
        frontend.log.format =
            format("{var.seen} {var.response.kind} {var.session.user}", Stage::Response, &names);
        frontend.rules = vec![
            always(Action::SetVariable(seen.clone(), seen_id, text("{request.path}", Stage::Request))),
            Rule {
                when: Condition::Method(vec!["PUT".into()]),
                then: vec![
                    Action::SetVariable(
                        user.clone(),
                        user_id,
                        text("{request.header.x-user}", Stage::Request),
                    ),
                    Action::Deny(403),
                ],
            },
        ];
        frontend.response_rules = vec![
            always(Action::SetVariable(
                kind.clone(),
                kind_id,
                text("{response.header.x-b}", Stage::Response),
            )),
            always(Action::SetVariable(seen.clone(), seen_id, text("{var.seen}+", Stage::Response))),
        ];
    })
    .await;
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(line(&syslog).await, "/x+ b -");
    ask(&mut client, "PUT /y HTTP/1.1\r\nHost: a\r\nX-User: joe\r\n\r\n").await;
    assert_eq!(line(&syslog).await, "/y - joe");
    ask(&mut client, "GET /z HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(line(&syslog).await, "/z+ b joe");
}

#[tokio::test]
async fn nothing_that_a_client_writes_breaks_a_line_a_quote_or_an_object() {
    let server = Recording::answering(OK).await;
    let text = "\"{request.header.x-a}\" {{\"a\":\"{request.header.x-a|json}\",\"n\":\"{request.header.x-n|json}\",\
        \"d\":\"{request.header.x-n|default(\"\")}\"}} {request.header.x-n} {request.header.x-a|upper}";
    let (proxy, syslog) = saying(text, &server, |_| {}).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\"\\#\tc\u{e4}\r\n\r\n";
    ask(&mut connect(&proxy).await, request).await;
    assert_eq!(
        line(&syslog).await,
        "\"b#22\\#23#09c#C3#A4\" {\"a\":\"b\\\"\\\\#\\tc\\u00e4\",\"n\":\"\",\"d\":\"\"} - B#22\\#23#09C#C3#A4"
    );
}

#[tokio::test]
async fn request_is_told_as_its_client_sent_it_whatever_rules_make_of_it() {
    let server = Recording::answering(OK).await;
    let (proxy, syslog) = saying("{request.path} {request.header.x-a}", &server, |config| {
        config.frontends[0].rules = vec![Rule {
            when: Condition::All(Vec::new()),
            then: vec![
                Action::SetHeader("X-A".into(), text("changed", Stage::Request, &Names::default())),
                Action::SetPath(text("/elsewhere", Stage::Request, &Names::default())),
            ],
        }];
    })
    .await;
    ask(&mut connect(&proxy).await, "GET /here HTTP/1.1\r\nHost: a\r\nX-A: mine\r\n\r\n").await;
    assert_eq!(line(&syslog).await, "/here mine");
    assert!(server.requests()[0].starts_with("GET /elsewhere HTTP/1.1\r\n"));
}

#[tokio::test]
async fn tcp_connections_have_lines_of_ones_own_as_well() {
    let (syslog, server) = (Syslog::start().await, Scripted::named("hello").await);
    let mut config = config(Mode::Tcp, &[server.address]);
    syslog.receive_from(&mut config);
    let text = "{frontend.name} {backend.name} {server.name} {log.bytes.sent} {log.bytes.received} {log.termination} \
        {log.status} {log.request} {log.time.request} \
        {log.server.port}";
    config.frontends[0].log.format = format(text, Stage::Connection, &Names::default());
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"abc").await.unwrap();
    read_n(&mut client, 8).await;
    drop(client);
    assert_eq!(line(&syslog).await, format!("front back s1 8 3 -- -1 - 0 {}", server.address.port()));
}

#[tokio::test]
async fn client_hello_of_a_tcp_connection_is_told_though_no_rule_asks() {
    let server = Scripted::named("s").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    let syslog = Syslog::start().await;
    syslog.receive_from(&mut config);
    let text = "{client_hello.sni} {client_hello.alpn} {client_hello.version}";
    config.frontends[0].log.format = format(text, Stage::Connection, &Names::default());
    let proxy = Proxy::start(config).unwrap();
    let hello: &[u8] = include_bytes!("../fuzz/corpus/client_hello/tls13");
    for (bytes, expected) in [(hello, "www.example.com h2,http/1.1 1.3"), (b"QUIT\r\n", "- - -")] {
        let mut client = connect(&proxy).await;
        client.write_all(bytes).await.unwrap();
        read_n(&mut client, 1 + bytes.len()).await;
        drop(client);
        assert_eq!(line(&syslog).await, expected);
    }
}

#[tokio::test]
async fn line_that_is_written_early_has_a_plus_before_what_is_not_known() {
    let server = Recording::answering(OK).await;
    let (proxy, syslog) = saying("{log.bytes.sent} {log.retries}", &server, |config| {
        config.frontends[0].log.asap = true;
    })
    .await;
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(line(&syslog).await, "+38 0");
}
