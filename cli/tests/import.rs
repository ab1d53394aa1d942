//! `lbctl import` from the outside: what it makes of files, and what it says about them, is golden
//! (`import/NAME.{cfg,toml,stderr}`). `UPDATE=1 cargo test -p lbctl --test import` blesses both.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use lbctl::{config, import::haproxy};

#[path = "import/keepalived.rs"]
mod keepalived;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Runs `lbctl import` in the folder of the files, in an environment that holds nothing.
fn import(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .current_dir(folder())
        .env_clear()
        .arg("import")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The names of the files, without their ends.
fn names() -> Vec<String> {
    let entries =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter_map(|name| Some(name.strip_suffix(".cfg")?.to_owned())).collect();
    names.sort();
    assert!(names.len() > 20, "the files are not there: {names:?}");
    names
}

/// The file begins with its arguments, if it needs any.
fn golden(name: &str) -> Output {
    let file = format!("{name}.cfg");
    let source = fs::read_to_string(folder().join(&file)).unwrap();
    let first = source.lines().next().unwrap();
    let mut arguments = vec![file.as_str()];
    arguments
        .extend(first.strip_prefix("#! ").unwrap_or_default().split(' ').filter(|word| !word.is_empty()));
    import(&arguments)
}

/// Hashes are other ones each time.
fn masked(toml: &str) -> String {
    const MADE: &str = "$6$rounds=5000$";
    let mut parts = toml.split(MADE);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.extend([MADE, &".".repeat(16), "$", &".".repeat(86), &part[16 + 1 + 86..]]);
    }
    text
}

/// Compares with the golden file, or writes it.
fn compare(path: &Path, found: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, found).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != found).then(|| format!("{}: expected\n{expected}\nfound\n{found}\n", path.display()))
}

