//! An event of a trace in one paragraph.

use std::fmt::Write;

use super::text::{Paint, Tone, printable};
use crate::control::{Exchange, TraceLine};

/// With a line end behind each line of it.
pub fn render(line: &TraceLine, paint: Paint) -> String {
    match line {
        TraceLine::Request { exchange, decision, head } => {
            let Exchange { client, frontend, .. } = exchange;
            let first = head.lines().next().unwrap_or("connection");
            let what = format!("{client} > {frontend}  {first}  ({decision})");
            begin(exchange, &what, Tone::Heading, paint) + &fields(head)
        }
        TraceLine::Response { exchange, backend, server, chosen, retries, times, head } => {
            let first = head.lines().next().unwrap_or("connected");
            let again = if *retries == 0 { String::new() } else { format!(", {retries} retries") };
            let what = format!(
                "{backend}/{server} > {}  {first}  ({chosen}{again}; line {}, connect {}, response {} ms)",
                exchange.client, times.queue, times.connect, times.response
            );
            begin(exchange, &what, Tone::Plain, paint) + &fields(head)
        }
        TraceLine::End { exchange, status, termination, total, bytes_out } => {
            let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            let what = format!("over  {status} {termination}, {bytes_out} bytes in {total} ms");
            let tone = if termination == "--" { Tone::Good } else { Tone::Warning };
            begin(exchange, &what, tone, paint)
        }
        TraceLine::Lost { count } => {
            let what = format!("! {count} events were lost: they come faster than they are read");
            paint.apply(Tone::Bad, &what) + "\n"
        }
        TraceLine::Over { why } => {
            paint.apply(Tone::Heading, &format!("the trace is over: {}", printable(why))) + "\n"
        }
    }
}

/// `02:00:00.513 #17 what`.
fn begin(exchange: &Exchange, what: &str, tone: Tone, paint: Paint) -> String {
    let at = exchange.at.to_string();
    let time = at.split('T').nth(1).and_then(|time| time.get(..12)).unwrap_or_default().to_owned();
    format!("{time} #{} {}\n", exchange.id, paint.apply(tone, &printable(what)))
}

fn fields(head: &str) -> String {
    let mut text = String::new();
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "    {}", printable(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Steps, Timestamp};

    #[test]
    fn events_are_paragraphs_that_belong_together_by_their_number() {
        let exchange = || Exchange {
            id: 17,
            at: Timestamp::parse("2026-11-27T02:00:00.513042Z").unwrap(),
            frontend: "web".to_owned(),
            client: "192.0.2.7:51111".to_owned(),
        };
        let lines = [
            TraceLine::Request {
                exchange: exchange(),
                decision: "default_backend app".to_owned(),
                head: "GET / HTTP/1.1\r\nHost: a\u{1b}\r\n\r\n".to_owned(),
            },
            TraceLine::Response {
                exchange: exchange(),
                backend: "app".to_owned(),
                server: "web1".to_owned(),
                chosen: "roundrobin".to_owned(),
                retries: 0,
                times: Steps { queue: 0, connect: 1, response: 30, total: 31 },
                head: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_owned(),
            },
            TraceLine::End {
                exchange: exchange(),
                status: Some(200),
                termination: "--".to_owned(),
                total: 32,
                bytes_out: 40,
            },
            TraceLine::Lost { count: 3 },
            TraceLine::Over { why: "its time is up".to_owned() },
        ];
        let text: String = lines.iter().map(|line| render(line, Paint::Never)).collect();
        assert_eq!(
            text,
            "02:00:00.513 #17 192.0.2.7:51111 > web  GET / HTTP/1.1  (default_backend app)\n    Host: a?\n\
             02:00:00.513 #17 app/web1 > 192.0.2.7:51111  HTTP/1.1 200 OK  (roundrobin; line 0, connect 1, response 30 ms)\n    \
             Content-Length: 2\n02:00:00.513 #17 over  200 --, 40 bytes in 32 ms\n\
             ! 3 events were lost: they come faster than they are read\nthe trace is over: its time is up\n"
        );
    }
}
