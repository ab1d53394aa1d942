//! What a lab is to be like.

use std::{
    collections::BTreeMap,
    env, fs,
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::topology::{BALANCERS, CONFIGURATION};

/// What a lab is to be like. `Options::default()` is the lab of `lbctl lab up`, under a name of its own.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(crate) name: String,
    pub(crate) program: Option<PathBuf>,
    pub(crate) configurations: BTreeMap<String, String>,
    pub(crate) daemons: Vec<String>,
    pub(crate) web: bool,
    pub(crate) detached: bool,
}

impl Default for Options {
    fn default() -> Self {
        static LABS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = LABS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            name: format!("{}-{number}", std::process::id()),
            program: None,
            configurations: BALANCERS
                .iter()
                .map(|node| ((*node).to_owned(), CONFIGURATION.to_owned()))
                .collect(),
            daemons: BALANCERS.iter().map(|node| (*node).to_owned()).collect(),
            web: true,
            detached: false,
        }
    }
}

impl Options {
    /// The name that `lbctl lab --name` uses; letters, digits and `-`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The `lbctl` binary to run; by default `LBCTL`, else this program, else the one that cargo built beside this test.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// The configuration file of both nodes instead of the lab's own.
    pub fn configuration(mut self, text: &str) -> Self {
        for node in BALANCERS {
            self.configurations.insert(node.to_owned(), text.to_owned());
        }
        self
    }

    /// The configuration file of one node.
    pub fn configuration_of(mut self, node: &str, text: &str) -> Self {
        self.configurations.insert(node.to_owned(), text.to_owned());
        self
    }

    /// Does not start `lbctl run` on `node` (`Lab::heal` starts it later; `Lab::spawn` may run something else there).
    pub fn without_daemon(mut self, node: &str) -> Self {
        self.daemons.retain(|name| name != node);
        self
    }

    /// Does not start `lbctl run` anywhere.
    pub fn without_daemons(mut self) -> Self {
        self.daemons.clear();
        self
    }

    /// Does not start the built-in web servers.
    pub fn without_web_servers(mut self) -> Self {
        self.web = false;
        self
    }

    /// Lets the lab outlive this process; `Lab::attach` finds it again by its name.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// For the processes of the lab.
    pub(crate) fn init_options(&self) -> anyhow::Result<InitOptions> {
        Ok(InitOptions {
            name: self.name.clone(),
            socket: socket_path(&self.name)?,
            configurations: self.configurations.clone(),
            daemons: self.daemons.clone(),
            web: self.web,
            outer_pid: 0,
        })
    }

    /// The `lbctl` binary.
    pub(crate) fn find_program(&self) -> anyhow::Result<PathBuf> {
        if let Some(program) = &self.program {
            return Ok(program.clone());
        }
        if let Some(program) = env::var_os("LBCTL") {
            return Ok(program.into());
        }
        let this = env::current_exe()?;
        if this.file_stem().is_some_and(|name| name == "lbctl") {
            return Ok(this);
        }
        // A test program lies in target/PROFILE/deps, the binary one folder up.
        this.ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join("lbctl"))
            .find(|path| path.is_file())
            .with_context(|| format!("no lbctl beside {}: build it first, or set LBCTL", this.display()))
    }
}

/// What the processes of the lab are told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct InitOptions {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    pub(crate) configurations: BTreeMap<String, String>,
    pub(crate) daemons: Vec<String>,
    pub(crate) web: bool,
    /// The outermost process, seen from outside: killing it ends the lab.
    pub(crate) outer_pid: u32,
}

/// Where the lab called `name` listens. The folder is made if it is missing.
///
/// # Errors
/// A bad name, or a folder that belongs to someone else.
pub(crate) fn socket_path(name: &str) -> anyhow::Result<PathBuf> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(good) {
        bail!("`{name}` is no name for a lab: 1 to 40 letters, digits, `-` and `_`");
    }
    let folder = folder();
    make_folder(&folder)?;
    Ok(folder.join(format!("{name}.sock")))
}

/// Makes the folder of the sockets if it is missing. The last lab of a user takes it along, at any moment but while the
/// folder is locked.
///
/// # Errors
/// It belongs to someone else, or can't be made.
pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    let found = loop {
        if let Err(error) = fs::DirBuilder::new().mode(0o700).create(folder)
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        // In /tmp another user may have made it first, as a trap.
        match fs::symlink_metadata(folder) {
            Ok(found) => break found,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", folder.display())),
        }
    };
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        bail!("{} must be a folder of mode 0700 that belongs to you", folder.display());
    }
    Ok(())
}

fn folder() -> PathBuf {
    let user = geteuid();
    let mine = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| {
            found.is_dir() && found.uid() == user.as_raw() && found.mode() & 0o300 == 0o300
        })
    };
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && mine(&runtime) => runtime.join("lbctl-lab"),
        _ if user.is_root() && mine(Path::new("/run")) => PathBuf::from("/run/lbctl-lab"),
        _ => PathBuf::from(format!("/tmp/lbctl-lab-{user}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in ["", "../x", "a/b", "a b", "0123456789012345678901234567890123456789x"] {
            assert!(socket_path(name).is_err(), "{name}");
        }
    }
}
