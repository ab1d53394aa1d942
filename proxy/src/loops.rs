//! Servers that are listeners of the same configuration: what is sent to them comes back.
//!
//! One frontend in front of another, by way of a server, is nothing special. A loop is one whose connections can come to the
//! server again from which they came. Only rules can break it, and which do is not asked.

use std::net::{IpAddr, UdpSocket};

use crate::config::{Address, Backend, BackendId, Frontend};

/// The frontend that listens on `address`, if what `backend` sends there can come to `backend` again. `is_here` says whether an
/// address belongs to this machine; it is asked of those that a listener for all addresses may get.
pub fn leads_back<'f>(
    (frontends, backends): (&'f [Frontend], &[Backend]),
    backend: BackendId,
    address: &Address,
    is_here: impl Fn(IpAddr) -> bool,
) -> Option<&'f Frontend> {
    let listeners = |address: &Address| {
        let of =
            |(index, frontend): (usize, &Frontend)| listens(frontend, address, &is_here).then_some(index);
        frontends.iter().enumerate().filter_map(of).collect::<Vec<_>>()
    };
    listeners(address).into_iter().find_map(|first| {
        let (mut seen, mut ahead) = (vec![false; frontends.len()], vec![first]);
        while let Some(index) = ahead.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            for used in frontends[index].backends() {
                if used == backend {
                    return Some(&frontends[first]);
                }
                let servers = backends.get(used.0).into_iter().flat_map(|backend| &backend.servers);
                ahead.extend(servers.filter_map(|server| server.address.fixed()).flat_map(&listeners));
            }
        }
        None
    })
}

/// May a socket of this machine have `address`, without IP_FREEBIND? Also what only a route makes ours.
pub fn is_here(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    !bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrNotAvailable)
}

fn listens(frontend: &Frontend, address: &Address, is_here: impl Fn(IpAddr) -> bool) -> bool {
    match address {
        Address::Unix(unix) => frontend.unix.iter().any(|bind| bind.address == *unix),
        Address::Ip(address) => frontend.binds.iter().map(|bind| bind.address).any(|bound| {
            let (ip, own) = (address.ip(), bound.ip());
            bound.port() == address.port()
                && (own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() && is_here(ip))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{Bind, Mode, Server};

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 10], port))
    }

    /// Frontends `f0`, `f1`, .. on these addresses, each in front of the backend with its index, which has that server.
    fn chain(links: &[(SocketAddr, SocketAddr)]) -> (Vec<Frontend>, Vec<Backend>) {
        let frontend = |(index, (bound, _)): (usize, &(SocketAddr, SocketAddr))| Frontend {
            default_backend: Some(BackendId(index)),
            ..Frontend::new(
                format!("f{index}"),
                Mode::Tcp,
                vec![Bind { label: bound.to_string(), address: *bound, accept_proxy: None }],
            )
        };
        let backend =
            |(_, to): &(SocketAddr, SocketAddr)| Backend::new("b", Mode::Tcp, vec![Server::new("s", *to)]);
        (links.iter().enumerate().map(frontend).collect(), links.iter().map(backend).collect())
    }

    fn found(links: &[(SocketAddr, SocketAddr)], is_here: bool) -> Vec<Option<String>> {
        let (frontends, backends) = chain(links);
        let one = |(index, (_, to)): (usize, &(SocketAddr, SocketAddr))| {
            let found = leads_back((&frontends, &backends), BackendId(index), &(*to).into(), |_| is_here);
            found.map(|frontend| frontend.name.clone())
        };
        links.iter().enumerate().map(one).collect()
    }

    #[test]
    fn loop_is_found_however_many_frontends_it_has_and_a_chain_is_none() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(found(&[(at(80), at(80))], false), [some("f0")]);
        assert_eq!(found(&[(at(80), at(81)), (at(81), at(82))], false), [None, None]);
        assert_eq!(
            found(&[(at(80), at(81)), (at(81), at(82)), (at(82), at(80))], false),
            [some("f1"), some("f2"), some("f0")]
        );
        // Into a loop, and no part of it.
        assert_eq!(found(&[(at(80), at(81)), (at(81), at(81))], false), [None, some("f1")]);
    }

    #[test]
    fn listener_for_all_addresses_gets_what_goes_to_this_machine() {
        let all = SocketAddr::from(([0, 0, 0, 0], 80));
        assert_eq!(found(&[(all, at(80))], false), [None]);
        assert_eq!(found(&[(all, at(80))], true), [Some("f0".to_owned())]);
        assert_eq!(found(&[(all, "[2001:db8::1]:80".parse().unwrap())], true), [None]);
        assert_eq!(found(&[(all, at(81))], true), [None]);
    }
}
