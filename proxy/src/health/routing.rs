//! Which servers are usable: what the workers are told.

use std::{borrow::Cow, sync::Arc, time::Instant};

use super::{server::ServerHealth, slowstart::Share};
use crate::{
    config::{Backend, BackendId},
    node::{Node, Routing},
    status::ServerState,
    upstream::balance::Usable,
};

/// Of all backends.
pub(crate) fn routing(node: &Node, now: Instant) -> Routing {
    let usable = |index| {
        let id = BackendId(index);
        Arc::new(usable(node.backend(id), &node.health(id), now))
    };
    Routing { backends: (0..node.backends.len()).map(usable).collect() }
}

/// At least for clients that persist on it.
const UP: [ServerState; 4] =
    [ServerState::Up, ServerState::NoCheck, ServerState::NoBalance, ServerState::Drain];

/// Of one backend: those that are up; those not checked yet only where no other is left, and those that the
/// configuration in force does not have only where not even that. New requests go to backup
/// servers only where none of the others takes any: to the first of them, or to all with `all_backups`. Requests that
/// had a server before go there whatever its weight.
pub(crate) fn usable(backend: &Backend, servers: &[ServerHealth], now: Instant) -> Usable {
    let backend = &*weighed(backend, servers);
    let in_state = |wanted: &[ServerState], is_retired: bool| -> Vec<usize> {
        let fits = |known: &ServerHealth| {
            wanted.contains(&known.state()) && known.address.is_some() && known.is_retired == is_retired
        };
        (0..servers.len()).filter(|&server| fits(&servers[server])).collect()
    };
    let of = |fit: &[usize]| {
        let new = for_new_requests(backend, fit);
        Usable::new(
            backend,
            new.into_iter().map(|server| (server, share(backend, &servers[server], now))),
            fit.iter().copied(),
            servers.iter().map(|server| server.address.clone()),
        )
    };
    let [up, no_check, no_balance, drain] = UP;
    let unchecked = [up, no_check, no_balance, drain, ServerState::Unchecked];
    let usable = of(&in_state(&UP, false));
    if !usable.is_empty() {
        return usable;
    }
    let usable = of(&in_state(&unchecked, false));
    if !usable.is_empty() || !servers.iter().any(|server| server.is_retired) {
        return usable;
    }
    of(&in_state(&unchecked, true))
}

/// The backend with the weights that its agents and checks want; 0 where only clients may go that persist.
fn weighed<'b>(backend: &'b Backend, servers: &[ServerHealth]) -> Cow<'b, Backend> {
    let weights = || backend.servers.iter().zip(servers).map(|(config, known)| known.weight(config));
    if weights().zip(&backend.servers).all(|(weight, config)| weight == config.weight) {
        return Cow::Borrowed(backend);
    }
    let mut weighed = backend.clone();
    for (server, weight) in weighed.servers.iter_mut().zip(weights()) {
        server.weight = weight;
    }
    Cow::Owned(weighed)
}

fn for_new_requests(backend: &Backend, fit: &[usize]) -> Vec<usize> {
    let (mut backups, others): (Vec<_>, Vec<_>) = fit
        .iter()
        .copied()
        .filter(|&server| backend.servers[server].weight > 0)
        .partition(|&server| backend.servers[server].backup);
    if !others.is_empty() {
        return others;
    }
    if !backend.all_backups {
        backups.truncate(1);
    }
    backups
}

