//! What a header of version 2 says besides addresses (section 2.2 of the protocol): TLVs.

use super::{Fault, v2};

/// Bytes of the longest name of a host, as in HAProxy.
const LONGEST_AUTHORITY: usize = 255;

/// Bytes of the longest unique id, in both directions, as in HAProxy.
pub(super) const LONGEST_ID: usize = 128;

/// See the module. Whoever may send a header may say all of this: it is as good as its sender.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extensions {
    /// What the sender and its client have agreed to speak (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for, as a rule by SNI.
    pub authority: Option<Box<[u8]>>,
    /// What the connection or its request is called by.
    pub unique_id: Option<Box<[u8]>>,
    /// How the client speaks TLS with the sender, if the sender says anything of it.
    pub tls: Option<ClientTls>,
}

/// See [`Extensions::tls`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientTls {
    /// It does.
    pub is_spoken: bool,
    /// It has shown a certificate, and that is good.
    pub is_verified: bool,
    /// As OpenSSL writes it: `TLSv1.3`.
    pub version: Option<Box<[u8]>>,
    /// As OpenSSL calls it.
    pub cipher: Option<Box<[u8]>>,
    /// The common name of the client's certificate.
    pub name: Option<Box<[u8]>>,
}

impl Extensions {
    /// Those between the addresses and the end of a header, whose checksum is known to be right; `None` if there are none that are known.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Box<Self>>, Fault> {
        let mut found = Self::default();
        for extension in entries(bytes) {
            let (kind, value) = extension.ok_or(OPEN)?;
            match kind {
                v2::ALPN => found.alpn = Some(value.into()),
                v2::AUTHORITY if value.len() > LONGEST_AUTHORITY => {
                    return Err(Fault::Binary("has a name of a host of more than 255 bytes"));
                }
                v2::AUTHORITY => found.authority = Some(value.into()),
                v2::UNIQUE_ID if value.len() > LONGEST_ID => {
                    return Err(Fault::Binary("has a unique id of more than 128 bytes"));
                }
                v2::UNIQUE_ID => found.unique_id = Some(value.into()),
                v2::SSL => found.tls = Some(ClientTls::decode(value)?),
                _ => {}
            }
        }
        Ok((found != Self::default()).then(|| Box::new(found)))
    }
}

/// One that is longer than what is there.
pub(super) const OPEN: Fault = Fault::Binary("ends in the middle of an extension");

impl ClientTls {
    /// Section 2.2.6.
    fn decode(value: &[u8]) -> Result<Self, Fault> {
        let short = Fault::Binary("has an extension about TLS that is too short");
        let (&client, rest) = value.split_first().ok_or(short)?;
        let (verify, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        // Of who has shown no certificate HAProxy says as well that it is good.
        let is_shown = client & (v2::CLIENT_CERT_CONN | v2::CLIENT_CERT_SESS) != 0;
        let mut found = Self {
            is_spoken: client & v2::CLIENT_SSL != 0,
            is_verified: is_shown && *verify == [0; 4],
            ..Self::default()
        };
        for part in entries(rest) {
            let (kind, value) = part.ok_or(Fault::Binary("ends in the middle of an extension about TLS"))?;
            match kind {
                v2::SSL_VERSION => found.version = Some(value.into()),
                v2::SSL_CN => found.name = Some(value.into()),
                v2::SSL_CIPHER => found.cipher = Some(value.into()),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Type and value of each; the last is `None` if it does not end.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8])>> {
    std::iter::from_fn(move || {
        let (&kind, rest) = bytes.split_first()?;
        let split = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(u16::from_be_bytes(*length).into()));
        bytes = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(value, _)| (kind, value)))
    })
}
