//! Whole lines, field by field.

use lb_proxy::{
    Proxy,
    config::{
        AccessLog, Facility, LogDestination, LogFormat, LogSample, LogTarget, LogWire, Mode, Monitor, Server,
        Severity, Statistics, UnixAddress,
    },
    inquiry::{Answer, Desk},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Refusing, Scripted, config, connect},
    syslog::{Syslog, end, masked},
};

#[tokio::test]
async fn each_request_of_a_connection_has_a_line_with_the_fields_of_httplog() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET /a?b=1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        syslog.line().await,
        "front back/s1 T/T/T/T/T 200 40 - - ---- 1/1/0/0/0 0/0 \"GET /a?b=1 HTTP/1.1\""
    );
    let content = "Content-Length: 3\r\n\r\nabc";
    ask(&mut client, &format!("POST http://a/x#y HTTP/1.1\r\nHost: a\r\n{content}").replace("#y", "")).await;
    assert_eq!(
        syslog.line().await,
        "front back/s1 T/T/T/T/T 200 40 - - ---- 1/1/0/0/0 0/0 \"POST http://a/x HTTP/1.1\""
    );
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn date_is_that_of_the_first_byte_and_client_the_address_of_the_connection() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let line = syslog.raw().await;
    let port = client.local_addr().unwrap().port();
    assert!(line.contains(&format!("]: 127.0.0.1:{port} [")), "{line}");
    // The zone of this machine, as `date` has it.
    let date = line.split(['[', '.']).nth(5).unwrap_or_else(|| panic!("{line}"));
    let output = std::process::Command::new("date").arg("+%d/%b/%Y:%H").env("LC_ALL", "C").output().unwrap();
    let now = String::from_utf8(output.stdout).unwrap();
    assert!(date.starts_with(now.trim()) || date.contains(":59:5"), "{date} is not {now}");
}

#[tokio::test]
async fn bytes_that_could_confuse_a_reader_are_written_as_digits_and_long_lines_are_cut_off() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    let mut short = syslog.target();
    short.length = 200;
    config.frontends[0].log.targets = vec![syslog.target(), short];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, &format!("GET /'{}' HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(3000))).await;
    let (long, short) = (syslog.raw().await, syslog.raw().await);
    assert_eq!((long.len(), short.len()), (1025, 201));
    assert!(long.ends_with("yyyy\n") && short.ends_with("yyyy\n"));
    assert_eq!(long[..200], short[..200]);
}

#[tokio::test]
async fn what_is_tried_again_is_counted_and_a_plus_says_that_it_went_elsewhere() {
    let (syslog, server, dead) = (Syslog::start().await, Recording::answering(OK).await, Refusing::new());
    let mut config = http_config(&[dead.address, server.server.address]);
    (config.backends[0].retries, config.backends[0].redispatch) = (2, true);
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(
        syslog.line().await,
        "front back/s2 T/T/T/T/T 200 40 - - ---- 1/1/0/0/+1 0/0 \"GET / HTTP/1.1\""
    );
}

/// HAProxy's times, whose answer is none at all.
#[tokio::test]
async fn request_that_was_with_a_server_and_then_found_none_keeps_the_time_of_that_connect() {
    let (syslog, dead) = (Syslog::start().await, Refusing::new());
    let server = Scripted::start(|mut stream| async move {
        read_message(&mut stream).await;
    })
    .await;
    let mut config = http_config(&[server.address, dead.address]);
    let backend = &mut config.backends[0];
    (backend.retries, backend.redispatch, backend.options.retry.empty_response) = (1, true, true);
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    assert!(ask(&mut connect(&proxy).await, GET).await.starts_with("HTTP/1.1 503 "));
    let line = syslog.line().await;
    assert!(line.starts_with("front back/s2 T/T/T/-1/T 503 "), "{line}");
    assert!(line.contains(" SC-- 1/1/0/0/+1 0/0 "), "{line}");
}

#[tokio::test]
async fn monitors_and_what_the_file_leaves_out_have_no_line() {
    let (syslog, server, dead) = (Syslog::start().await, Recording::answering(OK).await, Refusing::new());
    let mut config = http_config(&[server.server.address]);
    config.frontends[0].monitor = Some(Monitor { uri: "/alive".to_owned(), fail_if: Vec::new() });
    syslog.receive_from(&mut config);
    config.frontends[0].log.dontlog_normal = true;
    config.frontends[0].log.separate_errors = true;
    let warnings = LogTarget { min_level: Severity::Warning, ..syslog.target() };
    config.frontends[0].log.targets.push(warnings);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET /alive HTTP/1.1\r\nHost: a\r\n\r\n").await;
    ask(&mut client, GET).await;
    drop(client);
    end(proxy, &syslog).await;

    config.backends[0].servers = vec![Server::new("dead", dead.address)];
    let proxy = Proxy::start(config).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    let line = syslog.raw().await;
    // local0.err
    assert!(line.starts_with("<131>"), "{line}");
    // What is more important than a warning is sent as one.
    assert_eq!(syslog.raw().await, line.replace("<131>", "<132>"));
    assert!(line.contains(" front back/dead 0/"), "{line}");
}

