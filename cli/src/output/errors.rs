//! Messages that were refused, line by line, with a mark under the byte that is wrong.

use std::fmt::Write;

use super::{
    age::fine_age,
    text::{Paint, Tone, printable},
};
use crate::control::{ErrorsReport, InvalidMessage};

/// Characters of a message in one line.
const LINE: usize = 68;

/// The whole text.
pub fn render(report: &ErrorsReport, paint: Paint) -> String {
    let mut text = String::new();
    for message in &report.messages {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a String can't fail.
        let _ = write_message(&mut text, message, report, paint);
    }
    if report.messages.is_empty() {
        text.push_str("no message was refused as invalid\n");
    }
    if report.silent_workers > 0 {
        let _ = writeln!(
            text,
            "! {} of the workers did not answer: what they keep is missing",
            report.silent_workers
        );
    }
    text
}

fn write_message(
    text: &mut String,
    message: &InvalidMessage,
    report: &ErrorsReport,
    paint: Paint,
) -> std::fmt::Result {
    let ago = fine_age(report.at.saturating_since(message.at));
    let content = if message.kind.ends_with("_content") { "content of a " } else { "" };
    let who = match (&message.backend, &message.server) {
        (Some(backend), Some(server)) if message.kind.starts_with("response") => {
            format!(
                "{content}response of {backend}/{server} to {} (frontend {})",
                message.client, message.frontend
            )
        }
        _ => format!("{content}request of {} to frontend {}", message.client, message.frontend),
    };
    let reason = paint.apply(Tone::Bad, &printable(&message.reason));
    writeln!(text, "{ago} ago: {}: {reason}", printable(&who))?;
    writeln!(text, "  {}, byte {} of {}", message.at, message.position, message.length)?;
    if message.skipped > 0 {
        writeln!(text, "         ({} bytes before)", message.skipped)?;
    }
    let mut is_marked = false;
    for line in lines(&message.bytes) {
        let begin = message.skipped + line.first;
        writeln!(text, "  {begin:05}  {}", line.text)?;
        let column = message.position.checked_sub(begin).and_then(|at| line.columns.get(at));
        if let Some(column) = column {
            is_marked = true;
            writeln!(text, "         {:column$}{}", "", paint.apply(Tone::Bad, "^"))?;
        }
    }
    if !is_marked {
        writeln!(text, "  {:05}  {} (it ends here)", message.position, paint.apply(Tone::Bad, "^"))?;
    }
    Ok(())
}

/// A piece of a message that fits a line.
struct Line {
    /// Which byte it begins with, of those that are kept.
    first: usize,
    text: String,
    /// Where each of its bytes is in the text.
    columns: Vec<usize>,
}

/// Ends after each `\n`, and where a line is full. The text comes from the daemon: anything in it that is no escape is shown
/// as one byte each.
fn lines(escaped: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let (mut rest, mut byte, mut is_over) = (printable(escaped), 0, true);
    while !rest.is_empty() {
        let length = match rest.as_bytes() {
            [b'\\', b'x', ..] if rest.is_char_boundary(4.min(rest.len())) => 4.min(rest.len()),
            [b'\\', next, ..] if next.is_ascii() => 2,
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        let tail = rest.split_off(length);
        if is_over || lines.last().is_some_and(|line| line.text.len() + length > LINE) {
            lines.push(Line { first: byte, text: String::new(), columns: Vec::new() });
        }
        is_over = rest == "\\n";
        if let Some(line) = lines.last_mut() {
            line.columns.push(line.text.chars().count());
            line.text.push_str(&rest);
        }
        byte += 1;
        rest = tail;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Timestamp;

    fn message() -> InvalidMessage {
        InvalidMessage {
            at: Timestamp::parse("2026-11-27T02:00:00Z").unwrap(),
            kind: "request".to_owned(),
            frontend: "web".to_owned(),
            backend: None,
            server: None,
            client: "192.0.2.7:51111".to_owned(),
            reason: "invalid field name".to_owned(),
            position: 27,
            length: 33,
            skipped: 0,
            bytes: "GET / HTTP/1.1\\r\\nHost: \\xe4\\r\\nX y: z\\r\\n".to_owned(),
        }
    }

    fn shown(messages: Vec<InvalidMessage>) -> String {
        let at = Timestamp::parse("2026-11-27T02:00:12Z").unwrap();
        let (frontends, backends) = (Vec::new(), Vec::new());
        render(&ErrorsReport { at, messages, silent_workers: 0, frontends, backends }, Paint::Never)
    }

    #[test]
    fn the_byte_that_is_wrong_is_marked() {
        assert_eq!(
            shown(vec![InvalidMessage { position: 26, ..message() }]),
            "12 s ago: request of 192.0.2.7:51111 to frontend web: invalid field name\n\
             \x20 2026-11-27T02:00:00.000000Z, byte 26 of 33\n\
             \x20 00000  GET / HTTP/1.1\\r\\n\n\
             \x20 00016  Host: \\xe4\\r\\n\n\
             \x20 00025  X y: z\\r\\n\n\
             \x20         ^\n"
        );
        // Behind an escape.
        let text = shown(vec![InvalidMessage { position: 23, ..message() }]);
        assert!(text.contains("Host: \\xe4\\r\\n\n                   ^\n"), "{text}");
        let text = shown(vec![InvalidMessage { position: 33, ..message() }]);
        assert!(text.ends_with("\n  00033  ^ (it ends here)\n"), "{text}");
    }

    #[test]
    fn long_lines_go_on_in_the_next_and_servers_are_named() {
        let long = InvalidMessage {
            kind: "response_content".to_owned(),
            backend: Some("app".to_owned()),
            server: Some("web1".to_owned()),
            skipped: 1_000,
            position: 1_070,
            bytes: "a".repeat(100),
            ..message()
        };
        let text = shown(vec![message(), long]);
        let expected = format!(
            "content of a response of app/web1 to 192.0.2.7:51111 (frontend web): invalid field name\n\
             \x20 2026-11-27T02:00:00.000000Z, byte 1070 of 33\n         (1000 bytes before)\n  01000  {}\n  01068  {}\n           ^\n",
            "a".repeat(68),
            "a".repeat(32)
        );
        assert!(text.contains("\n\n12 s ago: content of") && text.ends_with(&expected), "{text}");
        assert_eq!(shown(Vec::new()), "no message was refused as invalid\n");
    }

    #[test]
    fn nothing_that_a_daemon_says_breaks_the_terminal() {
        let text = shown(vec![InvalidMessage { bytes: "ä\u{1b}[2J\\x\\".to_owned(), ..message() }]);
        assert!(text.contains("  00000  ä?[2J\\x\\\n"), "{text}");
    }
}
