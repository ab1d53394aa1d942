//! A HAProxy of the machine's package, listening on sockets in a folder of its own.

use std::{fs, path::PathBuf, process::Command};

use crate::{program::Program, rig::eventually};

pub(crate) struct HAProxy(Program);

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
        let command = &mut Command::new("haproxy");
        let started = Self(Program::start(command.args(["-db", "-f"]).arg(&file), folder, socket).await);
        // It binds one after the other.
        eventually("all sockets are there", || sockets.iter().all(|socket| socket.exists())).await;
        started
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.0.socket(name)
    }
}
