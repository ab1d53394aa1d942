//! What the machine knows of names: `/etc/hosts` (hosts(5)) and `/etc/resolv.conf` (resolv.conf(5)).

use std::net::{IpAddr, SocketAddr};

/// The addresses of a host, of the first family that has any.
pub(super) fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let all: Vec<IpAddr> = lines
        .filter_map(|mut words| {
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect();
    let ipv4: Vec<_> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    if ipv4.is_empty() { all } else { ipv4 }
}

/// The nameservers, and the domains in which a name without a dot is looked for.
pub(super) fn resolv_conf(text: &str) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut nameservers, mut search) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                nameservers.extend(address.map(|address| SocketAddr::new(address, 53)));
            }
            // The last one counts.
            Some("search" | "domain") => search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    (nameservers, search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_file_is_read_as_hosts_5_says() {
        let text =
            "127.0.0.1 localhost # me\n# 192.0.2.9 app\n::1 app\n192.0.2.1\tother App app2\n192.0.2.2 app\n";
        assert_eq!(hosts(text, "app."), [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])]);
        assert_eq!(hosts("::1 ip6-localhost", "ip6-localhost"), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(hosts(text, "ap").is_empty());
    }

    #[test]
    fn resolv_conf_names_who_is_asked_and_where_short_names_are_looked_for() {
        let text = "# c\ndomain a.example\nnameserver 192.0.2.53\nnameserver ::1 x\nnameserver no\nsearch b.example c.example\n";
        let (nameservers, search) = resolv_conf(text);
        assert_eq!(nameservers, ["192.0.2.53:53", "[::1]:53"].map(|text| text.parse().unwrap()));
        assert_eq!(search, ["b.example", "c.example"]);
    }
}