/// Of its weight and `maxconn`.
pub(crate) fn share(backend: &Backend, server: &ServerHealth, now: Instant) -> Share {
    server
        .came_back
        .map_or_else(Share::default, |at| Share::after(now.saturating_duration_since(at), backend.slowstart))
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use ServerState::{Down, NoBalance, Unchecked, Up};

    use super::*;
    use crate::{
        config::{Mode, Server},
        upstream::{
            Preference,
            balance::{Pick, Turns},
        },
    };

    /// Two servers and two backups.
    fn backend() -> Backend {
        let server = |name: &str| Server::new(name, SocketAddr::from(([192, 0, 2, 1], 80)));
        let backup = |name: &str| Server { backup: true, ..server(name) };
        Backend::new("back", Mode::Http, vec![server("a"), server("b"), backup("c"), backup("d")])
    }

    fn health(states: [ServerState; 4]) -> Vec<ServerHealth> {
        states.map(ServerHealth::in_state).into()
    }

    /// Who gets eight new requests.
    fn served(backend: &Backend, states: [ServerState; 4]) -> Vec<usize> {
        let usable = usable(backend, &health(states), Instant::now());
        let turns = Turns::default();
        let picks = (0..8).filter_map(|_| match usable.pick(&turns, &[], |_| 0, |_| true) {
            Pick::Server(server) => Some(server),
            Pick::Full(..) | Pick::None => None,
        });
        let mut served: Vec<_> = picks.collect();
        served.sort_unstable();
        served.dedup();
        served
    }

    #[test]
    fn backup_servers_are_used_only_when_no_other_is_usable() {
        let mut backend = backend();
        assert_eq!(served(&backend, [Up, Up, Up, Up]), [0, 1]);
        assert_eq!(served(&backend, [Down, Up, Up, Up]), [1]);
        assert_eq!(served(&backend, [Down, Down, Up, Up]), [2]);
        assert_eq!(served(&backend, [Down, Down, Down, Up]), [3]);
        assert_eq!(served(&backend, [Down, Down, Down, Down]), [0; 0]);
        backend.all_backups = true;
        assert_eq!(served(&backend, [Up, Down, Up, Up]), [0]);
        assert_eq!(served(&backend, [Down, Down, Up, Up]), [2, 3]);
        // A server with weight 0 takes no new requests, so it keeps no backup idle.
        backend.servers[0].weight = 0;
        assert_eq!(served(&backend, [Up, Down, Up, Up]), [2, 3]);
    }

    #[test]
    fn server_that_was_not_checked_yet_is_used_when_nothing_else_is_left() {
        let backend = backend();
        assert_eq!(served(&backend, [Unchecked, Unchecked, Unchecked, Unchecked]), [0, 1]);
        assert_eq!(served(&backend, [Unchecked, Up, Unchecked, Unchecked]), [1]);
        assert_eq!(served(&backend, [Unchecked, Down, Up, Down]), [2]);
    }

    #[test]
    fn server_that_the_configuration_in_force_does_not_have_is_used_when_nothing_else_is_left() {
        let backend = backend();
        let served = |states: [ServerState; 4], retired: &[usize]| {
            let mut servers = health(states);
            retired.iter().for_each(|&server| servers[server].is_retired = true);
            let usable = usable(&backend, &servers, Instant::now());
            let turns = Turns::default();
            let mut served: Vec<_> = (0..8).map(|_| usable.pick(&turns, &[], |_| 0, |_| true)).collect();
            served.dedup();
            (served, usable.keeps(0))
        };
        assert_eq!(served([Up, Up, Down, Down], &[0]), (vec![Pick::Server(1)], false));
        assert_eq!(served([Up, Unchecked, Down, Down], &[0]), (vec![Pick::Server(1)], false));
        assert_eq!(served([Up, Down, Down, Down], &[0]), (vec![Pick::Server(0)], true));
        assert_eq!(served([Down, Down, Down, Down], &[0]), (vec![Pick::None], false));
    }

    #[test]
    fn request_keeps_a_server_that_gets_nothing_new_but_none_that_is_down() {
        let mut backend = backend();
        backend.servers[0].weight = 0;
        let usable = usable(&backend, &health([Up, Up, Up, Down]), Instant::now());
        let wanted =
            |server| usable.wanted(Preference { server: Some(server), ..Preference::default() }, &[]);
        assert_eq!([0, 1, 2, 3].map(wanted), [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn server_that_is_out_of_the_balance_keeps_its_clients_and_makes_way_for_a_backup() {
        let backend = backend();
        assert_eq!(served(&backend, [NoBalance, Up, Up, Down]), [1]);
        assert_eq!(served(&backend, [NoBalance, NoBalance, Up, Down]), [2]);
        let usable = usable(&backend, &health([NoBalance, Up, Up, Down]), Instant::now());
        assert_eq!(usable.wanted(Preference { server: Some(0), ..Preference::default() }, &[]), Some(0));
    }

    #[test]
    fn server_that_came_back_gets_its_weight_and_its_limit_little_by_little() {
        let mut backend = backend();
        backend.slowstart = Duration::from_secs(10);
        let mut servers = health([Up, Up, Down, Down]);
        let now = Instant::now();
        servers[0].came_back = Some(now);
        let counts = |after| {
            let usable = usable(&backend, &servers, now + Duration::from_secs(after));
            let turns = Turns::default();
            let firsts = (0..420).filter(|_| usable.pick(&turns, &[], |_| 0, |_| true) == Pick::Server(0));
            (firsts.count(), usable.maxconn(0, 100), usable.maxconn(1, 100))
        };
        // 1 : 20, 10 : 20 and 20 : 20 of 420.
        assert_eq!(counts(0), (20, 5, 100));
        assert_eq!(counts(5), (140, 50, 100));
        assert_eq!(counts(10), (210, 100, 100));
    }
}
