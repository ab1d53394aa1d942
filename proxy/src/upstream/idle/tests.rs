use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::*;
use crate::config::{Backend, Mode, PoolOptions, Server};

const BACKEND: BackendId = BackendId(0);

fn config(servers: usize) -> Config {
    let server = |index| Server::new(format!("s{index}"), SocketAddr::from(([127, 0, 0, 1], 1)));
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 20_000,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        frontends: Vec::new(),
        backends: vec![Backend::new("back", Mode::Http, (0..servers).map(server).collect())],
    }
}

/// Our end and the server's.
async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

async fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.listen(128).unwrap()
}

fn port(stream: &impl Stream) -> u16 {
    stream.socket().unwrap().local_addr().unwrap().port()
}

/// Opened at `now`, has served one request.
fn used(stream: TcpStream, now: u64) -> Link {
    let mut link = Link::new(ServerStream::Plain(stream), now, 0);
    link.serve();
    link
}

#[tokio::test]
async fn youngest_quiet_connection_is_reused_first() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(2)), Cell::new(0));
    let (old, _old_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let (ports, now) = ([port(&young), port(&old)], 10);
    idle.put(BACKEND, 0, 5, used(old, 5));
    idle.put(BACKEND, 0, 7, used(young, 7));
    assert!(idle.take(BACKEND, 1, (Reuse::Allowed, None), now, || stale.set(stale.get() + 1)).is_none());
    for expected in ports {
        assert_eq!(
            port(
                &idle
                    .take(BACKEND, 0, (Reuse::Allowed, None), now, || stale.set(stale.get() + 1))
                    .unwrap()
                    .stream
            ),
            expected
        );
    }
    assert!(idle.take(BACKEND, 0, (Reuse::Allowed, None), now, || stale.set(stale.get() + 1)).is_none());
    assert_eq!(stale.get(), 0);
}

#[tokio::test]
async fn connection_that_ended_or_spoke_or_grew_old_is_not_reused() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let (ended, peer) = pair(&listener).await;
    drop(peer);
    let (spoke, mut talkative) = pair(&listener).await;
    talkative.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    let (aged, _aged_peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 0, used(aged, 0));
    idle.put(BACKEND, 0, 30, used(ended, 30));
    idle.put(BACKEND, 0, 30, used(spoke, 30));
    // 4 s after the first, 1 s after the others.
    assert!(idle.take(BACKEND, 0, (Reuse::Allowed, None), 40, || stale.set(stale.get() + 1)).is_none());
    assert_eq!(stale.get(), 3);
    assert_eq!(idle.count.get(), 0);
}

#[tokio::test]
async fn oldest_connection_gives_way_when_there_are_too_many() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let mut peers = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..66 {
        let (ours, peer) = pair(&listener).await;
        ports.push(port(&ours));
        idle.put(BACKEND, 0, 0, used(ours, 0));
        peers.push(peer);
    }
    assert_eq!(idle.count.get(), 64);
    let mut left = Vec::new();
    while let Some(link) = idle.take(BACKEND, 0, (Reuse::Allowed, None), 0, || stale.set(stale.get() + 1)) {
        left.push(port(&link.stream));
    }
    left.reverse();
    assert_eq!(left, ports[2..]);
}

