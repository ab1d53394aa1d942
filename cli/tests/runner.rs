//! The process that runs commands of the file, as the daemon talks to it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lbctl::{
    packets,
    runner::{Ended, How, Order, Runner},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(30);

/// One process with a file of its own.
struct Rig {
    folder: TempDir,
    process: Child,
    runner: Option<Runner>,
}

impl Rig {
    /// `commands`: what the file names.
    fn new(commands: &[&[&str]]) -> Self {
        Self::as_who(commands, user())
    }

    fn as_who(commands: &[&[&str]], options: &[&str]) -> Self {
        Self::with(commands, options, &["/usr/bin/env"])
    }

    /// `starter`: what starts it.
    fn with(commands: &[&[&str]], options: &[&str], starter: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Who runs them is somebody else, where root runs the tests.
        mode(folder.path(), 0o755);
        let file = folder.path().join("lb.toml");
        name(&file, commands);
        let (ours, theirs) = packets::pair().unwrap();
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(env!("CARGO_BIN_EXE_lbctl"));
        command.arg("runner").arg(&file).args(options);
        let process = command.stdin(Stdio::from(theirs)).spawn().unwrap();
        Self { folder, process, runner: Some(Runner::new(ours).unwrap()) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("lb.toml")
    }

    /// A program with this text.
    fn script(&self, name: &str, text: &str, is_executable: bool) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        mode(&path, if is_executable { 0o755 } else { 0o644 });
        path.to_str().unwrap().to_owned()
    }

    async fn run(&self, command: &[&str], limit: Duration) -> Result<Ended, String> {
        self.runner.as_ref().unwrap().run(order(command, "", limit)).await.map_err(|not_run| not_run.why)
    }

