//! What the daemon of a node says of itself, asked on its control socket.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::node::Node;
use crate::control::{GroupNode, Phase, Ready, Status};

/// The control socket, in the node's own /run.
const SOCKET: &str = "/run/lbctl/control.sock";
/// A daemon that takes longer is not well.
const LIMIT: Duration = Duration::from_millis(500);
/// No status is longer.
const MAX_ANSWER: u64 = 4 << 20;

/// Asks the daemon of `node`.
pub(crate) fn ask(node: &Node) -> anyhow::Result<Status> {
    // A thread of its own in the node's namespaces: the node's thread must never wait for a daemon that may be frozen.
    let asking = node.run(|| thread::Builder::new().name("ask".to_owned()).spawn(get_status))??;
    asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?
}

fn get_status() -> anyhow::Result<Status> {
    let mut stream = UnixStream::connect(Path::new(SOCKET)).context("does not listen yet")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).context("the daemon does not answer")?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP")?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!(
            "the daemon answered {}",
            String::from_utf8_lossy(&answer[..head]).lines().next().unwrap_or("")
        );
    }
    serde_json::from_slice(&answer[head + 4..]).context("not the status of this version")
}

/// Is the node as good as it can be: a Backup or the Active, and ready?
pub(crate) fn is_back(status: &Status) -> bool {
    let own = || status.groups.iter().filter_map(|group| group.nodes.iter().find(|node| node.local));
    let good = |node: &GroupNode| {
        matches!(node.state.as_deref(), Some("Active" | "Backup")) && node.ready == Some(Ready::Yes)
    };
    status.phase == Phase::Running && own().count() > 0 && own().all(good)
}

/// State and readiness in a few words.
pub(crate) fn in_words(status: &Status) -> String {
    match &status.phase {
        Phase::Running => {}
        Phase::Waiting { reason } => return format!("waits: {reason}"),
        Phase::Stopping { .. } => return "stops".to_owned(),
    }
    let Some(own) = status.groups.first().and_then(|group| group.nodes.iter().find(|node| node.local)) else {
        return "runs without addresses".to_owned();
    };
    let ready = own.ready.as_ref().map(|ready| match ready {
        Ready::Yes => "ready".to_owned(),
        Ready::Degraded { reasons } => format!("degraded: {}", reasons.join("; ")),
        Ready::Starting { reason } => format!("not yet: {reason}"),
        Ready::Leaving { reason } => format!("leaving: {reason}"),
        Ready::Fault { reason } => format!("fault: {reason}"),
    });
    // A daemon whose speaker has not spoken yet knows no state.
    let words: Vec<&str> = own.state.as_deref().into_iter().chain(ready.as_deref()).collect();
    if words.is_empty() { "starting".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_whose_speaker_has_not_spoken_yet_is_not_in_a_state_of_question_marks() {
        let status = |state: &str| {
            let node = format!(
                r#"{{"name":"lb1","local":true,"state":{state},"since":null,"heard":null,"priority":null,"silent":false,
                "ready":{{"starting":{{"reason":"the first round of checks is not done"}}}}}}"#
            );
            let json = format!(
                r#"{{"at":"2026-09-21T14:13:20Z","node":"lb1","version":"0.1.0","pid":1,"started":"2026-09-21T14:13:20Z",
                "phase":"running","file":{{"path":"lb.toml","hash":""}},"groups":[{{"name":"default","vips":[],
                "holders":[],"since":null,"why":"","nodes":[{node}]}}]}}"#
            );
            in_words(&serde_json::from_str(&json).unwrap())
        };
        assert_eq!(status("null"), "not yet: the first round of checks is not done");
        assert_eq!(status(r#""Backup""#), "Backup, not yet: the first round of checks is not done");
    }
}
