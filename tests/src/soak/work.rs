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
pub(super) struct Kept([Load; 2]);

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
        Self([load(80), load(81)])
    }

    pub(super) fn stop(self) -> Vec<Sample> {
        let stop = |load: Load| load.stop().unwrap_or_else(|error| panic!("{error:#}")).samples().to_vec();
        self.0.into_iter().flat_map(stop).collect()
    }
}

/// New connections, one after the other, until it is over: a GET, an upload, TLS with HTTP/2, and mode tcp.
pub(super) fn curl(scene: &Scene, over: &AtomicBool) -> Vec<Sample> {
    scene.shell("client", &format!("head -c 100000 /dev/zero > {CONTENT}"));
    let upload = format!("@{CONTENT}");
    let (plain, bytes, secure) =
        (format!("http://{VIP}/"), format!("http://{VIP}:81/"), format!("https://{VIP}/"));
    let kinds: [&[&str]; 4] = [
        &["--header", "Connection: close", &plain],
        &["--data-binary", &upload, &plain],
        &["--insecure", "--http2", &secure],
        &[&bytes],
    ];
    let mut samples = Vec::new();
    for kind in kinds.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
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
        samples.push(Sample { at, wait: now().saturating_since(at), outcome });
        thread::sleep(PAUSE);
    }
    samples
}
