//! What happens to servers and proxies, in HAProxy's words: scripts and people look for them.

pub(super) mod facts;

use self::facts::{Fact, LogEvent};
use crate::{
    config::Severity,
    status::{CheckCode, CheckReport, Level, ServerState},
};

/// Where servers' states come from.
const HEALTH: &str = "health";

/// A server, and what is around it after a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) backend: &'a str,
    pub(crate) server: &'a str,
    pub(crate) is_backup: bool,
    /// Servers that take new requests: ordinary ones, and those for when there is no other.
    pub(crate) active: usize,
    pub(crate) backups: usize,
    /// Requests or connections at it.
    pub(crate) sessions: u32,
    /// In line for it.
    pub(crate) queued: usize,
}

/// Why a server has another state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// What its agent has said.
    Agent(&'a str),
    /// A check, or errors of traffic.
    Check(&'a CheckReport),
    /// Nobody has looked at it yet, or somebody wants it so.
    Unknown,
}

impl<'a> Cause<'a> {
    /// As HAProxy says it, behind what has happened.
    fn words(self) -> String {
        match self {
            Self::Agent(words) => agent(words),
            Self::Check(report) => reason(report),
            Self::Unknown => String::new(),
        }
    }

    fn facts(self) -> Vec<(&'static str, Fact<'a>)> {
        match self {
            Self::Agent(words) => vec![("reason", Fact::text(format!("agent: {words}")))],
            Self::Check(report) => {
                vec![("reason", Fact::text(report.to_string())), ("check", Fact::check(report))]
            }
            Self::Unknown => Vec::new(),
        }
    }
}

/// A server went from one state to another, if HAProxy has a line for it. Where a line about the check `was_told`, the sentence does
/// not say why.
pub(crate) fn changed<'a>(
    around: &Around<'a>,
    from: ServerState,
    to: ServerState,
    cause: Cause<'a>,
    was_told: bool,
) -> Option<LogEvent<'a>> {
    let reason = if was_told { String::new() } else { cause.words() };
    let (level, message) = transition(around, from, to, &reason)?;
    let mut facts = around.facts();
    facts.extend([("from", Fact::text(from.word())), ("to", Fact::text(to.word()))]);
    facts.extend(cause.facts());
    for (name, number) in [
        ("active", around.active as u64),
        ("backups", around.backups as u64),
        ("sessions", around.sessions.into()),
        ("queued", around.queued as u64),
    ] {
        facts.push((name, Fact::Number(number)));
    }
    Some(LogEvent { level, source: HEALTH, kind: "server", message: message.into(), facts })
}

/// Nobody takes new requests any more.
pub(crate) fn empty<'a>(kind: &str, backend: &'a str) -> LogEvent<'a> {
    LogEvent {
        level: Severity::Emergency,
        source: HEALTH,
        kind: "no_server",
        message: format!("{kind} {backend} has no server available!").into(),
        facts: vec![("backend", Fact::text(backend))],
    }
}

/// A check whose outcome is news.
pub(crate) fn checked<'a>(around: &Around<'a>, report: &CheckReport, level: Level) -> LogEvent<'a> {
    let (so_far, of, state) = progress(level);
    let mut facts = around.facts();
    facts.extend([
        ("passed", Fact::Flag(report.passed())),
        ("state", Fact::text(state.to_ascii_lowercase())),
        ("so_far", Fact::Number(so_far.into())),
        ("of", Fact::Number(of.into())),
        ("reason", Fact::text(report.to_string())),
        ("check", Fact::check(report)),
    ]);
    let message = check(around, report, level).into();
    LogEvent { level: Severity::Notice, source: HEALTH, kind: "check", message, facts }
}

/// A proxy has ended, with the connections that it has had as a frontend and as a backend.
pub(crate) fn stopped(proxy: &str, frontend: u64, backend: u64) -> LogEvent<'_> {
    let connections = vec![("frontend", Fact::Number(frontend)), ("backend", Fact::Number(backend))];
    LogEvent {
        level: Severity::Warning,
        source: "proxy",
        kind: "stopped",
        message: format!("Proxy {proxy} stopped (cumulated conns: FE: {frontend}, BE: {backend}).").into(),
        facts: vec![("proxy", Fact::text(proxy)), ("connections", Fact::Object(connections))],
    }
}

