//! What a server's agent says in its line (HAProxy `agent-check`): words that change the server's weight and whether it
//! takes clients. The pure half; the I/O is at the end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};

use super::{
    board::{Board, Place},
    complaints::Complaints,
    orders::{Duty, Weight},
};
use crate::{
    config::{AgentCheck, Source},
    hidden::is_hidden,
    node::ServerShared,
    upstream::dial,
};

/// A line ends within this.
const LINE: usize = 512;

/// What an agent has said last of everything that it can speak of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct AgentState {
    /// Instead of the weight of the file.
    pub(crate) weight: Option<Weight>,
    /// Instead of the `maxconn` of the file; 0 is no limit.
    pub(crate) maxconn: Option<u32>,
    /// It says that the server is down, in these words.
    pub(crate) down: Option<String>,
    pub(crate) duty: Duty,
}

impl AgentState {
    /// Applies a line. Words are separated by spaces, tabs and commas; a comment begins with `#`.
    ///
    /// # Errors
    /// The first word that means nothing; those before and after it count.
    pub(crate) fn apply(&mut self, line: &str) -> Result<(), String> {
        let (words, comment) = line.split_once('#').unwrap_or((line, ""));
        let mut unknown = None;
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "up" => self.down = None,
                "down" | "stopped" | "fail" => {
                    let comment = comment.trim();
                    let gap = if comment.is_empty() { "" } else { ": " };
                    self.down = Some(format!("{}{gap}{comment}", word.to_ascii_lowercase()));
                }
                "ready" => self.duty = Duty::Ready,
                "drain" => self.duty = Duty::Drain,
                "maint" => self.duty = Duty::Maintenance,
                word => match (weight(word), maxconn(word)) {
                    (Some(weight), _) => self.weight = Some(weight),
                    (None, Some(maxconn)) => self.maxconn = Some(maxconn),
                    (None, None) => unknown = unknown.or_else(|| Some(word.to_owned())),
                },
            }
        }
        unknown.map_or(Ok(()), Err)
    }
}

/// `75%`, `weight:75%` or `weight:75`.
fn weight(word: &str) -> Option<Weight> {
    let value = word.strip_prefix("weight:");
    if let Some(percent) = value.unwrap_or(word).strip_suffix('%') {
        return number(percent).map(Weight::Percent);
    }
    let absolute = number(value?)?;
    u16::try_from(absolute).ok().filter(|&weight| weight <= 256).map(Weight::Absolute)
}

/// `maxconn:30`.
fn maxconn(word: &str) -> Option<u32> {
    number(word.strip_prefix("maxconn:")?)
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl Board {
    /// Asks one server's agent for as long as the configuration has the server, the first time after `delay`.
    pub(crate) async fn ask_agent(self: Arc<Self>, server: Arc<ServerShared>, delay: Duration) {
        let mut reloads = self.reloads.subscribe();
        let mut before = None;
        let mut complaints = Complaints::default();
        let mut due = Instant::now() + delay;
        let mut asked = None;
        loop {
            reloads.mark_unchanged();
            let agent = |place: Place| (place.backend().agent.clone(), place.source().clone());
            let Some((agent, source)) = self.place(&server).map(agent) else { return };
            let Some(agent) = agent else {
                before = None;
                if reloads.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if let Some(asked) = asked {
                due = asked + agent.interval;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = reloads.changed() => continue,
            }
            asked = Some(Instant::now());
            let host = match agent.address {
                Some(address) => address,
                None => match self.address(&server).await {
                    // `None` for a Unix-domain socket: agents speak TCP.
                    Ok(address) => match address.ip() {
                        Some(host) => host,
                        None => continue,
                    },
                    Err(_) => continue,
                },
            };
            let answer = ask(&agent, SocketAddr::new(host, agent.port), &source).await;
            if answer.is_none() || answer == before {
                continue;
            }
            let (backend, name) = (&server.backend, &server.name);
            match &answer {
                Some(Said::Line(line)) => self.change(&server, |known| {
                    known.agent_said = Some(line.clone());
                    if let Err(word) = known.agent.apply(line)
                        && let Some(untold) = complaints.tell(Instant::now())
                    {
                        tracing::warn!(%backend, server = %name, word, untold, "the agent says what means nothing");
                    }
                }),
                Some(Said::Unfinished) => {
                    if let Some(untold) = complaints.tell(Instant::now()) {
                        tracing::warn!(
                            %backend, server = %name, untold,
                            "the agent's line has no end (\\n) and is not believed"
                        );
                    }
                }
                None => {}
            }
            before = answer;
        }
    }
}

/// What an agent has answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// A whole line, without its end.
    Line(String),
    /// A line that was cut off: `weight:1` may be the beginning of `weight:100`.
    Unfinished,
}

/// Asks once. `None` if there is no answer: that says nothing of the server (its checks do).
pub(crate) async fn ask(agent: &AgentCheck, address: SocketAddr, source: &Source) -> Option<Said> {
    let talk = async {
        let mut stream = dial(&address.into(), source, None).await.ok()?;
        if !agent.send.is_empty() {
            stream.write_all(&agent.send).await.ok()?;
        }
        let mut line = Vec::with_capacity(LINE);
        loop {
            if let Some(end) = line.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
                let text = String::from_utf8_lossy(&line[..end]);
                let text: String = text.chars().filter(|c| !is_hidden(*c) || *c == '\t').collect();
                return (!text.trim().is_empty()).then_some(Said::Line(text));
            }
            if line.len() >= LINE || (&mut stream).take(LINE as u64).read_buf(&mut line).await.ok()? == 0 {
                return (!line.is_empty()).then_some(Said::Unfinished);
            }
        }
    };
    timeout(agent.timeout.max(Duration::from_millis(1)), talk).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: &[&str]) -> AgentState {
        let mut state = AgentState::default();
        for line in lines {
            state.apply(line).unwrap();
        }
        state
    }

    #[test]
    fn words_change_what_they_speak_of_and_nothing_else() {
        let state = after(&["75%", "down # disk full", "maint"]);
        assert_eq!(state.weight, Some(Weight::Percent(75)));
        assert_eq!(state.down.as_deref(), Some("down: disk full"));
        assert_eq!(state.duty, Duty::Maintenance);
        let state = after(&["75%", "down", "maint", "UP ready,weight:12"]);
        assert_eq!(state, AgentState { weight: Some(Weight::Absolute(12)), ..AgentState::default() });
        assert_eq!(after(&["up 50%\tdrain"]).duty, Duty::Drain);
        assert_eq!(after(&["weight:40%"]).weight, Some(Weight::Percent(40)));
        let state = after(&["MAXCONN:30", "up"]);
        assert_eq!(state, AgentState { maxconn: Some(30), ..AgentState::default() });
        assert_eq!(after(&["stopped", "fail"]).down.as_deref(), Some("fail"));
        assert_eq!(after(&["", "# all is well"]), AgentState::default());
    }

    #[test]
    fn words_that_mean_nothing_are_told_and_change_nothing() {
        for word in [
            "-5%",
            "5",
            "%",
            "+5%",
            "weight:",
            "weight:257",
            "weight:-1",
            "upp",
            "99999999999%",
            "weight:%",
            "weight:5%%",
            "maxconn:",
            "maxconn:-1",
            "maxconn:3%",
            "maxconn",
        ] {
            let mut state = AgentState::default();
            assert_eq!(state.apply(&format!("{word} up")), Err(word.to_owned()), "{word}");
            assert_eq!(state, AgentState::default(), "{word}");
        }
    }
}
