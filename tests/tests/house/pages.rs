//! The pages of the book: their links, their order, and what they say of files that are none of theirs.

use std::{collections::BTreeSet, fs};

use super::{files, none, quoted, read, root};

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            '_' => Some('_'),
            _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
        })
        .collect()
}

#[test]
fn links_of_the_book_resolve() {
    let mut wrong = Vec::new();
    for (path, text) in files(&[".md"]) {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") || target.contains(' ') {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let depth = path.split('/').count().saturating_sub(2);
            if path.starts_with("docs/") && file.split('/').take_while(|part| *part == "..").count() > depth {
                wrong.push(format!(
                    "{path}: {target} is none of the book, which is also read as HTML without the tree"
                ));
            }
            let file = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            // A picture is no text.
            let Ok(linked) = fs::read(&file)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .or_else(|error| if file.is_dir() { Ok(String::new()) } else { Err(error) })
            else {
                wrong.push(format!("{path}: {target} doesn't exist"));
                continue;
            };
            let found = linked.lines().any(|line| line.starts_with('#') && anchor(line) == fragment);
            if !fragment.is_empty() && !found {
                wrong.push(format!("{path}: {target} has no such heading"));
            }
        }
    }
    none(&wrong);
}

/// As mdBook reads it: a title, headings of parts, and pages in lists that are indented by two.
#[test]
fn the_contents_of_the_book_have_every_page_once_in_a_form_that_mdbook_takes() {
    let contents = read("docs/SUMMARY.md");
    let mut wrong = Vec::new();
    let mut listed = Vec::new();
    let mut depth = 0;
    for (number, line) in contents.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let item = line.trim_start();
        let indent = line.len() - item.len();
        let page = item.trim_start_matches("- ").strip_prefix('[').and_then(|rest| rest.strip_suffix(')'));
        match page.and_then(|rest| rest.split_once("](")) {
            Some((_, page)) => listed.push(page),
            None if number == 0 && line == "# Summary" => {}
            None if line.starts_with("# ") => {}
            None => wrong.push(format!("docs/SUMMARY.md:{}: {line}", number + 1)),
        }
        if item.starts_with("- ") {
            if indent % 2 == 1 || indent / 2 > depth + 1 {
                wrong.push(format!("docs/SUMMARY.md:{}: indented by {indent}", number + 1));
            }
            depth = indent / 2;
        }
    }
    let once: BTreeSet<&str> = listed.iter().copied().collect();
    if once.len() < listed.len() {
        wrong.push("docs/SUMMARY.md names a page twice".to_owned());
    }
    wrong.extend(
        files(&[".md"])
            .iter()
            .filter_map(|(path, _)| path.strip_prefix("docs/"))
            .filter(|page| *page != "SUMMARY.md" && !once.contains(page))
            .map(|page| format!("docs/SUMMARY.md doesn't link {page}")),
    );
    none(&wrong);
}

#[test]
fn every_alert_has_its_row_with_what_to_do_among_those_of_its_severity() {
    let (rules, page) = (read("docs/prometheus/alerts.yml"), read("docs/alerts.md"));
    let mut alerts = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let severity = rule.split("severity: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        alerts.insert((severity, rule.lines().next().unwrap()));
    }
    assert!(alerts.len() > 10, "{alerts:?}");
    let mut rows = BTreeSet::new();
    for part in page.split("(`severity: ").skip(1) {
        let severity = part.split('`').next().unwrap();
        rows.extend(
            part.lines().filter_map(|line| Some((severity, line.strip_prefix("| `")?.split('`').next()?))),
        );
    }
    assert_eq!(alerts, rows);
}

/// A sentence of `lbctl status` begins with a literal in the sources: its words, without the names in it, stand in a row.
#[test]
fn every_problem_of_status_has_its_row_with_what_to_do() {
    let page = read("docs/operations.md");
    let part = page.split("\n## The problems\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let said: Vec<&str> = part
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|row| row.split('*').skip(1).step_by(2))
        .collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, text) in files(&[".rs"]).iter().filter(|(path, _)| path.starts_with("cli/src/daemon")) {
        let is_test = path.contains("tests");
        for (line, next) in text.lines().zip(text.lines().skip(1)).filter(|_| !is_test) {
            let is_problem = line.ends_with("Problem {") && next.trim_start().starts_with("what: ");
            let Some(literal) =
                next.split('"').nth(1).filter(|_| is_problem || line.ends_with("problems::new("))
            else {
                continue;
            };
            seen += 1;
            let words = literal.split(['{', '}']).step_by(2).map(str::trim).filter(|words| words.len() > 4);
            let missing = words.filter(|words| !said.iter().any(|said| said.contains(words)));
            wrong.extend(
                missing.map(|words| format!("{path}: docs/operations.md has no problem with `{words}`")),
            );
        }
    }
    assert!(seen > 25, "{seen} problems found");
    none(&wrong);
}

#[test]
fn every_end_to_end_test_is_named_where_the_book_tells_of_them() {
    let page = read("docs/testing.md");
    let told: BTreeSet<&str> = quoted(&page).collect();
    let wrong: Vec<_> = files(&[".rs"])
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("tests/tests/").filter(|file| !file.contains('/')))
        .filter(|file| !told.contains(file) && !page.contains(&format!("`tests/tests/{file}`")))
        .map(|file| format!("docs/testing.md says nothing of {file}"))
        .collect();
    none(&wrong);
}

/// `NAME = VALUE` in `FILE`: the file has such a constant.
#[test]
fn the_limits_of_the_book_are_those_of_the_sources() {
    let page = read("docs/limits.md");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for line in page.lines().filter(|line| line.starts_with("| ") || line.contains("` in `")) {
        let spans: Vec<&str> = quoted(line).collect();
        let mut constants = Vec::new();
        for span in spans {
            if let Some((name, value)) =
                span.split_once(" = ").filter(|(name, _)| name.starts_with(char::is_uppercase))
            {
                constants.push((name.split(':').next().unwrap_or(name), value));
            } else if span.ends_with(".rs") {
                let source = read(span);
                for (name, value) in constants.drain(..) {
                    seen += 1;
                    let is_it = |line: &str| {
                        line.contains(&format!("const {name}:")) && line.ends_with(&format!(" = {value};"))
                    };
                    if !source.lines().any(is_it) {
                        wrong.push(format!("docs/limits.md: {span} has no {name} = {value}"));
                    }
                }
            }
        }
    }
    assert!(seen > 30, "{seen} constants found");
    none(&wrong);
}
