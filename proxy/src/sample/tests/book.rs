//! docs/templates.md has every placeholder and every function, as the code has them.

use super::*;

/// The cells of the table under a heading, without backquotes.
fn table(heading: &str) -> Vec<Vec<String>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/templates.md");
    let book = std::fs::read_to_string(path).unwrap();
    let section = book.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let cell = |cell: &str| cell.trim_matches('`').replace("\\|", "|");
    rows.map(|row| row.split(" | ").map(cell).collect()).collect()
}

#[test]
fn the_book_has_every_placeholder_with_its_type_place_and_haproxy_name() {
    let since = |since| match since {
        Since::Connection => "connection",
        Since::ClientHello => "tcp",
        Since::Request => "request",
        Since::Head => "rules of requests",
        Since::Backend => "backend",
        Since::Server => "server",
        Since::Response => "response",
        Since::Log => "log",
    };
    let rows = table("Placeholders");
    let written: Vec<[&str; 4]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[2], &*row[4]]).collect();
    let known: Vec<[&str; 4]> =
        PLACEHOLDERS.iter().map(|row| [row.name, row.kind, since(row.since), row.haproxy]).collect();
    assert_eq!(written, known);
    assert!(rows.iter().all(|row| row.len() == 5 && row[3].len() > 3), "{rows:?}");
}

#[test]
fn the_book_has_every_function_with_its_example_and_haproxy_name() {
    let rows = table("Functions");
    let written: Vec<[&str; 3]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[3]]).collect();
    let known: Vec<[&str; 3]> = FUNCTIONS.iter().map(|row| [row.name, row.usage, row.haproxy]).collect();
    assert_eq!(written, known);
    assert!(rows.iter().all(|row| row.len() == 4 && row[2].len() > 3), "{rows:?}");
}

#[test]
fn the_book_has_every_word_of_haproxys_logs_with_what_stands_for_it() {
    let rows = table("HAProxy's words in a log");
    let written: Vec<[&str; 3]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[2]]).collect();
    let note = |note| if str::is_empty(note) { "The same." } else { note };
    let known: Vec<[&str; 3]> =
        LOG_WORDS.iter().map(|row| [row.word, row.template.unwrap_or("-"), note(row.note)]).collect();
    assert_eq!(written, known);
    let names = Names::default();
    for text in LOG_WORDS.iter().filter_map(|row| row.template) {
        let place = Place { stage: Stage::Response, backend: true, text: Text::Log, names: &names };
        assert!(Template::parse(text, &place).is_ok(), "{text}");
    }
}
