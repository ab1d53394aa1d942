//! `secret_file` of `[cluster]`.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use lb_vrrp::Step;

use super::{LISTEN, NODES, VIP};
use crate::config::{Config, Diagnostics, effective, load};

/// A folder with a configuration, and a secret of these bytes with this mode beside it.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(secret: &[u8], mode: u32) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap() };
        let path = folder.path("secret");
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(folder.path("lb.toml"), format!("{NODES}secret_file = \"secret\"\n{LISTEN}")).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Config, Diagnostics> {
        load(&self.path("lb.toml"))
    }

    fn error(&self) -> String {
        let report = self.load().expect_err("a bad secret").to_string();
        report.replace(&self.folder.path().display().to_string(), "FOLDER")
    }
}

const SECRET: &[u8] = b"correct horse battery staple";

#[test]
fn secret_is_the_line_of_its_file_with_or_without_an_end() {
    for end in ["", "\n", "\r\n"] {
        for mode in [0o600, 0o640, 0o440] {
            let folder = Folder::new(&[SECRET, end.as_bytes()].concat(), mode);
            let config = folder.load().unwrap_or_else(|report| panic!("{report}"));
            let signature = config.cluster.secret().unwrap().sign("test", &[]);
            assert_eq!(
                signature,
                lb_vrrp::Secret::new("correct horse battery staple").unwrap().sign("test", &[])
            );
            assert_eq!(config.files, [folder.path("secret")], "let in by the jail");
            let text = effective(&config);
            assert!(text.contains("\nsecret_file = \"secret\"\n") && !text.contains("horse"), "{text}");
            assert!(!format!("{config:?}").contains("horse"));
        }
    }
}

#[test]
fn secret_that_others_can_read_or_that_is_none_is_an_error_with_what_to_do() {
    for mode in [0o644, 0o604, 0o602, 0o601] {
        assert_eq!(
            Folder::new(SECRET, mode).error(),
            format!(
                "FOLDER/lb.toml:4:15: \"secret\" has the mode {mode:04o}, so everybody on this machine may know it: \
                 chmod o= FOLDER/secret, and write a new secret into it\n    4 | secret_file = \"secret\"\n      |               ^^^^^^^^\n"
            )
        );
    }
    let long = b"x".repeat(256);
    let wanted = "one line is wanted, as `openssl rand -hex 32` prints it, the same on all nodes";
    for (secret, why) in [
        (&b""[..], "is empty"),
        (b"\n", "is empty"),
        (b"short\n", "has 5 characters; a secret has 16 to 255"),
        (&long, "has 256 characters; a secret has 16 to 255"),
        (b"two lines of text\nare no secret\n", "has more than one line of printable ASCII"),
        (b"\xff\xfe correct horse", "has more than one line of printable ASCII"),
    ] {
        let error = Folder::new(secret, 0o600).error();
        assert!(error.contains(&format!("\"secret\" {why}; {wanted}\n")), "{error}");
    }
    let folder = Folder::new(SECRET, 0o600);
    fs::remove_file(folder.path("secret")).unwrap();
    assert!(folder.error().contains("lb.toml:4:15: \"secret\" does not exist\n"), "{}", folder.error());
}

#[test]
fn advertisements_are_signed_where_all_nodes_run_lbctl() {
    let with = |keys: &str| {
        let folder = Folder::new(SECRET, 0o600);
        let text = format!("[cluster]\nsecret_file = \"secret\"\n{keys}\n{VIP}{LISTEN}");
        fs::write(folder.path("lb.toml"), text).unwrap();
        folder
    };
    let nodes = "node.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"";
    for (key, step) in [("send", Step::Send), ("accept", Step::Accept), ("require", Step::Require)] {
        let folder = with(&format!("sign_advertisements = \"{key}\"\n{nodes}"));
        let config = folder.load().unwrap_or_else(|report| panic!("{report}"));
        for node in &config.groups[0].by_node {
            assert_eq!(node.authentication.as_ref().map(|found| found.step), Some(step));
        }
        assert!(effective(&config).contains(&format!("\nsign_advertisements = \"{key}\"\n")));
    }
    let config = with(nodes).load().unwrap_or_else(|report| panic!("{report}"));
    assert!(config.groups[0].by_node.iter().all(|node| node.authentication.is_none()));
    let foreign = "node.lb1 = \"192.0.2.11\"\nnode.lb2 = { address = \"192.0.2.12\", foreign = \"keepalived\", priority = 100 }";
    let error = with(&format!("sign_advertisements = \"send\"\n{foreign}")).error();
    assert!(
        error.contains("lb.toml:3:23: node `lb2` runs keepalived, which drops every advertisement that is signed; remove the key"),
        "{error}"
    );
    with(foreign).load().unwrap_or_else(|report| panic!("the hello alone: {report}"));
}