/// HAProxy's second line about a server that goes from maintenance into drain.
pub(crate) fn still_drained<'a>(around: &Around<'a>) -> LogEvent<'a> {
    let message = format!("{} remains in forced drain mode.", around.name()).into();
    LogEvent { level: Severity::Notice, source: HEALTH, kind: "drain", message, facts: around.facts() }
}

/// The line about a server that went from one state to another, if HAProxy has one.
fn transition(
    around: &Around<'_>,
    from: ServerState,
    to: ServerState,
    reason: &str,
) -> Option<(Severity, String)> {
    use ServerState::{AgentDown, Down, Drain, Maintenance, NoBalance, NoCheck, Unchecked, Up};
    let was_down = matches!(from, Down | AgentDown);
    let was_leaving = matches!(from, NoBalance | Drain);
    let grave = if was_leaving { Severity::Notice } else { Severity::Alert };
    let name = around.name();
    let (left, online) = (around.left(), around.online());
    let words = |severity, text: String| Some((severity, format!("{name} {text}.")));
    match (from, to) {
        (_, Down | AgentDown) if was_down => None,
        (Maintenance, Down | AgentDown) => {
            words(Severity::Notice, "is DOWN/READY (leaving forced maintenance)".into())
        }
        (_, Down | AgentDown) => words(grave, format!("is DOWN{reason}{left}")),
        (_, Maintenance) if was_down => words(Severity::Notice, "was DOWN and now enters maintenance".into()),
        (_, Maintenance) => words(grave, format!("is going DOWN for maintenance{left}")),
        (Maintenance, Drain) => words(Severity::Notice, "is UP/DRAIN (leaving forced maintenance)".into()),
        (Maintenance, _) => words(Severity::Notice, "is UP/READY (leaving forced maintenance)".into()),
        // A server is up there before its first check; that it is one is no news.
        (Unchecked, Up | NoCheck) => None,
        (_, Unchecked) => None,
        (Drain, Up | NoCheck) => words(Severity::Notice, "is UP (leaving forced drain)".into()),
        (_, Up | NoCheck | NoBalance | Drain) if was_down => {
            words(Severity::Notice, format!("is UP{reason}{online}"))
        }
        (_, NoBalance) => words(Severity::Notice, format!("is stopping{reason}{online}")),
        (_, Drain) => words(Severity::Notice, format!("enters drain state{online}")),
        (_, Up | NoCheck) => words(Severity::Notice, format!("is UP{reason}{online}")),
    }
}

/// Of a check whose outcome is news.
fn check(around: &Around<'_>, report: &CheckReport, level: Level) -> String {
    let backup = if around.is_backup { "backup " } else { "" };
    let verb = match report.code {
        CheckCode::L7OkConditional => "conditionally succeeded",
        code if code.passed() => "succeeded",
        _ => "failed",
    };
    let (so_far, of, state) = progress(level);
    format!(
        "Health check for {backup}server {}/{} {verb}{}, status: {so_far}/{of} {state}.",
        around.backend,
        around.server,
        reason(report)
    )
}

/// How many of how many checks its state is away from another one.
fn progress(Level { rise, fall, now }: Level) -> (u32, u32, &'static str) {
    if now >= rise { (now - rise + 1, fall, "UP") } else { (now, rise, "DOWN") }
}