    /// The process ends by itself.
    async fn ends(&mut self) {
        for _ in 0..3000 {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it runs on");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Who runs them, where root runs the tests.
fn user() -> &'static [&'static str] {
    if is_root() { &["--user", "nobody"] } else { &[] }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn name(file: &Path, commands: &[&[&str]]) {
    let tables = commands.iter().enumerate().map(|(index, words)| {
        format!("[track.t{index}]\ncommand = {}\n", serde_json::to_string(words).unwrap())
    });
    fs::write(file.with_extension("new"), tables.collect::<String>()).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

fn order(command: &[&str], input: &str, limit: Duration) -> Order {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Order { command, input: input.to_owned(), limit }
}

fn exited(code: i32, output: &str) -> Result<Ended, String> {
    Ok(Ended { how: How::Exit(code), output: output.to_owned() })
}

/// A shell does what a program may do.
fn shell(script: &str) -> [&str; 3] {
    ["/bin/sh", "-c", script]
}

/// Waits until no process has this number, or only its remains are there.
async fn is_gone(pid: &str) {
    let until = Instant::now() + LIMIT;
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < until, "process {pid} runs on");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn commands_get_their_arguments_and_input_as_they_are_and_tell_their_end() {
    let fails = shell("echo; echo 'CRITICAL - no route'; echo more; exit 2");
    let dies = shell("kill -SEGV $$");
    // What is deaf itself makes nothing else deaf.
    let obeys = shell("kill -TERM $$; sleep 60");
    let words = ["/usr/bin/printf", "%s|", "a b", "$(id)", "; reboot", "*"];
    let all: [&[&str]; 7] = [&["/bin/true"], &words, &fails, &dies, &obeys, &["/bin/cat"], &["/usr/bin/env"]];
    let rig = Rig::new(&all);
    assert_eq!(rig.run(&["/bin/true"], LIMIT).await, exited(0, ""));
    assert_eq!(rig.run(&words, LIMIT).await, exited(0, "a b|$(id)|; reboot|*|"));
    assert_eq!(rig.run(&fails, LIMIT).await, exited(2, "CRITICAL - no route"));
    for (command, signal) in [(&dies, 11), (&obeys, 15)] {
        let ended = rig.run(command, LIMIT).await.unwrap();
        assert_eq!(ended.how, How::Signal(signal), "{ended:?}");
    }
    let runner = rig.runner.as_ref().unwrap();
    let read = runner.run(order(&["/bin/cat"], "{\"a\": 1}", LIMIT)).await.map_err(|not_run| not_run.why);
    assert_eq!(read, exited(0, "{\"a\": 1}"));
    assert_eq!(rig.run(&["/bin/cat"], LIMIT).await, exited(0, ""), "which is empty, and ends");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        rig.run(&["/usr/bin/env"], LIMIT).await,
        exited(0, path),
        "nothing else comes from who starts lbctl"
    );
    let long = "a".repeat(32 * 1024 + 1);
    assert!(runner.run(order(&["/bin/cat"], &long, LIMIT)).await.unwrap_err().why.contains("too many"));
}

#[tokio::test]
async fn what_can_not_be_run_is_told_with_what_to_do() {
    let rig = Rig::new(&[]);
    let missing = rig.folder.path().join("missing").to_str().unwrap().to_owned();
    let [plain, garbage] = [("plain", "#!/bin/sh\n", false), ("garbage", "no program\n", true)]
        .map(|(name, text, is_executable)| rig.script(name, text, is_executable));
    let lost = rig.script("lost", "#!/no/such/shell\n", true);
    name(&rig.file(), &[&[&missing], &[&plain], &[&garbage], &[&lost], &["/"]]);
    for (program, expected) in [
        (missing.as_str(), "there is no "),
        (&plain, "is it executable?"),
        (&garbage, "is no program; the first line of a script is #!/bin/sh"),
        (&lost, "or not what its first line names"),
        ("/", "is it executable?"),
    ] {
        let why = rig.run(&[program], LIMIT).await.unwrap_err();
        assert!(why.contains(expected) && why.contains(program), "{program}: {why}");
    }
}

#[tokio::test]
async fn who_got_into_the_daemon_runs_nothing_that_the_file_does_not_name_now() {
    let rig = Rig::new(&[&["/bin/true"]]);
    for other in [&["/bin/true", "-x"][..], &["/bin/sh", "-c", "true"], &[]] {
        let why = rig.run(other, LIMIT).await.unwrap_err();
        assert!(why.ends_with("lb.toml does not name this command now; lbctl reload"), "{why}");
    }
    name(&rig.file(), &[&["/bin/false"]]);
    assert_eq!(rig.run(&["/bin/false"], LIMIT).await, exited(1, ""));
    assert!(rig.run(&["/bin/true"], LIMIT).await.is_err());
    mode(&rig.file(), 0o666);
    let why = rig.run(&["/bin/false"], LIMIT).await.unwrap_err();
    assert!(why.contains("could have any command run: chmod go-w"), "{why}");
    fs::remove_file(rig.file()).unwrap();
    assert!(rig.run(&["/bin/false"], LIMIT).await.unwrap_err().contains("can't read"));
}

#[tokio::test]
async fn what_hangs_forks_or_never_stops_writing_is_ended_with_all_that_it_has_started() {
    let hangs = shell("trap '' TERM INT HUP; echo $$; while :; do sleep 1; done");
    let leaves = shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!");
    // Also one that keeps the output open, and one whose parent is gone at once.
    let holds = shell("sleep 1000 & echo $!");
    let twice = shell("( (setsid sleep 1000 & echo $!) & ) ; sleep 0.2");
    let prints = shell("head -c 1000000 /dev/zero | tr '\\0' a; exit 3");
    let floods = ["/usr/bin/yes", "aha"];
    let all: [&[&str]; 6] = [&hangs, &leaves, &holds, &twice, &prints, &floods];
    let rig = Rig::new(&all);
    let ended = rig.run(&hangs, Duration::from_millis(300)).await.unwrap();
    assert_eq!(ended.how, How::TimedOut);
    is_gone(&ended.output).await;
    for command in [&leaves, &holds, &twice] {
        let ended = rig.run(command, LIMIT).await.unwrap();
        assert_eq!(ended.how, How::Exit(0), "{command:?} does not wait for what it has started");
        assert!(!ended.output.is_empty(), "{command:?}");
        is_gone(&ended.output).await;
    }
    assert_eq!(rig.run(&prints, LIMIT).await, exited(3, &"a".repeat(200)));
    let ended = rig.run(&floods, Duration::from_millis(300)).await.unwrap();
    assert_eq!(ended, Ended { how: How::TimedOut, output: "aha".to_owned() });
}

#[tokio::test]
async fn so_many_at_once_and_no_more() {
    let sleeps = ["/bin/sleep", "600"];
    let mut rig = Rig::new(&[&sleeps, &["/bin/true"]]);
    let runner = rig.runner.take().unwrap();
    let mut waiting: Vec<_> = (0..64).map(|_| Box::pin(runner.run(order(&sleeps, "", LIMIT)))).collect();
    for one in &mut waiting {
        assert!(timeout(Duration::from_millis(1), one).await.is_err(), "it runs");
    }
    let why = runner.run(order(&["/bin/true"], "", LIMIT)).await;
    assert_eq!(why.unwrap_err().why, "64 commands run already");
    // With the daemon everything ends.
    drop(waiting);
    drop(runner);
    rig.ends().await;
}

#[tokio::test]
async fn it_lives_as_long_as_a_daemon_does_and_ends_what_runs_with_it() {
    let sleeps = shell("echo $$ > /proc/self/fd/1; exec sleep 600");
    let tells = shell("echo $PPID");
    let mut rig = Rig::new(&[&sleeps, &tells]);
    let parent = rig.run(&tells, LIMIT).await.unwrap().output;
    assert_eq!(children(&rig.process.id().to_string()), [parent.as_str()]);
    let first = rig.runner.take().unwrap();
    // What a service manager sends to all of a unit is not for it.
    for signal in ["-TERM", "-HUP", "-INT", "-QUIT", "-USR1"] {
        assert!(Command::new("kill").args([signal, &parent]).status().unwrap().success());
    }
    let next = Runner::new(first.share().unwrap()).unwrap();
    let mut waits = Box::pin(first.run(order(&sleeps, "", LIMIT)));
    assert!(timeout(Duration::from_millis(50), &mut waits).await.is_err());
    let child = only_child(&parent).await;
    drop(waits);
    drop(first);
    is_gone(&child).await;
    // The daemon after that one goes on.
    assert_eq!(next.run(order(&tells, "", LIMIT)).await.unwrap().output, parent);
    drop(next);
    rig.ends().await;
}

/// Of a process.
fn children(of: &str) -> Vec<String> {
    let all = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    all.split_whitespace().map(str::to_owned).collect()
}

/// It may not be there yet.
async fn only_child(of: &str) -> String {
    for _ in 0..3000 {
        if let [child] = &children(of)[..] {
            return child.clone();
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{of} has not one child");
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}

#[tokio::test]
async fn another_one_has_the_place_of_one_that_is_killed_and_what_ran_is_ended_and_told() {
    let sleeps = ["/bin/sleep", "600"];
    let tells = shell("echo $PPID");
    let mut rig = Rig::new(&[&sleeps, &tells]);
    let runner = rig.runner.take().unwrap();
    let first = only_child(&rig.process.id().to_string()).await;
    let mut waits = Box::pin(runner.run(order(&sleeps, "", LIMIT)));
    assert!(timeout(Duration::from_millis(50), &mut waits).await.is_err());
    let child = only_child(&first).await;
    kill(&first);
    let cut = waits.await.expect_err("it was cut");
    assert_eq!(
        cut.why,
        "the process that runs commands has died, and nobody knows how far the command has come"
    );
    assert!(!cut.is_later);
    is_gone(&child).await;
    let again = async {
        loop {
            match runner.run(order(&tells, "", LIMIT)).await {
                Ok(ended) => break ended.output,
                Err(why) => assert!(why.is_later, "{why}"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let second = timeout(LIMIT, again).await.expect("it runs again");
    assert_ne!(second, first);
    assert_eq!(runner.replaced(), 1);
    // Another daemon has the same one.
    let next = Runner::new(runner.share().unwrap()).unwrap();
    assert_eq!(next.run(order(&tells, "", LIMIT)).await.unwrap().output, second);
    drop(runner);
    drop(next);
    rig.ends().await;
}

#[tokio::test]
async fn another_one_has_the_place_of_one_that_is_stopped() {
    stopped_one_is_replaced(&["/usr/bin/env"]).await;
}

/// As the packaged unit has it (ProtectProc=invisible).
const HIDDEN: [&str; 6] =
    ["unshare", "--mount", "sh", "-c", "mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"", "sh"];

#[tokio::test]
async fn where_processes_are_hidden_one_that_is_stopped_is_found_and_commands_have_their_score() {
    if !is_root() {
        return;
    }
    stopped_one_is_replaced(&HIDDEN).await;
    let score = shell("until grep -qx 500 /proc/$$/oom_score_adj; do :; done; ls -d /proc/$PPID 2>&1");
    let rig = Rig::with(&[&score], user(), &HIDDEN);
    for _ in 0..20 {
        let ended = rig.run(&score, LIMIT).await.unwrap();
        assert!(
            ended.how == How::Exit(2) && ended.output.contains("No such file"),
            "it is hidden: {ended:?}"
        );
    }
}

async fn stopped_one_is_replaced(starter: &[&str]) {
    let rig = Rig::with(&[&["/bin/true"]], user(), starter);
    assert_eq!(rig.run(&["/bin/true"], LIMIT).await, exited(0, ""));
    let stopped = only_child(&rig.process.id().to_string()).await;
    assert!(Command::new("kill").args(["-STOP", &stopped]).status().unwrap().success());
    let until = Instant::now() + LIMIT;
    // What it was told meanwhile has an end as well.
    while rig.run(&["/bin/true"], Duration::from_secs(1)).await != exited(0, "") {
        assert!(Instant::now() < until, "nobody runs it");
        sleep(Duration::from_millis(20)).await;
    }
    is_gone(&stopped).await;
    assert_eq!(rig.runner.as_ref().unwrap().replaced(), 1);
}

#[tokio::test]
async fn without_its_starter_it_is_said_that_nobody_is_left() {
    let sleeps = ["/bin/sleep", "600"];
    let mut rig = Rig::new(&[&sleeps]);
    let runner = rig.runner.take().unwrap();
    let worker = only_child(&rig.process.id().to_string()).await;
    rig.process.kill().unwrap();
    rig.process.wait().unwrap();
    kill(&worker);
    let gone = async {
        loop {
            match runner.run(order(&sleeps, "", LIMIT)).await {
                Err(not_run) if !not_run.is_later && !not_run.why.contains("how far") => break not_run.why,
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let why = timeout(LIMIT, gone).await.expect("it is said");
    assert!(why.starts_with("the process that runs commands has ended; "), "{why}");
    let none = Runner::default().run(order(&sleeps, "", LIMIT)).await.unwrap_err();
    assert!(none.why.contains("was not started"), "{none}");
}

#[tokio::test]
async fn commands_are_nobody_s_and_have_no_capability() {
    let status = ["/bin/grep", "-E", "^(Uid|CapEff|CapPrm|CapInh|CapAmb)", "/proc/self/status"];
    let rig = Rig::new(&[
        &status,
        &shell("id -u"),
        &shell("grep -c '^Cap...:\t0000000000000000$' /proc/self/status"),
    ]);
    if is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
        assert_eq!(rig.run(&shell("id -u"), LIMIT).await, exited(0, &nobody.to_string()));
    }
    // Inheritable, permitted, effective, ambient; the bounding set is for those like sudo.
    let count = rig.run(&shell("grep -c '^Cap...:\t0000000000000000$' /proc/self/status"), LIMIT).await;
    assert!(matches!(count.unwrap().output.as_str(), "4" | "5"));
    assert!(rig.run(&status, LIMIT).await.unwrap().output.starts_with("Uid:"));
}

/// What the unit gives for the speaker, as far as this one may.
#[tokio::test]
async fn commands_have_neither_the_priority_nor_the_memory_nor_the_score_of_the_speaker() {
    let of_limit = |name: &str| format!("grep '^{name}' /proc/self/limits | tr -s ' '");
    let (priority, memory) = (of_limit("Max realtime priority"), of_limit("Max locked memory"));
    // It is told its own once it runs.
    let score = "until grep -qx 500 /proc/$$/oom_score_adj; do :; done; cat /proc/$PPID/oom_score_adj";
    let folder = tempfile::tempdir().unwrap();
    let given = folder.path().join("given");
    let start = format!(
        "ulimit -r 20; ulimit -l 20480; echo -900 > /proc/self/oom_score_adj; cat /proc/self/oom_score_adj > {}; exec \"$@\"",
        given.display()
    );
    let rig = Rig::with(
        &[&shell(&priority), &shell(&memory), &shell(score)],
        user(),
        &["/bin/sh", "-c", &start, "sh"],
    );
    let said = async |command: &str| rig.run(&shell(command), LIMIT).await.unwrap().output;
    assert_eq!(said(&priority).await.trim(), "Max realtime priority 0 0");
    let memory = said(&memory).await;
    let most: Vec<u64> = memory.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(most.len() == 2 && most.iter().all(|most| *most <= 8 << 20), "{memory}");
    let runner: i32 = said(score).await.trim().parse().unwrap();
    assert!(runner >= 0, "{runner}");
    // Nobody starts another one of these.
    let starter = fs::read_to_string(format!("/proc/{}/oom_score_adj", rig.process.id())).unwrap();
    assert_eq!(starter, fs::read_to_string(given).unwrap());
}

#[tokio::test]
async fn nothing_is_run_as_root() {
    if !is_root() {
        return;
    }
    let rig = Rig::as_who(&[&["/bin/true"]], &[]);
    let why = rig.run(&["/bin/true"], LIMIT).await;
    assert!(
        !root_is_real() || why.as_ref().is_err_and(|why| why.contains("no command is run as root")),
        "{why:?}"
    );
}

/// In a user namespace root is somebody else.
fn root_is_real() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[tokio::test]
async fn who_can_not_become_its_user_runs_nothing_and_has_no_capability() {
    if !is_root() || !root_is_real() {
        return;
    }
    // As a drop-in of the unit may have it (SystemCallFilter=~@setuid).
    let without =
        ["setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid", "/usr/bin/env"];
    for (user, starter, expected) in [
        ("nobody", &without[..], "who is to run commands, nobody: can't "),
        // Nobody has that number.
        ("4000000000", &["/usr/bin/env"][..], "so write its `group` as well"),
    ] {
        let rig = Rig::with(&[&["/bin/true"]], &["--user", user], starter);
        let why = rig.run(&["/bin/true"], LIMIT).await.unwrap_err();
        assert!(why.contains(expected), "{why}");
        let starter = rig.process.id().to_string();
        let worker = only_child(&starter).await;
        for pid in [starter, worker] {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
            }
        }
    }
}
