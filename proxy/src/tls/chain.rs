//! What a client lacks of a chain, as far as that can be said without knowing whom it trusts: clients have the roots, and of the
//! authorities between nobody but the server tells them (RFC 8446 §4.4.2).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::client_certificate::line;
use crate::calendar::Civil;

/// Where an authority offers its own certificate (RFC 5280 §4.2.2.1: id-ad-caIssuers).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// What is wrong with a chain: the end of a sentence that begins with its file's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChainFault {
    /// A certificate stands alone, and says that its authority's can be had.
    Alone {
        /// The authority.
        issuer: Box<str>,
        /// Where its certificate is.
        url: Box<str>,
    },
    /// There are others behind it, and none is its authority's.
    Strangers {
        /// The authority.
        issuer: Box<str>,
    },
    /// They are all there, and not each behind the one that it has signed.
    Order {
        /// The authority whose certificate stands elsewhere.
        issuer: Box<str>,
        /// Where it stands among all, from 1.
        found: usize,
        /// And where it belongs.
        wanted: usize,
    },
    /// That of an authority is over.
    Expired {
        /// The authority.
        subject: Box<str>,
        /// Its last moment.
        not_after: SystemTime,
    },
}

impl fmt::Display for ChainFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REFUSED: &str = "whoever does not know it already refuses the connection";
        match self {
            Self::Alone { issuer, url } => write!(
                formatter,
                "has no certificate of its authority {issuer} behind its own: {REFUSED}. Append it (certbot: fullchain.pem instead of \
                 cert.pem); it is at {url}"
            ),
            Self::Strangers { issuer } => write!(
                formatter,
                "has others behind its own certificate, and none is that of its authority {issuer}: {REFUSED}. Put that in their place"
            ),
            Self::Order { issuer, found, wanted } => write!(
                formatter,
                "has the certificate of the authority {issuer} as number {found}, and it belongs at {wanted}, behind the one that it has \
                 signed: some refuse the connection"
            ),
            Self::Expired { subject, not_after } => {
                let since = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let Civil { year, month, day, .. } = Civil::of(since);
                write!(
                    formatter,
                    "has a certificate of its authority {subject} that has expired on {year}-{month:02}-{day:02}: many refuse the \
                     connection. Put the one in its place that the authority offers now"
                )
            }
        }
    }
}

/// What is known of a chain, whatever the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    fault: Option<ChainFault>,
    /// Which of the authorities is over first, and its last moment.
    end: Option<(Box<str>, SystemTime)>,
}

impl Chain {
    /// Of these, of which the first is shown for itself.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let all: Vec<_> =
            chain.iter().map_while(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
        let mut known = Self::default();
        known.fault = known.follow(&all);
        known
    }

    /// What is wrong with it at `now`.
    pub(super) fn fault(&self, now: SystemTime) -> Option<ChainFault> {
        let expired = || {
            let (subject, not_after) = self.end.clone().filter(|(_, end)| *end < now)?;
            Some(ChainFault::Expired { subject, not_after })
        };
        self.fault.clone().or_else(expired)
    }

