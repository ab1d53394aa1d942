//! A real nginx as a web server of the lab.

use lbctl::lab::Spawned;

use crate::{program, scene::Scene};

/// Starts nginx on `node`. It answers every path with its own name, and `/check.txt` as well.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn start<'scene>(scene: &'scene Scene, node: &str) -> Spawned<'scene> {
    let file = scene.write(
        &format!("nginx-{node}.conf"),
        &format!(
            "daemon off; pid /run/nginx.pid; user root; worker_processes 1; error_log stderr;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path /run/body; proxy_temp_path /run/proxy;\n\
             fastcgi_temp_path /run/fastcgi; uwsgi_temp_path /run/uwsgi; scgi_temp_path /run/scgi;\n\
             server {{ listen 80; location / {{ default_type text/plain; return 200 \"{node}\\n\"; }} }} }}\n"
        ),
    );
    let nginx = program::find("nginx");
    scene
        .spawn(
            node,
            "nginx",
            [nginx.as_os_str(), "-e".as_ref(), "stderr".as_ref(), "-c".as_ref(), file.as_ref()],
        )
        .unwrap_or_else(|error| panic!("{error:#}"))
}