#[test]
fn workers_together_keep_no_more_than_their_server_bears() {
    let mut server = Server::new("s", SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(most(&server, 8), usize::MAX);
    for (maxconn, expected) in [(1600, 200), (150, KEPT_PER_SERVER), (10, 10)] {
        server.maxconn = Some(maxconn);
        assert_eq!(most(&server, 8), expected);
    }
}

#[tokio::test]
async fn no_more_are_kept_than_there_may_be_clients() {
    let listener = listener().await;
    let config = Config { maxconn: 70, ..config(2) };
    let idle = IdleConnections::new(&config);
    for server in [0, 1] {
        for _ in 0..40 {
            idle.put(BACKEND, server, 0, used(pair(&listener).await.0, 0));
        }
    }
    assert_eq!(idle.count.get(), 70);
}

/// What the limit on open files is reckoned with.
#[tokio::test]
async fn no_more_is_open_of_a_server_than_is_counted_on() {
    let listener = listener().await;
    for maxconn in [None, Some(100)] {
        let mut config = config(1);
        config.backends[0].servers[0].maxconn = maxconn;
        let (idle, most) = (IdleConnections::new(&config), most_open(&config.backends[0].servers[0], 1));
        let mut places = Vec::new();
        for _ in 0..room::MOST {
            idle.backends[0].servers[0].room.close_one();
            idle.backends[0].servers[0].room.miss();
        }
        for _ in 0..room::MOST + 2 {
            idle.put(BACKEND, 0, 0, used(pair(&listener).await.0, 0));
        }
        for _ in 0..KEPT_PER_SERVER + 2 {
            let mut own = used(pair(&listener).await.0, 0);
            own.make_private();
            places.extend(put_own(&idle, 0, own));
        }
        assert_eq!((idle.count.get(), 0), most, "{maxconn:?}");
    }
}

#[tokio::test]
async fn what_clients_have_left_is_lent_to_idle_connections_until_they_come() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let fill = async || {
        for _ in 0..room::MOST + 100 {
            idle.put(BACKEND, 0, 0, used(pair(&listener).await.0, 0));
        }
        idle.count.get()
    };
    for _ in 0..room::MOST + 100 {
        idle.backends[0].servers[0].room.close_one();
        idle.backends[0].servers[0].room.miss();
    }
    assert_eq!(fill().await, room::MOST, "nothing is known to be left");
    idle.make_room(room::MOST + 90);
    assert_eq!(fill().await, room::MOST + 90);
    // Clients come, and one of them needs a connection to a server.
    idle.make_room(room::MOST + 50);
    assert_eq!(idle.count.get(), room::MOST + 89);
    // All the others that come need none.
    idle.spare.set(0);
    idle.trim();
    assert_eq!(idle.count.get(), room::MOST + KEPT_PER_SERVER, "these are reckoned with");
    idle.make_room(0);
    assert_eq!(idle.count.get(), room::MOST + KEPT_PER_SERVER);
}

#[tokio::test]
async fn fullest_servers_give_way_and_all_are_looked_at_once_for_many() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(3));
    let put = async |server: usize, count: usize| {
        for _ in 0..count {
            idle.put(BACKEND, server, 0, used(pair(&listener).await.0, 0));
        }
    };
    let lengths = || [0, 1, 2].map(|at| idle.backends[0].servers[at].connections.borrow().len());
    put(0, 10).await;
    put(1, 40).await;
    put(2, 20).await;
    assert!(idle.close_oldest());
    assert_eq!((lengths(), idle.plan.borrow().len()), ([10, 39, 20], PLANNED - 1));
    (0..49).for_each(|_| assert!(idle.close_oldest()));
    assert_eq!(lengths(), [7, 7, 6], "of whoever had most");
    // What was planned and is not there any more is passed over.
    idle.close(&idle.backends[0].servers[1]);
    (0..13).for_each(|_| assert!(idle.close_oldest()));
    assert_eq!((lengths(), idle.count.get(), idle.close_oldest()), ([0; 3], 0, false));
}

