//! A real Exim that takes mail for example.com into a folder.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::User;
use tempfile::TempDir;

use crate::{
    plain::{Running, wait_until},
    program,
};

/// A mail server; it ends with this value.
#[derive(Debug)]
pub struct Exim {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    running: Option<Running>,
}

impl Exim {
    /// Starts one. Exim does not deliver as root: it is nobody then, and otherwise the user who runs the tests.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own");
        let user = user();
        for name in ["spool", "mail"] {
            let part = folder.path().join(name);
            fs::create_dir(&part).expect("created");
            chown(&part, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may, and to oneself");
        }
        let file = folder.path().join("exim.conf");
        fs::write(&file, configuration(&path, &user)).expect("written");
        let log = folder.path().join("log");
        let mut command = Command::new(program::find("exim4"));
        command.arg("-C").arg(&file).args(["-bdf", "-oX"]).arg(format!(
            "[{}]:{}",
            address.ip(),
            address.port()
        ));
        let running = Some(Running::start(&mut command, &log));
        wait_until(
            "Exim listens",
            || fs::read_to_string(&log).unwrap_or_default(),
            || std::net::TcpStream::connect(address).is_ok(),
        );
        Self { address, folder, running }
    }

    /// Dies as in a crash.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// The mails that it has.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("mail/new");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}

/// Sends a mail with `subject` through `address`.
///
/// # Errors
/// What curl says.
pub fn send(address: SocketAddr, folder: &Path, subject: &str) -> Result<(), String> {
    let mail = folder.join("mail.txt");
    fs::write(&mail, format!("Subject: {subject}\r\n\r\nhello\r\n")).map_err(|error| error.to_string())?;
    let mut command = Command::new(program::find("curl"));
    command.args(["--silent", "--show-error", "--max-time", "20", "--url"]).arg(format!("smtp://{address}"));
    command.args(["--mail-from", "a@example.com", "--mail-rcpt", "b@example.com", "--upload-file"]).arg(mail);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn user() -> User {
    let uid = nix::unistd::geteuid();
    let user = if uid.is_root() { User::from_name("nobody") } else { User::from_uid(uid) };
    user.ok().flatten().expect("a user of this machine")
}

fn configuration(folder: &str, user: &User) -> String {
    let (uid, gid) = (user.uid, user.gid);
    format!(
        "spool_directory = {folder}/spool\nlog_file_path = {folder}/spool/%slog\nprimary_hostname = mx.example.com\n\
         exim_user = {uid}\nexim_group = {gid}\ndeliver_drop_privilege\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\nhost_lookup =\n\
         keep_environment =\ntls_advertise_hosts =\nrfc1413_query_timeout = 0s\n\
         begin routers\nlocal:\n  driver = accept\n  domains = example.com\n  transport = folder\n\
         begin transports\nfolder:\n  driver = appendfile\n  directory = {folder}/mail\n  maildir_format\n\
         \x20 user = {uid}\n  group = {gid}\n"
    )
}
