//! Whom an operator tells to start and restart lbctl on this machine, and where its log is: systemd, or /etc/init.d/lbctl where
//! that does not run, or the verbs themselves where there is neither, as in a container.

use std::path::Path;

/// There while systemd is process 1 (sd_booted(3)).
const SYSTEMD: &str = "run/systemd/system";

/// Of the package.
const SCRIPT: &str = "etc/init.d/lbctl";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manager {
    Systemd,
    Script,
    Nobody,
}

impl Manager {
    /// Of the machine whose files are below `root`.
    fn of(root: &Path) -> Self {
        match (root.join(SYSTEMD).is_dir(), root.join(SCRIPT).exists()) {
            (true, _) => Self::Systemd,
            (false, true) => Self::Script,
            (false, false) => Self::Nobody,
        }
    }

    fn here() -> Self {
        Self::of(Path::new("/"))
    }

    fn order(self, what: &str) -> String {
        match self {
            Self::Systemd => format!("systemctl {what} lbctl"),
            Self::Script => format!("/{SCRIPT} {what}"),
            Self::Nobody if what == "restart" => {
                "lbctl stop, then lbctl run /etc/lbctl/lb.toml (or a restart of its container)".to_owned()
            }
            Self::Nobody => "lbctl run /etc/lbctl/lb.toml".to_owned(),
        }
    }

    fn log(self) -> &'static str {
        match self {
            Self::Systemd => "journalctl -u lbctl",
            Self::Script => "what syslog has of lbctl (/var/log/syslog, /var/log/messages)",
            Self::Nobody => "what lbctl wrote to stderr (the log of its container)",
        }
    }
}

/// The command that starts it.
pub(crate) fn start() -> String {
    Manager::here().order("start")
}

/// The command that restarts it, with an orderly move of its addresses.
pub(crate) fn restart() -> String {
    Manager::here().order("restart")
}

/// Where its log is.
pub(crate) fn log() -> &'static str {
    Manager::here().log()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_script_is_named_only_where_systemd_does_not_run() {
        let root = tempfile::tempdir().unwrap();
        let nobody = Manager::of(root.path());
        assert_eq!(nobody.order("start"), "lbctl run /etc/lbctl/lb.toml");
        assert_eq!(
            nobody.order("restart"),
            "lbctl stop, then lbctl run /etc/lbctl/lb.toml (or a restart of its container)"
        );
        assert!(nobody.log().contains("stderr"));
        fs::create_dir_all(root.path().join("etc/init.d")).unwrap();
        fs::write(root.path().join(SCRIPT), "").unwrap();
        let script = Manager::of(root.path());
        assert_eq!(script.order("restart"), "/etc/init.d/lbctl restart");
        assert!(script.log().contains("syslog"));
        fs::create_dir_all(root.path().join(SYSTEMD)).unwrap();
        let systemd = Manager::of(root.path());
        assert_eq!(
            (systemd.order("restart").as_str(), systemd.log()),
            ("systemctl restart lbctl", "journalctl -u lbctl")
        );
    }
}
