//! What `lbctl run` was told, and how a process is told to run the same.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The folder of the control socket and the locks, unless it is named.
pub(crate) const RUNTIME_DIR: &str = "/run/lbctl";

/// What `lbctl run` was told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration.
    pub file: PathBuf,
    /// Which node this is, if it can't find out itself.
    pub node: Option<String>,
    /// Instead of `/run/lbctl`.
    pub runtime_dir: Option<PathBuf>,
    /// Instead of `control.sock` in it.
    pub control: Option<PathBuf>,
    /// Neither Landlock nor seccomp.
    pub unconfined: bool,
    /// Names this process there once it serves.
    pub pid_file: Option<PathBuf>,
    /// To be started in the background: this process ends once it serves there.
    pub daemon: bool,
    /// This is the process in the background.
    pub detached: bool,
    /// This process takes the place of the one on stdin (`lbctl upgrade`).
    pub take_over: bool,
}

impl RunOptions {
    pub(super) fn runtime_dir(&self) -> PathBuf {
        self.runtime_dir.clone().unwrap_or_else(|| RUNTIME_DIR.into())
    }

    pub(super) fn control(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| self.runtime_dir().join("control.sock"))
    }

    /// Of a process that is to run the same, wherever it is started.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["run".into()];
        if let Some(node) = &self.node {
            arguments.extend(["--node".into(), node.into()]);
        }
        if let Some(path) = &self.pid_file {
            arguments.extend(["--pidfile".into(), whole(path).into()]);
        }
        arguments.extend(self.unconfined.then(|| "--unconfined".into()));
        let (runtime_dir, control) = (whole(&self.runtime_dir()), whole(&self.control()));
        arguments.extend(["--runtime-dir".into(), runtime_dir.into(), "--control".into(), control.into()]);
        // It may begin with a hyphen, but not whole.
        arguments.push(whole(&self.file).into());
        arguments
    }
}

/// The file by its whole path; `-` is standard input.
pub(super) fn whole(file: &Path) -> PathBuf {
    match file {
        stdin if stdin == Path::new("-") => stdin.to_owned(),
        file => std::path::absolute(file).unwrap_or_else(|_| file.to_owned()),
    }
}
