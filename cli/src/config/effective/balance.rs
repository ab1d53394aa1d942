//! `balance` and its companions.

use lb_proxy::config::{Backend, Balance, HashKey, HashKind};

use super::{line, quoted, time};

pub(super) fn write(out: &mut String, backend: &Backend) {
    let word = match &backend.balance {
        Balance::RoundRobin => quoted("roundrobin"),
        Balance::LeastConn => quoted("leastconn"),
        Balance::Random => quoted("random"),
        Balance::First => quoted("first"),
        Balance::Hash { key, .. } => hash(key),
    };
    line(out, "balance", word);
    if let Balance::Hash { kind, .. } = backend.balance {
        let kind = match kind {
            HashKind::Consistent => "consistent",
            HashKind::Map => "map",
        };
        line(out, "hash_type", quoted(kind));
    }
    line(out, "allbackups", backend.all_backups);
    if backend.slowstart.is_zero() {
        out.push_str("# slowstart: none, a server that comes back gets its share at once\n");
    } else {
        line(out, "slowstart", time(backend.slowstart));
    }
}

fn hash(key: &HashKey) -> String {
    match key {
        HashKey::Source => quoted("source"),
        HashKey::Header(name) => format!("{{ header = {} }}", quoted(name)),
        HashKey::Query(name) => format!("{{ query = {} }}", quoted(name)),
        HashKey::Uri(part) => {
            let mut keys = vec![format!("whole = {}", part.whole), format!("path_only = {}", part.path_only)];
            keys.extend(part.length.map(|length| format!("length = {length}")));
            keys.extend(part.depth.map(|depth| format!("depth = {depth}")));
            format!("{{ uri = {{ {} }} }}", keys.join(", "))
        }
    }
}
