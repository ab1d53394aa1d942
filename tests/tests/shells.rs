//! Completions in the shells themselves, each on a terminal as somebody has it who types: bash with bash-completion, zsh, fish.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    package::said,
    plain::{PATIENCE, Plain, Running, unused_address, web_server},
    program,
};
use tempfile::TempDir;

/// Longer than lbctl waits for a daemon at a Tab.
const LATE: Duration = Duration::from_secs(10);

/// A home with the scripts where the packages put them, and the program under its name.
struct Home {
    folder: TempDir,
    program: TempDir,
    _daemon: Plain,
    _server: Running,
    control: String,
}

impl Home {
    fn new() -> Self {
        let (folder, program) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(program::lbctl(), program.path().join("lbctl")).unwrap();
        let scripts = [
            ("bash", "bash-completion/completions/lbctl"),
            ("zsh", "zsh/vendor-completions/_lbctl"),
            ("fish", "fish/vendor_completions.d/lbctl.fish"),
        ];
        for (shell, name) in scripts {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, said(Command::new(program::lbctl()).args(["completions", shell]))).unwrap();
        }
        fs::write(folder.path().join("file-of-mine.toml"), "").unwrap();
        let (address, server) = web_server(folder.path(), "log");
        let daemon = Plain::start(&format!(
            "[frontend.outside]\nbind = \"{}\"\ndefault_backend = \"app\"\n[backend.app]\ncheck = false\n\
             server.web1 = \"{address}\"\nserver.web2 = \"{address}\"\n",
            unused_address(8000)
        ));
        let control = daemon.socket().display().to_string();
        Self { folder, program, _daemon: daemon, _server: server, control }
    }

    fn shell(&self, name: &'static str) -> Shell {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let start = match name {
            "bash" => "exec bash --norc --noprofile -i".to_owned(),
            "zsh" => "exec zsh -f -i".to_owned(),
            _ => format!("exec {} -i", program::find("fish").display()),
        };
        let shell = Shell::start(self, name, &start);
        // A prompt that nothing else looks like, said once the shell takes lines.
        match name {
            "bash" => shell.enter("source /usr/share/bash-completion/bash_completion; PS1='rea''dy>'"),
            "zsh" => shell.enter(&format!(
                "fpath=({} $fpath); autoload -Uz compinit; compinit -u -D; setopt no_list_beep; PS1='rea''dy>'",
                at("zsh/vendor-completions")
            )),
            _ => shell.enter("function fish_prompt; echo -n rea'dy>'; end"),
        }
        shell.wait_for("ready>", 0);
        shell
    }
}

/// A shell on a terminal of script(1).
struct Shell {
    kind: &'static str,
    script: Child,
    screen: PathBuf,
}

