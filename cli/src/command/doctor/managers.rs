//! Does another program think that the addresses of an interface are its own?

use std::{fs, path::Path};

use super::{Findings, Scene};

const CHECK: &str = "network manager";

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    for (interface, index) in scene.interfaces() {
        if let Some(file) = networkd(Path::new("/run/systemd/netif/links"), index) {
            findings.harm(
                CHECK,
                format!(
                    "{interface}: systemd-networkd manages it by {file}, and takes addresses away that are not in that file when it starts anew: \
                     write KeepConfiguration=yes into its [Network], or into a drop-in, and networkctl reload"
                ),
            );
        }
        if network_manager(Path::new("/run/NetworkManager/devices"), index) {
            findings.harm(
                CHECK,
                format!(
                    "{interface}: NetworkManager manages it, and takes addresses away when it activates the connection anew: give the interface \
                     to systemd-networkd or ifupdown, or keep it from NetworkManager: nmcli device set {interface} managed no"
                ),
            );
        }
    }
}

/// The file by which networkd manages a link without keeping what others have added.
fn networkd(links: &Path, index: u32) -> Option<String> {
    let state = fs::read_to_string(links.join(index.to_string())).ok()?;
    let value = |key: &str| {
        let mut lines = state.lines().filter_map(|line| line.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
    };
    if value("ADMIN_STATE").is_some_and(|state| state == "unmanaged") {
        return None;
    }
    let file = value("NETWORK_FILE").filter(|file| !file.is_empty())?;
    let dropins = value("NETWORK_FILE_DROPINS").unwrap_or_default();
    let dropins =
        dropins.split([':', ' ']).map(|path| path.trim_matches('"')).filter(|path| !path.is_empty());
    let mut keeps = false;
    for path in std::iter::once(file.as_str()).chain(dropins) {
        let text = fs::read_to_string(path).unwrap_or_default();
        for given in text.lines().filter_map(|line| line.trim().strip_prefix("KeepConfiguration=")) {
            // With `static` only what has no lifetime stays, and a virtual address has one.
            keeps = matches!(given.trim(), "yes" | "true" | "1" | "on");
        }
    }
    (!keeps).then_some(file)
}

fn network_manager(devices: &Path, index: u32) -> bool {
    let state = fs::read_to_string(devices.join(index.to_string())).unwrap_or_default();
    state.lines().any(|line| line.trim() == "managed=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networkd_is_told_of_where_it_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("10-eth0.network");
        let dropin = folder.path().join("keep.conf");
        let state = |more: &str| {
            fs::write(
                folder.path().join("2"),
                format!("ADMIN_STATE=configured\nNETWORK_FILE={}\n{more}", network.display()),
            )
            .unwrap();
        };
        fs::write(&network, "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.11/24\n").unwrap();
        state("");
        assert_eq!(networkd(folder.path(), 2), Some(network.display().to_string()));
        assert_eq!(networkd(folder.path(), 3), None, "a link that it does not know");
        fs::write(&dropin, "[Network]\nKeepConfiguration=yes\n").unwrap();
        state(&format!("NETWORK_FILE_DROPINS={}\n", dropin.display()));
        assert_eq!(networkd(folder.path(), 2), None);
        for some in ["dhcp", "static"] {
            fs::write(&dropin, format!("[Network]\nKeepConfiguration={some}\n")).unwrap();
            assert!(networkd(folder.path(), 2).is_some(), "not by {some}");
        }
        fs::write(folder.path().join("2"), "ADMIN_STATE=unmanaged\n").unwrap();
        assert_eq!(networkd(folder.path(), 2), None);
    }

    #[test]
    fn network_manager_is_told_of_where_it_manages() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!network_manager(folder.path(), 2));
        fs::write(folder.path().join("2"), "[device]\nmanaged=true\n").unwrap();
        assert!(network_manager(folder.path(), 2));
        fs::write(folder.path().join("2"), "[device]\nmanaged=false\n").unwrap();
        assert!(!network_manager(folder.path(), 2));
    }
}
