//! What the book tells people to type: `lbctl` takes it, and a test runs it or the ledger says why none does.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, none, tests};

/// `COMMAND = TEST` or `COMMAND = not run: REASON`, as [`shape`] writes a command.
const LEDGER: &str = include_str!("commands.txt");
/// Tests that type commands of other programs: where one of them is named, its file has the command as the book has it.
const TYPED: [&str; 3] = ["tests/tests/book.rs", "tests/tests/routes.rs", "tests/tests/systemd/book.rs"];
/// Programs of others. In a sentence what begins with one and goes on is a command.
const PROGRAMS: &str = "VBoxManage ab apt apt-get awk cargo cat certbot check_haproxy check_haproxy_stats chgrp chmod chown \
     chronyc cp curl df dig dmesg dnf docker dpkg ethtool find firewall-cmd gdb getent grep htpasswd ip \
     iptables iptables-save journalctl kill killall ls lsof man mdbook mkdir mkpasswd mv nc networkctl nft \
     nmcli openssl perf pgrep ping promtool ps rm rpm runuser scp sed ss ssh strace sysctl systemctl systemd-analyze \
     tar tcpdump testssl top ulimit useradd usermod vagrant virsh vmstat wget";
/// Those that are typed without anything behind them.
const ALONE: [&str; 3] = ["dmesg", "iptables-save", "mkpasswd"];
/// Pages whose blocks of `console` a test runs as they stand.
const RUN_AS_THEY_STAND: [(&str, &str); 1] = [("docs/tutorial.md", "the_tutorial_goes_as_it_is_told")];

/// Words that are no options and say what is to be done.
const ORDERS: [&str; 7] = ["drain", "maint", "ready", "weight", "check", "pause", "resume"];

/// A command of the book, and where it stands.
struct Shown {
    place: String,
    command: String,
    /// It has placeholders, or is a part of a sentence: what it names has to exist, and not to be complete.
    is_sketch: bool,
    runs_as_it_stands: bool,
}

/// README, book and the lab of virtual machines.
fn pages() -> Vec<(String, String)> {
    let all = files(&[".md"]).into_iter();
    all.filter(|(path, _)| path.starts_with("docs/") || path.ends_with("README.md")).collect()
}

fn shown() -> Vec<Shown> {
    let mut found = Vec::new();
    for (path, text) in pages() {
        let mut language = None;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let place = format!("{path}:{}", number + 1);
            if let Some(opening) = line.strip_prefix("```") {
                language = language.is_none().then_some(opening);
                continue;
            }
            let Some(language) = language else {
                let spans = line.split('`').skip(1).step_by(2);
                let sketch = |command: &str| Shown {
                    place: place.clone(),
                    command: command.to_owned(),
                    is_sketch: true,
                    runs_as_it_stands: false,
                };
                found.extend(spans.filter(|span| is_ours(span) || is_of_others(span)).map(sketch));
                continue;
            };
            let in_comment =
                line.split_once("# ").map(|(_, comment)| comment).filter(|text| is_of_others(text));
            let typed = match language {
                "sh" => Some(line),
                "console" | "" => line.strip_prefix("$ "),
                _ if in_comment.is_some() => in_comment,
                _ => continue,
            };
            let is_sketch = typed.is_none();
            let mut command = typed.unwrap_or(line).to_owned();
            if is_sketch && !(is_ours(line) && language.is_empty()) {
                continue;
            }
            while command.ends_with(['\\', '|']) {
                let (_, next) = lines.next().expect("a command that goes on has a next line");
                command = format!("{} {}", command.trim_end_matches('\\').trim_end(), next.trim());
            }
            let command = command.split("  #").next().unwrap_or_default().trim().to_owned();
            if !command.is_empty() && !command.starts_with('#') {
                let runs_as_it_stands =
                    language == "console" && RUN_AS_THEY_STAND.iter().any(|(page, _)| *page == path);
                found.push(Shown { place, command, is_sketch, runs_as_it_stands });
            }
        }
    }
    assert!(found.len() > 100, "{} commands found", found.len());
    found
}

fn is_ours(command: &str) -> bool {
    command.strip_prefix("sudo ").unwrap_or(command).starts_with("lbctl ")
}

/// Is it a command of another program's, and not the name of one, or a line of a file?
fn is_of_others(command: &str) -> bool {
    let is_setting =
        |word: &&str| word.split_once('=').is_some_and(|(name, _)| name.chars().all(is_of_a_variable));
    let mut words = command.split_whitespace().skip_while(|word| is_setting(word) || *word == "sudo");
    let program = words.next().unwrap_or_default();
    let has_more = words.next().is_some_and(|word| word != "=");
    PROGRAMS.split(' ').any(|one| one == program) && has_more || ALONE.contains(&command)
}

fn is_of_a_variable(character: char) -> bool {
    character.is_ascii_uppercase() || character == '_'
}

/// A synopsis names what is possible; nobody types it.
fn is_synopsis(command: &str) -> bool {
    command.contains(['[', '…']) || command.contains("..") || command.contains('|') && is_ours(command)
}

/// Words as a shell makes them of a line without variables; up to the first redirection or pipe.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '>' | '|' | ';' | '&') => break,
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word.filter(|word| word != "2"));
    words
}

