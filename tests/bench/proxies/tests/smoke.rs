//! The bench works: not how fast anything is.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// lbctl and the HAProxy of this machine.
fn bench(folder: &Path, words: &[&str]) -> Command {
    let lbctl = std::env::var_os("LBCTL").map_or_else(
        || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("lbctl"),
        PathBuf::from,
    );
    assert!(lbctl.is_file(), "{} is missing: cargo build -p lbctl", lbctl.display());
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let number = release.lines().find_map(|line| line.strip_prefix("VERSION_ID=")).unwrap().trim_matches('"');
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-bench"));
    command.arg("--lbctl").arg(lbctl).arg("--folder").arg(folder);
    command.arg(format!("--peers=lbctl,haproxy{number}")).args(words);
    command
}

#[test]
fn a_run_leaves_figures_of_everybody_a_report_and_a_chart() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.md");
    fs::write(&page, "before\n<!-- proxies -->\n<!-- /proxies -->\nafter\n").unwrap();
    let words = ["--cases=a,f-ping", "--rounds=1", "--seconds=0.1", "--page", page.to_str().unwrap()];
    let output = bench(folder.path(), &words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // 2: a bar is missed, which says nothing here.
    assert!([Some(0), Some(2)].contains(&output.status.code()), "{}: {said}", output.status);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let run: Value = serde_json::from_str(&read("figures.json")).unwrap();
    let cases = run["cases"].as_array().unwrap();
    assert_eq!(cases.iter().map(|case| case["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "f-ping"]);
    for case in cases {
        let samples = case["samples"].as_array().unwrap();
        // Fast and at a pace, before nobody, lbctl and HAProxy.
        assert_eq!(samples.len(), 6, "{case}");
        for sample in samples {
            assert!(sample["units"].as_f64().unwrap() >= 1.0, "{sample}");
            assert!(
                sample["peer"] == "direct" || sample["memory"]["proportional"].as_u64().unwrap() > 100,
                "{sample}"
            );
            assert!(sample["failed"].as_object().unwrap().is_empty(), "{sample}");
        }
    }
    let page = read("page.md");
    assert!(
        page.starts_with("before\n<!-- proxies -->\n") && page.ends_with("<!-- /proxies -->\nafter\n"),
        "{page}"
    );
    assert!(page.contains("| lbctl | ") && page.contains("](images/benchmarks.svg)"), "{page}");
    assert!(read("images/benchmarks.svg").ends_with("</svg>\n"));
    // What was measured can be reported again.
    let report = bench(folder.path(), &["--report", folder.path().join("figures.json").to_str().unwrap()]);
    let mut report = report;
    let again = report.output().unwrap();
    assert_eq!(again.status.code(), output.status.code());
    assert_eq!(again.stdout, output.stdout);
}

#[test]
fn whoever_ends_it_finds_nobody_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(folder.path(), &["--cases=a", "--seconds=60"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("lbctl"), "{first}");
    let ours = folder.path().display().to_string();
    let left = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let words = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        words.filter(|words| words.contains(&ours)).count()
    };
    assert!(left() > 1);
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    assert!(!child.wait().unwrap().success());
    while left() > 0 {
        assert!(Instant::now() < end, "{} processes are left", left());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_asked_for_and_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (words, said) in [
        (["--cases=d-1g", "--quick"], "there is no case d-1g; there are a, b, c, d-10k"),
        (
            ["--lbctl=/nowhere/lbctl", "--cases=a"],
            "/nowhere/lbctl: cargo build --release -p lbctl, or --lbctl PATH",
        ),
        (["--report=/nowhere/figures.json", "--quick"], "cannot read /nowhere/figures.json"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lb-bench"));
        let output = command.arg("--folder").arg(folder.path()).args(words).output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && complained.contains(said), "{complained}");
    }
}
