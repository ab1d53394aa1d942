//! What rules, servers and logs are told of a client's certificate.

use std::fmt::Write;

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// One that was judged to be good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// As HAProxy writes it: `/C=DE/O=Example/CN=anna`.
    pub subject: Box<str>,
    /// The first common name of the subject.
    pub name: Option<Box<str>>,
    /// As [`Self::subject`].
    pub issuer: Box<str>,
    /// In hexadecimal, of capital letters, without zeros before it but for those of its first byte.
    pub serial: Box<str>,
    /// SHA-1 of all of it, in hexadecimal, of capital letters.
    pub sha1: Box<str>,
    /// The same with SHA-256.
    pub sha256: Box<str>,
}

impl ClientCertificate {
    /// `None` if it is no certificate, which nobody has taken then.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let serial = certificate.raw_serial();
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let of = |algorithm| hex(digest::digest(algorithm, der).as_ref());
        Some(Self {
            subject: line(certificate.subject()),
            name: name.map(Box::from),
            issuer: line(certificate.issuer()),
            serial: hex(serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial)),
            sha1: of(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: of(&digest::SHA256),
        })
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text.into()
}

/// `/C=DE/O=Example/CN=anna`; what is not printable ASCII is `\xC3`, as in OpenSSL's X509_NAME_oneline(3).
pub(super) fn line(name: &X509Name<'_>) -> Box<str> {
    let mut text = String::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let _ = write!(
            text,
            "/{}=",
            SHORT.iter().find(|(known, _)| *known == oid).map_or(&*oid, |(_, short)| short)
        );
        for byte in attribute.as_slice() {
            match byte {
                b' '..=b'~' => text.push(char::from(*byte)),
                _ => {
                    let _ = write!(text, "\\x{byte:02X}");
                }
            }
        }
    }
    text.into()
}

/// OpenSSL's short names of attributes.
const SHORT: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];
