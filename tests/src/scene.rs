//! A lab for one test. Two labs at most are up at once, over all test programs, since the nodes of a lab share the
//! machine's cores with the test. A test that fails shows the record of addresses and the logs of both nodes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    ops::Deref,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use lbctl::lab::{BALANCERS, CONFIGURATION, How, Lab, Load, LoadOptions, Options, VIP, VIP_IPV6};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use tempfile::TempDir;

use crate::{program, wait};

/// How many labs may be up at once.
const SLOTS: usize = 2;
/// How long a test waits for its turn: the longest test of the others, several times.
const PATIENCE: Duration = Duration::from_secs(1200);
/// What a pair does takes no longer on a machine under load.
const PATIENCE_WITH_A_PAIR: Duration = Duration::from_secs(30);
/// How often a test is run whose machine is too busy.
const ATTEMPTS: usize = 3;
/// What a node says whose processes did not get the processor.
pub const STARVATION: [&str; 3] =
    ["the daemon does not answer", "worker is stalled", "late: no advertisement sent for"];
/// How often a test that waits for its turn says so.
const REMINDER: Duration = Duration::from_secs(30);

/// A lab, and a folder that all its nodes can read.
#[derive(Debug)]
pub struct Scene {
    lab: Lab,
    folder: TempDir,
    _slot: Flock<File>,
}

impl Scene {
    /// Starts a lab as `options` say; nobody is ready yet.
    ///
    /// # Panics
    /// It does not start.
    pub fn new(options: &Options) -> Self {
        let slot = take_slot();
        let folder = tempfile::tempdir().expect("a folder");
        let lab = Lab::up(options).unwrap_or_else(|error| panic!("the lab does not start: {error:#}"));
        Self { lab, folder, _slot: slot }
    }

    /// Starts a lab and waits until both nodes and both servers are ready, and one node holds the address.
    ///
    /// # Panics
    /// They don't get ready.
    pub fn ready(options: &Options) -> Self {
        let scene = Self::new(options);
        scene.wait_until_all_ready().unwrap_or_else(|error| panic!("the pair does not come up: {error:#}"));
        scene.holder();
        scene
    }

    /// Runs `test` in a lab that is ready. Where it fails, and a node says that its processes did not get the processor, it
    /// is run anew, twice at most: such a node gives the address away as it should, which shows nothing of what is tested.
    ///
    /// # Panics
    /// As `test` does.
    pub fn unless_starved(options: &Options, test: impl Fn(&Self)) {
        Self::unless_starved_anew(|| ((), options.clone()), |scene, ()| test(scene));
    }

    /// The same with what is made for each run, and options for that.
    ///
    /// # Panics
    /// As `test` does.
    pub fn unless_starved_anew<T>(make: impl Fn() -> (T, Options), test: impl Fn(&Self, &T)) {
        let ready = || {
            let (made, options) = make();
            (made, Self::ready(&options))
        };
        Self::attempt(ready, test);
    }

    /// The same in a lab where nobody is ready yet.
    ///
    /// # Panics
    /// As `test` does.
    pub fn unless_starved_from_the_start(options: &Options, test: impl Fn(&Self)) {
        Self::attempt(|| ((), Self::new(options)), |scene, ()| test(scene));
    }

    fn attempt<T>(make: impl Fn() -> (T, Self), test: impl Fn(&Self, &T)) {
        for attempt in 1..=ATTEMPTS {
            let (made, scene) = make();
            let Err(failure) = panic::catch_unwind(AssertUnwindSafe(|| test(&scene, &made))) else { return };
            let signs = scene.signs_of_starvation();
            if signs.is_empty() || attempt == ATTEMPTS {
                panic::resume_unwind(failure);
            }
            eprintln!("attempt {attempt} says nothing, the machine was too busy: {signs:#?}");
        }
    }

    /// Lines of the nodes' logs that say that a process was not run for a second or the like.
    fn signs_of_starvation(&self) -> Vec<String> {
        let logs = BALANCERS.iter().filter_map(|node| self.lab.log(node, "lbctl").ok());
        let signs = |log: String| -> Vec<String> {
            let is_sign = |line: &&str| STARVATION.iter().any(|sign| line.contains(sign));
            log.lines().filter(is_sign).map(str::to_owned).collect()
        };
        logs.flat_map(signs).collect()
    }

