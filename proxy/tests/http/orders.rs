//! What an operator orders of servers while they serve.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{Cookie, Mode, Server},
    health::orders::{Duty, NoServer, NotChecked, ServerOrder, Weight},
    status::{CheckCode, ServerState, ServerStatus},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{LONG, Scripted, config, connect, eventually, healthy, quick_check, read_all, read_n},
};

fn server(proxy: &Proxy, name: &str) -> ServerStatus {
    let status = proxy.status();
    status.backends[0].servers.iter().find(|server| server.name == name).unwrap().clone()
}

fn order(proxy: &Proxy, server: &str, order: ServerOrder) {
    proxy.order("back", server, order, "root").unwrap();
}

/// Two servers with the cookies `app1` and `app2`.
async fn sticky() -> (Proxy, [Recording; 2]) {
    let servers = [
        Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await,
        Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await,
    ];
    let mut config = http_config(&servers.each_ref().map(|one| one.server.address));
    config.backends[0].cookie = Some(Cookie { indirect: true, ..Cookie::new("SRV") });
    let name = |(server, value): (&mut Server, &str)| server.cookie = Some(value.to_owned());
    config.backends[0].servers.iter_mut().zip(["app1", "app2"]).for_each(name);
    (Proxy::start(config).unwrap(), servers)
}

/// Who answers a client that comes with this cookie.
async fn answered(proxy: &Proxy, cookie: Option<&str>) -> char {
    let cookie = cookie.map(|value| format!("Cookie: SRV={value}\r\n")).unwrap_or_default();
    let answer = ask(&mut connect(proxy).await, &format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n")).await;
    answer.chars().last().unwrap()
}

#[tokio::test]
async fn server_in_drain_serves_its_own_clients_and_one_in_maintenance_nobody() {
    let (proxy, _servers) = sticky().await;
    order(&proxy, "s1", ServerOrder::Duty(Duty::Drain));
    let drained = server(&proxy, "s1");
    assert_eq!((drained.state, drained.weight), (ServerState::Drain, 0));
    assert_eq!(drained.orders.duty.map(|ordered| ordered.by).as_deref(), Some("root"));
    for _ in 0..4 {
        assert_eq!(answered(&proxy, None).await, 'b');
        assert_eq!(answered(&proxy, Some("app1")).await, 'a');
    }
    order(&proxy, "s1", ServerOrder::Duty(Duty::Maintenance));
    for _ in 0..4 {
        assert_eq!(answered(&proxy, Some("app1")).await, 'b');
    }
    order(&proxy, "s1", ServerOrder::Duty(Duty::Ready));
    assert_eq!(answered(&proxy, Some("app1")).await, 'a');
    assert_eq!(server(&proxy, "s1").orders, Default::default());
    let unknown = proxy.order("back", "s3", ServerOrder::Duty(Duty::Drain), "root");
    assert_eq!(unknown, Err(NoServer));
}

#[tokio::test]
async fn server_that_the_file_disables_is_in_maintenance_until_somebody_orders_otherwise() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.threads = std::num::NonZeroUsize::MIN;
    config.backends[0].servers[0].disabled = true;
    let proxy = Proxy::start(config.clone()).unwrap();
    let served = async || {
        let mut served = Vec::new();
        for _ in 0..4 {
            served.extend(read_n(&mut connect(&proxy).await, 1).await);
        }
        served.sort_unstable();
        String::from_utf8(served).unwrap()
    };
    let states = || ["s1", "s2"].map(|name| server(&proxy, name).state);
    let (out, up) = (ServerState::Maintenance, ServerState::NoCheck);
    assert_eq!((states(), served().await.as_str()), ([out, up], "bbbb"));
    assert_eq!(server(&proxy, "s1").orders.duty.map(|ordered| ordered.by).as_deref(), Some("the file"));
    // `ready` goes over the file, and a reload that has nothing new to say leaves it so.
    order(&proxy, "s1", ServerOrder::Duty(Duty::Ready));
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!((states(), served().await.as_str()), ([up, up], "aabb"));
    assert_eq!(
        server(&proxy, "s1").orders.duty.map(|ordered| ordered.what),
        Some(Duty::Ready),
        "it can be seen"
    );
    // What the file says anew counts at once; what somebody has ordered is not the file's to take back.
    config.backends[0].servers[1].disabled = true;
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!((states(), served().await.as_str()), ([up, out], "aaaa"));
    order(&proxy, "s1", ServerOrder::Duty(Duty::Maintenance));
    config.backends[0].servers.iter_mut().for_each(|server| server.disabled = false);
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(states(), [out, up]);
    // One that comes new, and one that is elsewhere now.
    config.backends[0].servers[1].address = a.address.into();
    config.backends[0].servers.push(Server { disabled: true, ..Server::new("s3", b.address) });
    config.backends[0].servers[1].disabled = true;
    proxy.reload(config).await.unwrap();
    assert_eq!((states(), server(&proxy, "s3").state), ([out, out], out));
}

