//! A real Exim that takes mail for example.com into a folder, on a node of a lab.

use std::{fs, path::PathBuf, time::Duration};

use lbctl::lab::Spawned;
use nix::sys::signal::Signal;
use tempfile::TempDir;

pub use self::configuration::Guard;
use self::configuration::configuration;
use crate::{program, scene::Scene, wait};

mod configuration;

/// Where it listens: below 1024 it could not without rights.
pub const PORT: u16 = 2525;

/// A mail server; its mails end with this value, it ends with the lab at the latest.
#[derive(Debug)]
pub struct Exim<'scene> {
    folder: TempDir,
    running: Spawned<'scene>,
}

impl<'scene> Exim<'scene> {
    /// Starts one on all addresses of `node`.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start(scene: &'scene Scene, node: &str) -> Self {
        Self::start_with(scene, node, None)
    }

    /// The same for those who are let in.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn guarded(scene: &'scene Scene, node: &str, guard: &Guard) -> Self {
        Self::start_with(scene, node, Some(guard))
    }

    #[track_caller]
    fn start_with(scene: &'scene Scene, node: &str, guard: Option<&Guard>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["spool", "mail"] {
            fs::create_dir(folder.path().join(name)).expect("created");
        }
        let file = folder.path().join("exim.conf");
        fs::write(&file, configuration(folder.path(), guard)).expect("written");
        let command = [
            "unshare",
            &format!("--map-user={}", configuration::USER),
            &format!("--map-group={}", configuration::USER),
            &program::find("exim4").display().to_string(),
            "-C",
            &file.display().to_string(),
            "-bdf",
            "-oX",
            &PORT.to_string(),
        ];
        let running = scene.spawn(node, "exim", command).unwrap_or_else(|error| panic!("{error:#}"));
        let probe = ["bash", "-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{PORT}")];
        wait::until("Exim listens", Duration::from_secs(60), || {
            scene.exec(node, probe).ok()?.success().then_some(())
        });
        Self { folder, running }
    }

    /// Dies as in a crash.
    ///
    /// # Panics
    /// It is dead already.
    pub fn kill(&self) {
        self.running.signal(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error:#}"));
        self.running.wait().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// The mails that it has.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("mail/new");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}

/// Sends a mail with `subject` to the virtual address, from the client's node.
///
/// # Errors
/// What curl says.
///
/// # Panics
/// It can't be run.
pub fn send(scene: &Scene, subject: &str) -> Result<(), String> {
    let mail = scene.write("mail.txt", &format!("Subject: {subject}\r\n\r\nhello\r\n"));
    let url = format!("smtp://{}", lbctl::lab::VIP);
    let command = ["curl", "--silent", "--show-error", "--max-time", "20", "--url", &url];
    let rest = ["--mail-from", "a@example.com", "--mail-rcpt", "b@example.com", "--upload-file", &mail];
    let output =
        scene.exec("client", command.into_iter().chain(rest)).unwrap_or_else(|error| panic!("{error:#}"));
    if output.success() { Ok(()) } else { Err(output.stderr) }
}