#[test]
fn files_become_what_the_golden_ones_say_with_the_golden_notes() {
    let mut failures = Vec::new();
    for name in names() {
        let output = golden(&name);
        if output.status.code() != Some(0) {
            failures.push(format!("{name}: {:?} {}", output.status, text(&output.stderr)));
        }
        failures.extend(compare(&folder().join(format!("{name}.toml")), &masked(text(&output.stdout))));
        failures.extend(compare(&folder().join(format!("{name}.stderr")), text(&output.stderr)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_comes_out_is_what_check_takes() {
    for name in names() {
        let path = folder().join(format!("{name}.toml"));
        let made = config::load(&path).unwrap_or_else(|report| panic!("{name}: {report}"));
        let again = config::effective(&made);
        config::parse(&again, path.to_str().unwrap())
            .unwrap_or_else(|report| panic!("{name}: {report}\n{again}"));
    }
}

/// Every line with a word in it is in the result, or is named with its number.
#[test]
fn no_line_of_the_article_is_lost_without_a_word() {
    let output = golden("seed");
    let (toml, notes) = (text(&output.stdout), text(&output.stderr));
    let expected = [
        (4, "`chroot`"),
        (7, "`daemon` is left out"),
        (8, "`nbproc 1` is gone"),
        (9, "the folder /usr/local/haproxy/logs does not exist here"),
        (10, "`daemon` (line 7) was without effect"),
        (23, "without a password"),
        (24, "`contimeout` is the old name"),
        (25, "`clitimeout` is the old name"),
        (26, "`srvtimeout` is the old name"),
        (28, "no `timeout http-request`"),
        (28, "up to version 1.4"),
        (30, "the section has no `cookie` line"),
    ];
    for (line, what) in expected {
        let said =
            notes.lines().any(|note| note.starts_with(&format!("seed.cfg:{line}:")) && note.contains(what));
        assert!(said, "line {line}: nothing says {what}\n{notes}");
    }
    let config = config::parse(toml, "lb.toml").unwrap();
    assert_eq!(config.proxy.maxconn, 4096);
    let (frontend, backend) = (&config.proxy.frontends[0], &config.proxy.backends[0]);
    assert_eq!((frontend.name.as_str(), frontend.maxconn, frontend.forwardfor), ("web_proxy", 2000, true));
    assert_eq!((backend.retries, backend.redispatch, backend.servers.len()), (2, true, 2));
    assert_eq!(backend.check.as_ref().unwrap().fall, 5);
    assert_eq!(frontend.timeout.client.as_secs(), 50);
}

#[test]
fn strict_writes_nothing_if_something_could_not_be_converted() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("lb.toml");
    let path = target.to_str().unwrap();
    let output = import(&["missing.cfg", "--strict", "-o", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && !target.exists());
    assert!(text(&output.stderr).ends_with(" Nothing was written.\n"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("missing.cfg:2:1: not converted: "), "{}", text(&output.stderr));
    fs::write(&target, "mine").unwrap();
    assert_eq!(import(&["missing.cfg", "--strict", "--force", "-o", path]).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    fs::remove_file(&target).unwrap();
    // Everything is in it: that it was said otherwise is no loss, and a chroot is none either.
    let output = import(&["seed.cfg", "--strict", "-o", path]);
    assert_eq!((output.status.code(), target.exists()), (Some(0), true), "{}", text(&output.stderr));
    fs::remove_file(&target).unwrap();
    // What happens is something else.
    for (line, what) in [
        ("http-after-response set-header X-A b", "not the same: `http-after-response` is also about"),
        ("http-request deny if FALSE", "not converted: its condition never holds"),
        ("server b 192.0.2.1:81 check", "not the same: the server `a` has no `check`"),
    ] {
        let source = scratch.path().join("a.cfg");
        let text_of = |line: &str| {
            format!(
                "listen a\n mode http\n bind :80\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n server a 192.0.2.1:80\n {line}\n"
            )
        };
        for (line, code) in [(line, 1), ("option http-restrict-req-hdr-names reject", 0)] {
            fs::write(&source, text_of(line)).unwrap();
            let output = import(&[source.to_str().unwrap(), "--strict", "-o", path]);
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), target.exists()), (Some(code), code == 0), "{line}\n{said}");
            assert!(code == 0 || said.contains(what), "{line}\n{said}");
            let _ = fs::remove_file(&target);
        }
    }
}

#[test]
fn two_nodes_of_one_name_or_address_are_a_fault_of_the_command() {
    for (second, expected) in [
        (
            "a=192.0.2.2",
            "lbctl: --node a=192.0.2.2: the name is that of --node a=192.0.2.1 already; nothing was written\n",
        ),
        (
            "b=192.0.2.1",
            "lbctl: --node b=192.0.2.1: the address is that of --node a=192.0.2.1 already; nothing was written\n",
        ),
    ] {
        let output = import(&["allow.cfg", "--vip", "192.0.2.9", "--node", "a=192.0.2.1", "--node", second]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(64), expected));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn files_of_another_folder_are_found_from_where_ours_is() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    let source = "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n timeout http-request 1s\n \
                  errorfile 503 503.http\nlisten a\n bind *:80\n http-request set-header X %[src,map_ip(nets.map)]\n \
                  http-request return content-type text/plain file hello.txt if { path /hello }\n server s 192.0.2.1:80\n";
    let page = fs::read(folder().join("503.http")).unwrap();
    for (name, bytes) in [
        ("h.cfg", source.as_bytes()),
        ("503.http", &page),
        ("nets.map", b"192.0.2.0/24 lab\n"),
        ("hello.txt", b"hello\n"),
    ] {
        fs::write(from.join(name), bytes).unwrap();
    }
    let source = from.join("h.cfg");
    for target in [to.join("lb.toml"), from.join("lb.toml")] {
        let output = import(&["--strict", source.to_str().unwrap(), "-o", target.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let made = config::load(&target).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(made.proxy.frontends[0].rules.len(), 2);
        let written = fs::read_to_string(&target).unwrap();
        let whole = format!("\"{}/", from.display());
        assert_eq!(written.matches(&whole).count(), if target.starts_with(&to) { 3 } else { 0 }, "{written}");
    }
}

#[test]
fn a_file_that_is_there_stays_unless_force_says_otherwise() {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("lb.toml");
    let path = target.to_str().unwrap();
    fs::write(&target, "mine").unwrap();
    let output = import(&["allow.cfg", "-o", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("lbctl: {path} is there already; --force writes over it\n"));
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    let output = import(&["allow.cfg", "-o", path, "--force"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read(&target).unwrap(), import(&["allow.cfg", "-o", "-"]).stdout);
    // Nothing of the way there is left.
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    let output = import(&["allow.cfg", "-o", "/nowhere/lb.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr)
            .ends_with("can't write to /nowhere/lb.toml: No such file or directory (os error 2)\n")
    );
}

#[test]
fn what_is_no_file_of_haproxy_is_one_sentence_with_its_place() {
    let scratch = tempfile::tempdir().unwrap();
    let mut nested = String::from("global\n");
    (0..30).for_each(|_| nested.push_str(".if 1\n"));
    let words = format!("global\n  description{}\n", " x".repeat(64));
    let cases: [(&str, Vec<u8>, &str); 15] = [
        ("words", words.into_bytes(), ":2:141: the line has more than 64 words"),
        ("binary", b"\x7fELF\x02\x01\x01\0\0\0".to_vec(), ":1:8: a byte 0 is in no text"),
        // It is not read to its end, so it has no place that is wrong.
        ("large", vec![b'#'; 10 << 20], ": has 10485760 bytes, and at most 4194304 bytes (4 MiB) are read"),
        ("latin1", b"global\n  description M\xfcnchen\n".to_vec(), ":2:16: not UTF-8 text"),
        (
            "quote",
            b"global\n  description \"never ends\n".to_vec(),
            ":2:15: this double quote is never closed",
        ),
        ("escape", b"global\n  description \\x4\n".to_vec(), ":2:15: `\\x` takes two hexadecimal digits"),
        ("brace", b"global\n  description \"${HOME\"\n".to_vec(), ":2:16: this `${` has no `}`"),
        (
            "colon",
            b"global\n  description \"${HOME:-x}\"\n".to_vec(),
            ":2:16: HAProxy writes a default without the colon",
        ),
        ("endless", b"global\n.if 1\n maxconn 5\n".to_vec(), ":2:1: this `.if` has no `.endif`"),
        ("nested", nested.into_bytes(), ":22:1: `.if` is nested more than 20 times"),
        ("endif", b"global\n.endif\n".to_vec(), ":2:1: this `.endif` has no `.if`"),
        ("else", b"global\n.if 1\n.else\n.else\n.endif\n".to_vec(), ":4:1: this `.else` has no `.if`"),
        ("predicate", b"global\n.if blub(1)\n.endif\n".to_vec(), ":2:1: `.if`: `blub(1)` is no condition"),
        ("toml", b"[global]\nmaxconn = 5\n".to_vec(), ":1:1: this is TOML"),
        ("empty", b"\n# nothing\n".to_vec(), ":1:1: no section begins in this file"),
    ];
    for (name, bytes, expected) in cases {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).unwrap();
        let target = scratch.path().join("lb.toml");
        let output = import(&[path.to_str().unwrap(), "-o", target.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78), "{name}");
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("{}{expected}", path.display())), "{name}: {said}");
        // The sentence, the line and its carets, and that nothing was done.
        let with_excerpt = if name == "large" { 2 } else { 4 };
        assert_eq!(said.lines().count(), with_excerpt, "{name}: {said}");
        assert!(said.ends_with("Nothing was written.\n") && !target.exists(), "{name}: {said}");
        // What is there stays, also where it may be written over.
        let known = scratch.path().join("known.toml");
        fs::write(&known, "mine").unwrap();
        for more in ["--vrid=7", "--strict"] {
            let output = import(&[path.to_str().unwrap(), "-o", known.to_str().unwrap(), "--force", more]);
            assert_eq!(output.status.code(), Some(78), "{name}");
            assert_eq!(fs::read_to_string(&known).unwrap(), "mine", "{name}: {}", text(&output.stderr));
        }
    }
    // Comments of other times are nobody's business.
    let old = scratch.path().join("comment");
    fs::write(&old, b"# M\xfcnchen\nlisten a\n bind *:80\n server a 192.0.2.1:80 # \xe4\n").unwrap();
    assert_eq!(import(&[old.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(import(&["/nowhere/haproxy.cfg"]).status.code(), Some(78));
    assert_eq!(import(&["."]).status.code(), Some(78));
}

#[test]
fn standard_input_and_variables_of_the_environment_are_taken() {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .env_clear()
        .env("PORT", "8123")
        .args(["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let source = b"listen a\n  bind \"*:$PORT\"\n  server s \"192.0.2.1:${OTHER-81}\"\n";
    child.stdin.take().unwrap().write_all(source).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let config = config::parse(text(&output.stdout), "lb.toml").unwrap();
    assert_eq!(config.proxy.frontends[0].binds[0].address.port(), 8123);
    assert_eq!(config.proxy.backends[0].servers[0].address.to_string(), "192.0.2.1:81");
}

#[test]
fn a_vip_needs_nodes_and_makes_a_pair() {
    assert_eq!(import(&["allow.cfg", "--vip", "192.0.2.10"]).status.code(), Some(64));
    assert_eq!(import(&["allow.cfg", "--node", "lb1=192.0.2.11"]).status.code(), Some(64));
    let output = golden("pair");
    let config = config::parse(text(&output.stdout), "lb.toml").unwrap();
    assert_eq!((config.cluster.nodes.len(), config.groups.len()), (2, 1));
    let on_vip = |name: &str| {
        let frontend = config.proxy.frontends.iter().find(|frontend| frontend.name == name).unwrap();
        frontend.binds.iter().filter(|bind| bind.address.ip().to_string() == "192.0.2.10").count()
    };
    assert_eq!((on_vip("web"), on_vip("moved"), on_vip("elsewhere")), (1, 1, 0));
}

/// Files that Debian's packages ship: each is converted, or says why not, and what comes out is taken.
#[test]
fn files_of_debians_packages_are_converted() {
    let mut files: Vec<PathBuf> = vec!["/etc/haproxy/haproxy.cfg".into()];
    let examples = fs::read_dir("/usr/share/doc/haproxy/examples").into_iter().flatten();
    files.extend(
        examples
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "cfg")),
    );
    assert!(files[0].exists(), "Debian's haproxy is not installed: tests/run does that");
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let options = haproxy::Options { output: path.display().to_string(), ..Default::default() };
        let imported = haproxy::import(&bytes, "haproxy.cfg", &options);
        let imported = imported.unwrap_or_else(|refused| panic!("{}: {refused:?}", path.display()));
        // Their certificates are nobody's.
        config::parse_alone(&imported.toml, &options.output)
            .unwrap_or_else(|report| panic!("{}: {report}", path.display()));
    }
}

/// Rows that say the same stand together.
fn rows(program: &str, words: &[haproxy::Known]) -> String {
    let mut groups: Vec<(Vec<String>, &str, &str)> = Vec::new();
    for word in words {
        let names: Vec<_> = word.name.split(", ").map(|name| format!("`{name}`")).collect();
        match groups.iter_mut().find(|(_, becomes, note)| {
            *becomes == word.becomes && *note == word.note && word.becomes.is_empty()
        }) {
            Some((known, ..)) => known.extend(names),
            None => groups.push((names, word.becomes, word.note)),
        }
    }
    let mut out = format!("| {program} | lbctl | |\n|---|---|---|\n");
    for (names, becomes, note) in groups {
        let becomes = if becomes.is_empty() { "-" } else { becomes };
        out.push_str(&format!("| {} | {becomes} | {} |\n", names.join(", "), sentence(note)));
    }
    out
}

fn sentence(note: &str) -> String {
    let mut sentence = note.to_owned();
    let is_name = ["systemd", "docs/"].iter().any(|name| note.starts_with(name));
    if let Some(first) = note.chars().next().filter(|first| first.is_ascii_lowercase() && !is_name) {
        sentence.replace_range(..1, &first.to_ascii_uppercase().to_string());
    }
    if !note.is_empty() && !note.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

/// The page is written from the tables that the importer works with.
#[test]
fn the_book_has_every_word_that_is_known() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/coming-from-haproxy.md");
    let tables = haproxy::tables();
    assert!(tables.iter().map(|(_, words)| words.len()).sum::<usize>() > 500);
    book_has(&path, "HAProxy", &tables);
}

/// Between its marks the page has the tables, or gets them.
fn book_has(path: &Path, program: &str, tables: &[(&'static str, Vec<haproxy::Known>)]) {
    let page = fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- words: ").unwrap();
    let (comment, rest) = rest.split_once(" -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of words -->").unwrap();
    let tables: Vec<_> =
        tables.iter().map(|(topic, words)| format!("### {topic}\n\n{}", rows(program, words))).collect();
    let wanted =
        format!("{before}<!-- words: {comment} -->\n\n{}\n<!-- end of words -->{after}", tables.join("\n"));
    assert!(compare(path, &wanted).is_none(), "{} is not what the tables say; bless it", path.display());
}

/// A word in two rows would be found in one of them only.
#[test]
fn no_word_is_there_twice() {
    for (topic, words) in haproxy::tables() {
        let mut names: Vec<_> = words.iter().flat_map(|word| word.name.split(", ")).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{topic}");
    }
}

/// What the installed HAProxy says it knows (`-dKall`), we know as well.
#[test]
fn every_word_that_the_installed_haproxy_knows_is_known() {
    let output = Command::new("haproxy").args(["-dKall", "-q", "-c", "-f", "/dev/null"]).output();
    let output = output.expect("Debian's haproxy is not installed: tests/run does that");
    let list = text(&output.stdout);
    let tables = haproxy::tables();
    let known = |topics: &[&str], word: &str| {
        let words = tables
            .iter()
            .filter(|(topic, _)| topics.is_empty() || topics.contains(topic))
            .flat_map(|(_, words)| words);
        let mut names = words.flat_map(|word| word.name.split(", "));
        names.any(|name| match name.strip_suffix('*') {
            Some(prefix) => word.starts_with(prefix),
            None => name == word || name.split(' ').next() == Some(word),
        })
    };
    let (mut missing, mut tried) = (Vec::new(), 0);
    let (mut part, mut section) = ("", "");
    for line in list.lines() {
        if let Some(title) = line.strip_prefix("# List of registered ") {
            part = title;
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first().copied() else { continue };
        let (topics, word): (&[&str], &str) = match part {
            "configuration keywords:" if !line.starts_with('\t') => {
                section = first;
                continue;
            }
            "configuration keywords:" if section == "global" => (&["global"], first),
            "configuration keywords:" if section == "listen" || section == "defaults" => {
                match words.as_slice() {
                    ["bind", "<addr>", "ssl", word, ..] | ["bind", "<addr>", word, ..] => {
                        (&["Parameters of bind"], word)
                    }
                    ["server", "<name>", "<addr>", word, ..] => (&["Parameters of server"], word),
                    ["option", word, ..] => (&["Options", "Checks", "Logs", "Transfer"], word),
                    ["tcp-request" | "tcp-response", _, word, ..] | ["http-request", word, ..] => {
                        (&["Actions on requests"], word)
                    }
                    ["http-response" | "http-after-response", word, ..] => (&["Actions on responses"], word),
                    ["http-check" | "tcp-check", word, ..] => (&["Checks"], word),
                    _ => (&[], first),
                }
            }
            "sample converter functions:" => (&["Converters"], first.split('(').next().unwrap()),
            "sample fetch functions:" => {
                // Behind columns of `Y` and dots.
                let name =
                    words.iter().find(|word| word.len() > 1 && !word.chars().all(|c| c == 'Y' || c == '.'));
                (&["Samples"], name.map_or("", |name| name.split(['(', ':']).next().unwrap()))
            }
            _ => continue,
        };
        let word = word.trim_end_matches(['*', ':', ',']);
        if word.is_empty() {
            continue;
        }
        tried += 1;
        let option = format!("option {word}");
        let check = [format!("http-check {word}"), format!("tcp-check {word}")];
        let found =
            known(topics, word) || known(topics, &option) || check.iter().any(|word| known(topics, word));
        if !found {
            missing.push(format!("{topics:?}: {word}"));
        }
    }
    assert!(tried > 700, "{tried} words found");
    assert!(missing.is_empty(), "{} of {tried}:\n{}", missing.len(), missing.join("\n"));
}