/// The commands of lbctl's in a command: itself, and those that it hands on (`lab exec lb1 -- lbctl status`).
fn ours(command: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for part in command.split(" && ") {
        let words = words(part);
        for (index, word) in words.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|before| words.get(before));
            if word == "lbctl" && before.is_none_or(|before| before == "--" || before == "sudo") {
                found.push(words.get(index..).unwrap_or_default().to_vec());
            } else if is_ours(word) {
                found.extend(ours(word));
            }
        }
    }
    found
}

/// What is wrong with a sketch: a verb that does not exist, or an option that it doesn't have.
fn unknown(sketch: &str) -> Option<String> {
    let mut grammar = lbctl::command::grammar();
    grammar.build();
    let mut command = &grammar;
    let words = sketch.split([' ', '[', ']', '|', '=']).skip_while(|word| *word != "lbctl").skip(1);
    let mut is_path = true;
    for word in words.filter(|word| !word.is_empty()) {
        if word == "--" || word.starts_with(['>', '&']) {
            break;
        }
        if is_path && word.chars().all(|c| c.is_ascii_lowercase()) && command.has_subcommands() {
            match command.find_subcommand(word) {
                Some(verb) => command = verb,
                None => return Some(format!("there is no `{word}`")),
            }
        } else if let Some(option) = word.strip_prefix("--") {
            let option = option.trim_end_matches(',');
            if !command.get_arguments().any(|argument| argument.get_long() == Some(option)) {
                return Some(format!("{} has no --{option}", command.get_name()));
            }
        } else {
            is_path = false;
        }
    }
    None
}

#[test]
fn every_command_of_the_book_is_one_that_lbctl_takes() {
    let mut wrong = Vec::new();
    for Shown { place, command, is_sketch, .. } in shown() {
        if is_sketch && is_of_others(&command) {
            continue;
        }
        if is_sketch {
            wrong.extend(unknown(&command).map(|why| format!("{place}: {command}: {why}")));
            continue;
        }
        for words in ours(&command) {
            if let Err(error) = lbctl::command::grammar().try_get_matches_from(words) {
                wrong.push(format!("{place}: {command}: {error}"));
            }
        }
    }
    none(&wrong);
}

/// A command without what differs from case to case: of ours verb and options, others as they are.
fn shape(command: &str) -> String {
    let words = words(command);
    if words.first().is_none_or(|word| word != "lbctl") {
        return command.to_owned();
    }
    let (mut grammar, mut shape) = (&lbctl::command::grammar(), String::from("lbctl"));
    let mut options = BTreeSet::new();
    for word in words.iter().skip(1).take_while(|word| *word != "--") {
        if let Some(verb) = grammar.find_subcommand(word) {
            shape = format!("{shape} {word}");
            grammar = verb;
        } else if word.starts_with('-') {
            options.insert(word.split('=').next().unwrap_or(word));
        } else if ORDERS.contains(&word.as_str()) {
            options.insert(word);
        }
    }
    options.into_iter().fold(shape, |shape, option| format!("{shape} {option}"))
}

#[test]
fn every_command_of_the_book_is_run_by_a_test_or_says_why_none_does() {
    let sources = files(&[".rs"]);
    let tests = tests(&sources);
    let ledger: BTreeMap<&str, &str> = LEDGER
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(" = "))
        .collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for Shown { place, command, is_sketch, runs_as_it_stands } in shown() {
        // Decisions tell what was thought of; nobody types it.
        let is_told = is_sketch && (place.starts_with("docs/decisions/") || is_synopsis(&command));
        if is_told || runs_as_it_stands {
            continue;
        }
        let shape = shape(&command);
        // A verb that a sentence names, without what stands behind it.
        let is_named = is_sketch
            && is_ours(&command)
            && ledger.keys().any(|known| known.starts_with(&format!("{shape} ")));
        if let Some((known, _)) = ledger.get_key_value(shape.as_str()) {
            used.insert(*known);
        } else if !is_named {
            wrong.push(format!("{place}: tests/tests/house/commands.txt has no line for: {shape}"));
        }
    }
    wrong.extend(
        ledger.keys().filter(|shape| !used.contains(*shape)).map(|shape| format!("not in the book: {shape}")),
    );
    let named = ledger.values().copied().chain(RUN_AS_THEY_STAND.map(|(_, test)| test));
    wrong.extend(
        named
            .filter(|test| match test.strip_prefix("not run: ") {
                Some(reason) => reason.len() < 10,
                None => !tests.contains(test),
            })
            .map(|test| format!("no such test: {test}")),
    );
    for (path, text) in sources.iter().filter(|(path, _)| TYPED.contains(&path.as_str())) {
        let text = text.replace("\\\"", "\"");
        let of_this = |test: &&str| text.contains(&format!("fn {test}("));
        let typed = ledger.iter().filter(|(shape, test)| !is_ours(shape) && of_this(test));
        let missing = typed.filter(|(shape, _)| !text.contains(**shape));
        wrong.extend(missing.map(|(shape, test)| format!("{path}: {test} does not type: {shape}")));
    }
    none(&wrong);
}
