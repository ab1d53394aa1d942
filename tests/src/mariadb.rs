//! A real MariaDB with data and socket of its own, on a node of a lab.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use lbctl::lab::Spawned;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{program, scene::Scene, wait};

/// A server; its data end with this value, it ends with the lab at the latest.
#[derive(Debug)]
pub struct MariaDb<'scene> {
    folder: TempDir,
    running: Spawned<'scene>,
}

impl<'scene> MariaDb<'scene> {
    /// Starts one on all addresses of `node` that says `id` when asked for `@@server_id`, with the user `check` that needs
    /// no password.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start(scene: &'scene Scene, node: &str, id: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        // In a shared one each server removes the temporary tables of the other when it starts.
        std::fs::create_dir(path("tmp")).expect("created");
        let mut install = Command::new(program::find("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", path("data"))).arg(format!("--user={}", user()));
        install.arg(format!("--tmpdir={}", path("tmp")));
        let output = install.output().expect("it is installed");
        assert!(output.status.success(), "{output:?}");
        // Whoever runs the tests is root in the lab, and MariaDB refuses to run as root without being told so.
        let command = [
            program::find("mariadbd").display().to_string(),
            "--no-defaults".to_owned(),
            "--user=root".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--innodb-buffer-pool-size=8M".to_owned(),
            "--innodb-log-file-size=4M".to_owned(),
            "--max-connect-errors=5".to_owned(),
            format!("--server-id={id}"),
            format!("--datadir={}", path("data")),
            format!("--tmpdir={}", path("tmp")),
            format!("--socket={}", path("socket")),
            format!("--pid-file={}", path("pid")),
        ];
        let running = scene.spawn(node, "mariadb", command).unwrap_or_else(|error| panic!("{error:#}"));
        let server = Self { folder, running };
        wait::until("MariaDB answers", Duration::from_secs(60), || {
            server.ask_itself("SELECT 1").status.success().then_some(())
        });
        let created = server.ask_itself("CREATE USER IF NOT EXISTS 'check'@'%'");
        assert!(created.status.success(), "{created:?}");
        server
    }

    /// Dies as in a crash.
    ///
    /// # Panics
    /// It is dead already.
    pub fn kill(&self) {
        self.running.signal(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error:#}"));
        self.running.wait().unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Asks over its own socket, as root.
    ///
    /// # Panics
    /// The client can't be run.
    #[must_use]
    pub fn ask_itself(&self, query: &str) -> Output {
        let socket: PathBuf = self.folder.path().join("socket");
        let mut command = Command::new(program::find("mariadb"));
        command.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", socket.display()));
        command.args(ASK).arg(query).output().expect("it is installed")
    }
}

/// One value on a line of its own, nothing around it.
const ASK: [&str; 3] = ["--skip-column-names", "--batch", "--execute"];

/// Asks as the user `check` through the virtual address, from the client's node; the answer's only column.
///
/// # Errors
/// What the client says.
///
/// # Panics
/// The client can't be run.
pub fn query(scene: &Scene, query: &str) -> Result<String, String> {
    let host = format!("--host={}", lbctl::lab::VIP);
    let client = program::find("mariadb").display().to_string();
    let command = [&client, "--no-defaults", "--user=check", "--protocol=tcp", "--connect-timeout=10", &host];
    let command = command.into_iter().chain(ASK).chain([query]);
    let output = scene.exec("client", command).unwrap_or_else(|error| panic!("{error:#}"));
    if output.success() { Ok(output.stdout.trim().to_owned()) } else { Err(output.stderr) }
}

/// The name of the user who runs the tests.
fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    user.map_or_else(|| "root".to_owned(), |user| user.name)
}
