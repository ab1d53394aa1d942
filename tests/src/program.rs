//! Programs that the tests run.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::wait;

/// For a machine under load to let go of a file.
const PATIENCE: Duration = Duration::from_secs(30);

/// A copy of our own program in a folder of its own, which can be replaced while it runs, as a package manager does it.
#[derive(Debug)]
pub struct Installed {
    folder: TempDir,
    path: PathBuf,
}

impl Default for Installed {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let installed = Self { path: folder.path().join("lbctl"), folder };
        installed.install();
        installed
    }
}

impl Installed {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is beside it.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the same program there again, as another file.
    ///
    /// # Panics
    /// The disk is full.
    pub fn install(&self) {
        let fresh = self.path.with_extension("new");
        fs::copy(lbctl(), &fresh).and_then(|_| fs::rename(fresh, &self.path)).expect("a copy");
        // A busy machine may still have it open for writing.
        wait::until("it can be run", PATIENCE, || {
            let ran = Command::new(&self.path).arg("--version").output();
            ran.is_ok_and(|output| output.status.success()).then_some(())
        });
    }

    /// Puts a script of the shell there.
    ///
    /// # Panics
    /// The disk is full.
    pub fn install_script(&self, text: &str) {
        write_script(&self.path, text);
    }
}

/// Puts a script of the shell where a program is or will be.
///
/// # Panics
/// The disk is full.
pub fn write_script(program: &Path, text: &str) {
    let fresh = program.with_extension("new");
    fs::write(&fresh, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&fresh, Permissions::from_mode(0o755)).expect("changed");
    fs::rename(fresh, program).expect("renamed");
}

/// Where the program `name` of another project is.
///
/// # Panics
/// It is not installed: a test that can't be run has not shown what it shows, so it fails.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: tests/run installs it"))
}

/// Our own program, the one that the lab runs: `LBCTL`, or what cargo built beside this test.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn lbctl() -> String {
    let built = || {
        let test = env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST
        test.parent().and_then(Path::parent).expect("cargo's folders").join("lbctl")
    };
    let path = env::var_os("LBCTL").map_or_else(built, PathBuf::from);
    assert!(path.is_file(), "{} is missing: cargo build -p lbctl", path.display());
    path.to_str().expect("UTF-8").to_owned()
}

/// A PATH in which our own program is the first, for scripts and what people type.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn path_with_lbctl() -> String {
    let ours = lbctl();
    let folder = Path::new(&ours).parent().expect("a program is in a folder");
    format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default())
}
