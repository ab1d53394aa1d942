//! The screen: a line at the top, a line at the bottom, and between them as much as fits.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{Top, errors, rates::Flow};
use crate::{
    control::{Backend, Frontend, Group, Phase, Ready, Server},
    output::{
        age::{age, short_age},
        status::server_word,
        text::{printable, thousands, wrap},
    },
};

/// So many problems are shown whole; of more, each has two lines.
const WHOLE: usize = 3;

const KEYS: &str = "q quit  arrows scroll  s sort  f freeze  ? help";

const HELP: [&str; 14] = [
    "q, Esc, Ctrl-C      quit (Ctrl-Z: stop until fg)",
    "up, down, k, j      a line",
    "PgUp, PgDn          a page",
    "Home, End, g, G     the beginning, the end",
    "s                   order of servers: file, state, sessions, rate, errors",
    "f, space            freeze: show no newer report until pressed again",
    "?, h                this",
    "",
    "CONN     open connections, 5xx/MIN: answers from 500 on",
    "CONN/S, REQ/S, IN/S, OUT/S: in the last second, all of the same one",
    "SESS     requests in flight, WAIT: in line for this server alone",
    "ERRORS   failed attempts to connect, and responses that were none",
    "The same as text, also into a pipe: lbctl status --watch",
    "Any key goes back.",
];

/// How something is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
}

/// Draws it, whatever the size of the terminal.
pub fn draw(top: &mut Top, frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let mut above = vec![header(top, width)];
    if let Some((waited, why)) = &top.trouble {
        let text = printable(&format!("no answer for {}, tries again: {why}", age(*waited)));
        above.extend(wrap(&text, width.max(20)).iter().map(|text| line(top, Tone::Bad, text)));
    }
    let below = format!("{KEYS}  sorted by {}", top.sort.word());
    let body = if top.shows_help { help(top) } else { content(top, width) };
    let rows = usize::from(area.height).saturating_sub(above.len() + 1);
    (top.page, top.lines) = (rows.max(1), body.len());
    top.scrolled = top.scrolled.min(body.len().saturating_sub(rows));
    let body: Vec<_> = body.into_iter().skip(top.scrolled).take(rows).collect();
    let mut lines = above;
    lines.extend(body);
    frame.render_widget(Paragraph::new(lines), area);
    if area.height > 1 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(Paragraph::new(line(top, Tone::Heading, &below)), last);
    }
}

fn header(top: &Top, width: usize) -> Line<'static> {
    let status = &top.status;
    let mut text = format!(
        "{} · lbctl {}, up {}",
        status.node,
        status.version,
        age(status.at.saturating_since(status.started))
    );
    match &status.phase {
        Phase::Running => {}
        Phase::Waiting { .. } => text.push_str(" · waiting"),
        Phase::Stopping { .. } => text.push_str(" · stopping"),
    }
    if status.drained.is_some() {
        text.push_str(" · DRAINED");
    }
    if !status.earlier.is_empty() {
        // They are in none of the numbers below.
        let connections: u64 = status.earlier.iter().map(|process| process.connections).sum();
        text.push_str(&format!(" · {} CONN before the upgrade", thousands(connections)));
    }
    let (problems, tone) = match status.problems.len() {
        0 => ("no problems".to_owned(), Tone::Good),
        1 => ("1 problem".to_owned(), Tone::Bad),
        n => (format!("{n} problems"), Tone::Bad),
    };
    let mut spans = vec![
        span(top, Tone::Plain, &fit(&printable(&text), width.saturating_sub(problems.len() + 12))),
        span(top, Tone::Plain, " · "),
        span(top, tone, &problems),
    ];
    if top.is_frozen {
        spans.push(span(top, Tone::Warning, " FROZEN"));
    }
    Line::from(spans)
}

