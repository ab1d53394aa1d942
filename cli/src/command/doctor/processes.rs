//! The speaker of a daemon.

use std::fs;

/// Its number.
pub(super) fn speaker_of(daemon: u32) -> Option<u32> {
    let numbers = fs::read_dir("/proc").ok()?.flatten();
    numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        is_speaker_of(daemon, &status)
    })
}

/// By /proc/PID/status.
fn is_speaker_of(daemon: u32, status: &str) -> bool {
    let value = |key: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    value("Name") == Some("lbctl-speaker")
        && value("PPid").and_then(|parent| parent.parse().ok()) == Some(daemon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speaker_is_known_by_its_name_and_its_daemon() {
        let status = "Name:\tlbctl-speaker\nUmask:\t0022\nPid:\t8\nPPid:\t7\n";
        assert!(is_speaker_of(7, status));
        assert!(!is_speaker_of(8, status));
        assert!(!is_speaker_of(7, &status.replace("lbctl-speaker", "lbctl")));
    }
}
