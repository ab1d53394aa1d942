//! The tutorial of the book, typed as it stands there.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use lb_tests::{attempts::in_time, program, scene};

/// How long a step may take to come out as the page says: a pair needs a moment to heal, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is typed, and what the page prints below it.
struct Step {
    typed: String,
    printed: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(typed), _) => steps.push(Step { typed: typed.to_owned(), printed: Vec::new() }),
                (None, Some(step)) => step.printed.push(line.to_owned()),
                (None, None) => panic!("a block begins with what it prints: {line}"),
            }
        }
    }
    steps
}

/// A line that says the same each time: one without a number but those of names.
fn is_stable(line: &str) -> bool {
    let names = ["lb1", "lb2", "web1", "web2", "503"];
    let rest = names.iter().fold(line.to_owned(), |rest, name| rest.replace(name, ""));
    !rest.trim().is_empty() && !rest.chars().any(|c| c.is_ascii_digit())
}

/// Columns are as wide as what stands in them.
fn squeezed(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Types a step until it comes out as the page says; the last that it said, if it never does.
fn take(step: &Step, path: &str, folder: &Path) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let output = Command::new("sh")
            .args(["-c", &step.typed])
            .env("PATH", path)
            .env("XDG_RUNTIME_DIR", folder)
            .env("LBCTL", program::lbctl())
            .output()
            .unwrap();
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        // Differences and problems have exit codes of their own, and are not failures.
        let is_done = matches!(output.status.code(), Some(0 | 2)) || step.typed.ends_with("lbctl diff");
        let missing =
            step.printed.iter().find(|line| is_stable(line) && !squeezed(&said).contains(&squeezed(line)));
        if is_done && missing.is_none() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{}: {}, without {missing:?}:\n{said}", step.typed, output.status));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// One reader: from `lab up` to `lab down`, in a lab that nobody else sees.
fn read() -> Result<(), String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 20, "{} steps", steps.len());
    assert!(steps.iter().flat_map(|step| &step.printed).filter(|line| is_stable(line)).count() > 15);
    let folder = tempfile::tempdir().unwrap();
    let path = program::path_with_lbctl();
    let _slot = scene::take_slot();
    let end = Step { typed: "lbctl lab down".to_owned(), printed: Vec::new() };
    let gone = steps.iter().try_for_each(|step| take(step, &path, folder.path()));
    if gone.is_err() {
        let _ = take(&end, &path, folder.path());
    }
    gone
}

#[test]
fn the_tutorial_goes_as_it_is_told() {
    in_time(read);
}
