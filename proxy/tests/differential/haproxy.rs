//! A HAProxy of the machine's package, listening on sockets in a folder of its own.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tokio::net::UnixStream;

use crate::rig::LONG;

pub(crate) struct HAProxy {
    child: Child,
    folder: tempfile::TempDir,
}

impl HAProxy {
    /// Starts it with `sections`; `FOLDER` in them is where its sockets are. Waits until all are there and `socket` accepts.
    pub(crate) async fn start(sections: &str, socket: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let named =
            sections.split("bind unix@FOLDER/").skip(1).filter_map(|rest| rest.split_whitespace().next());
        let sockets: Vec<PathBuf> = named.map(|name| folder.path().join(name)).collect();
        let sections = sections.replace("FOLDER", folder.path().to_str().unwrap());
        let file = folder.path().join("haproxy.cfg");
        let head = "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n";
        fs::write(&file, format!("{head}{sections}")).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the package haproxy is missing");
        let mut started = Self { child, folder };
        let accepts = async {
            // It binds one after the other.
            while !sockets.iter().all(|socket| socket.exists())
                || UnixStream::connect(started.socket(socket)).await.is_err()
            {
                assert!(started.child.try_wait().unwrap().is_none(), "haproxy refuses its configuration");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, accepts).await.expect("haproxy never listened");
        started
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for HAProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
