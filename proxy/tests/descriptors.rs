//! Running out of file descriptors. In a process of its own: the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{Bind, Frontend, Mode},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{io::AsyncReadExt, net::TcpSocket, time::timeout};

const LONG: Duration = Duration::from_secs(10);

fn accept_errors(proxy: &Proxy) -> u64 {
    let status = proxy.status();
    status.frontends[0].counters.iter().find(|(name, _)| *name == "accept_errors_total").unwrap().1
}

#[tokio::test]
async fn listener_out_of_descriptors_waits_instead_of_spinning_and_goes_on_afterwards() {
    let binds = vec![Bind {
        label: "front:0".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        accept_proxy: None,
    }];
    let config = Config {
        threads: NonZeroUsize::MIN,
        maxconn: 100,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        // A connection is closed at once: that is how a client sees that it was accepted.
        frontends: vec![Frontend { default_backend: None, ..Frontend::new("front", Mode::Tcp, binds) }],
        backends: Vec::new(),
    };
    let proxy = Proxy::start(config).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(soft, hard, "the limit was not raised at the start");
    let front = proxy.status().frontends[0].binds[0].address.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    // The lowest free descriptor is the first that a new socket would get.
    let probe: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let lowest_free = u64::try_from(probe.as_raw_fd()).unwrap();
    drop(probe);
    setrlimit(Resource::RLIMIT_NOFILE, lowest_free, hard).unwrap();

    let mut client = client.connect(front).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(550), client.read(&mut byte)).await.is_err());
    // One try each 100 ms.
    assert!((1..=8).contains(&accept_errors(&proxy)), "{} tries", accept_errors(&proxy));

    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert_eq!(timeout(LONG, client.read(&mut byte)).await.unwrap().unwrap(), 0);
}
