//! The rules of this machine's filters, as far as they may be read.

use std::process::Command;

/// The rules of nftables.
fn ruleset() -> Option<String> {
    printed_by("nft", &["list", "ruleset"])
}

fn printed_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Are there rules by an IPv6 destination? So much is taken for granted of rules that can't be read.
pub(super) fn names_destinations() -> bool {
    let (nftables, tables) = (ruleset(), printed_by("ip6tables-save", &[]));
    let by_nftables = nftables.as_ref().is_some_and(|text| text.contains("ip6 daddr "));
    let by_tables = tables.as_ref().is_some_and(|text| text.contains(" -d "));
    by_nftables || by_tables || (nftables.is_none() && tables.is_none())
}

/// What rules here go by that a packet which is tried has otherwise than a real one. `arrives`: it is made to come in by the interface,
/// as one that is for all nodes on it.
pub(super) fn blind_spot(is_ipv4: bool, arrives: bool) -> Option<&'static str> {
    let save = if is_ipv4 { "iptables-save" } else { "ip6tables-save" };
    let texts = [ruleset(), printed_by(save, &[])];
    texts.iter().flatten().find_map(|text| blind_spot_in(text, is_ipv4, arrives))
}

fn blind_spot_in(rules: &str, is_ipv4: bool, arrives: bool) -> Option<&'static str> {
    let (lifetimes, by_lifetime) = if is_ipv4 {
        let why = "rules here go by the TTL, which is 255 in a real one, and one that is tried must leave no network";
        (["ip ttl ", " -m ttl ", "xt match \"ttl\""], why)
    } else {
        let why = "rules here go by the hop limit, which is 255 in a real one, and one that is tried must leave no network";
        (["ip6 hoplimit ", " -m hl ", "xt match \"hl\""], why)
    };
    let ways = ["meta pkttype ", " -m pkttype ", "xt match \"pkttype\""];
    let by_way = "rules here go by pkttype, and one that is tried is for all nodes of the network and not for this one alone";
    let rows = [(lifetimes, by_lifetime, true), (ways, by_way, arrives)];
    let lines = || rules.lines().filter(|line| may_be_met(line));
    rows.into_iter()
        .filter(|(.., counts)| *counts)
        .find(|(matches, ..)| lines().any(|line| matches.iter().any(|one| line.contains(one))))
        .map(|(_, why, _)| why)
}

/// Whether the rule may be one that advertisements meet: it is for no other protocol.
fn may_be_met(rule: &str) -> bool {
    let words = || rule.split(|one: char| !one.is_ascii_alphanumeric());
    let is_of_others = words().any(|word| matches!(word, "tcp" | "udp" | "icmp" | "icmpv6"));
    !is_of_others || words().any(|word| matches!(word, "112" | "vrrp"))
}

/// Where rules are that drop, as far as that can be seen.
pub(super) fn culprits() -> String {
    let chains = dropping_chains(&ruleset().unwrap_or_default());
    if chains.is_empty() { String::new() } else { format!(" (nftables: {})", chains.join(", ")) }
}

/// `inet filter input`, for each chain at input or output that drops something.
fn dropping_chains(ruleset: &str) -> Vec<String> {
    let (mut table, mut chain, mut is_base, mut found) = (String::new(), String::new(), false, Vec::new());
    for line in ruleset.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches('{').trim().to_owned();
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches('{').trim().to_owned();
            is_base = false;
        }
        is_base |= ["hook input", "hook output", "hook prerouting", "hook postrouting"]
            .iter()
            .any(|hook| line.contains(hook));
        let name = format!("{table} {chain}");
        let drops = line.split([' ', ';']).any(|word| word == "drop" || word == "reject");
        if is_base && drops && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_are_named_with_their_tables() {
        let ruleset = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 22 accept\n\t}\n\
                       \tchain other {\n\t\tdrop\n\t}\n}\ntable ip nat {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy \
                       accept;\n\t}\n}\n";
        assert_eq!(dropping_chains(ruleset), ["inet filter input"]);
        assert!(dropping_chains("").is_empty());
    }

    /// What a packet that leaves no machine can't have.
    #[test]
    fn what_rules_go_by_and_a_packet_that_is_tried_has_not_is_said() {
        const IPV4: (bool, bool) = (true, false);
        const IPV4_ARRIVES: (bool, bool) = (true, true);
        const IPV6: (bool, bool) = (false, false);
        for (rules, (is_ipv4, arrives), expected) in [
            ("\t\tip ttl 255 ip protocol vrrp accept", IPV4, Some("the TTL")),
            ("\t\tip ttl 255 ip protocol vrrp accept", IPV6, None),
            ("\t\tip ttl != 255 drop", IPV4, Some("the TTL")),
            ("\t\tip6 hoplimit 255 meta l4proto 112 accept", IPV6, Some("the hop limit")),
            ("-A INPUT -p vrrp -m ttl --ttl-eq 255 -j ACCEPT", IPV4, Some("the TTL")),
            ("-A INPUT -p 112 -m hl --hl-eq 255 -j ACCEPT", IPV6, Some("the hop limit")),
            ("\t\tmeta l4proto 112 xt match \"ttl\" accept", IPV4, Some("the TTL")),
            ("\t\tmeta pkttype != host drop", IPV4_ARRIVES, Some("pkttype")),
            // To the group and back it comes as a real one does.
            ("\t\tmeta pkttype != host drop", IPV4, None),
            ("\t\tmeta l4proto 112 accept\n\t\tip saddr 192.0.2.12 accept", IPV4_ARRIVES, None),
            // No advertisement meets these.
            ("\t\tip ttl 1 udp dport 33434-33534 reject", IPV4, None),
            ("-A INPUT -p tcp -m ttl --ttl-eq 255 -j ACCEPT", IPV4, None),
            ("\t\tmeta l4proto { tcp, 112 } ip ttl 255 accept", IPV4, Some("the TTL")),
            ("", IPV4_ARRIVES, None),
        ] {
            let said = blind_spot_in(rules, is_ipv4, arrives);
            let expected = expected.map(|what| format!("rules here go by {what},"));
            let begins = match (said, &expected) {
                (Some(said), Some(expected)) => said.starts_with(expected.as_str()),
                (said, expected) => said.is_none() && expected.is_none(),
            };
            assert!(begins, "{rules}: {said:?}");
        }
    }
}