/// `, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms`
fn reason(report: &CheckReport) -> String {
    let what = match report.code {
        CheckCode::L4Ok => "Layer4 check passed",
        CheckCode::L4Timeout => "Layer4 timeout",
        CheckCode::L4Connection => "Layer4 connection problem",
        CheckCode::Socket | CheckCode::Broken => "Socket error",
        CheckCode::L6Ok => "Layer6 check passed",
        CheckCode::L6Timeout => "Layer6 timeout",
        CheckCode::L6Response => "Layer6 invalid response",
        CheckCode::L7Ok => "Layer7 check passed",
        CheckCode::L7OkConditional => "Layer7 check conditionally passed",
        CheckCode::L7Timeout => "Layer7 timeout",
        CheckCode::L7Response => "Layer7 invalid response",
        CheckCode::L7Status => "Layer7 wrong status",
        CheckCode::Observed => "Health analyze",
    };
    let mut text = format!(", reason: {what}");
    if report.code.has_status() {
        text.push_str(&format!(", code: {}", report.status.unwrap_or(0)));
    }
    if !report.info.is_empty() {
        text.push_str(", info: \"");
        put_info(&report.info, &mut text);
        text.push('"');
    }
    if report.code != CheckCode::Observed {
        text.push_str(&format!(", check duration: {}ms", report.duration.as_millis()));
    }
    text
}

/// What an agent says: `, reason: Layer7 wrong status, code: 0, info: "via agent : down"`.
fn agent(words: &str) -> String {
    let mut text = ", reason: Layer7 wrong status, code: 0, info: \"via agent : ".to_owned();
    put_info(words, &mut text);
    text.push('"');
    text
}

/// For between quotes, as HAProxy writes words of others there: `<22>` for what is not printable ASCII, `"`, `<` and `>`.
fn put_info(info: &str, text: &mut String) {
    for byte in info.bytes() {
        match byte {
            b'"' | b'<' | b'>' => text.push_str(&format!("<{byte:02X}>")),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("<{byte:02X}>")),
        }
    }
}

impl<'a> Around<'a> {
    fn facts(&self) -> Vec<(&'static str, Fact<'a>)> {
        vec![
            ("backend", Fact::text(self.backend)),
            ("server", Fact::text(self.server)),
            ("backup", Fact::Flag(self.is_backup)),
        ]
    }

    fn name(&self) -> String {
        let backup = if self.is_backup { "Backup " } else { "" };
        format!("{backup}Server {}/{}", self.backend, self.server)
    }

    fn left(&self) -> String {
        format!(
            ". {} active and {} backup servers left.{} {} sessions active, {} requeued, 0 remaining in queue",
            self.active,
            self.backups,
            self.on_backup(),
            self.sessions,
            self.queued
        )
    }

    fn online(&self) -> String {
        format!(
            ". {} active and {} backup servers online.{} 0 sessions requeued, {} total in queue",
            self.active,
            self.backups,
            self.on_backup(),
            self.queued
        )
    }

    fn on_backup(&self) -> &'static str {
        if self.active == 0 && self.backups > 0 { " Running on backup." } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use ServerState::{AgentDown, Down, Drain, Maintenance, NoBalance, Unchecked, Up};

    use super::*;

