//! One lookup: files, then nameservers.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

use super::{
    Answer, ResolveError, ResolverConfig,
    message::{self, Kind, MAX_MESSAGE, Name, Response},
    system,
};

/// How often every nameserver is asked before a lookup fails.
const ROUNDS: usize = 2;

/// What `hosts` says is looked at again after this.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// The addresses of `host`.
///
/// # Errors
/// Nobody knows any, or nobody answers.
pub async fn lookup(config: &ResolverConfig, host: &str) -> Result<Answer, ResolveError> {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut addresses = system::hosts(&read(&config.hosts), host);
    if !addresses.is_empty() {
        addresses.sort_unstable();
        return Ok(Answer { addresses, ttl: HOSTS_TTL });
    }
    let (found, search) = system::resolv_conf(&read(&config.resolv_conf));
    let nameservers = if config.nameservers.is_empty() { &found } else { &config.nameservers };
    let mut outcome = Err(ResolveError::NoNameserver(config.resolv_conf.clone()));
    for candidate in candidates(host, &search) {
        let name = Name::parse(&candidate).ok_or(ResolveError::Name)?;
        outcome = of_name(config, nameservers, &name).await;
        if !matches!(outcome, Err(ResolveError::NoSuchName(_) | ResolveError::NoAddress(_))) {
            break;
        }
    }
    outcome
}

/// A name without a dot is looked for in the domains of `search` first.
fn candidates(host: &str, search: &[String]) -> Vec<String> {
    let own = host.to_owned();
    if host.contains('.') {
        return vec![own];
    }
    search.iter().map(|domain| format!("{host}.{domain}")).chain([own]).collect()
}

async fn of_name(
    config: &ResolverConfig,
    nameservers: &[SocketAddr],
    name: &Name,
) -> Result<Answer, ResolveError> {
    let mut nobody = ResolveError::NoNameserver(config.resolv_conf.clone());
    for kind in [Kind::A, Kind::Aaaa] {
        match ask_all(config, nameservers, name, kind).await? {
            (_, mut addresses, ttl) if !addresses.is_empty() => {
                addresses.sort_unstable();
                addresses.dedup();
                return Ok(Answer { addresses, ttl: Duration::from_secs(ttl.into()) });
            }
            (server, ..) => nobody = ResolveError::NoAddress(server),
        }
    }
    Err(nobody)
}

/// Asks one after the other until one knows.
async fn ask_all(
    config: &ResolverConfig,
    nameservers: &[SocketAddr],
    name: &Name,
    kind: Kind,
) -> Result<(SocketAddr, Vec<IpAddr>, u32), ResolveError> {
    let mut error = ResolveError::NoNameserver(config.resolv_conf.clone());
    for &server in (0..ROUNDS).flat_map(|_| nameservers) {
        error = match timeout(config.timeout, ask(server, name, kind)).await {
            Ok(Ok(Response::Addresses(addresses, ttl))) => return Ok((server, addresses, ttl)),
            Ok(Ok(Response::NoSuchName)) => return Err(ResolveError::NoSuchName(server)),
            Ok(Ok(Response::Refused(code))) => ResolveError::Refused { server, code },
            Ok(Err(error)) => {
                // Refused at once: do not ask again in the same moment.
                tokio::time::sleep(config.timeout / 10).await;
                ResolveError::Unreachable { server, why: crate::health::probe::describe(&error) }
            }
            Err(_) => ResolveError::TimedOut(server),
        };
    }
    Err(error)
}

/// From a port and with a number that nobody can guess; whatever is no answer to it is ignored.
async fn ask(server: SocketAddr, name: &Name, kind: Kind) -> io::Result<Response> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let [high, low, ..] = RandomState::new().hash_one(0).to_be_bytes();
    let id = u16::from_be_bytes([high, low]);
    socket.send(&message::question(id, name, kind)).await?;
    let mut bytes = [0; MAX_MESSAGE];
    loop {
        let length = socket.recv(&mut bytes).await?;
        if let Ok(response) = message::response(&bytes[..length], id, name, kind) {
            return Ok(response);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_without_a_dot_is_looked_for_in_the_search_domains_first() {
        let search = ["a.example".to_owned(), "b.example".to_owned()];
        assert_eq!(candidates("app", &search), ["app.a.example", "app.b.example", "app"]);
        assert_eq!(candidates("app.internal", &search), ["app.internal"]);
        assert_eq!(candidates("app.", &search), ["app."]);
    }
}
