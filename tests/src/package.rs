//! The packages, made of the program under test by the one command that makes them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::program;

/// Makes the .deb of `program`, and with `rpm` the other one, in `folder`; their paths.
///
/// # Panics
/// The command fails.
#[track_caller]
#[must_use]
pub fn build(program: &Path, folder: &Path, rpm: bool) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace");
    let mut command = Command::new(root.join("cli/package/build"));
    command.arg("--quick").arg("--program").arg(program).arg("--folder").arg(folder);
    if rpm {
        command.arg("--rpm");
    }
    said(&mut command).lines().map(PathBuf::from).collect()
}

/// What `command` wrote to stdout.
///
/// # Panics
/// It failed.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{command:?}: {}\n{said}{complained}", output.status);
    said.into_owned()
}

/// The same of a program that `tests/run` installs.
#[must_use]
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(program::find(name));
    command.env("LC_ALL", "C");
    command
}
