//! A table for each frontend and backend of one name.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    time::Duration,
};

use super::Escaped;
use crate::{
    control::{Server, Status},
    output::{
        age::{age, took},
        text::thousands,
    },
    statistics::{Cell, Column, Kind, Row},
};

/// What each is called, what its numbers are, and how it is set.
const COLUMNS: [(&str, &str, &str); 15] = [
    ("Name", "", ""),
    ("State", "", "text words"),
    ("Last check", "", "text words"),
    ("Sessions", "now / most / limit", ""),
    ("Per second", "now / most", ""),
    ("Total", "", ""),
    ("In line", "now / most", ""),
    ("Bytes in", "", ""),
    ("Bytes out", "", ""),
    ("Responses", "2xx / 3xx / 4xx / 5xx", ""),
    ("Milliseconds", "line / connect / response / all", ""),
    ("Denied", "", ""),
    ("Errors", "", ""),
    ("Retries", "same / other", ""),
    ("Weight", "", ""),
];

/// In the order of `rows`.
pub(super) fn write(
    out: &mut String,
    status: &Status,
    rows: &[Row],
    servers: &HashMap<(&str, &str), &Server>,
) -> fmt::Result {
    for proxy in rows.chunk_by(|one, next| one.cell(Column::Iid) == next.cell(Column::Iid)) {
        let Some(first) = proxy.first() else { continue };
        let name = text(first, Column::Pxname);
        let what = match (first.kind, proxy.len()) {
            (Kind::Frontend, 1) => "frontend",
            (Kind::Frontend, _) => "frontend and backend",
            (Kind::Backend | Kind::Server, _) => "backend",
        };
        write!(out, "<h2>{} <small>{what}", Escaped(name))?;
        let frontend = status.frontends.iter().find(|frontend| frontend.name == name);
        if let Some(frontend) = frontend.filter(|_| first.kind == Kind::Frontend) {
            for bind in &frontend.binds {
                write!(out, " · {}", Escaped(&bind.label))?;
                if let Some(error) = &bind.error {
                    write!(out, " <b class=\"bad\">{}</b>", Escaped(error))?;
                }
            }
        }
        out.push_str("</small></h2>\n<div class=\"wide\"><table>\n<thead><tr>");
        for (name, numbers, class) in COLUMNS {
            let numbers =
                if numbers.is_empty() { String::new() } else { format!("<small>{numbers}</small>") };
            write!(out, "<th class=\"{class}\">{name}{numbers}</th>")?;
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in proxy {
            let server = servers.get(&(name, text(row, Column::Svname))).copied();
            write_row(out, row, server.filter(|_| row.kind == Kind::Server))?;
        }
        out.push_str("</tbody>\n</table></div>\n");
    }
    Ok(())
}

fn write_row(out: &mut String, row: &Row, server: Option<&Server>) -> fmt::Result {
    let word = text(row, Column::Status);
    let kind = match row.kind {
        Kind::Frontend => "front",
        Kind::Backend => "all",
        Kind::Server => "server",
    };
    let name = match row.kind {
        Kind::Frontend => "Frontend",
        Kind::Backend => "All servers",
        Kind::Server => text(row, Column::Svname),
    };
    write!(out, "<tr class=\"{kind} {}\"><td>{}", class(word), Escaped(name))?;
    if number(row, Column::Bck) == Some(1) && row.kind == Kind::Server {
        out.push_str(" <span class=\"dim\">backup</span>");
    }
    out.push_str("</td>");
    let mut cells = [const { String::new() }; COLUMNS.len()];
    cells[1] = format!("<span class=\"word\">{}</span>{}", Escaped(word), since(row));
    if let Some(server) = server {
        cells[2] = Escaped(last_check(server)).to_string();
    }
    cells[3] = several(row, &[Column::Scur, Column::Smax, Column::Slim]);
    cells[4] = several(row, &[Column::Rate, Column::RateMax]);
    cells[5] = several(row, &[Column::Stot]);
    cells[6] = several(row, &[Column::Qcur, Column::Qmax]);
    cells[7] = bytes(number(row, Column::Bin));
    cells[8] = bytes(number(row, Column::Bout));
    cells[9] = several(row, &[Column::Hrsp2xx, Column::Hrsp3xx, Column::Hrsp4xx, Column::Hrsp5xx]);
    cells[10] = times(row);
    cells[11] = sum(row, &[(Column::Dreq, "requests"), (Column::Dresp, "responses")]);
    cells[12] = sum(
        row,
        &[
            (Column::Ereq, "requests"),
            (Column::Econ, "connections"),
            (Column::Eresp, "responses"),
            (Column::CliAbrt, "ended by clients"),
        ],
    );
    cells[13] = several(row, &[Column::Wretr, Column::Wredis]);
    cells[14] = several(row, &[Column::Weight]);
    for ((label, numbers, class), cell) in COLUMNS.iter().zip(&cells).skip(1) {
        let gap = if numbers.is_empty() { "" } else { " " };
        write!(out, "<td class=\"{class}\" data-l=\"{label}{gap}{numbers}\">{cell}</td>")?;
    }
    out.push_str("</tr>\n");
    Ok(())
}

/// The colour of HAProxy's word.
fn class(word: &str) -> &'static str {
    match word.split(' ').next().unwrap_or_default() {
        _ if word.starts_with("UP ") && !word.contains('(') => "unsure",
        "UP" | "OPEN" => "up",
        "DOWN" if word.contains('/') && !word.contains('(') => "unsure",
        "DOWN" | "STOP" => "down",
        "NOLB" | "DRAIN" | "MAINT" | "PAUSED" => "away",
        _ => "none",
    }
}

