//! A certificate for a test, made by OpenSSL.

use std::{path::Path, process::Command};

/// Writes `site.crt` and `site.key`, for `a.example` and 365 days, signed by itself with ECDSA; the path of the first, beside
/// which lbctl finds the other.
///
/// # Panics
/// OpenSSL is missing, or the folder can't be written.
#[track_caller]
#[must_use]
pub fn self_signed(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "365", "-subj", "/CN=a.example", "-newkey", "ec"])
        .args(["-addext", "subjectAltName=DNS:a.example"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", &at("site.key"), "-out", &at("site.crt")])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    at("site.crt")
}
