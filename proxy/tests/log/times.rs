//! How long exchanges take, in the statistics: what the lines say, added up.

use std::{sync::Arc, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{LogFormat, Mode, Statistics},
    metrics::BOUNDS,
    status::{StepTimes, Steps},
};
use regex::Regex;
use tokio::{io::AsyncWriteExt, sync::Notify, task::JoinSet};

use crate::{
    peers::*,
    rig::{Scripted, config, connect, eventually, read_all, read_n},
    syslog::Syslog,
};

fn timed(config: &mut Config) {
    let uri = "/haproxy-stats".to_owned();
    config.frontends[0].statistics =
        Some(Statistics { uri, allow: Vec::new(), users: None, is_public: true, metrics: None });
}

fn of_backend(proxy: &Proxy) -> StepTimes {
    proxy.status().backends[0].traffic.steps.unwrap()
}

fn of_server(proxy: &Proxy, server: usize) -> StepTimes {
    proxy.status().backends[0].servers[server].traffic.steps.unwrap()
}

/// `Tw/Tc/Tr/Ta` of a line (tcp: `Tw/Tc/Tt`) whose server is `server`; `None` for another's.
fn steps(line: &str, server: &str) -> Option<[u64; 4]> {
    let form = Regex::new(r" back/(\S+) ((?:\d+/)?)(\d+)/(\d+)/(?:(\d+)/)?(\d+) ").unwrap();
    let found = form.captures(line)?;
    let number = |at| found.get(at).map_or(0, |text: regex::Match<'_>| text.as_str().parse().unwrap());
    (&found[1] == server).then(|| [3, 4, 5, 6].map(number))
}

fn as_array(steps: Steps) -> [u64; 4] {
    [steps.queue, steps.connect, steps.response, steps.total]
}

/// What the statistics have to say of exchanges with these lines.
fn expected(lines: &[[u64; 4]]) -> [[u64; 4]; 2] {
    let of = |step: usize| lines.iter().map(move |line| line[step]);
    let average = std::array::from_fn(|step| of(step).sum::<u64>().div_ceil(lines.len() as u64));
    [average, std::array::from_fn(|step| of(step).max().unwrap())]
}

fn found(times: StepTimes) -> [[u64; 4]; 2] {
    [as_array(times.average), as_array(times.longest)]
}

#[tokio::test]
async fn averages_and_the_longest_are_those_of_the_lines_of_requests_that_were_answered() {
    let slow = Scripted::start(|mut stream| async move {
        while let Some(request) = read_message(&mut stream).await {
            let pause: u64 = request.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            // One of them gets no answer.
            if pause == 1 || stream.write_all(OK.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await;
    let syslog = Syslog::start().await;
    let mut config = http_config(&[slow.address, slow.address]);
    // One at a time: the others wait in line.
    config.backends[0].servers.iter_mut().for_each(|server| server.maxconn = Some(1));
    timed(&mut config);
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut clients = JoinSet::new();
    for pause in [40, 60, 80, 20, 1] {
        let mut client = connect(&proxy).await;
        clients.spawn(
            async move { ask(&mut client, &format!("GET /{pause} HTTP/1.1\r\nHost: a\r\n\r\n")).await },
        );
    }
    clients.join_all().await;
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.push(syslog.raw().await);
    }
    let of = |server: &str| lines.iter().filter_map(|line| steps(line, server)).collect::<Vec<_>>();
    let (first, second) = (of("s1"), of("s2"));
    // That of the request without an answer has -1 in it.
    assert_eq!(first.len() + second.len(), 4, "{lines:?}");
    assert_eq!(found(of_server(&proxy, 0)), expected(&first), "{lines:?}");
    assert_eq!(found(of_server(&proxy, 1)), expected(&second), "{lines:?}");
    let all = [first, second].concat();
    assert_eq!(found(of_backend(&proxy)), expected(&all), "{lines:?}");
    let StepTimes { average, longest, count, sum } = of_backend(&proxy);
    assert!(count == 4 && sum.response >= longest.response && sum.total >= sum.response, "{sum:?}");
    // By class: one waited for 80 ms, which is of none below that of 100 ms.
    let totals = proxy.status().backends[0].totals.unwrap();
    let longer = BOUNDS.iter().position(|bound| *bound == 100).unwrap();
    assert_eq!(totals.counts.iter().sum::<u64>(), 4, "{totals:?}");
    assert!(totals.counts[longer..].iter().sum::<u64>() >= 1, "{totals:?}");
    assert!(totals.microseconds >= sum.total * 1_000, "{totals:?}");
    assert!(average.queue > 0 && longest.queue >= 20, "{average:?} {longest:?}");
    assert!(longest.response >= 80 && longest.total >= longest.response, "{longest:?}");
}

#[tokio::test]
async fn connections_of_mode_tcp_have_no_response_and_take_until_their_end() {
    let (syslog, server) = (Syslog::start().await, Scripted::named("hello").await);
    let mut config = config(Mode::Tcp, &[server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.format = LogFormat::Tcp;
    timed(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    read_n(&mut client, 5).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(of_backend(&proxy), StepTimes::default());
    client.shutdown().await.unwrap();
    read_all(&mut client).await.unwrap();
    let line = syslog.raw().await;
    let steps = steps(&line, "s1").unwrap_or_else(|| panic!("{line}"));
    assert_eq!(found(of_backend(&proxy)), expected(&[steps]), "{line}");
    assert!(steps[2] == 0 && steps[3] >= 30, "{line}");
}

#[tokio::test]
async fn what_is_logged_early_is_counted_when_it_is_over() {
    let (syslog, go_on) = (Syslog::start().await, Arc::new(Notify::new()));
    let waits = Arc::clone(&go_on);
    let server = Scripted::start(move |mut stream| {
        let waits = Arc::clone(&waits);
        async move {
            read_message(&mut stream).await;
            stream.write_all(OK.strip_suffix("ok").unwrap().as_bytes()).await.unwrap();
            waits.notified().await;
            stream.write_all(b"ok").await.unwrap();
        }
    })
    .await;
    let mut config = http_config(&[server.address]);
    syslog.receive_from(&mut config);
    config.frontends[0].log.asap = true;
    timed(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let line = syslog.raw().await;
    assert!(line.contains("/+"), "{line}");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(of_backend(&proxy), StepTimes::default());
    go_on.notify_one();
    answer(&mut client).await;
    eventually("counted", || of_backend(&proxy).longest.total >= 30).await;
    proxy.stop(Duration::ZERO).await;
    // And it has no second line.
    syslog.ends();
}

#[tokio::test]
async fn statistics_without_a_log_measure_as_well_and_without_statistics_nothing_is_measured() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let without = Proxy::start(config.clone()).unwrap();
    timed(&mut config);
    let with = Proxy::start(config).unwrap();
    for proxy in [&without, &with] {
        ask(&mut connect(proxy).await, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    let (traffic, timed) = (without.status().backends.remove(0).traffic, with.status().backends.remove(0));
    assert_eq!((traffic.responses[2], traffic.steps), (1, None));
    assert_eq!(timed.traffic.steps, timed.servers[0].traffic.steps);
    assert!(timed.traffic.steps.is_some());
}
