//! A program of the machine's packages that listens on sockets in a folder of its own; it ends with this value.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::UnixStream;

use crate::rig::LONG;

pub(crate) struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts it, and waits until `socket` accepts.
    pub(crate) async fn start(command: &mut Command, folder: tempfile::TempDir, socket: &str) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let child = child.unwrap_or_else(|_| panic!("the package of {name} is missing"));
        let mut started = Self { child, folder };
        let accepts = async {
            while UnixStream::connect(started.socket(socket)).await.is_err() {
                assert!(started.child.try_wait().unwrap().is_none(), "{name} refuses its configuration");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, accepts).await.unwrap_or_else(|_| panic!("{name} never listened"));
        started
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
