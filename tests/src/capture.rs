//! What was on the wire, as dumpcap wrote it and tshark reads it.

use std::{path::PathBuf, process::Command, time::Duration};

use lbctl::lab::Spawned;
use nix::sys::signal::Signal;

use crate::{program, scene::Scene, wait};

/// dumpcap at work on a node.
#[derive(Debug)]
pub struct Capture<'scene> {
    dumpcap: Spawned<'scene>,
    file: PathBuf,
}

impl<'scene> Capture<'scene> {
    /// Captures what `filter` selects on the front interface of `node`.
    ///
    /// # Panics
    /// dumpcap does not start.
    pub fn start(scene: &'scene Scene, node: &str, filter: &str) -> Self {
        let file = scene.folder().join(format!("{node}.pcap"));
        // The packets of a capture before this one are none of this one's.
        let _ = std::fs::remove_file(&file);
        // Not tcpdump: as the root of a user namespace it wants to become another user, and there is none.
        let dumpcap = program::find("dumpcap");
        let path = file.to_str().expect("UTF-8");
        let words = ["-i", "eth0", "-P", "-q", "-w", path, "-f", filter];
        let command = [dumpcap.as_os_str()].into_iter().chain(words.iter().map(AsRef::as_ref));
        let dumpcap = scene.spawn(node, "dumpcap", command).unwrap_or_else(|error| panic!("{error:#}"));
        // Its file has a header once the socket captures.
        wait::until("dumpcap listens", Duration::from_secs(10), || {
            std::fs::metadata(&file).ok().filter(|found| found.len() >= 24).map(drop)
        });
        Self { dumpcap, file }
    }

    /// How many packets it has so far.
    ///
    /// # Panics
    /// The file is gone.
    #[must_use]
    pub fn packets(&self) -> usize {
        count(&std::fs::read(&self.file).expect("the capture"))
    }

    /// Ends the capture; the file. Not with SIGINT, which is ignored in whatever a shell has started in the background.
    ///
    /// # Panics
    /// dumpcap had ended before.
    #[must_use]
    pub fn stop(self) -> PathBuf {
        self.dumpcap.signal(Signal::SIGTERM).expect("dumpcap is alive");
        self.dumpcap.wait().expect("dumpcap ends");
        self.file
    }
}

/// One line for each packet of `file` that `filter` selects: the values of `fields`, with tabs between them.
///
/// # Panics
/// tshark fails.
#[must_use]
pub fn dissect(file: &PathBuf, settings: &[&str], filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new(program::find("tshark"));
    command.arg("-n").arg("-r").arg(file).args(["-Y", filter, "-T", "fields"]);
    command.args(settings.iter().flat_map(|setting| ["-o", setting]));
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    // The preferences of whoever runs the test are none of its business.
    let home = file.parent().expect("a folder");
    let output = command.env("HOME", home).env_remove("XDG_CONFIG_HOME").output().expect("tshark runs");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Packets in a file of dumpcap: a header of 24 bytes, then 16 bytes before each packet, the third word of which is its
/// captured length (pcap-savefile(5)). The last one may not be written whole yet.
fn count(file: &[u8]) -> usize {
    let mut rest = file.get(24..).unwrap_or_default();
    let mut packets = 0;
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_ne_bytes(length.try_into().expect("four bytes")) as usize;
        let Some(next) = rest.get(16 + length..) else { break };
        rest = next;
        packets += 1;
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_that_is_not_written_whole_does_not_count() {
        let mut file = vec![0; 24];
        file.extend([0; 8]);
        file.extend(3_u32.to_ne_bytes());
        file.extend(3_u32.to_ne_bytes());
        file.extend([1, 2, 3]);
        assert_eq!(count(&file), 1);
        file.extend([0; 8]);
        file.extend(9_u32.to_ne_bytes());
        file.extend(9_u32.to_ne_bytes());
        file.extend([1, 2, 3]);
        assert_eq!(count(&file), 1);
    }
}
