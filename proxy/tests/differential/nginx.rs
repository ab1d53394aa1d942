//! An nginx of the machine's packages, in a folder of its own.

use std::{fs, path::PathBuf, process::Command};

use crate::program::Program;

pub(crate) struct Nginx(Program);

impl Nginx {
    /// Starts it with what stands in `http` and in `stream`; `FOLDER` in them is where its sockets are. Waits until `socket`
    /// accepts.
    pub(crate) async fn start(http: &str, stream: &str, socket: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\npid FOLDER/pid;\nerror_log stderr;\n\
             worker_processes 1;\nmaster_process off;\nevents {{ worker_connections 64; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path FOLDER/body;\n  proxy_temp_path FOLDER/proxy;\n  \
             fastcgi_temp_path FOLDER/fastcgi;\n  uwsgi_temp_path FOLDER/uwsgi;\n  scgi_temp_path FOLDER/scgi;\n{http}}}\n\
             stream {{\n{stream}}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let command = &mut Command::new("nginx");
        Self(Program::start(command.args(["-e", "stderr", "-c"]).arg(&file), folder, socket).await)
    }

    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.0.socket(name)
    }
}
