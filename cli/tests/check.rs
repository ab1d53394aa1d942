//! `lbctl check` from the outside: the reports of bad files are golden (`bad/NAME.toml`, `bad/NAME.stderr`), good
//! files pass, and nothing at all makes it panic. `UPDATE=1 cargo test -p lbctl --test check` blesses the reports.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lbctl::config;
use proptest::prelude::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// The TOML files of a folder, by name.
fn files(name: &str) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    files
}

/// Runs `lbctl` in a folder, so that reports name files without one.
fn lbctl(folder_name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .current_dir(folder(folder_name))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Compares with the golden file, or writes it.
fn assert_golden(path: &Path, found: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        if found.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, found).unwrap();
        }
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == found {
        return Ok(());
    }
    Err(format!("{}: expected\n{expected}\nfound\n{found}\n", path.display()))
}

#[test]
fn bad_files_end_with_78_and_the_golden_report() {
    let files = files("bad");
    assert!(files.len() >= 40, "the golden files are not there: {}", files.len());
    let mut failures = Vec::new();
    for file in files {
        let output = lbctl("bad", &["check", &file]);
        if output.status.code() != Some(78) || !output.stdout.is_empty() {
            failures.push(format!("{file}: {:?}, stdout {:?}", output.status, text(&output.stdout)));
        }
        // Carets stand under what is shown; a single one may stand behind it, where something is missing.
        let lines: Vec<_> = text(&output.stderr).lines().collect();
        for pair in lines
            .windows(2)
            .filter(|pair| pair[1].trim_matches([' ', '|', '^']).is_empty() && pair[1].contains("^^"))
        {
            if pair[1].chars().count() > pair[0].chars().count() {
                failures.push(format!("{file}: more carets than characters\n{}\n{}", pair[0], pair[1]));
            }
        }
        let golden = folder("bad").join(file.replace(".toml", ".stderr"));
        failures.extend(assert_golden(&golden, text(&output.stderr)).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn good_files_end_with_0_one_line_and_their_golden_warnings() {
    let mut failures = Vec::new();
    for file in files("good") {
        let output = lbctl("good", &["check", &file]);
        let stdout = text(&output.stdout);
        if output.status.code() != Some(0) || stdout.lines().count() != 1 || !stdout.contains(": fine") {
            failures.push(format!("{file}: {:?}, stdout {stdout:?}", output.status));
        }
        let golden = folder("good").join(file.replace(".toml", ".stderr"));
        failures.extend(assert_golden(&golden, text(&output.stderr)).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_shortest_pair_has_12_lines() {
    let pair = fs::read_to_string(folder("good").join("pair.toml")).unwrap();
    assert_eq!(pair.lines().count(), 12);
    let output = lbctl("good", &["check", "pair.toml"]);
    assert_eq!(text(&output.stdout), "pair.toml: fine: 2 nodes, 1 vip, 1 frontend, 1 backend, 2 servers\n");
}

/// The model without what may differ between a file and its effective form: the hash, the warnings, and which files were read.
fn model(config: &config::Config) -> String {
    let config::Config {
        hash: _,
        warnings: _,
        files: _,
        positions: _,
        cluster,
        groups,
        tracks,
        notifies,
        global,
        proxy,
        sources,
    } = config;
    format!("{cluster:#?}\n{groups:#?}\n{tracks:#?}\n{notifies:#?}\n{global:#?}\n{proxy:#?}\n{sources:#?}")
}

#[test]
fn the_effective_file_reads_back_as_the_same_model() {
    for file in files("good") {
        let written = fs::read_to_string(folder("good").join(&file)).unwrap();
        // Beside the files that it names.
        let named = |file: &str| folder("good").join(file).to_str().unwrap().to_owned();
        let first = config::parse(&written, &named(&file)).unwrap();
        let output = lbctl("good", &["check", "--effective", &file]);
        let effective = text(&output.stdout);
        let second = config::parse(effective, &named("effective.toml"))
            .unwrap_or_else(|report| panic!("{file}: {report}"));
        assert_eq!(model(&first), model(&second), "{file}");
        assert_eq!(config::effective(&second), config::effective(&first), "{file}");
    }
}

#[test]
fn the_effective_file_of_the_pair_shows_every_default() {
    let output = lbctl("good", &["check", "--effective", "pair.toml"]);
    let golden = folder("good").join("pair.effective");
    assert_golden(&golden, text(&output.stdout)).unwrap();
}

/// A failure that could never move an address is an error, and no line of the table.
#[test]
fn what_if_tells_of_each_fault_and_degradation_who_would_hold_the_address() {
    let output = lbctl("good", &["check", "--what-if", "pair.toml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        "\
pair.toml: fine: 2 nodes, 1 vip, 1 frontend, 1 backend, 2 servers
group default (web): lb1 holds it while all is well
WHAT FAILS                         ON lb1  ON lb2  ON ALL
the machine, or lbctl              lb2     lb1     nobody
the vip's interface                lb2     lb1     nobody
all listeners, or all workers      lb2     lb1     nobody
one listener or worker of several  lb2     lb1     lb1
all servers of backend web         lb2     lb1     lb1
"
    );
    let output = lbctl("bad", &["check", "--what-if", "track-never.toml"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("can't move anything"), "{output:?}");
}

#[test]
fn files_that_cannot_be_read_are_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let path = scratch.path().join(name);
        let output = lbctl("bad", &["check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78), "{name}");
        text(&output.stderr).replace(&format!("{}/", scratch.path().display()), "")
    };
    fs::create_dir(scratch.path().join("folder")).unwrap();
    fs::write(scratch.path().join("huge.toml"), vec![b'#'; (4 << 20) + 1]).unwrap();
    assert_eq!(run("missing.toml"), "missing.toml: does not exist\n1 error. Nothing was changed.\n");
    assert_eq!(run("folder"), "folder: is a folder, not a file\n1 error. Nothing was changed.\n");
    assert_eq!(
        run("huge.toml"),
        "huge.toml: has 4194305 bytes, and at most 4194304 bytes (4 MiB) are read; that is no configuration\n1 error. Nothing was changed.\n"
    );
}

/// The key is named, and who may not read it.
#[test]
fn key_that_this_user_may_not_read_is_told_with_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for name in ["site.crt", "site.key"] {
        fs::copy(folder("good").join(name), at(name)).unwrap();
    }
    fs::set_permissions(at("site.key"), fs::Permissions::from_mode(0o000)).unwrap();
    let bind = "{ address = \"*:443\", tls = { certificate = \"site.crt\", key = \"site.key\" } }";
    fs::write(at("lb.toml"), format!("[listen.a]\nbind = {bind}\nservers = [\"192.0.2.21:80\"]\n")).unwrap();
    // Root may read everything, but for these.
    let mut command = Command::new(if nix::unistd::geteuid().is_root() { "setpriv" } else { "env" });
    if nix::unistd::geteuid().is_root() {
        command.arg("--bounding-set=-dac_override,-dac_read_search");
    }
    let output = command.args([env!("CARGO_BIN_EXE_lbctl"), "check"]).arg(at("lb.toml")).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("lb.toml:2:69: \"site.key\" may not be read by user "), "{said}");
}

#[test]
fn error_pages_are_read_with_the_file_beside_it_and_in_haproxys_form() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(scratch.path().join(name), bytes).unwrap();
    write("page.json", b"{}");
    write(
        "503.http",
        b"HTTP/1.0 503 Service Unavailable\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/x\r\n\r\nsorry",
    );
    write("large.html", &vec![b'x'; (64 << 10) + 1]);
    let load = |status: &str, file: &str| {
        let text = format!(
            "[listen.a]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\nerror_page = {{ {status} = \"{file}\" }}\n"
        );
        write("lb.toml", text.as_bytes());
        config::load(&scratch.path().join("lb.toml"))
    };
    let page = |status, file: &str| load(status, file).unwrap().proxy.frontends[0].error_pages[0].clone();
    let json = page("404", "page.json");
    assert_eq!((json.status, json.content.as_slice()), (404, &b"{}"[..]));
    assert_eq!(json.fields, b"Cache-Control: no-cache\r\nContent-Type: application/json\r\n");
    let whole = page("503", "503.http");
    assert_eq!(whole.content, b"sorry");
    assert_eq!(whole.fields, b"Cache-Control: no-cache\r\nContent-Type: text/x\r\n");
    let report = load("503", "large.html").unwrap_err().to_string();
    assert!(report.contains("lb.toml:4:22: \"large.html\" is larger than 64 kB\n"), "{report}");
    // What `check --effective` prints reads back, from the same folder.
    let config = load("503", "503.http").unwrap();
    write("lb.toml", config::effective(&config).as_bytes());
    assert_eq!(model(&config), model(&config::load(&scratch.path().join("lb.toml")).unwrap()));
}

#[test]
fn the_file_of_an_answer_is_read_beside_the_file_that_names_it() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(scratch.path().join(name), bytes).unwrap();
    write("closed.json", b"{}");
    write("large.html", &vec![b'x'; (64 << 10) + 1]);
    let load = |file: &str| {
        let text = format!(
            "[listen.a]\nbind = \"*:80\"\nservers = [\"192.0.2.21:80\"]\nrules = [{{ respond = {{ file = \"{file}\" }} }}]\n"
        );
        write("lb.toml", text.as_bytes());
        config::load(&scratch.path().join("lb.toml"))
    };
    let config = load("closed.json").unwrap();
    let rules = format!("{:?}", config.proxy.frontends[0].rules);
    let content = format!("{:?}", b"{}");
    assert!(rules.contains(&content) && rules.contains("application/json"), "{rules}");
    write("lb.toml", config::effective(&config).as_bytes());
    assert_eq!(model(&config), model(&config::load(&scratch.path().join("lb.toml")).unwrap()));
    let report = load("large.html").unwrap_err().to_string();
    assert!(report.contains("lb.toml:4:31: \"large.html\" is larger than 64 kB\n"), "{report}");
}

#[test]
fn a_dash_reads_standard_input() {
    let pair = fs::File::open(folder("good").join("pair.toml")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lbctl")).args(["check", "-"]).stdin(pair).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("stdin: fine: 2 nodes"), "{output:?}");
}

#[test]
fn the_hash_is_that_of_the_bytes() {
    let config = config::load(&folder("good").join("pair.toml")).unwrap();
    let sum = Command::new("sha256sum").arg(folder("good").join("pair.toml")).output().unwrap();
    assert_eq!(text(&sum.stdout).split_whitespace().next(), Some(config.hash.as_str()));
}

/// A line of some good file, for mutations.
fn good_text() -> impl Strategy<Value = String> {
    let all: Vec<String> =
        files("good").iter().map(|file| fs::read_to_string(folder("good").join(file)).unwrap()).collect();
    prop::sample::select(all)
}

#[test]
fn a_file_that_could_not_be_written_is_not_called_fine() {
    let output = Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .current_dir(folder("good"))
        .args(["check", "--effective", &files("good")[0]])
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr)
            .ends_with("lbctl: can't write to stdout: No space left on device (os error 28)\n")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,400}") {
        let _ = config::parse(&text, "any.toml").map_err(|report| report.to_string());
    }

    #[test]
    fn no_toml_like_text_makes_it_panic(text in "([\\[\\]{}=,.\"'#a-f0-9 \n]|vip|listen|bind|server|\\[cluster\\]\n){0,80}") {
        let _ = config::parse(&text, "any.toml").map_err(|report| report.to_string());
    }

    #[test]
    fn no_mutation_of_a_good_file_makes_it_panic(
        text in good_text(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[\\PC\n]{0,4}"), 1..6),
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, removed, inserted) in edits {
            let start = at.index(chars.len() + 1);
            let end = (start + removed).min(chars.len());
            chars.splice(start..end, inserted.chars());
        }
        let text: String = chars.into_iter().collect();
        match config::parse(&text, "any.toml") {
            Ok(config) => {
                let again = config::effective(&config);
                let again = config::parse(&again, "effective.toml");
                prop_assert!(again.is_ok(), "{}\n{:?}", text, again.err());
                prop_assert_eq!(model(&config), again.map(|again| model(&again)).unwrap_or_default());
            }
            Err(report) => prop_assert!(report.errors() > 0 && !report.to_string().is_empty()),
        }
    }
}