fn content(top: &Top, width: usize) -> Vec<Line<'static>> {
    let status = &top.status;
    let mut lines = Vec::new();
    for group in &status.groups {
        addresses(top, group, width, &mut lines);
    }
    // What to do stands at their end.
    let most = if status.problems.len() <= WHOLE { usize::MAX } else { 2 };
    for problem in &status.problems {
        let text = printable(&format!("! {}: {}", problem.what, problem.look_at));
        let mut all = wrap(&text, width.max(20));
        if all.len() > most {
            all.truncate(most);
            let last = all.pop().unwrap_or_default();
            all.push(fit(&format!("{last} …"), width));
        }
        lines.extend(all.iter().map(|text| line(top, Tone::Bad, text)));
    }
    if !lines.is_empty() {
        lines.push(Line::default());
    }
    frontends(top, width, &mut lines);
    lines.push(Line::default());
    servers(top, width, &mut lines);
    lines
}

fn addresses(top: &Top, group: &Group, width: usize, lines: &mut Vec<Line<'static>>) {
    let status = &top.status;
    let vips: Vec<_> =
        group.vips.iter().map(|vip| format!("{} {}", vip.name, vip.addresses.join(", "))).collect();
    let (holders, tone) = match group.holders.as_slice() {
        [] if group.is_holder_unknown() => ("holder unknown".to_owned(), Tone::Bad),
        [] => ("held by NOBODY".to_owned(), Tone::Bad),
        [one] if group.is_held_in_part() => (format!("held in part by {one}"), Tone::Bad),
        [one] => (format!("held by {one}"), Tone::Good),
        several => (format!("held by {}", several.join(" AND ")), Tone::Bad),
    };
    let since = group.since.map(|since| format!(" for {}", age(status.at.saturating_since(since))));
    let holders = printable(&format!("{holders}{}", since.unwrap_or_default()));
    let room = width.saturating_sub(holders.chars().count() + 2);
    lines.push(Line::from(vec![
        span(top, Tone::Heading, &fit(&printable(&vips.join("; ")), room)),
        span(top, Tone::Plain, "  "),
        span(top, tone, &holders),
    ]));
    for node in &group.nodes {
        let mark = if node.local { "*" } else { " " };
        let (ready, tone) = match &node.ready {
            _ if node.silent => ("silent".to_owned(), Tone::Bad),
            None => ("unknown".to_owned(), Tone::Plain),
            Some(Ready::Yes) => ("ready".to_owned(), Tone::Good),
            Some(Ready::Degraded { reasons }) => (format!("degraded: {}", reasons.join("; ")), Tone::Warning),
            Some(Ready::Starting { reason }) => (format!("not yet: {reason}"), Tone::Plain),
            Some(Ready::Leaving { reason }) => (format!("leaving: {reason}"), Tone::Warning),
            Some(Ready::Fault { reason }) => (format!("no: {reason}"), Tone::Bad),
        };
        let state = node.state.as_deref().unwrap_or("unknown");
        let priority = node.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string());
        let text = format!("  {} {mark} {:<10} {priority:>3}  ", cell(&node.name, 16), state);
        let room = width.saturating_sub(text.chars().count());
        lines.push(Line::from(vec![
            span(top, Tone::Plain, &printable(&text)),
            span(top, tone, &fit(&printable(&ready), room)),
        ]));
    }
}

fn frontends(top: &Top, width: usize, lines: &mut Vec<Line<'static>>) {
    let names = width.saturating_sub(60).clamp(8, 40);
    let heading = format!(
        "{} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8}",
        cell("FRONTEND", names),
        "CONN",
        "LIMIT",
        "CONN/S",
        "REQ/S",
        "5xx/MIN",
        "IN/S",
        "OUT/S"
    );
    lines.push(line(top, Tone::Heading, &fit(&heading, width)));
    for frontend in &top.status.frontends {
        let text = printable(&frontend_text(frontend, top.rates.frontend(frontend), names));
        lines.push(line(top, frontend_tone(frontend), &fit(&text, width)));
    }
}

fn frontend_text(frontend: &Frontend, flow: Flow, names: usize) -> String {
    let is_http = frontend.mode == "http";
    let requests = if is_http { thousands(flow.requests) } else { "-".to_owned() };
    let errors = if is_http { thousands(frontend.server_errors_per_minute) } else { "-".to_owned() };
    let word = if frontend.paused.is_some() {
        " PAUSED"
    } else if frontend.binds.iter().any(|bind| bind.error.is_some()) {
        " NOT BOUND"
    } else {
        ""
    };
    format!(
        "{} {:>7} {:>7} {:>7} {requests:>8} {errors:>8} {:>8} {:>8}{word}",
        cell(&frontend.name, names),
        thousands(frontend.connections),
        thousands(frontend.maxconn),
        thousands(flow.connections),
        flow.received.map_or_else(|| "-".to_owned(), bytes),
        flow.sent.map_or_else(|| "-".to_owned(), bytes),
    )
}

