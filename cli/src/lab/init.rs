//! PID 1 of a lab. When it ends, however it ends, the kernel kills every process of the lab and frees the namespaces.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener, net::UnixStream},
    path::Path,
    process, thread,
};

use anyhow::{Context as _, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
};

use super::{
    options::{InitOptions, make_folder},
    protocol, serve,
    stage::Stage,
};

/// Runs the hidden verb `lbctl lab init`; it ends when the lab does. A line with the options comes on stdin. What goes wrong before the lab is up is written to stdout as the one
/// line that `lab up` waits for.
///
/// # Errors
/// The line could not be written.
pub fn run() -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask for a signal at the parent's end")?;
    if process::id() != 1 {
        bail!("this is not for people: lbctl lab up");
    }
    // Children inherit what is blocked, and the outer process blocks SIGTERM.
    SigSet::empty().thread_set_mask()?;
    let options = protocol::read_line(&mut io::stdin().lock())?;
    thread::Builder::new().name("lifeline".to_owned()).spawn(|| {
        // Nothing more comes: it ends when the parent does.
        let _ = io::stdin().read(&mut [0; 1]);
        process::exit(1);
    })?;
    match set_up(options) {
        Ok((stage, listener)) => {
            protocol::write_line(&mut io::stdout(), &protocol::Ready::Up)?;
            let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
            nix::unistd::dup2_stdout(null)?;
            serve::serve(stage, &listener)
        }
        Err(error) => {
            protocol::write_line(&mut io::stdout(), &protocol::Ready::Error { text: format!("{error:#}") })
        }
    }
}

fn set_up(options: InitOptions) -> anyhow::Result<(Stage, UnixListener)> {
    // First, so that a second lab of this name touches nothing.
    let listener = listen(&options.socket)?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .context("cannot make the mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, nothing)
        .context("cannot mount /proc (a container that masks parts of /proc forbids it)")?;
    std::env::set_current_dir("/")?;
    let socket = options.socket.clone();
    match Stage::set_up(options) {
        Ok(stage) => Ok((stage, listener)),
        Err(error) => {
            let _ = fs::remove_file(socket);
            Err(error)
        }
    }
}

/// Binds the socket. One that a killed lab left behind is replaced.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let folder = path.parent().context("a path without a folder")?;
    loop {
        make_folder(folder)?;
        match listen_in(folder, path) {
            // The last lab of before has just taken the folder along.
            Err(error) if is_missing(&error) => {}
            other => return other,
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// With the folder locked, nobody takes it along.
fn listen_in(folder: &Path, path: &Path) -> anyhow::Result<UnixListener> {
    let _lock = Flock::lock(fs::File::open(folder)?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if UnixStream::connect(path).is_ok() {
        bail!("a lab of this name is up already");
    }
    let _ = fs::remove_file(path);
    // The folder is its owner's alone, so nobody connects before the mode is right.
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::outer::remove_socket;

    #[test]
    fn a_lab_that_starts_while_the_last_one_ends_has_its_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("labs");
        thread::scope(|scope| {
            for number in 0..4 {
                let path = folder.join(format!("{number}.sock"));
                scope.spawn(move || {
                    for _ in 0..500 {
                        let _listener = listen(&path).unwrap();
                        assert!(path.exists());
                        remove_socket(&path);
                    }
                });
            }
        });
        assert!(!folder.exists(), "the last one took it along");
    }
}
