//! The chains of a ruleset, as nft(8) and iptables-save(8) print it, and which of them a packet from or to this machine can meet.

use std::collections::BTreeSet;

/// Hooks that such a packet passes. One that is forwarded is another one.
const HOOKS: [&str; 6] = ["ingress", "egress", "prerouting", "input", "output", "postrouting"];

/// The same of iptables.
const BUILT_IN: [&str; 4] = ["INPUT", "OUTPUT", "PREROUTING", "POSTROUTING"];

/// See the module.
#[derive(Debug)]
pub(super) struct Chain<'r> {
    /// `inet filter`; of iptables `filter`.
    pub(super) table: &'r str,
    pub(super) name: &'r str,
    /// It is at one of [`HOOKS`] by itself.
    pub(super) is_base: bool,
    /// With that of its hook and policy, if it has one.
    pub(super) rules: Vec<&'r str>,
}

impl<'r> Chain<'r> {
    /// Of its table, those that a packet may go on to from here.
    fn leads_to(&self) -> BTreeSet<&'r str> {
        let mut all = BTreeSet::new();
        for rule in &self.rules {
            let words: Vec<_> =
                rule.split([' ', ',', ';', '{', '}']).filter(|word| !word.is_empty()).collect();
            let leads = words.windows(2).filter(|pair| matches!(pair[0], "jump" | "goto" | "-j" | "-g"));
            all.extend(leads.map(|pair| pair[1]));
        }
        all
    }

    /// Whether packets of the family go through its table. Those of a bridge go through it as well where an interface is one.
    fn is_for(&self, is_ipv4: bool) -> bool {
        match self.table.split(' ').next() {
            Some("ip") => is_ipv4,
            Some("ip6") => !is_ipv4,
            Some("arp") => false,
            Some(_) | None => true,
        }
    }
}

/// The chains that a packet of the family can meet: those at a hook, and those that they lead to.
pub(super) fn met(ruleset: &str, is_ipv4: bool) -> Vec<Chain<'_>> {
    let mut open = all(ruleset);
    open.retain(|chain| chain.is_for(is_ipv4));
    let (mut met, mut others): (Vec<_>, Vec<_>) = open.into_iter().partition(|chain| chain.is_base);
    let mut looked = 0;
    while let Some((table, to)) = met.get(looked).map(|from| (from.table, from.leads_to())) {
        let is_next = |chain: &Chain<'_>| chain.table == table && to.contains(chain.name);
        let (next, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_next);
        met.extend(next);
        (others, looked) = (rest, looked + 1);
    }
    met
}

/// In the order of the ruleset.
fn all(ruleset: &str) -> Vec<Chain<'_>> {
    let (mut table, mut chains) = ("", Vec::<Chain<'_>>::new());
    for line in ruleset.lines().map(str::trim).filter(|line| !matches!(*line, "" | "}")) {
        let block = |word: &str| Some(line.strip_prefix(word)?.strip_suffix('{')?.trim_end());
        if let Some(name) = block("table ").or_else(|| line.strip_prefix('*')) {
            table = name;
        } else if let Some(name) = block("chain ") {
            chains.push(Chain { table, name, is_base: false, rules: Vec::new() });
        } else if let Some(name) = block("map ") {
            // Any rule may look a chain up in it.
            chains.push(Chain { table, name, is_base: true, rules: Vec::new() });
        } else if let Some((name, rule)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
            let known = chains.iter().position(|chain| (chain.table, chain.name) == (table, name));
            let at = known.unwrap_or_else(|| {
                chains.push(Chain { table, name, is_base: BUILT_IN.contains(&name), rules: Vec::new() });
                chains.len() - 1
            });
            chains[at].rules.push(rule);
        } else if let Some(chain) = chains.last_mut().filter(|chain| chain.table == table) {
            let hook = line
                .strip_prefix("type ")
                .and_then(|rest| rest.split(' ').skip_while(|word| *word != "hook").nth(1));
            chain.is_base |= hook.is_some_and(|hook| HOOKS.contains(&hook));
            chain.rules.push(line);
        }
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ruleset: &str, is_ipv4: bool) -> Vec<String> {
        met(ruleset, is_ipv4).iter().map(|chain| format!("{} {}", chain.table, chain.name)).collect()
    }

    #[test]
    fn chains_at_a_hook_and_those_that_they_lead_to_are_met() {
        let ruleset = "table inet f {\n\tmap by_protocol {\n\t\ttype inet_proto : verdict\n\t\telements = { 112 : jump looked_up, 6 : accept }\n\t}\n\n\
             \tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tip protocol vmap { 112 : jump vrrp, 1 : goto icmp }\n\
             \t\tmeta l4proto vmap @by_protocol\n\t}\n\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tjump of_others\n\t}\n\n\
             \tchain vrrp {\n\t\tjump deeper\n\t}\n\n\tchain deeper {\n\t\tjump vrrp\n\t}\n\n\tchain icmp {\n\t}\n\n\tchain of_others {\n\t}\n\n\
             \tchain looked_up {\n\t}\n\n\tchain unused {\n\t\tdrop\n\t}\n}\ntable inet g {\n\tchain vrrp {\n\t\tdrop\n\t}\n}\n\
             table ip6 h {\n\tchain out {\n\t\ttype filter hook output priority filter; policy accept;\n\t}\n}\n";
        let expected = [
            "inet f by_protocol",
            "inet f input",
            "inet f looked_up",
            "inet f vrrp",
            "inet f icmp",
            "inet f deeper",
        ];
        assert_eq!(names(ruleset, true), expected);
        assert_eq!(names(ruleset, false).last().map(String::as_str), Some("inet f deeper"));
        assert!(names(ruleset, false).contains(&"ip6 h out".to_owned()));
        let rules =
            met(ruleset, true).into_iter().find(|chain| chain.name == "deeper").map(|chain| chain.rules);
        assert_eq!(rules, Some(vec!["jump vrrp"]));
        assert!(names("", true).is_empty());
    }

    #[test]
    fn chains_of_iptables_are_met_where_they_are_built_in_or_jumped_to() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:ours - [0:0]\n:theirs - [0:0]\n-A INPUT -p vrrp -j ours\n\
             -A FORWARD -j theirs\n-A ours -m ttl --ttl-eq 255 -j ACCEPT\n-A theirs -j DROP\nCOMMIT\n*mangle\n-A POSTROUTING -j MARK\nCOMMIT\n";
        assert_eq!(names(saved, true), ["filter INPUT", "mangle POSTROUTING", "filter ours"]);
    }
}