#[tokio::test]
async fn weight_that_is_ordered_goes_before_that_of_the_file_and_outlives_a_reload() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.threads = std::num::NonZeroUsize::MIN;
    let proxy = Proxy::start(config.clone()).unwrap();
    order(&proxy, "s1", ServerOrder::Weight(Weight::Absolute(3)));
    let served = async || {
        let mut served = Vec::new();
        for _ in 0..8 {
            served.extend(read_n(&mut connect(&proxy).await, 1).await);
        }
        served.iter().filter(|&&name| name == b'a').count()
    };
    assert_eq!(served().await, 6);
    // Another weight in the file, and another address: the order is for the name.
    config.backends[0].servers[0].weight = 2;
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(server(&proxy, "s1").weight, 3);
    config.backends[0].servers[0].address = b.address.into();
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(server(&proxy, "s1").weight, 3);
    order(&proxy, "s1", ServerOrder::Weight(Weight::Percent(100)));
    assert_eq!(server(&proxy, "s1").weight, 2);
    // A name that the file does not have any more takes its orders with it.
    order(&proxy, "s1", ServerOrder::Duty(Duty::Maintenance));
    let gone = config.backends[0].servers.remove(0);
    proxy.reload(config.clone()).await.unwrap();
    config.backends[0].servers.insert(0, gone);
    proxy.reload(config).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::NoCheck);
}

#[tokio::test]
async fn maintenance_cuts_what_goes_through_the_server_where_the_file_says_so() {
    for cuts in [true, false] {
        let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
        let mut config = config(Mode::Tcp, &[a.address, b.address]);
        config.backends[0].cut_when_down = cuts;
        let proxy = Proxy::start(config).unwrap();
        order(&proxy, "s2", ServerOrder::Duty(Duty::Drain));
        let mut client = connect(&proxy).await;
        assert_eq!(read_n(&mut client, 1).await, b"a");
        order(&proxy, "s1", ServerOrder::Duty(Duty::Drain));
        order(&proxy, "s1", ServerOrder::Duty(Duty::Maintenance));
        if cuts {
            read_all(&mut client).await.unwrap_err();
        } else {
            client.write_all(b"still here").await.unwrap();
            assert_eq!(server(&proxy, "s1").in_flight, 1);
        }
    }
}

#[tokio::test]
async fn server_comes_back_from_maintenance_as_its_checks_have_seen_it_and_slowly() {
    let servers = [Scripted::named("a").await, Scripted::named("b").await];
    let mut config = config(Mode::Tcp, &servers.each_ref().map(|one| one.address));
    config.backends[0].check = Some(quick_check(lb_proxy::config::CheckKind::Tcp));
    config.backends[0].slowstart = Duration::from_secs(3600);
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done).await;
    order(&proxy, "s1", ServerOrder::Duty(Duty::Maintenance));
    let seen = server(&proxy, "s1").last_check.unwrap().at;
    eventually("it is still checked", || server(&proxy, "s1").last_check.unwrap().at > seen).await;
    assert!(proxy.health().borrow().backends[0].usable == 2, "readiness knows checks alone");
    order(&proxy, "s1", ServerOrder::Duty(Duty::Ready));
    let back = server(&proxy, "s1");
    assert_eq!(back.state, ServerState::Up);
    assert!(back.share < 100, "{}", back.share);
    // It has died meanwhile: it does not come back as if nothing had happened.
    order(&proxy, "s2", ServerOrder::Duty(Duty::Maintenance));
    let [_, gone] = servers;
    drop(gone);
    healthy(&proxy, "seen by its checks", |health| health.backends[0].usable == 1).await;
    order(&proxy, "s2", ServerOrder::Duty(Duty::Ready));
    assert_eq!(server(&proxy, "s2").state, ServerState::Down);
}

#[tokio::test]
async fn check_that_is_asked_for_is_made_at_once() {
    let upstream = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[upstream.address]);
    let mut check = quick_check(lb_proxy::config::CheckKind::Tcp);
    check.pace = lb_proxy::config::Pace::steady(Duration::from_secs(3600));
    config.backends[0].check = Some(check);
    let proxy = Proxy::start(config.clone()).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done).await;
    let before = server(&proxy, "s1").last_check.unwrap();
    let report = proxy.check_now("back", "s1", LONG).await.unwrap();
    assert_eq!(report.code, CheckCode::L4Ok);
    assert!(report.at > before.at);
    drop(upstream);
    assert_eq!(proxy.check_now("back", "s1", LONG).await.unwrap().code, CheckCode::L4Connection);
    assert_eq!(proxy.check_now("back", "s9", LONG).await, Err(NotChecked::NoServer(NoServer)));
    config.backends[0].check = None;
    proxy.reload(config).await.unwrap();
    assert_eq!(proxy.check_now("back", "s1", LONG).await, Err(NotChecked::NoCheck));
}
