//! A real Exim that takes mail for example.com into a folder, on a node of a lab.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lbctl::lab::Spawned;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{program, scene::Scene, wait};

/// Where it listens: below 1024 it could not without rights.
pub const PORT: u16 = 2525;
/// Exim does not deliver as root. `nobody` is a name for whoever runs the tests, and needs no rights.
const USER: &str = "65534";

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
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["spool", "mail"] {
            fs::create_dir(folder.path().join(name)).expect("created");
        }
        let file = folder.path().join("exim.conf");
        fs::write(&file, configuration(folder.path())).expect("written");
        let command = [
            "unshare",
            &format!("--map-user={USER}"),
            &format!("--map-group={USER}"),
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

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "spool_directory = {folder}/spool\nlog_file_path = {folder}/spool/%slog\nprimary_hostname = mx.example.com\n\
         exim_user = {USER}\nexim_group = {USER}\ndeliver_drop_privilege\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\nhost_lookup =\n\
         keep_environment =\ntls_advertise_hosts =\nrfc1413_query_timeout = 0s\n\
         begin routers\nlocal:\n  driver = accept\n  domains = example.com\n  transport = folder\n\
         begin transports\nfolder:\n  driver = appendfile\n  directory = {folder}/mail\n  maildir_format\n\
         \x20 user = {USER}\n  group = {USER}\n"
    )
}