fn since(row: &Row) -> String {
    let Some(seconds) = number(row, Column::Lastchg) else { return String::new() };
    let mut text = format!(" <span class=\"dim\">for {}", age(Duration::from_secs(seconds)));
    if let Some(times @ 1..) = number(row, Column::Chkdown) {
        let total = number(row, Column::Downtime).unwrap_or(0);
        let times = if times == 1 { "once".to_owned() } else { format!("{} times", thousands(times)) };
        text.push_str(&format!(", was down {times}, {} in all", age(Duration::from_secs(total))));
    }
    text.push_str("</span>");
    text
}

fn last_check(server: &Server) -> String {
    match &server.last_check {
        Some(check) if check.passed => {
            format!("{} in {}", server.check_text(), took(Duration::from_micros(check.microseconds)))
        }
        Some(_) => server.check_text(),
        None if server.statistics.is_checked => "not checked yet".to_owned(),
        None => "nobody checks it".to_owned(),
    }
}

/// `3 / 9 / 50`; those that are empty are left out.
fn several(row: &Row, columns: &[Column]) -> String {
    let numbers = columns.iter().filter_map(|&column| number(row, column));
    numbers.map(thousands).collect::<Vec<_>>().join(" / ")
}

/// Added up, and in words what it is made of.
fn sum(row: &Row, parts: &[(Column, &str)]) -> String {
    let parts: Vec<_> =
        parts.iter().filter_map(|&(column, what)| number(row, column).map(|n| (n, what))).collect();
    let total: u64 = parts.iter().map(|(n, _)| n).sum();
    let words: Vec<_> = parts.iter().map(|(n, what)| format!("{what}: {}", thousands(*n))).collect();
    let class = if total > 0 { " class=\"bad\"" } else { "" };
    format!("<span{class} title=\"{}\">{}</span>", words.join(", "), thousands(total))
}

/// On average, and in words the most that there were.
fn times(row: &Row) -> String {
    let Some(longest) = row.longest else { return String::new() };
    let average = several(row, &[Column::Qtime, Column::Ctime, Column::Rtime, Column::Ttime]);
    format!(
        "<span title=\"average of the last 1,024; at most in line: {}, connect: {}, response: {}, all: {}\">{average}</span>",
        thousands(longest.queue),
        thousands(longest.connect),
        thousands(longest.response),
        thousands(longest.total),
    )
}

/// In the largest unit that leaves a number above one.
fn bytes(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return String::new() };
    let (mut size, mut unit) = (1, "B");
    for next in ["kB", "MB", "GB", "TB", "PB"] {
        if bytes / size < 1_000 {
            break;
        }
        (size, unit) = (size * 1_000, next);
    }
    let tenth = if size == 1 { String::new() } else { format!(".{}", bytes / (size / 10) % 10) };
    format!("<span title=\"{} bytes\">{}{tenth} {unit}</span>", thousands(bytes), bytes / size)
}

fn text(row: &Row, column: Column) -> &str {
    match row.cell(column) {
        Cell::Text(text) => text,
        Cell::Empty | Cell::Number(_) => "",
    }
}

fn number(row: &Row, column: Column) -> Option<u64> {
    match row.cell(column) {
        Cell::Number(number) => u64::try_from(*number).ok(),
        Cell::Empty | Cell::Text(_) => None,
    }
}