    /// From each to its authority, as far as they are here.
    fn follow(&mut self, all: &[X509Certificate<'_>]) -> Option<ChainFault> {
        let mut at = 0;
        let mut is_used = vec![false; all.len()];
        loop {
            let one = all.get(at)?;
            is_used[at] = true;
            let issuer = one.issuer();
            if issuer.as_raw() == one.subject().as_raw() {
                return None;
            }
            let is_next =
                |place: &usize| !is_used[*place] && all[*place].subject().as_raw() == issuer.as_raw();
            let Some(next) = (1..all.len()).find(is_next) else {
                let missing = match all.len() {
                    1 => offered(one).map(|url| ChainFault::Alone { issuer: line(issuer), url }),
                    _ => Some(ChainFault::Strangers { issuer: line(issuer) }),
                };
                // Behind the first one that a root has signed nothing has to stand.
                return missing.filter(|_| at == 0);
            };
            if next != at + 1 {
                return Some(ChainFault::Order { issuer: line(issuer), found: next + 1, wanted: at + 2 });
            }
            // Clients have a root of their own, and go by that.
            let is_root = all[next].issuer().as_raw() == all[next].subject().as_raw();
            let end = SystemTime::from(all[next].validity().not_after.to_datetime());
            if !is_root && self.end.as_ref().is_none_or(|(_, first)| end < *first) {
                self.end = Some((line(issuer), end));
            }
            at = next;
        }
    }
}

/// Where the certificate of its authority is, as it says itself.
fn offered(certificate: &X509Certificate<'_>) -> Option<Box<str>> {
    let mut extensions = certificate.extensions().iter();
    let access = extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    })?;
    access.accessdescs.iter().find_map(|one| match &one.access_location {
        GeneralName::URI(url) if one.access_method.to_id_string() == CA_ISSUERS => {
            Some(url.escape_debug().to_string().into())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
        date_time_ymd,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn root(name: &str) -> Authority {
        CertifiedIssuer::self_signed(params(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn authority(params: CertificateParams, by: &Authority) -> Authority {
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
    }

    fn site(by: &Authority, url: Option<&str>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.custom_extensions.extend(url.map(|url| {
            let length = |n: usize| u8::try_from(n).unwrap();
            let id = [6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
            let location = [&[0x86, length(url.len())], url.as_bytes()].concat();
            let one = [&[0x30, length(id.len() + location.len())], &id[..], &location].concat();
            let all = [&[0x30, length(one.len())], &one[..]].concat();
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], all)
        }));
        params.signed_by(&KeyPair::generate().unwrap(), by).unwrap().der().clone()
    }

    fn told(chain: &[&CertificateDer<'static>]) -> Option<String> {
        let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
        Chain::of(&chain).fault(SystemTime::now()).map(|fault| fault.to_string())
    }

    #[test]
    fn what_clients_lack_of_a_chain_is_said_and_nothing_where_they_may_have_it() {
        let root = root("root");
        let (upper, other) = (authority(params("upper"), &root), authority(params("other"), &root));
        let lower = authority(params("lower"), &upper);
        let der = |one: &Authority| one.as_ref().der().clone();
        let (upper, other, lower_der, root_der) = (der(&upper), der(&other), der(&lower), der(&root));
        let url = "http://a.example/lower.crt";
        let (own, offering) = (site(&lower, None), site(&lower, Some(url)));
        for whole in [
            &[&offering, &lower_der, &upper][..],
            &[&offering, &lower_der, &upper, &root_der],
            // Its authority may be one that clients know, and what is more is nobody's loss.
            &[&own],
            &[&offering, &lower_der],
            &[&offering, &lower_der, &upper, &other],
            &[&root_der],
        ] {
            assert_eq!(told(whole), None);
        }
        assert_eq!(
            told(&[&offering]),
            Some(format!(
                "has no certificate of its authority /CN=lower behind its own: whoever does not know it already refuses the connection. \
             Append it (certbot: fullchain.pem instead of cert.pem); it is at {url}"
            ))
        );
        assert_eq!(
            told(&[&own, &upper]).as_deref(),
            Some(
                "has others behind its own certificate, and none is that of its authority /CN=lower: whoever does not know it already \
             refuses the connection. Put that in their place"
            )
        );
        for (chain, (name, found, wanted)) in [
            (&[&own, &upper, &lower_der][..], ("/CN=lower", 3, 2)),
            (&[&own, &lower_der, &other, &upper], ("/CN=upper", 4, 3)),
        ] {
            assert_eq!(
                told(chain),
                Some(format!(
                    "has the certificate of the authority {name} as number {found}, and it belongs at {wanted}, behind the one that it has \
                 signed: some refuse the connection"
                ))
            );
        }
    }

    #[test]
    fn authority_that_is_over_is_said() {
        let root = root("root");
        let mut old = params("old");
        old.not_after = date_time_ymd(2021, 9, 30);
        let old = authority(old, &root);
        let said = told(&[&site(&old, None), old.as_ref().der()]).unwrap();
        assert!(said.starts_with("has a certificate of its authority "), "{said}");
        assert!(
            said.contains("/CN=old that has expired on 2021-09-30: many refuse the connection. "),
            "{said}"
        );
    }
}
