//! What clients do all the while.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use lbctl::lab::{Load, LoadOptions, Outcome, Sample, VIP, now};

use crate::scene::Scene;

/// Requests a second of each kind of those that keep their connections.
const RATE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
const CONTENT: &str = "/run/soak.upload";

/// Clients that keep their connections: HTTP, and the same through mode tcp.
pub(super) struct Kept([(&'static str, Load); 2]);

impl Kept {
    pub(super) fn start(scene: &Scene) -> Self {
        let load = |port: u16| {
            let options = LoadOptions {
                target: (VIP, port).into(),
                connections: 10,
                rate: RATE,
                patience: 3000,
                ..LoadOptions::default()
            };
            scene.load(&options).unwrap_or_else(|error| panic!("{error:#}"))
        };
        Self([("kept HTTP", load(80)), ("kept tcp", load(81))])
    }

    pub(super) fn stop(self) -> [(&'static str, Vec<Sample>); 2] {
        let stop = |load: Load| load.stop().unwrap_or_else(|error| panic!("{error:#}")).samples().to_vec();
        self.0.map(|(kind, load)| (kind, stop(load)))
    }
}

/// New connections, one after the other, until it is over: a GET, an upload, TLS with HTTP/2, and mode tcp.
pub(super) fn curl(scene: &Scene, over: &AtomicBool) -> Vec<(&'static str, Sample)> {
    scene.shell("client", &format!("head -c 100000 /dev/zero > {CONTENT}"));
    let upload = format!("@{CONTENT}");
    let (plain, bytes, secure) =
        (format!("http://{VIP}/"), format!("http://{VIP}:81/"), format!("https://{VIP}/"));
    let kinds: [(&str, &[&str]); 4] = [
        ("closing", &["--header", "Connection: close", &plain]),
        ("upload", &["--data-binary", &upload, &plain]),
        ("TLS and HTTP/2", &["--insecure", "--http2", &secure]),
        ("tcp", &[&bytes]),
    ];
    let mut samples = Vec::new();
    for (name, kind) in kinds.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
        let always =
            ["curl", "--silent", "--max-time", "3", "--output", "/dev/null", "--write-out", "%{http_code}"];
        let at = now();
        let output =
            scene.exec("client", always.iter().chain(*kind)).unwrap_or_else(|error| panic!("{error:#}"));
        let is_answered = output.success() && output.stdout == "200";
        let target = kind.last().copied().unwrap_or_default();
        let outcome = if is_answered {
            Outcome::Ok(target.to_owned())
        } else {
            Outcome::Failed(format!(
                "curl {target}: exit code {:?}, status {}",
                output.ended.code, output.stdout
            ))
        };
        samples.push((*name, Sample { at, wait: now().saturating_since(at), outcome }));
        thread::sleep(PAUSE);
    }
    samples
}
