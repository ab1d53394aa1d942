//! A real MariaDB with data, socket and address of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    plain::{Running, wait_until},
    program,
};

/// A server and its data; both end with this value.
#[derive(Debug)]
pub struct MariaDb {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    running: Option<Running>,
}

impl MariaDb {
    /// Starts one that says `id` when asked for `@@server_id`, with the user `check` that needs no password.
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    #[must_use]
    pub fn start(address: SocketAddr, id: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        // In a shared one each server removes the temporary tables of the other when it starts.
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("created");
        let mut install = Command::new(program::find("mariadb-install-db"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", data.display())).arg(format!("--user={}", user()));
        install.arg(format!("--tmpdir={}", temporary.display()));
        let output = install.output().expect("it is installed");
        assert!(output.status.success(), "{output:?}");
        let mut server = Self { address, folder, running: None };
        server.run(id);
        let created = server.ask_itself("CREATE USER IF NOT EXISTS 'check'@'%'");
        assert!(created.status.success(), "{created:?}");
        server
    }

    fn run(&mut self, id: u32) {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(program::find("mariadbd"));
        command.arg("--no-defaults").args([
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=8M",
            "--innodb-log-file-size=4M",
        ]);
        command.args([
            format!("--user={}", user()),
            format!("--datadir={}", path("data").display()),
            format!("--tmpdir={}", path("tmp").display()),
            format!("--socket={}", path("socket").display()),
            format!("--pid-file={}", path("pid").display()),
            format!("--bind-address={}", self.address.ip()),
            format!("--port={}", self.address.port()),
            format!("--server-id={id}"),
            "--max-connect-errors=5".to_owned(),
        ]);
        self.running = Some(Running::start(&mut command, &path("log")));
        let log = path("log");
        wait_until(
            "MariaDB answers",
            || std::fs::read_to_string(&log).unwrap_or_default(),
            || self.ask_itself("SELECT 1").status.success(),
        );
    }

    /// Dies as in a crash.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }

    /// Asks over its own socket, as root.
    ///
    /// # Panics
    /// The client can't be run.
    #[must_use]
    pub fn ask_itself(&self, query: &str) -> Output {
        let socket: PathBuf = self.folder.path().join("socket");
        client(&["--user=root", &format!("--socket={}", socket.display())], query)
    }
}

/// Asks as the user `check` through `address`; the answer's only column.
///
/// # Errors
/// What the client says.
pub fn query(address: SocketAddr, query: &str) -> Result<String, String> {
    let host = format!("--host={}", address.ip());
    let port = format!("--port={}", address.port());
    let output = client(&["--user=check", "--protocol=tcp", "--connect-timeout=10", &host, &port], query);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn client(arguments: &[&str], query: &str) -> Output {
    let mut command = Command::new(program::find("mariadb"));
    command.arg("--no-defaults").args(arguments).args(["--skip-column-names", "--batch", "--execute", query]);
    command.output().expect("it is installed")
}

/// MariaDB refuses to run as root without being told so.
fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata(Path::new("/proc/self")).map_or(0, |own| own.uid());
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| "root".to_owned(), |user| user.name)
}