#[tokio::test]
async fn burst_finds_as_many_connections_as_the_burst_before_it_has_used() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let mut peers = Vec::new();
    // As many requests at once as a connection of HTTP/2 brings; those that find no connection make one.
    let mut made = Vec::new();
    for _ in 0..3 {
        let mut links = Vec::new();
        let before = peers.len();
        for _ in 0..100 {
            let link = match idle.take(BACKEND, 0, (Reuse::Allowed, None), 0, || ()) {
                Some(link) => link,
                None => {
                    let (ours, peer) = pair(&listener).await;
                    peers.push(peer);
                    used(ours, 0)
                }
            };
            links.push(link);
        }
        made.push(peers.len() - before);
        links.into_iter().for_each(|link| idle.put(BACKEND, 0, 0, link));
    }
    assert_eq!(made, [100, 100 - KEPT_PER_SERVER, 0]);
    assert_eq!(idle.count.get(), 100);

    idle.sweep(40, 0);
    for _ in 0..100 {
        let (ours, peer) = pair(&listener).await;
        peers.push(peer);
        idle.put(BACKEND, 0, 40, used(ours, 40));
    }
    assert_eq!(idle.count.get(), KEPT_PER_SERVER, "nobody has wanted so many");
}

#[tokio::test]
async fn sweep_closes_what_is_too_old() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let (old, _old_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let expected = port(&young);
    idle.put(BACKEND, 0, 0, used(old, 0));
    idle.put(BACKEND, 0, 20, used(young, 20));
    idle.sweep(45, 0);
    assert_eq!(idle.count.get(), 1);
    assert_eq!(
        port(
            &idle.take(BACKEND, 0, (Reuse::Allowed, None), 45, || stale.set(stale.get() + 1)).unwrap().stream
        ),
        expected
    );
}

#[tokio::test]
async fn r4_connection_that_is_too_old_or_has_served_enough_is_not_kept() {
    let listener = listener().await;
    let mut config = config(1);
    config.backends[0].options.pool = PoolOptions {
        max_age: Duration::from_secs(10),
        max_requests: NonZeroU32::new(2),
        ..PoolOptions::default()
    };
    let idle = IdleConnections::new(&config);
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 0, used(stream, 0));
    let mut link = idle.take(BACKEND, 0, (Reuse::Allowed, None), 1, || {}).unwrap();
    link.serve();
    idle.put(BACKEND, 0, 2, link);
    assert_eq!(idle.count.get(), 0, "it has served two requests");
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 99, used(stream, 0));
    assert_eq!(idle.count.get(), 1);
    assert!(idle.take(BACKEND, 0, (Reuse::Allowed, None), 100, || {}).is_none(), "it is 10 s old");
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 100, used(stream, 0));
    assert_eq!(idle.count.get(), 0, "it is 10 s old");
}

#[tokio::test]
async fn proven_connection_is_one_that_was_used_again() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let (proven, _proven_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let ports = [port(&proven), port(&young)];
    let mut proven = used(proven, 0);
    proven.serve();
    idle.put(BACKEND, 0, 0, proven);
    idle.put(BACKEND, 0, 1, used(young, 0));
    assert!(idle.take(BACKEND, 0, (Reuse::Forbidden, None), 1, || {}).is_none());
    assert_eq!(port(&idle.take(BACKEND, 0, (Reuse::Proven, None), 1, || {}).unwrap().stream), ports[0]);
    assert!(idle.take(BACKEND, 0, (Reuse::Proven, None), 1, || {}).is_none());
    assert_eq!(port(&idle.take(BACKEND, 0, (Reuse::Allowed, None), 1, || {}).unwrap().stream), ports[1]);
}

/// Bytes that a server sends unasked right after a response would be taken for the answer to the next request.
#[tokio::test]
async fn youngest_connection_is_looked_at_even_if_the_runtime_has_seen_nothing() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let (ours, peer) = pair(&listener).await;
    // No event of this socket was taken from the reactor since: nothing is awaited from here on.
    peer.writable().await.unwrap();
    idle.put(BACKEND, 0, 5, used(ours, 5));
    peer.try_write(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    assert!(idle.take(BACKEND, 0, (Reuse::Allowed, None), 5, || {}).is_none());
}

