//! The rules of this machine's filters, as far as they may be read.

use std::{cell::OnceCell, process::Command};

use super::chains::{Chain, met};

/// Each is asked for when it is needed first, and once.
#[derive(Debug, Default)]
pub(super) struct Rules {
    nftables: OnceCell<Option<String>>,
    ipv4: OnceCell<Option<String>>,
    ipv6: OnceCell<Option<String>>,
}

impl Rules {
    fn of_nftables(&self) -> Option<&str> {
        self.nftables.get_or_init(|| printed_by("nft", &["list", "ruleset"])).as_deref()
    }

    fn of_iptables(&self, is_ipv4: bool) -> Option<&str> {
        let (rules, program) =
            if is_ipv4 { (&self.ipv4, "iptables-save") } else { (&self.ipv6, "ip6tables-save") };
        rules.get_or_init(|| printed_by(program, &[])).as_deref()
    }

    /// Are there rules by an IPv6 destination? So much is taken for granted of rules that can't be read.
    pub(super) fn names_destinations(&self) -> bool {
        let (nftables, tables) = (self.of_nftables(), self.of_iptables(false));
        let by_nftables = nftables.is_some_and(|text| text.contains("ip6 daddr "));
        let by_tables = tables.is_some_and(|text| text.contains(" -d "));
        by_nftables || by_tables || (nftables.is_none() && tables.is_none())
    }

    /// What rules here go by that a packet which is tried has otherwise than a real one. `arrives`: it is made to come in by the interface,
    /// as one that is for all nodes on it.
    pub(super) fn blind_spot(&self, is_ipv4: bool, arrives: bool) -> Option<&'static str> {
        let texts = [self.of_nftables(), self.of_iptables(is_ipv4)];
        texts.iter().flatten().find_map(|text| blind_spot_in(text, is_ipv4, arrives))
    }

    /// Where rules are that drop, as far as that can be seen.
    pub(super) fn culprits(&self, is_ipv4: bool) -> String {
        let chains = dropping_chains(self.of_nftables().unwrap_or_default(), is_ipv4);
        if chains.is_empty() { String::new() } else { format!(" (nftables: {})", chains.join(", ")) }
    }
}

fn printed_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn blind_spot_in(ruleset: &str, is_ipv4: bool, arrives: bool) -> Option<&'static str> {
    let (lifetimes, by_lifetime) = if is_ipv4 {
        let why = "rules here go by the TTL, which is 255 in a real one, and one that is tried must leave no network";
        (["ip ttl ", "-m ttl ", "xt match \"ttl\""], why)
    } else {
        let why = "rules here go by the hop limit, which is 255 in a real one, and one that is tried must leave no network";
        (["ip6 hoplimit ", "-m hl ", "xt match \"hl\""], why)
    };
    let ways = ["meta pkttype ", "-m pkttype ", "xt match \"pkttype\""];
    let by_way = "rules here go by pkttype, and one that is tried is for all nodes of the network and not for this one alone";
    let rows = [(lifetimes, by_lifetime, true), (ways, by_way, arrives)];
    let chains = met(ruleset, is_ipv4);
    let rules = || chains.iter().flat_map(|chain| &chain.rules).filter(|rule| may_be_met(rule));
    rows.into_iter()
        .filter(|(.., counts)| *counts)
        .find(|(matches, ..)| rules().any(|rule| matches.iter().any(|one| goes_by(rule, one))))
        .map(|(_, why, _)| why)
}

/// Looks at it, and does not only set it.
fn goes_by(rule: &str, what: &str) -> bool {
    let mut found = rule.match_indices(what);
    found.any(|(at, _)| !rule.get(at + what.len()..).is_some_and(|rest| rest.starts_with("set ")))
}

/// Whether the rule may be one that advertisements meet: it is for no other protocol.
fn may_be_met(rule: &str) -> bool {
    let words = || rule.split(|one: char| !one.is_ascii_alphanumeric());
    let is_of_others = words().any(|word| matches!(word, "tcp" | "udp" | "icmp" | "icmpv6"));
    !is_of_others || words().any(|word| matches!(word, "112" | "vrrp"))
}

/// `inet filter input`, for each chain at a hook that drops something which is not for other protocols alone; where there is none, for those that
/// these lead to.
fn dropping_chains(ruleset: &str, is_ipv4: bool) -> Vec<String> {
    let mut dropping = met(ruleset, is_ipv4);
    dropping.retain(|chain| chain.rules.iter().any(|rule| may_be_met(rule) && drops(rule)));
    if dropping.iter().any(|chain| chain.is_base) {
        dropping.retain(|chain| chain.is_base);
    }
    dropping.iter().map(|Chain { table, name, .. }| format!("{table} {name}")).collect()
}

fn drops(rule: &str) -> bool {
    rule.split([' ', ';']).any(|word| word == "drop" || word == "reject")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_are_named_with_their_tables() {
        let ruleset = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 22 accept\n\t}\n\
                       \tchain other {\n\t\tdrop\n\t}\n}\ntable ip nat {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority -100; policy \
                       accept;\n\t}\n}\n";
        assert_eq!(dropping_chains(ruleset, true), ["inet filter input"]);
        // What drops is elsewhere, or is for other protocols.
        let led = ruleset.replace(
            "policy drop;\n\t\ttcp dport 22 accept",
            "policy accept;\n\t\ttcp dport 23 drop\n\t\tjump other",
        );
        assert_eq!(dropping_chains(&led, true), ["inet filter other"]);
        assert!(dropping_chains("", true).is_empty());
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
            // They set it, or stand where no advertisement of this machine or the other node comes by.
            ("\t\tmeta l4proto 112 ip ttl set 64", IPV4, None),
            ("\t\tip6 hoplimit set 64", IPV6, None),
            ("\t\tip ttl < 3 ip ttl set 64", IPV4, Some("the TTL")),
            ("\t}\n\tchain unused {\n\t\tip ttl 255 accept", IPV4, None),
            (
                "\t}\n\tchain f {\n\t\ttype filter hook forward priority 0; policy accept;\n\t\tip ttl 1 drop",
                IPV4,
                None,
            ),
            ("\t\tjump own\n\t}\n\tchain own {\n\t\tip ttl 255 accept", IPV4, Some("the TTL")),
            ("-A INPUT -m ttl ! --ttl-eq 255 -j DROP", IPV4, Some("the TTL")),
            ("-A FORWARD -m ttl --ttl-eq 1 -j DROP", IPV4, None),
            ("", IPV4_ARRIVES, None),
        ] {
            let hooked = "table inet f {\n\tchain i {\n\t\ttype filter hook input priority 0; policy drop;\n";
            let begin = if rules.starts_with("-A ") { "*filter\n" } else { hooked };
            let said = blind_spot_in(&format!("{begin}{rules}\n\t}}\n}}\n"), is_ipv4, arrives);
            let expected = expected.map(|what| format!("rules here go by {what},"));
            let begins = match (said, &expected) {
                (Some(said), Some(expected)) => said.starts_with(expected.as_str()),
                (said, expected) => said.is_none() && expected.is_none(),
            };
            assert!(begins, "{rules}: {said:?}");
        }
    }
}
