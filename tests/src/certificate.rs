//! A certificate for a test, made by OpenSSL.

use std::{path::Path, process::Command};

/// [`self_signed_for`] a year.
///
/// # Panics
/// OpenSSL is missing, or the folder can't be written.
#[track_caller]
#[must_use]
pub fn self_signed(folder: &Path) -> String {
    self_signed_for(folder, 365)
}

/// Writes `site.crt` and `site.key`, for `a.example` and so many days, signed by itself with ECDSA; the path of the first, beside
/// which lbctl finds the other.
///
/// # Panics
/// OpenSSL is missing, or the folder can't be written.
#[track_caller]
#[must_use]
pub fn self_signed_for(folder: &Path, days: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            &days.to_string(),
            "-subj",
            "/CN=a.example",
            "-newkey",
            "ec",
        ])
        .args(["-addext", "subjectAltName=DNS:a.example"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", &at("site.key"), "-out", &at("site.crt")])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    at("site.crt")
}