fn frontend_tone(frontend: &Frontend) -> Tone {
    if frontend.full_since.is_some() || frontend.binds.iter().any(|bind| bind.error.is_some()) {
        Tone::Bad
    } else if frontend.server_errors_per_minute > 0 || frontend.paused.is_some() {
        Tone::Warning
    } else {
        Tone::Plain
    }
}

fn servers(top: &Top, width: usize, lines: &mut Vec<Line<'static>>) {
    let names = (width.saturating_sub(58) / 2).clamp(6, 30);
    let heading = format!(
        "{} {} {:<13} {:>5} {:>6} {:>5} {:>7} {:>6} {}",
        cell("BACKEND", names),
        cell("SERVER", names),
        "STATE",
        "FOR",
        "SESS",
        "WAIT",
        "REQ/S",
        "ERRORS",
        "CHECK"
    );
    lines.push(line(top, Tone::Heading, &fit(&heading, width)));
    for (backend, server) in top.servers() {
        let text = server_text(top, backend, server, names);
        lines.push(line(top, server_tone(server), &fit(&text, width)));
    }
    for backend in &top.status.backends {
        let for_one: u64 = backend.servers.iter().map(|server| server.queued).sum();
        if let for_any @ 1.. = backend.queued.saturating_sub(for_one) {
            let text = format!("{} {} wait for any server", cell(&backend.name, names), thousands(for_any));
            lines.push(line(top, Tone::Warning, &printable(&text)));
        }
    }
}

fn server_text(top: &Top, backend: &Backend, server: &Server, names: usize) -> String {
    let check = server.last_check.as_ref().map_or("-", |check| check.code.as_str());
    printable(&format!(
        "{} {} {} {:>5} {:>6} {:>5} {:>7} {:>6} {check}",
        cell(&backend.name, names),
        cell(&server.name, names),
        cell(&server_word(server), 13),
        short_age(top.status.at.saturating_since(server.since)),
        thousands(server.in_flight),
        thousands(server.queued),
        thousands(top.rates.server(backend, server)),
        thousands(errors(server)),
    ))
}

fn server_tone(server: &Server) -> Tone {
    use crate::control::ServerState as S;
    match server.state {
        S::Down | S::AgentDown => Tone::Bad,
        S::Drain | S::Maintenance | S::NoBalance => Tone::Warning,
        S::Up | S::NoCheck | S::Unchecked if server.weight == 0 => Tone::Warning,
        S::Up => Tone::Good,
        S::NoCheck | S::Unchecked => Tone::Plain,
    }
}

fn help(top: &Top) -> Vec<Line<'static>> {
    HELP.iter().map(|text| line(top, Tone::Plain, text)).collect()
}

fn line(top: &Top, tone: Tone, text: &str) -> Line<'static> {
    Line::from(span(top, tone, text))
}

fn span(top: &Top, tone: Tone, text: &str) -> Span<'static> {
    let style = Style::default();
    let style = match tone {
        Tone::Heading => style.add_modifier(Modifier::BOLD),
        _ if !top.is_coloured => style,
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Warning => style.fg(Color::Yellow),
        Tone::Bad => style.fg(Color::Red),
    };
    Span::styled(text.to_owned(), style)
}

/// As long as `width`, with an ellipsis where it was cut off.
fn cell(text: &str, width: usize) -> String {
    let text = fit(text, width);
    let length = text.chars().count();
    text + &" ".repeat(width.saturating_sub(length))
}

fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

/// `812 B`, `12.3 kB`, `1.2 GB`.
fn bytes(number: u64) -> String {
    let mut value = number as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1_000.0 {
            break;
        }
        (value, unit) = (value / 1_000.0, next);
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}
