//! A real Exim on loopback that takes mail into a folder.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) use self::configuration::Guard;
use self::configuration::{USER, configuration};
use crate::harness::PATIENCE;

#[allow(unreachable_pub, reason = "lb-tests has it as well")]
#[path = "../../../tests/src/exim/configuration.rs"]
mod configuration;

/// Ended when it is dropped.
pub(crate) struct Exim {
    folder: TempDir,
    child: Child,
}

impl Exim {
    pub(crate) fn at(address: SocketAddr, guard: Option<&Guard>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["spool", "mail"] {
            fs::create_dir(at(name)).expect("created");
        }
        fs::write(at("exim.conf"), configuration(folder.path(), guard)).expect("written");
        let program = ["/usr/sbin/exim4", "/usr/sbin/exim"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new("unshare");
        command.args([format!("--map-user={USER}"), format!("--map-group={USER}")]);
        command.arg(program.expect("Exim is installed")).arg("-C").arg(at("exim.conf"));
        command.args(["-bdf", "-oX", &format!("{}.{}", address.ip(), address.port())]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(at("log")).expect("created")).spawn().expect("started");
        let exim = Self { folder, child };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let said = fs::read_to_string(exim.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "Exim does not listen: {said}");
            thread::sleep(Duration::from_millis(20));
        }
        exim
    }

    /// The mails that it has.
    pub(crate) fn mails(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path().join("mail/new")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
