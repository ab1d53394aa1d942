use std::net::Ipv4Addr;

use super::*;
use crate::{
    config::{CheckKind, Mode, Pace, ServerAddress},
    health::orders::Duty,
};

const HOST: &str = "app.example";

/// One backend with one server, and that.
fn board(change: impl FnOnce(&mut Backend)) -> (Arc<Board>, Arc<ServerShared>) {
    let server = Server::new("s1", std::net::SocketAddr::from(([192, 0, 2, 1], 80)));
    let mut backend = Backend::new("back", Mode::Http, vec![server]);
    change(&mut backend);
    let config = Config {
        threads: std::num::NonZeroUsize::MIN,
        maxconn: 10,
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        frontends: Vec::new(),
        backends: vec![backend],
    };
    let board = Board::new(config, Maps::load(&[]).unwrap(), &Default::default());
    let server = Arc::clone(&board.node().backends[0].servers[0]);
    (board, server)
}

#[test]
fn first_check_of_a_server_that_its_agent_has_taken_out_ends_the_first_round() {
    let (board, server) = board(|backend| backend.check = Some(Check::new(CheckKind::Tcp)));
    board.change(&server, |known| known.agent.duty = Duty::Maintenance);
    assert!(!board.health().borrow().first_round_done);
    let mut checker = Checker::new(Pace::steady(Duration::from_secs(1)), 1, 1, 0, Duration::ZERO);
    assert!(checker.handle_timeout(Duration::ZERO));
    checker.handle_result(Duration::ZERO, false);
    board.change(&server, |known| known.update(&checker));
    assert!(board.health().borrow().first_round_done);
}

/// Without checks it is the address alone that makes a server usable.
#[test]
fn server_that_loses_its_address_and_regains_it_was_down_in_between() {
    let (board, server) = board(|backend| {
        backend.servers[0].address = ServerAddress::Named { host: HOST.into(), port: 80 };
    });
    let state = || server.health().state();
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let outage = || server.health().history.outage;
    board.resolved(HOST, &[address]);
    assert_eq!((state(), outage().count), (ServerState::NoCheck, 0));
    assert!(server.health().came_back.is_none(), "its first address is no return");
    board.resolved(HOST, &[]);
    assert_eq!((state(), outage().count, outage().is_down), (ServerState::Down, 1, true));
    board.resolved(HOST, &[address]);
    assert_eq!((state(), outage().count, outage().is_down), (ServerState::NoCheck, 1, false));
    assert!(server.health().came_back.is_some(), "its slow start begins");
}