    /// The one node that holds the address.
    ///
    /// # Panics
    /// None does, or both do, for 30 s.
    #[track_caller]
    pub fn holder(&self) -> String {
        self.wait_for_holder(PATIENCE_WITH_A_PAIR).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes `node` the holder, by an orderly stop of the other one.
    ///
    /// # Panics
    /// The address does not move, or the other one does not come back.
    pub fn give_to(&self, node: &str) {
        let holder = self.holder();
        if holder != node {
            self.fail(&holder, How::Stop).unwrap_or_else(|error| panic!("{error:#}"));
            self.wait_until_held_by(node, PATIENCE_WITH_A_PAIR).unwrap_or_else(|error| panic!("{error:#}"));
            self.heal(&holder).unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    /// Writes a file that all nodes can read; its path.
    ///
    /// # Panics
    /// The disk is full.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// The folder that all nodes can read.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a shell command on a node; what it wrote to stdout.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn shell(&self, node: &str, command: &str) -> String {
        let output = self.exec(node, ["sh", "-c", command]).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(output.success(), "{node}: {command}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a verb of `lbctl` on a node; its exit code, and what it wrote to stdout and stderr.
    ///
    /// # Panics
    /// It can't be run.
    #[track_caller]
    pub fn verb(&self, node: &str, words: &[&str]) -> (Option<i32>, String, String) {
        let lbctl = program::lbctl();
        let command = [lbctl.as_str()].into_iter().chain(words.iter().copied());
        let output = self.exec(node, command).unwrap_or_else(|error| panic!("{error:#}"));
        (output.ended.code, output.stdout, output.stderr)
    }

    /// A verb that has to work; what it printed as JSON.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn done(&self, node: &str, words: &[&str]) -> Value {
        let (code, said, errors) = self.verb(node, words);
        assert_eq!(code, Some(0), "{words:?}: {errors}");
        serde_json::from_str(&said).unwrap_or_default()
    }

    /// A verb that has to be refused with this code; why.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn refused(&self, node: &str, words: &[&str], expected: i32) -> String {
        let (code, said, errors) = self.verb(node, words);
        assert_eq!(code, Some(expected), "{words:?}: {said}");
        errors
    }

    /// Waits until `seen_from` knows that the other node could take over.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_until_other_is_ready(&self, seen_from: &str) {
        wait::until("the other node is ready", PATIENCE_WITH_A_PAIR, || {
            let status = self.status_of(seen_from);
            let node = &status["groups"][0]["nodes"][1];
            (node["state"] == "Backup" && node["ready"] == "yes" && node["silent"] == false).then_some(())
        });
    }

    /// Patient clients, who are served.
    ///
    /// # Panics
    /// They are not.
    pub fn clients(&self) -> Load {
        let load = self
            .load(&LoadOptions { patience: 10_000, ..LoadOptions::default() })
            .unwrap_or_else(|error| panic!("{error:#}"));
        wait::until("clients are served", PATIENCE_WITH_A_PAIR, || (load.report().ok() > 100).then_some(()));
        load
    }

    /// What `lbctl status --json` says on a node; null if it says nothing.
    pub fn status_of(&self, node: &str) -> Value {
        serde_json::from_str(&self.verb(node, &["status", "--json"]).1).unwrap_or_default()
    }

    /// Does `node` have the virtual address now? Asked of its kernel, not of the record.
    ///
    /// # Panics
    /// The lab is gone.
    pub fn has_vip(&self, node: &str) -> bool {
        self.shell(node, "ip -o -4 address show").contains(&format!(" {VIP}/"))
    }

    /// Does `node` have the virtual IPv6 address now?
    ///
    /// # Panics
    /// The lab is gone.
    pub fn has_vip_ipv6(&self, node: &str) -> bool {
        self.shell(node, "ip -o -6 address show").contains(&format!(" {VIP_IPV6}/"))
    }

    /// Waits until a request to the address is answered; by whom.
    ///
    /// # Panics
    /// None is, for 30 s.
    #[track_caller]
    pub fn wait_for_answer(&self) -> String {
        wait::until("an answer through the address", PATIENCE_WITH_A_PAIR, || {
            let output =
                self.exec("client", ["curl", "-sf", "--max-time", "5", &format!("http://{VIP}/")]).ok()?;
            output.success().then(|| output.stdout.trim().to_owned())
        })
    }
}

impl Deref for Scene {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        if let Ok(events) = self.lab.record() {
            eprintln!("--- the record of addresses and carriers ---");
            for event in events
                .iter()
                .filter(|event| event.is_about(IpAddr::V4(VIP)) || event.to_string().contains("carrier"))
            {
                eprintln!("{event}");
            }
        }
        for node in BALANCERS {
            for name in ["lbctl", "keepalived", "late"] {
                let Ok(log) = self.lab.log(node, name) else { continue };
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name} on {node} ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}

/// The lab's file with both families.
///
/// # Panics
/// It has changed.
#[must_use]
pub fn with_ipv6() -> String {
    let file = CONFIGURATION.replacen(&format!("[\"{VIP}\"]"), &format!("[\"{VIP}\", \"{VIP_IPV6}\"]"), 1);
    assert_ne!(file, CONFIGURATION, "the lab's file has changed");
    file
}

/// The lab's file with another advertisement interval.
///
/// # Panics
/// It has changed.
#[must_use]
pub fn slower(interval: &str) -> String {
    let vip = format!("[vip.web]\nadvertisement_interval = \"{interval}\"\n");
    let file = CONFIGURATION.replacen("[vip.web]\n", &vip, 1);
    assert_ne!(file, CONFIGURATION, "the lab's file has changed");
    file
}

/// Waits for one of the slots; it is free again when the value, or the process, is gone. A long wait says who has them.
///
/// # Panics
/// There is none for too long.
#[must_use]
pub fn take_slot() -> Flock<File> {
    let folder = std::env::temp_dir().join(format!("lbctl-tests-{}", nix::unistd::geteuid()));
    fs::create_dir_all(&folder).expect("a folder for locks");
    let who = format!("{} of pid {}", thread::current().name().unwrap_or("a test"), std::process::id());
    let begin = Instant::now();
    let mut reminder = REMINDER;
    loop {
        if let Some(slot) = (0..SLOTS).find_map(|slot| try_slot(&folder, slot, &who)) {
            return slot;
        }
        let waited = begin.elapsed();
        assert!(waited < PATIENCE, "no slot for a lab within {PATIENCE:?}; {}", holders(&folder));
        if waited >= reminder {
            reminder += REMINDER;
            // Not eprintln, which the harness keeps until the test ends: someone may end it first.
            let _ = writeln!(
                io::stderr(),
                "{who} has waited {} s for a slot for its lab; {}",
                waited.as_secs(),
                holders(&folder)
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn slot_path(folder: &Path, slot: usize) -> PathBuf {
    folder.join(format!("slot-{slot}"))
}

/// Takes the slot if it is free, and leaves word who has it.
fn try_slot(folder: &Path, slot: usize, who: &str) -> Option<Flock<File>> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(slot_path(folder, slot));
    let mut file = Flock::lock(file.expect("a lock file"), FlockArg::LockExclusiveNonblock).ok()?;
    file.set_len(0).and_then(|()| file.write_all(who.as_bytes())).expect("a line in the lock file");
    Some(file)
}

fn holders(folder: &Path) -> String {
    let read = |slot| fs::read_to_string(slot_path(folder, slot)).unwrap_or_default();
    format!("they have them: {}", (0..SLOTS).map(read).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_taken_says_by_whom_and_is_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = try_slot(folder.path(), 0, "a test with a long name").unwrap();
        assert!(try_slot(folder.path(), 0, "another").is_none());
        assert!(holders(folder.path()).contains("a test with a long name"), "{}", holders(folder.path()));
        drop(first);
        let _again = try_slot(folder.path(), 0, "another").unwrap();
        assert_eq!(holders(folder.path()), "they have them: another, ");
    }
}