#[tokio::test]
async fn what_came_before_a_turn_of_the_loop_is_known_without_a_look() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let (quiet, _quiet_peer) = pair(&listener).await;
    let (spoken_to, peer) = pair(&listener).await;
    let (ended, ended_peer) = pair(&listener).await;
    let expected = port(&quiet);
    for link in [quiet, spoken_to, ended] {
        idle.put(BACKEND, 0, 5, used(link, 5));
    }
    peer.try_write(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    drop(ended_peer);
    // Whatever came before these bytes was told with them.
    let (last, mut last_peer) = pair(&listener).await;
    last_peer.write_all(b"x").await.unwrap();
    last.readable().await.unwrap();
    turns::count();
    let stale = Cell::new(0);
    // One that has become idle in this turn comes last, since its socket has to be asked.
    let (of_now, _peer_of_now) = pair(&listener).await;
    let expected_then = port(&of_now);
    idle.put(BACKEND, 0, 5, used(of_now, 5));
    for expected in [expected, expected_then] {
        let taken = idle.take(BACKEND, 0, (Reuse::Allowed, None), 5, || stale.set(stale.get() + 1)).unwrap();
        assert_eq!((port(&taken.stream), stale.get()), (expected, 2));
    }
}

#[tokio::test]
async fn next_generation_keeps_the_connections_of_servers_that_stay_and_closes_the_others() {
    let listener = listener().await;
    let before = IdleConnections::new(&config(2));
    let (stays, _peer) = pair(&listener).await;
    let (goes, mut gone) = pair(&listener).await;
    let expected = port(&stays);
    before.put(BACKEND, 0, 0, used(stays, 0));
    before.put(BACKEND, 1, 0, used(goes, 0));
    // The first server has become the third one, the second one is gone.
    let after = before.next(&config(3), |backend, server| (server == 2).then_some((backend, 0)));
    assert_eq!(gone.read(&mut [0]).await.unwrap(), 0);
    assert_eq!((before.count.get(), after.count.get()), (1, 1));
    assert_eq!(port(&after.take(BACKEND, 2, (Reuse::Allowed, None), 1, || {}).unwrap().stream), expected);
    // An exchange of the generation before ends: its connection to the server that is gone is not kept.
    let (late, _late_peer) = pair(&listener).await;
    before.put(BACKEND, 1, 1, used(late, 0));
    let (late, _late_peer) = pair(&listener).await;
    let expected = port(&late);
    before.put(BACKEND, 0, 1, used(late, 0));
    assert_eq!(after.count.get(), 1);
    assert_eq!(port(&after.take(BACKEND, 2, (Reuse::Allowed, None), 1, || {}).unwrap().stream), expected);
}

/// Of a client, idle from `now` on; for 9 ticks if it is authenticated.
fn put_own(idle: &IdleConnections, now: u64, link: Link) -> Option<OwnPlace> {
    idle.put_own(BACKEND, 0, now, 9 * TICK, link)
}

#[tokio::test]
async fn own_connection_of_a_client_is_bound_as_others_are_unless_it_was_authenticated() {
    let listener = listener().await;
    let mut config = config(1);
    config.backends[0].options.pool = PoolOptions {
        idle: 3 * TICK,
        max_age: 10 * TICK,
        max_requests: NonZeroU32::new(2),
        ..config.backends[0].options.pool
    };
    let idle = IdleConnections::new(&config);
    let (link, _peer) = pair(&listener).await;
    let place = put_own(&idle, 1, used(link, 0)).unwrap();
    let mut link = idle.take_own(BACKEND, &place, None, 3).unwrap();
    assert!(!place.is_taken() && idle.take_own(BACKEND, &place, None, 3).is_none());
    link.serve();
    assert!(put_own(&idle, 3, link).is_none(), "it has served enough");
    let (old, _peer) = pair(&listener).await;
    assert!(put_own(&idle, 10, used(old, 0)).is_none(), "too old");
    let (link, _peer) = pair(&listener).await;
    let place = put_own(&idle, 1, used(link, 0)).unwrap();
    assert!(idle.take_own(BACKEND, &place, None, 4).is_none(), "idle for too long");
    let (link, _peer) = pair(&listener).await;
    let mut link = used(link, 0);
    link.serve();
    link.make_private();
    let place = put_own(&idle, 20, link).unwrap();
    let link = idle.take_own(BACKEND, &place, None, 28).unwrap();
    let place = put_own(&idle, 28, link).unwrap();
    assert!(idle.take_own(BACKEND, &place, None, 37).is_none(), "its client is away");
    assert_eq!(idle.count.get(), 0);
}