#[tokio::test]
async fn connection_without_a_byte_has_a_line_unless_an_option_leaves_it_out() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].options.dontlognull = false;
    config.frontends[0].options.ignore_probes = false;
    let proxy = Proxy::start(config.clone()).unwrap();
    drop(connect(&proxy).await);
    let expected = "front front/<NOSRV> -1/-1/-1/-1/T 400 0 - - CR-- 1/1/0/0/0 0/0 \"<BADREQ>\"";
    assert_eq!(syslog.line().await, expected);
    end(proxy, &syslog).await;

    for (dontlognull, ignore_probes) in [(true, false), (false, true)] {
        let options = &mut config.frontends[0].options;
        (options.dontlognull, options.ignore_probes) = (dontlognull, ignore_probes);
        let proxy = Proxy::start(config.clone()).unwrap();
        drop(connect(&proxy).await);
        let is_counted = || crate::rig::counter(&proxy, "null_connections_total") == 1;
        crate::rig::eventually("it is counted", is_counted).await;
        end(proxy, &syslog).await;
    }
}

#[tokio::test]
async fn line_that_is_written_as_soon_as_possible_marks_what_goes_on() {
    let syslog = Syslog::start().await;
    let (finish, finished) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut finished = finished.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").await.unwrap();
            finished.wait_for(|&finished| finished).await.unwrap();
            stream.write_all(b"ok").await.unwrap();
        }
    })
    .await;
    let mut config = http_config(&[server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.asap = true;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    // The response is not over.
    assert_eq!(
        syslog.line().await,
        "front back/s1 T/T/T/T/+T 200 +38 - - ---- 1/1/1/1/0 0/0 \"GET / HTTP/1.1\""
    );
    finish.send(true).unwrap();
    answer(&mut client).await;
    drop(client);
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn each_target_has_its_own_form_and_takes_what_its_level_and_sample_allow() {
    let (first, second, server) =
        (Syslog::start().await, Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    let local3 = Facility::all().find(|(name, _)| *name == "local3").unwrap().1;
    config.frontends[0].log.targets = vec![
        LogTarget { tag: "haproxy".to_owned(), facility: local3, ..first.target() },
        LogTarget { level: Severity::Notice, ..first.target() },
        LogTarget {
            wire: LogWire::Short,
            sample: Some(LogSample { ranges: [2..=3].into(), of: 3 }),
            ..second.target()
        },
    ];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for path in ["/1", "/2", "/3", "/4"] {
        ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let line = first.raw().await;
        // local3.info
        assert!(line.starts_with("<158>"), "{line}");
        assert!(line.contains(&format!(" haproxy[{}]: 127.0.0.1:", std::process::id())), "{line}");
    }
    for path in ["/2", "/3"] {
        let line = second.raw().await;
        assert!(line.starts_with("<6>127.0.0.1:") && line.contains(&format!("\"GET {path} ")), "{line}");
    }
    drop(client);
    end(proxy, &second).await;
    first.ends();
}

#[tokio::test]
async fn http_frontend_can_have_the_lines_of_tcplog() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.format = LogFormat::Tcp;
    let proxy = Proxy::start(config).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(syslog.line().await, "front back/s1 T/T/T 40 -- 1/1/0/0/0 0/0");
}

#[tokio::test]
async fn lines_of_json_are_whole_objects() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.format = LogFormat::Json;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET /\\x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let line = syslog.raw().await;
    let object = line.split_once("]: ").unwrap().1;
    let port = client.local_addr().unwrap().port();
    let time = regex::Regex::new(r#"^\{"time":"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}[+-]\d{2}:\d{2}","#)
        .unwrap();
    let ms = regex::Regex::new(r#""(request|queue|connect|response|total)":\d+"#).unwrap();
    let masked = ms.replace_all(object, "\"$1\":T").replace("\"queue\":T,\"backend\"", "");
    assert_eq!(
        time.replace(&masked, "{"),
        format!(
            "{{\"frontend\":\"front\",\"backend\":\"back\",\"server\":\"s1\",\"client\":\"127.0.0.1\",\"client_port\":{port},\
             \"method\":\"GET\",\"version\":\"HTTP/1.1\",\"target\":\"/\\\\x\",\"status\":200,\"bytes_sent\":40,\"bytes_received\":29,\"termination\":\"----\",\
             \"ms\":{{\"request\":T,\"queue\":T,\"connect\":T,\"response\":T,\"total\":T}},\"retries\":0,\"redispatched\":false,\
             \"connections\":{{\"process\":1,\"frontend\":1,\"backend\":0,\"server\":0}},\"queue\":{{\"server\":0,\"backend\":0}}}}\n"
        )
    );
    // However long the request, and whatever the limit of the line.
    ask(&mut client, &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(5_000))).await;
    let long = syslog.raw().await;
    assert!(
        long.len() <= 1_025 && long.ends_with("}}\n") && long.contains("yyy\",\"status\":200,"),
        "{long}"
    );
    client.write_all(b"GET\r\n\r\n").await.unwrap();
    let refused = syslog.raw().await;
    // What was sent and received, also of what could not be read.
    assert!(refused.contains("\"status\":400,\"bytes_sent\":195,\"bytes_received\":7,"), "{refused}");
    assert!(refused.contains("\"backend\":null,\"server\":null,"), "{refused}");
    assert!(
        refused.contains("\"method\":null,\"version\":null,\"target\":null,\"status\":400,"),
        "{refused}"
    );
    assert!(
        refused.contains(
            "\"termination\":\"PR--\",\"reason\":\"invalid start line\",\"ms\":{\"request\":null,\"queue\":null,"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn lines_of_what_nobody_served_have_the_reason() {
    let syslog = Syslog::start().await;
    let closing = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let refusing = Refusing::new();
    let unreachable = format!("no server could be connected to, at last s1 at {}: ", refusing.address);
    let closed =
        format!("502 for s1 at {}: it closed the connection without a whole answer, ", closing.address);
    for (server, expected) in [(refusing.address, unreachable), (closing.address, closed)] {
        let mut config = http_config(&[server]);
        syslog.receive_from(&mut config);
        config.frontends[0].log.format = LogFormat::Json;
        let proxy = Proxy::start(config).unwrap();
        // Also that which is not said anew, in the same second.
        for _ in 0..3 {
            ask(&mut connect(&proxy).await, GET).await;
            let line = syslog.raw().await;
            assert!(line.contains(&format!(",\"reason\":\"{expected}")), "{line}");
        }
    }
}

#[tokio::test]
async fn page_of_statistics_is_a_server_of_its_own() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    let (desk, mut inquiries) = Desk::new();
    config.desk = Some(desk);
    config.frontends[0].statistics = Some(Statistics {
        uri: "/stats".to_owned(),
        allow: Vec::new(),
        users: None,
        is_public: false,
        metrics: None,
    });
    let proxy = Proxy::start(config).unwrap();
    tokio::spawn(async move {
        while let Some(inquiry) = inquiries.recv().await {
            let fields = "Content-Type: text/plain\r\n".into();
            inquiry.answer(Answer { status: Default::default(), fields, content: b"all is well"[..].into() });
        }
    });
    ask(&mut connect(&proxy).await, "GET /stats;csv HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        syslog.line().await,
        "front front/<STATS> T/T/T/T/T 200 76 - - LR-- 1/1/0/0/0 0/0 \"GET /stats;csv HTTP/1.1\""
    );
}

#[tokio::test]
async fn client_over_a_unix_socket_has_no_address() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let mut config = http_config(&[server.server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].unix = vec![UnixAddress::new(path.to_str().unwrap()).unwrap().into()];
    let ask = async || {
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        syslog.raw().await
    };
    let proxy = Proxy::start(config.clone()).unwrap();
    let line = ask().await;
    assert!(line.contains("]: unix:1 [") && line.contains("] front back/s1 "), "{line}");
    end(proxy, &syslog).await;
    config.frontends[0].log.format = LogFormat::Json;
    let _proxy = Proxy::start(config).unwrap();
    let line = ask().await;
    assert!(line.contains("\"client\":\"unix\",\"client_port\":null,"), "{line}");
}

#[tokio::test]
async fn two_frontends_have_their_own_logs_and_one_without_has_none() {
    let (syslog, server) = (Syslog::start().await, Recording::answering(OK).await);
    let mut config = config(Mode::Http, &[server.server.address]);
    let mut quiet = config.frontends[0].clone();
    quiet.name = "quiet".to_owned();
    quiet.log = AccessLog::default();
    syslog.receive_from(&mut config);
    config.frontends.push(quiet);
    let proxy = Proxy::start(config).unwrap();
    let to = proxy.status().frontends[1].binds[0].address.unwrap();
    ask(&mut tokio::net::TcpStream::connect(to).await.unwrap(), GET).await;
    ask(&mut connect(&proxy).await, GET).await;
    let line = masked(&syslog.raw().await);
    assert!(line.starts_with("front back/s1 "), "{line}");
    end(proxy, &syslog).await;
}

#[test]
fn names_of_targets_are_those_that_status_shows() {
    let named = |to: LogDestination| to.to_string();
    assert_eq!(named(LogDestination::Unix("/dev/log".into())), "socket /dev/log");
    assert_eq!(
        named(LogDestination::UdpName { host: "log.example".into(), port: 514 }),
        "udp log.example:514"
    );
}
