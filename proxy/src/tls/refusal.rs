//! Why there is no TLS with a server, in words for whoever has to mend it.

use std::{borrow::Cow, time::Duration};

use rustls::{AlertDescription, CertificateError, Error, pki_types::UnixTime};

use super::HandshakeError;
use crate::calendar::Civil;

impl HandshakeError {
    /// What a server has done, as HAProxy says it of a check.
    pub(crate) fn haproxys_of_server(&self) -> &'static str {
        match self {
            Self::Refused(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => "Server presented an SSL certificate different from the expected one",
            Self::Refused(_) => "SSL handshake failure",
            other => other.words(),
        }
    }

    /// What a server has done, as logs, the status and checks say it.
    pub(crate) fn of_server(&self) -> String {
        match self {
            Self::Empty | Self::Closed => {
                "it closed the connection in the TLS handshake; does it speak TLS there?".into()
            }
            Self::Elapsed => "the TLS handshake was not over in time".into(),
            Self::Broken(error) => format!("the connection broke in the TLS handshake: {error}"),
            Self::Refused(error) => why(error).into_owned(),
            Self::TooLong => format!("no TLS with it: {self}"),
            // Not of a server.
            Self::NoCertificate => self.to_string(),
        }
    }
}

/// The same of what rustls says.
fn why(error: &Error) -> Cow<'static, str> {
    match error {
        Error::InvalidMessage(_) => "it does not speak TLS there".into(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoCertificatesPresented => "it shows no certificate".into(),
        Error::NoApplicationProtocol => "it wants none of the protocols that it was offered (`alpn`)".into(),
        error => format!("no TLS with it: {error}").into(),
    }
}

fn of_certificate(error: &CertificateError) -> Cow<'static, str> {
    match error {
        CertificateError::Expired => "its certificate has expired".into(),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate, or one on the way to its authority, has expired on {}",
            date(*not_after)
        )
        .into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is the clock right?".into()
        }
        CertificateError::Revoked => "its certificate is revoked (`crl_file`)".into(),
        CertificateError::UnknownIssuer => {
            "its certificate leads to no authority that is trusted (`ca_file`)".into()
        }
        CertificateError::BadSignature => {
            "its certificate is of an authority of a name that is trusted (`ca_file`), with another key"
                .into()
        }
        CertificateError::UnknownRevocationStatus => {
            "no list of `crl_file` is of the authority of its certificate".into()
        }
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the list of `crl_file` is out of date".into()
        }
        CertificateError::NotValidForName => "its certificate is for other names".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                format!("its certificate is for no name (subjectAltName), and not for {expected}").into()
            } else {
                format!("its certificate is for {}, and not for {expected}", bare(presented)).into()
            }
        }
        // The name of it stands in an error of another crate.
        error if error.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority and none of a server; is it the one that signs itself, write it into `ca_file`".into()
        }
        error => format!("its certificate can't be used: {error}").into(),
    }
}

/// `DnsName("a.example")` is `a.example`.
fn bare(presented: &[String]) -> String {
    const TOLD: usize = 4;
    let name = |text: &String| {
        let inner = text.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
        inner.unwrap_or(text).trim_matches('"').escape_debug().to_string()
    };
    let told: Vec<_> = presented.iter().take(TOLD).map(name).collect();
    let more = if presented.len() > TOLD { " and others" } else { "" };
    format!("{}{more}", told.join(", "))
}

fn of_alert(alert: AlertDescription) -> Cow<'static, str> {
    match alert {
        AlertDescription::CertificateRequired => {
            "it wants a certificate of us (`certificate` of `tls`)".into()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("it does not take our certificate: its alert is {alert:?}").into()
        }
        AlertDescription::ProtocolVersion
        | AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity => {
            format!("no version or cipher is spoken by both: its alert is {alert:?}").into()
        }
        AlertDescription::UnrecognisedName => "it does not know the name that it is told (`sni`)".into(),
        AlertDescription::NoApplicationProtocol => {
            "it wants none of the protocols that it was offered (`alpn`)".into()
        }
        alert => format!("it refuses TLS: its alert is {alert:?}").into(),
    }
}

fn date(moment: UnixTime) -> String {
    let Civil { year, month, day, .. } = Civil::of(Duration::from_secs(moment.as_secs()));
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, pki_types::ServerName};

    use super::*;

    #[test]
    fn each_failure_says_what_to_look_at() {
        let name = |presented: &[&str]| {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("app.example").unwrap(),
                presented: presented.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let expired = CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(Duration::from_secs(90_000_000)),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(86_400)),
        };
        for (error, expected) in [
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "it does not speak TLS there"),
            (
                Error::InvalidCertificate(expired),
                "its certificate, or one on the way to its authority, has expired on 1970-01-02",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "its certificate leads to no authority that is trusted (`ca_file`)",
            ),
            (
                name(&["DnsName(\"a.example\")", "IpAddress(192.0.2.1)"]),
                "its certificate is for a.example, 192.0.2.1, and not for app.example",
            ),
            (name(&[]), "its certificate is for no name (subjectAltName), and not for app.example"),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "it wants a certificate of us (`certificate` of `tls`)",
            ),
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "it does not take our certificate: its alert is UnknownCA",
            ),
            (
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "no version or cipher is spoken by both: its alert is ProtocolVersion",
            ),
        ] {
            assert_eq!(why(&error), expected);
        }
    }
}