impl Shell {
    fn start(home: &Home, kind: &'static str, command: &str) -> Self {
        let screen = home.folder.path().join("screen");
        let path = std::env::var("PATH").unwrap_or_default();
        let script = Command::new("script")
            .args(["-qec", &format!("stty rows 50 cols 200; {command}"), "/dev/null"])
            .current_dir(&home.folder)
            .env_clear()
            .envs([("TERM", "xterm"), ("SHELL", "/bin/sh"), ("LC_ALL", "C.UTF-8")])
            .env("PATH", format!("{}:{path}", home.program.path().display()))
            .env("HOME", home.folder.path())
            .env("XDG_DATA_HOME", home.folder.path())
            .env("XDG_DATA_DIRS", home.folder.path())
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&screen).unwrap())
            .spawn()
            .unwrap();
        Self { kind, script, screen }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.screen).unwrap_or_default()).into_owned()
    }

    fn press(&self, keys: &str) {
        self.script.stdin.as_ref().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn enter(&self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    #[track_caller]
    fn wait_for(&self, text: &str, from: usize) {
        let end = Instant::now() + PATIENCE;
        while !self.seen().get(from..).is_some_and(|seen| seen.contains(text)) {
            assert!(Instant::now() < end, "{text:?} after {from} in {:?}", self.seen());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the line has become after `keys`: the shell says it as words, between brackets.
    #[track_caller]
    fn completed(&self, keys: &str) -> String {
        let from = self.seen().len();
        // To the end, with a bracket; to the beginning, with the other one and the command that says it all.
        self.press(&format!("{keys}\x05 ]\x01echo '[' \r"));
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            let said = seen.get(from..).unwrap_or_default();
            // What is typed has quotes around the bracket.
            let line = said.split_once("[ lbctl").and_then(|(_, line)| line.split_once(" ]"));
            if let Some((line, _)) = line {
                return format!("lbctl{}", line.trim_end());
            }
            assert!(Instant::now() < end, "{keys:?}: {said:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A list of candidates that has these words, and none of those.
    #[track_caller]
    fn lists(&self, line: &str, has: &[&str], has_not: &[&str]) {
        let from = self.seen().len();
        let ask = || match self.kind {
            // It draws what is typed in another colour than the rest of a word.
            "fish" => self.enter(&format!("complete -C '{line}'")),
            _ => self.press(&format!("\x15{line}\t\t")),
        };
        ask();
        let mut again = Instant::now() + LATE;
        let end = Instant::now() + PATIENCE;
        while !self.seen().get(from..).is_some_and(|seen| has.iter().all(|word| seen.contains(word))) {
            assert!(Instant::now() < end, "{has:?} after {from} in {:?}", self.seen());
            thread::sleep(Duration::from_millis(20));
            if Instant::now() > again {
                // As in `completes`: the daemon was late.
                again = Instant::now() + LATE;
                ask();
            }
        }
        // Away with the line, and behind all that it has brought about.
        self.press("\x15");
        self.enter("echo all is sa''id");
        self.wait_for("all is said", from);
        let list = self.seen().split_off(from);
        has_not.iter().for_each(|word| assert!(!list.contains(word), "{line:?}: {word} in {list:?}"));
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// What `attempt` has come to, which may come out as it should at the fifth time only.
fn attempts(attempt: impl Fn() -> String, expected: &str) -> String {
    let mut found = attempt();
    for _ in 1..5 {
        if found == expected {
            break;
        }
        found = attempt();
    }
    found
}

fn completes(name: &'static str) {
    let home = Home::new();
    let shell = home.shell(name);
    for (keys, expected) in [
        ("lbctl sw\t", "lbctl switchover"),
        ("lbctl status --js\t", "lbctl status --json"),
        ("lbctl completions fi\t", "lbctl completions fish"),
        ("lbctl log re\t", "lbctl log reopen"),
        ("lbctl nagios --role ba\t", "lbctl nagios --role backup"),
        // Nothing that is not for people.
        ("lbctl spe\t", "lbctl spe"),
        // Files where a file is meant, and nowhere else.
        ("lbctl check file-of\t", "lbctl check file-of-mine.toml"),
    ] {
        assert_eq!(shell.completed(keys), expected, "{name}");
    }
    let control = &home.control;
    for (words, key, expected) in [
        ("server", "app/web1 dr", "app/web1 drain"),
        ("server", "app/web1 ch\tn", "app/web1 check now"),
        ("frontend", "out", "outside"),
        ("frontend", "outside pa", "outside pause"),
        ("nagios", "--backend a", "--backend app"),
        ("errors", "ap", "app"),
        ("trace", "ou", "outside"),
    ] {
        let line = format!("lbctl {words} --control {control} ");
        let (keys, expected) = (format!("{line}{key}\t"), format!("{line}{expected}"));
        // Nobody waits for long at a Tab: on a busy machine the daemon may be late once or twice, and there are no names then.
        let found = attempts(|| shell.completed(&keys), &expected);
        assert_eq!(found, expected, "{name}");
    }
    shell.lists(
        &format!("lbctl server --control {control} app/web"),
        &["app/web1", "app/web2"],
        &["maint", "file-of"],
    );
    shell.lists("lbctl s", &["status", "stop", "server", "switchover"], &["speaker", "--help"]);
    // Nobody answers there: nothing is offered, and nobody waits.
    assert_eq!(
        shell.completed("lbctl frontend --control /nowhere ou\t"),
        "lbctl frontend --control /nowhere ou"
    );
}

#[test]
fn bash_completes_verbs_options_files_and_names_that_the_daemon_knows() {
    assert!(Path::new("/usr/share/bash-completion/bash_completion").exists(), "tests/run installs it");
    completes("bash");
}

#[test]
fn zsh_completes_verbs_options_files_and_names_that_the_daemon_knows() {
    completes("zsh");
}

#[test]
fn fish_completes_verbs_options_files_and_names_that_the_daemon_knows() {
    completes("fish");
}