    const AROUND: Around<'_> = Around {
        backend: "be",
        server: "s1",
        is_backup: false,
        active: 1,
        backups: 0,
        sessions: 0,
        queued: 0,
    };

    fn report(code: CheckCode, status: Option<u16>, info: &str) -> CheckReport {
        CheckReport {
            code,
            what: String::new(),
            status,
            info: info.to_owned(),
            duration: Duration::from_millis(2),
            in_a_row: 1,
            at: SystemTime::UNIX_EPOCH,
        }
    }

    /// Lines of HAProxy 2.6 and 3.5.
    #[test]
    fn servers_change_their_state_in_the_words_of_haproxy() {
        let reason = reason(&report(CheckCode::L4Connection, None, "Connection refused"));
        let line = |around: &Around<'_>, from, to| transition(around, from, to, &reason);
        let down = "Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 2ms. \
                    1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
        assert_eq!(line(&AROUND, Up, Down), Some((Severity::Alert, down.to_owned())));
        assert_eq!(line(&AROUND, Unchecked, Down), Some((Severity::Alert, down.to_owned())));
        assert_eq!(line(&AROUND, NoBalance, Down), Some((Severity::Notice, down.to_owned())));
        assert_eq!(line(&AROUND, AgentDown, Down), None);
        assert_eq!(line(&AROUND, Unchecked, Up), None);
        let passed = super::reason(&report(CheckCode::L7Ok, Some(200), ""));
        let online = "1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
        let cases = [
            (
                Down,
                Up,
                format!("is UP, reason: Layer7 check passed, code: 200, check duration: 2ms. {online}"),
            ),
            (Up, Drain, format!("enters drain state. {online}")),
            (Drain, Up, "is UP (leaving forced drain).".to_owned()),
            (Maintenance, Up, "is UP/READY (leaving forced maintenance).".to_owned()),
            (Down, Maintenance, "was DOWN and now enters maintenance.".to_owned()),
        ];
        for (from, to, text) in cases {
            let expected = Some((Severity::Notice, format!("Server be/s1 {text}")));
            assert_eq!(transition(&AROUND, from, to, &passed), expected);
        }
        let conditional = super::reason(&report(CheckCode::L7OkConditional, Some(404), ""));
        let stopping = "Server be/s1 is stopping, reason: Layer7 check conditionally passed, code: 404, check duration: 2ms. \
                        0 active and 2 backup servers online. Running on backup. 0 sessions requeued, 3 total in queue.";
        let around = Around { active: 0, backups: 2, queued: 3, ..AROUND };
        assert_eq!(
            transition(&around, Up, NoBalance, &conditional),
            Some((Severity::Notice, stopping.to_owned()))
        );
        let around = Around { is_backup: true, active: 0, sessions: 4, queued: 5, ..AROUND };
        let backup = "Backup Server be/s1 is going DOWN for maintenance. 0 active and 0 backup servers left. 4 sessions active, \
                      5 requeued, 0 remaining in queue.";
        assert_eq!(transition(&around, Up, Maintenance, ""), Some((Severity::Alert, backup.to_owned())));
        let words = "Server be/s1 is DOWN, reason: Layer7 wrong status, code: 0, info: \"via agent : down\". 1 active";
        let (_, line) = transition(&AROUND, Up, AgentDown, &agent("down")).unwrap();
        assert!(line.starts_with(words), "{line}");
    }

    #[test]
    fn words_of_others_can_not_end_their_quotes() {
        let report = report(CheckCode::L7Status, Some(404), "Not \"here\" <ä>");
        let info = ", reason: Layer7 wrong status, code: 404, info: \"Not <22>here<22> <3C><C3><A4><3E>\", check duration: 2ms";
        assert_eq!(reason(&report), info);
        assert!(agent("a\"\tb").ends_with("info: \"via agent : a<22><09>b\""));
    }

    #[test]
    fn checks_are_told_in_the_words_of_haproxy() {
        let cases = [
            (
                report(CheckCode::L7Status, Some(404), "Not Found"),
                Level { rise: 2, fall: 2, now: 2 },
                "Health check for server be/s1 failed, reason: Layer7 wrong status, code: 404, info: \"Not Found\", check duration: 2ms, status: 1/2 UP.",
            ),
            (
                report(CheckCode::L7Timeout, None, ""),
                Level { rise: 2, fall: 2, now: 0 },
                "Health check for server be/s1 failed, reason: Layer7 timeout, check duration: 2ms, status: 0/2 DOWN.",
            ),
            (
                report(CheckCode::L4Ok, None, ""),
                Level { rise: 2, fall: 3, now: 4 },
                "Health check for server be/s1 succeeded, reason: Layer4 check passed, check duration: 2ms, status: 3/3 UP.",
            ),
            (
                report(CheckCode::L7OkConditional, Some(404), ""),
                Level { rise: 1, fall: 2, now: 2 },
                "Health check for server be/s1 conditionally succeeded, reason: Layer7 check conditionally passed, code: 404, check duration: 2ms, status: 2/2 UP.",
            ),
        ];
        for (report, level, expected) in cases {
            assert_eq!(check(&AROUND, &report, level), expected);
        }
    }
}
