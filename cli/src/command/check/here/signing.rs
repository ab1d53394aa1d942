//! `check --here`: can the lbctl that runs here take over `sign_advertisements`? Its status knows how far it and the other nodes are.

use std::time::Duration;

use super::{Finding, warning};
use crate::{
    config::Config,
    control::{
        Status,
        client::{Client, DEFAULT_SOCKET},
    },
    signing::{Other, conflicts, skipped, word},
};

/// Who looks does not wait for a daemon that is stuck.
const DEADLINE: Duration = Duration::from_secs(3);

/// What a reload would refuse, or what goes wrong after a restart. Nothing if no lbctl runs here.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    if config.groups.is_empty() {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let status = runtime.ok().and_then(|runtime| {
        runtime
            .block_on(async { Client::new(DEFAULT_SOCKET).get::<Status>("/v1/status", DEADLINE).await.ok() })
    });
    status.map_or_else(Vec::new, |answer| findings(config, &answer.value))
}

fn findings(config: &Config, status: &Status) -> Vec<Finding> {
    let step = config.cluster.sign_advertisements;
    if status.signs == word(step) {
        return Vec::new();
    }
    let skips = skipped(&status.signs, step).map(|between| {
        format!(
            "sign_advertisements goes from \"{}\" to \"{}\": go through \"{between}\", on all nodes each time, or one would drop what \
             another sends",
            status.signs,
            word(step)
        )
    });
    let others = status.peers.iter().filter(|peer| peer.heard.is_some() && !peer.silent);
    let others: Vec<_> =
        others.map(|peer| Other { name: peer.name.clone(), signs: peer.signs.clone() }).collect();
    skips.into_iter().chain(conflicts(step, &others)).map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
                        [vip.web]\nvrid = 51\naddresses = [\"192.0.2.10\"]\n\
                        [listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\"]\n";

    /// As a daemon answers whose step and whose other node's are these.
    fn status(signs: &str, theirs: Option<&str>) -> Status {
        let json = serde_json::json!({
            "at": "2026-09-21T14:03:00Z", "node": "lb1", "version": "0.1.0", "pid": 7,
            "started": "2026-09-21T14:00:00Z", "phase": "running", "signs": signs,
            "file": { "path": "lb.toml", "hash": "8f31c2" },
            "peers": [{
                "name": "lb2", "address": "192.0.2.12", "says_hello": true, "heard": "2026-09-21T14:02:59Z",
                "silent": false, "version": "0.1.0", "hash": "8f31c2", "signs": theirs
            }]
        });
        serde_json::from_value(json).expect("a status")
    }

    #[test]
    fn step_that_is_skipped_and_one_that_is_too_early_are_told() {
        let mut config = crate::config::parse(PAIR, "lb.toml").expect("a good file");
        let mut told = |step, signs, theirs| {
            config.cluster.sign_advertisements = step;
            let findings = findings(&config, &status(signs, theirs));
            assert!(findings.iter().all(|finding| !finding.fatal));
            findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>()
        };
        use lb_vrrp::Step::{Require, Send};
        assert!(told(None, "off", None).is_empty());
        assert!(told(Some(Send), "off", Some("off")).is_empty());
        assert!(told(Some(Require), "require", Some("off")).is_empty(), "it runs so already");
        assert_eq!(
            told(Some(Require), "off", Some("off")),
            [
                "sign_advertisements goes from \"off\" to \"require\": go through \"send\", on all nodes each time, or one would drop \
                 what another sends",
                "sign_advertisements: lb2 does not sign its advertisements yet, and they would be dropped; take it to \"send\" first"
            ]
        );
        assert_eq!(told(Some(Require), "accept", Some("off")).len(), 1);
        assert_eq!(told(Some(Send), "off", None).len(), 1, "a program of before");
    }
}
