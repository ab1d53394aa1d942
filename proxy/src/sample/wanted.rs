//! What texts name of a request that are made when its head is gone: in a response, in the log.

use super::fetch::Fetch;

/// Parts of a request's head. Found out once per configuration; only what is in it is kept of each request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) method: bool,
    /// With path and query.
    pub(crate) target: bool,
    pub(crate) authority: bool,
    pub(crate) version: bool,
    pub(crate) cookies: bool,
    /// By name.
    pub(crate) fields: Vec<Box<[u8]>>,
}

impl Wanted {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add_field(&mut self, name: &[u8]) {
        if !self.fields.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            self.fields.push(name.into());
        }
    }

    pub(super) fn add(&mut self, fetch: &Fetch) {
        match fetch {
            Fetch::RequestMethod => self.method = true,
            Fetch::RequestPath | Fetch::RequestQuery | Fetch::RequestTarget | Fetch::RequestParameter(_) => {
                self.target = true;
            }
            Fetch::RequestBase => (self.target, self.authority) = (true, true),
            Fetch::RequestHost | Fetch::RequestAuthority => self.authority = true,
            Fetch::RequestVersion => self.version = true,
            Fetch::RequestCookie(_) => self.cookies = true,
            Fetch::RequestHeader(name)
            | Fetch::RequestHeaderLines(name)
            | Fetch::RequestHeaderCount(name)
            | Fetch::RequestHeaderValue(name) => self.add_field(name),
            Fetch::ClientIp
            | Fetch::ClientPort
            | Fetch::PeerIp
            | Fetch::LocalIp
            | Fetch::LocalPort
            | Fetch::TlsServerName
            | Fetch::TlsVersion
            | Fetch::TlsCipher
            | Fetch::TlsResumed
            | Fetch::TlsClientUsed
            | Fetch::TlsClientSubject
            | Fetch::TlsClientName
            | Fetch::TlsClientIssuer
            | Fetch::TlsClientSerial
            | Fetch::TlsClientSha1
            | Fetch::TlsClientSha256
            | Fetch::ProxyHeader(_)
            | Fetch::RequestScheme
            | Fetch::FrontendName
            | Fetch::BackendName
            | Fetch::ServerName
            | Fetch::NodeName
            | Fetch::Hostname
            | Fetch::Pid
            | Fetch::TimeIso
            | Fetch::TimeHttp
            | Fetch::TimeUnix
            | Fetch::TimeUnixMs
            | Fetch::Uuid
            | Fetch::Random
            | Fetch::ClientHelloSni
            | Fetch::ClientHelloAlpn
            | Fetch::ClientHelloVersion
            | Fetch::ResponseStatus
            | Fetch::ResponseHeader(_)
            | Fetch::Log(_)
            | Fetch::Variable(_) => {}
        }
    }
}
