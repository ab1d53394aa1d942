//! Which program is started for another process: what is where this one was started from, by then another file, or what a
//! link leads to by then.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Says which file this process runs, whatever became of its name.
const OWN: &str = "/proc/self/exe";

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Program {
    /// By which path it was started, if that can be told.
    started_by: Option<PathBuf>,
}

impl Program {
    /// Of this process. Before its folder changes, because that path may be a relative one.
    pub(in crate::daemon) fn find() -> Self {
        let name = env::args_os().next().unwrap_or_default();
        let path = located(&name, env::var_os("PATH"));
        // Whoever starts a program may call it what they want.
        Self { started_by: path.filter(|path| is_same_file(path, Path::new(OWN))) }
    }

    /// The path by which it was started.
    pub(in crate::daemon) fn started_by(&self) -> Option<&Path> {
        self.started_by.as_deref()
    }

    /// The one to start now.
    pub(in crate::daemon) fn path(&self) -> Result<PathBuf, String> {
        let path = match &self.started_by {
            Some(path) => path.clone(),
            None => own()?,
        };
        if path.exists() { Ok(path) } else { Err(format!("there is no {} any more", path.display())) }
    }
}

/// Where the file of this process was.
fn own() -> Result<PathBuf, String> {
    let link = fs::read_link(OWN).map_err(|error| format!("{OWN}: {error}"))?;
    // As proc_pid_exe(5) has it when the file was replaced.
    let path = link.as_os_str().as_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

/// What a shell starts when it is told `name`.
fn located(name: &OsStr, path: Option<OsString>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    let path = path?;
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())?;
    std::path::absolute(found).ok()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    id(one).is_some_and(|one| id(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_as_a_shell_does_and_a_path_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("lbctl");
        fs::write(&program, "").unwrap();
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(located(OsStr::new("lbctl"), Some(path.clone())), Some(program));
        assert_eq!(located(OsStr::new("other"), Some(path)), None);
        assert_eq!(located(OsStr::new("lbctl"), None), None);
        assert_eq!(located(OsStr::new("/usr/bin/lbctl"), None), Some("/usr/bin/lbctl".into()));
        let relative = located(OsStr::new("target/lbctl"), None).unwrap();
        assert_eq!(relative, env::current_dir().unwrap().join("target/lbctl"));
    }
}