/// Has its other end closed it?
async fn is_closed(mut peer: TcpStream) -> bool {
    // Whatever the end is like.
    matches!(peer.read(&mut [0]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn own_connections_are_closed_by_the_sweep_however_busy_their_clients_are_elsewhere() {
    let listener = listener().await;
    let mut config = config(1);
    config.backends[0].options.pool.idle = 3 * TICK;
    let idle = IdleConnections::new(&config);
    let ((shared, peer), (private, private_peer)) = (pair(&listener).await, pair(&listener).await);
    let place = put_own(&idle, 1, used(shared, 0)).unwrap();
    let mut private = used(private, 0);
    private.make_private();
    let private = put_own(&idle, 1, private).unwrap();
    idle.sweep(3, 0);
    assert!(place.is_taken() && private.is_taken());
    idle.sweep(4, 0);
    assert!(!place.is_taken() && private.is_taken());
    assert!(is_closed(peer).await);
    idle.sweep(10, 0);
    assert!(!private.is_taken());
    assert!(is_closed(private_peer).await);
    assert_eq!(idle.count.get(), 0);
}

#[tokio::test]
async fn own_connections_are_no_more_than_are_kept_or_their_server_bears() {
    let listener = listener().await;
    for (maxconn, most) in [(None, KEPT_PER_SERVER), (Some(2), 2), (Some(1000), KEPT_PER_SERVER)] {
        let mut config = config(1);
        config.backends[0].servers[0].maxconn = maxconn;
        let idle = IdleConnections::new(&config);
        let (mut places, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..most + 2 {
            let (link, peer) = pair(&listener).await;
            let mut link = used(link, 0);
            link.make_private();
            places.push(put_own(&idle, 0, link).unwrap());
            peers.push(peer);
        }
        let open: Vec<_> = places.iter().map(OwnPlace::is_taken).collect();
        assert_eq!(open, [vec![false; 2], vec![true; most]].concat(), "the oldest are closed");
        assert!(is_closed(peers.remove(0)).await);
        assert_eq!(idle.count.get(), most);
        // They stand in nobody else's way, and nobody else gets them.
        assert!(idle.take(BACKEND, 0, (Reuse::Allowed, None), 0, || {}).is_none());
        drop(places);
        assert_eq!(idle.count.get(), 0);
        assert!(is_closed(peers.remove(1)).await);
    }
}

#[tokio::test]
async fn own_connections_of_a_server_that_moves_or_goes_are_closed() {
    let listener = listener().await;
    let before = IdleConnections::new(&config(1));
    let ((link, _peer), (other, _other_peer)) = (pair(&listener).await, pair(&listener).await);
    let place = put_own(&before, 0, used(link, 0)).unwrap();
    let after = before.next(&config(1), |id, index| Some((id, index)));
    assert!(place.is_taken(), "the next generation has its server");
    after.clear(BACKEND, 0);
    assert!(!place.is_taken());
    assert!(put_own(&after, 0, used(other, 0)).is_none(), "made to where the server was");
    let (link, _peer) = pair(&listener).await;
    let link = Link { moves: 1, ..used(link, 0) };
    let place = put_own(&after, 0, link).unwrap();
    let _gone = after.next(&config(0), |_, _| None);
    assert!(!place.is_taken());
    assert_eq!(after.count.get(), 0);
}
