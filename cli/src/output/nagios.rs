//! What a plugin of Nagios says: one line with figures behind a bar, then one line for each thing that is wrong or of interest
//! (Monitoring Plugins Development Guidelines).

use std::fmt::Write;

use super::text::printable;
use crate::control::{Backend, Ready, Status};

/// The four answers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// All is well.
    Ok,
    /// Somebody should look.
    Warning,
    /// Somebody should look now.
    Critical,
    /// It can't be told.
    Unknown,
}

/// From where on something is bad: warning, then critical.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds<'a> {
    /// Percent of a backend's servers; fewer are bad.
    pub servers: [u8; 2],
    /// Percent of a frontend's `maxconn`; as many are bad.
    pub sessions: [u8; 2],
    /// Only these; all if there are none.
    pub backends: &'a [String],
    /// `active` or `backup`: what this node should be.
    pub role: Option<&'a str>,
}

/// The answer, and what is printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// For the exit code.
    pub level: Level,
    /// All lines.
    pub text: String,
}

impl Level {
    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Report {
    /// With one sentence.
    pub fn of(level: Level, sentence: &str) -> Self {
        Self { level, text: format!("LBCTL {} - {}\n", level.word(), line(sentence)) }
    }
}

/// Findings, the gravest first in the end.
#[derive(Debug, Default)]
struct Findings(Vec<(Level, String)>);

impl Findings {
    fn add(&mut self, level: Level, what: impl Into<String>) {
        self.0.push((level, what.into()));
    }
}

/// A bar would begin the figures, a line end the rest.
fn line(text: &str) -> String {
    printable(text).replace('|', "/")
}

/// Looks at `status`.
pub fn judge(status: &Status, thresholds: &Thresholds<'_>) -> Report {
    let mut findings = Findings::default();
    let mut figures = String::new();
    for name in thresholds.backends {
        if status.backends.iter().all(|backend| backend.name != *name) {
            return Report::of(Level::Unknown, &format!("no backend is called {name}"));
        }
    }
    let is_whole = thresholds.backends.is_empty();
    if is_whole {
        addresses(status, thresholds.role, &mut findings);
        frontends(status, thresholds.sessions, &mut findings, &mut figures);
    }
    let looked_at = |backend: &&Backend| is_whole || thresholds.backends.contains(&backend.name);
    let backends: Vec<_> = status.backends.iter().filter(looked_at).collect();
    for backend in &backends {
        servers(backend, thresholds.servers, &mut findings, &mut figures);
    }
    if is_whole {
        for problem in &status.problems {
            findings.add(Level::Warning, format!("{}: {}", problem.what, problem.look_at));
        }
    }
    let Findings(mut findings) = findings;
    // Of equal ones the first stays first.
    findings.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let level = findings.first().map_or(Level::Ok, |(level, _)| *level);
    let headline = match findings.first() {
        None => all_is_well(status, &backends),
        Some((_, what)) if findings.len() == 1 => what.clone(),
        Some((_, what)) => format!("{what} (and {} more)", findings.len() - 1),
    };
    let mut text = format!("LBCTL {} - {} |{figures}\n", level.word(), line(&headline));
    for (level, what) in &findings {
        let _ = writeln!(text, "{}: {}", level.word(), line(what));
    }
    Report { level, text }
}

fn all_is_well(status: &Status, backends: &[&Backend]) -> String {
    let mut parts = vec![status.node.clone()];
    for group in &status.groups {
        let state = group.nodes.iter().find(|node| node.local).and_then(|node| node.state.as_deref());
        let vips: Vec<_> = group.vips.iter().map(|vip| vip.name.as_str()).collect();
        parts.push(format!("{} for {}", state.unwrap_or("unknown"), vips.join(", ")));
    }
    for backend in backends {
        parts.push(format!("{} {} of {} servers", backend.name, usable(backend), backend.servers.len()));
    }
    parts.join("; ")
}

/// Who holds what.
fn addresses(status: &Status, role: Option<&str>, findings: &mut Findings) {
    for group in &status.groups {
        let vips = group.vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>().join(", ");
        let local = group.nodes.iter().find(|node| node.local);
        match group.holders.as_slice() {
            [] if group.is_holder_unknown() => {}
            [] => findings.add(Level::Critical, format!("nobody holds {vips}: {}", group.why)),
            [_] => {}
            several => findings.add(Level::Critical, format!("{} hold {vips}", several.join(" and "))),
        }
        if let Some(Ready::Fault { reason }) = local.and_then(|node| node.ready.as_ref()) {
            findings.add(Level::Critical, format!("{} can't hold {vips}: {reason}", status.node));
        }
        let state = local.and_then(|node| node.state.as_deref()).unwrap_or("unknown");
        if let Some(role) = role.filter(|role| !state.eq_ignore_ascii_case(role)) {
            findings.add(Level::Warning, format!("{} is {state} for {vips}, not {role}", status.node));
        }
    }
}

fn frontends(status: &Status, [warning, critical]: [u8; 2], findings: &mut Findings, figures: &mut String) {
    for frontend in &status.frontends {
        let (name, now, max) = (&frontend.name, frontend.connections, frontend.maxconn);
        for bind in frontend.binds.iter().filter(|bind| bind.error.is_some()) {
            let why = bind.error.as_deref().unwrap_or_default();
            findings.add(Level::Critical, format!("{name} does not listen on {}: {why}", bind.label));
        }
        // In the order of the thresholds: the first that is reached decides.
        let [at_warning, at_critical] = [warning, critical].map(|percent| max * u64::from(percent) / 100);
        let level = match now {
            now if now >= at_critical.max(1) => Some(Level::Critical),
            now if now >= at_warning.max(1) => Some(Level::Warning),
            _ => None,
        };
        if let Some(level) = level {
            findings.add(level, format!("{name} has {now} of {max} connections"));
        }
        let _ = write!(figures, " 'connections {name}'={now};{at_warning};{at_critical};0;{max}");
        if frontend.mode == "http" {
            let _ = write!(figures, " 'requests {name}'={}c", frontend.requests_total);
            let _ = write!(figures, " '5xx {name}'={}c", frontend.responses[5]);
        }
    }
}

fn servers(backend: &Backend, percents: [u8; 2], findings: &mut Findings, figures: &mut String) {
    let (name, usable, all) = (&backend.name, usable(backend), backend.servers.len());
    // So many at least, or it is bad.
    let [least, least_at_all] = percents.map(|percent| (all as u64 * u64::from(percent)).div_ceil(100));
    let level = match usable as u64 {
        usable if usable < least_at_all => Some(Level::Critical),
        usable if usable < least => Some(Level::Warning),
        _ => None,
    };
    if let Some(level) = level {
        let lost = backend.servers.iter().filter(|server| !server.is_usable());
        let lost: Vec<_> = lost.map(|server| format!("{} {}", server.name, server.why())).collect();
        findings.add(level, format!("{name}: {usable} of {all} servers usable ({})", lost.join("; ")));
    }
    let _ = write!(figures, " 'servers {name}'={usable};{least}:;{least_at_all}:;0;{all}");
}

fn usable(backend: &Backend) -> usize {
    backend.servers.iter().filter(|server| server.is_usable()).count()
}

#[cfg(test)]
mod tests;
