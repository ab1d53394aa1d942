//! What Exim is told: take mail for example.com into a folder.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

/// Exim does not deliver as root. `nobody` is a name for whoever runs the tests, and needs no rights.
pub(crate) const USER: &str = "65534";

/// Mail is taken over TLS alone, and from this user alone.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Of the server, in PEM.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Who is let in.
    pub user: String,
    /// By this.
    pub password: String,
}

impl Guard {
    /// With a certificate for `address` in `folder`, signed by itself.
    ///
    /// # Panics
    /// OpenSSL does not make it.
    #[track_caller]
    #[must_use]
    pub fn new(folder: &Path, address: &str) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=mx", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-addext", &format!("subjectAltName=IP:{address}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &at("mx.key"), "-out", &at("mx.pem")])
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::set_permissions(at("mx.key"), Permissions::from_mode(0o644)).expect("changed");
        Self {
            certificate: at("mx.pem"),
            key: at("mx.key"),
            user: "lbctl".to_owned(),
            password: "4b1d".to_owned(),
        }
    }
}

/// `folder` has `spool`, and gets the mails in `mail/new`.
pub(crate) fn configuration(folder: &Path, guard: Option<&Guard>) -> String {
    let folder = folder.display();
    let (secured, acl, users) = guard.map_or_else(
        || ("tls_advertise_hosts =\nacl_smtp_rcpt = accept\n".to_owned(), "", String::new()),
        |Guard { certificate, key, user, password }| {
            let secured = format!(
                "tls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {key}\nacl_smtp_rcpt = guarded\n"
            );
            let users = format!(
                "begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n\
                 \x20 server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}\n\
                 \x20 server_advertise_condition = ${{if def:tls_in_cipher}}\n"
            );
            let acl = "begin acl\nguarded:\n  deny !authenticated = *\n  deny !domains = example.com\n       message = nobody here is called so\n  accept\n";
            (secured, acl, users)
        },
    );
    format!(
        "spool_directory = {folder}/spool\nlog_file_path = {folder}/spool/%slog\nprimary_hostname = mx.example.com\n\
         exim_user = {USER}\nexim_group = {USER}\ndeliver_drop_privilege\n{secured}acl_smtp_data = accept\nhost_lookup =\n\
         keep_environment =\nrfc1413_query_timeout = 0s\n\
         {acl}begin routers\nlocal:\n  driver = accept\n  domains = example.com\n  transport = folder\n\
         begin transports\nfolder:\n  driver = appendfile\n  directory = {folder}/mail\n  maildir_format\n\
         \x20 user = {USER}\n  group = {USER}\n{users}"
    )
}
