//! The program under callgrind, and the instructions of its worker in what that writes.
//!
//! Only those of the program itself count: the C library chooses its functions by the processor, and what the kernel does
//! is no instruction of this kind. Each thread has a file of its own; with one worker the longest is the worker's.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use lb_tests::{
    lockstep::Lockstep,
    plain::{Running, unused_address},
    program,
};

use crate::kinds::Kind;

/// For valgrind to translate the start of the program, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a worker has done.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Of our own program, on the worker's thread.
    pub(crate) instructions: u64,
    /// For `callgrind_annotate`.
    pub(crate) file: PathBuf,
}

/// So many exchanges of this kind.
///
/// # Errors
/// The program does not start, or does not answer.
pub(crate) fn profile(program: &Path, kind: Kind, exchanges: u32) -> anyhow::Result<Profile> {
    let work = tempfile::tempdir()?;
    // They stay, to be looked at.
    let kept = program.parent().context("a program is in a folder")?.join("instructions");
    fs::create_dir_all(&kept)?;
    let out = kept.join(kind.name());
    for old in files_of(&out)? {
        fs::remove_file(old)?;
    }
    let front = unused_address(8080);
    let lockstep = Lockstep::listen()?;
    let configuration = work.path().join("lb.toml");
    fs::write(&configuration, kind.configuration(front, lockstep.server()?, lockstep.syslog()?))?;
    let mut command = Command::new(program::find("valgrind"));
    command
        .args(["--tool=callgrind", "--separate-threads=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        // A filter of system calls would hold for valgrind's own as well.
        .args(["run", "--unconfined"])
        .arg(&configuration)
        .arg("--runtime-dir")
        .arg(work.path().join("run"))
        .env_remove("LBCTL_LOG")
        .env_remove("NOTIFY_SOCKET");
    let log = work.path().join("log");
    let running = Running::start(&mut command, &log);
    let done = lockstep.play(front, &kind.conversation(), exchanges, PATIENCE);
    let ended = running.stop();
    let told = || format!("lbctl under valgrind said:\n{}", fs::read_to_string(&log).unwrap_or_default());
    done.with_context(told)?;
    ensure!(ended.success(), "{ended}; {}", told());
    worker(&out, program)
}

/// `out` itself, which is empty, and one for each thread.
fn files_of(out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = out.parent().context("a file is in a folder")?;
    let name = out.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let is_ours = |path: &PathBuf| {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        found.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    Ok(fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(is_ours).collect())
}

fn worker(out: &Path, program: &Path) -> anyhow::Result<Profile> {
    let mut most: Option<Profile> = None;
    for file in files_of(out)? {
        let instructions = instructions(&fs::read_to_string(&file)?, program);
        if most.as_ref().is_none_or(|most| most.instructions < instructions) {
            most = Some(Profile { instructions, file });
        }
    }
    most.filter(|most| most.instructions > 0).context("callgrind has counted nothing")
}

/// What functions of `object` have cost by themselves, in a file of callgrind.
fn instructions(text: &str, object: &Path) -> u64 {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let (mut is_of_object, mut is_of_call, mut sum) = (false, false, 0);
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=').filter(|(key, _)| matches!(*key, "ob" | "cob")) {
            // A name stands behind its number where it comes first.
            let (number, name) = value.split_once(' ').unwrap_or((value, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            if key == "ob" {
                is_of_object = names.get(number).is_some_and(|name| Path::new(name) == object);
            }
        } else if line.starts_with("calls=") {
            is_of_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // That of a call is the callee's as well.
            if !std::mem::take(&mut is_of_call) && is_of_object {
                sum += line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or_default();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: 1\npositions: line\nevents: Ir\n\
        ob=(1) /usr/bin/lbctl\nfl=(1) a.rs\nfn=(1) serve\n10 5\n+3 7\n* 1\n\
        cob=(2) /lib/libc.so.6\ncfn=(2) memcpy\ncalls=2 20\n-4 1000\n+1 2\n\n\
        ob=(2)\nfn=(2)\n20 900\n\nob=(1)\nfn=(3) parse\ncfn=(1)\ncalls=1 10\n* 600\n30 4\n";

    #[test]
    fn what_functions_of_the_program_have_cost_themselves_counts() {
        assert_eq!(instructions(FILE, Path::new("/usr/bin/lbctl")), 5 + 7 + 1 + 2 + 4);
        assert_eq!(instructions(FILE, Path::new("/lib/libc.so.6")), 900);
        assert_eq!(instructions(FILE, Path::new("/usr/bin/other")), 0);
    }
}
