//! An event on a line.

use super::text::{Paint, Tone, printable};
use crate::control::{Event, EventKind, EventLine};

/// With a line end.
pub fn render(line: &EventLine, paint: Paint) -> String {
    match line {
        EventLine::Event(event) => one(event, paint),
        EventLine::Lost { lost } => {
            let what = format!("! {lost} events were lost: there were more than are kept");
            paint.apply(Tone::Bad, &what) + "\n"
        }
        EventLine::Over { over } => paint.apply(Tone::Heading, &printable(over)) + "\n",
    }
}

/// `2026-11-27 02:00:00.513  vip web: Backup -> Active  reason`.
fn one(event: &Event, paint: Paint) -> String {
    let reason = if event.reason.is_empty() { String::new() } else { format!("  {}", event.reason) };
    format!(
        "{}  {}{}\n",
        moment(event),
        paint.apply(tone(event), &printable(&what(event))),
        printable(&reason)
    )
}

/// `lb1: vip web: Backup -> Active (reason)`.
pub fn sentence(event: &Event) -> String {
    let reason = if event.reason.is_empty() { String::new() } else { format!(" ({})", event.reason) };
    printable(&format!("{}: {}{reason}", event.node, what(event)))
}

/// `2026-11-27 02:00:00.513`, in UTC.
pub fn moment(event: &Event) -> String {
    let at = event.at.to_string();
    at.get(..23).unwrap_or(&at).replace('T', " ")
}

fn what(event: &Event) -> String {
    let group = match &event.group {
        // A node of a pair with one group has no other.
        Some(group) if matches!(event.kind, EventKind::Node | EventKind::Alarm) && group != "default" => {
            format!(" (group {group})")
        }
        _ => String::new(),
    };
    format!("{} {}{group}: {} -> {}", event.kind, event.name, event.from, event.to)
}

fn tone(event: &Event) -> Tone {
    if event.kind == EventKind::Speaker {
        // That it runs again is not all of it.
        return Tone::Warning;
    }
    match event.to.as_str() {
        "down" | "agent_down" | "fault" | "silent" | "expired" => Tone::Bad,
        "degraded" | "leaving" | "drain" | "drained" | "maintenance" | "no_balance" | "stopping"
        | "stopped" | "waiting" | "expires_soon" | "expires_very_soon" => Tone::Warning,
        "up" | "ready" | "running" | "Active" | "valid" => Tone::Good,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Timestamp;

    #[test]
    fn an_event_is_a_line_without_a_byte_that_a_terminal_obeys() {
        let event = |kind, name: &str, group: Option<&str>, from: &str, to: &str, reason: &str| {
            EventLine::Event(Event {
                number: 7,
                at: Timestamp::parse("2026-11-27T02:00:00.513042Z").unwrap(),
                node: "lb1".to_owned(),
                kind,
                name: name.to_owned(),
                group: group.map(str::to_owned),
                addresses: Vec::new(),
                from: from.to_owned(),
                to: to.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let lines = [
            event(EventKind::Vip, "web", Some("default"), "Backup", "Active", "lb2 gave it up"),
            event(EventKind::Server, "app/web1", None, "up", "down", "L4CON \u{1b}[2J"),
            event(EventKind::Node, "lb1", Some("mail"), "ready", "degraded", ""),
            EventLine::Lost { lost: 3 },
            EventLine::Over { over: "lbctl ends".to_owned() },
        ];
        let text: String = lines.iter().map(|line| render(line, Paint::Never)).collect();
        assert_eq!(
            text,
            "2026-11-27 02:00:00.513  vip web: Backup -> Active  lb2 gave it up\n\
             2026-11-27 02:00:00.513  server app/web1: up -> down  L4CON ?[2J\n\
             2026-11-27 02:00:00.513  node lb1 (group mail): ready -> degraded\n\
             ! 3 events were lost: there were more than are kept\nlbctl ends\n"
        );
    }
}
