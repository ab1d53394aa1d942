//! What a client lacks of a chain, as far as that can be said without knowing whom it trusts: clients have the roots, and of the
//! authorities between nobody but the server tells them (RFC 8446 §4.4.2).

use std::{fmt, time::SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::client_certificate::line;

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
}

/// Certificates that are looked at: more are no chain, and nobody reads them.
const MOST: usize = 100;

/// An authority of a chain that is over before the others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainEnd {
    /// The authority, as `/C=DE/O=Example/CN=name`.
    pub subject: Box<str>,
    /// The last moment of its certificate.
    pub not_after: SystemTime,
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
        }
    }
}

/// What is known of a chain, whatever the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// What is wrong with it.
    pub(super) fault: Option<ChainFault>,
    /// Which of the authorities is over first that clients have to be told of.
    pub(super) end: Option<ChainEnd>,
}

impl Chain {
    /// Of these, of which the first is shown for itself.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let all: Vec<_> =
            chain.iter().take(MOST).map_while(|der| Some(X509Certificate::from_der(der).ok()?.1)).collect();
        let mut known = Self::default();
        known.follow(&all);
        known.end = (!all.is_empty()).then(|| end_above(&all, 0, &mut vec![None; all.len()])).flatten();
        known
    }

    /// From each to its authority, as far as they are here.
    fn follow(&mut self, all: &[X509Certificate<'_>]) {
        let mut at = 0;
        let mut is_used = vec![false; all.len()];
        while let Some(one) = all.get(at) {
            is_used[at] = true;
            let issuer = one.issuer();
            if is_of_itself(one) {
                return;
            }
            let Some(next) = authorities(all, at).find(|place| !is_used[*place]) else {
                let missing = match all.len() {
                    1 => offered(one).map(|url| ChainFault::Alone { issuer: line(issuer), url }),
                    _ => Some(ChainFault::Strangers { issuer: line(issuer) }),
                };
                // Behind the first one that a root has signed nothing has to stand.
                self.fault = self.fault.take().or(missing.filter(|_| at == 0));
                return;
            };
            if next != at + 1 {
                let fault = ChainFault::Order { issuer: line(issuer), found: next + 1, wanted: at + 2 };
                self.fault.get_or_insert(fault);
            }
            at = next;
        }
    }
}

/// A root: clients have their own, and go by that.
fn is_of_itself(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

/// Where those behind the first one stand that may have signed the one at `at`: they have its authority's name, and its authority's key
/// as far as both say which that is (RFC 5280 §4.2.1.1).
fn authorities<'c>(all: &'c [X509Certificate<'c>], at: usize) -> impl Iterator<Item = usize> + 'c {
    let one = &all[at];
    let signer = one.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(of) => of.key_identifier.as_ref(),
        _ => None,
    });
    let key = |authority: &'c X509Certificate<'c>| {
        authority.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(of) => Some(of),
            _ => None,
        })
    };
    let may_have_signed = move |authority: &'c X509Certificate<'c>| {
        authority.subject().as_raw() == one.issuer().as_raw()
            && signer.zip(key(authority)).is_none_or(|(signer, key)| signer == key)
    };
    (1..all.len()).filter(move |place| *place != at && may_have_signed(&all[*place]))
}

/// Of the authorities above the one at `at` that which is over first. Clients may take any of several certificates for the same key, so
/// it is that of the way up that lasts longest. What is beside all ways they don't need, and its end is nothing to them; and of a root
/// they have a certificate of their own. `known` is what was found for each.
fn end_above(
    all: &[X509Certificate<'_>],
    at: usize,
    known: &mut [Option<Option<ChainEnd>>],
) -> Option<ChainEnd> {
    if let Some(end) = &known[at] {
        return end.clone();
    }
    // A way that comes back here ends here.
    known[at] = Some(None);
    let mut above: Vec<_> = authorities(all, at).filter(|_| !is_of_itself(&all[at])).collect();
    let key = all[*above.first()?].public_key().raw;
    above.retain(|place| all[*place].public_key().raw == key);
    if above.iter().any(|place| is_of_itself(&all[*place])) {
        return None;
    }
    let ends = above.into_iter().map(|place| {
        let not_after = all[place].validity().not_after.to_datetime().into();
        let higher = end_above(all, place, known).filter(|higher| higher.not_after < not_after);
        higher.unwrap_or_else(|| ChainEnd { subject: line(all[place].subject()), not_after })
    });
    known[at] = Some(ends.max_by_key(|end| end.not_after));
    known[at].clone().flatten()
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
        Chain::of(&chain).fault.map(|fault| fault.to_string())
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

    /// Those of these years, and whose of them the chain says is over first.
    #[test]
    fn chain_ends_with_the_first_of_the_authorities_that_clients_need() {
        let until = |name: &str, year: i32| {
            let mut params = params(name);
            params.not_after = date_time_ymd(year, 9, 30);
            params
        };
        let root_key = KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(until("root", 2022), root_key).unwrap();
        let upper = authority(until("upper", 2030), &root);
        let lower = authority(until("lower", 2035), &upper);
        // For the same key, and for another one.
        let again = until("upper", 2040).signed_by(upper.key(), &root).unwrap().der().clone();
        let other = authority(until("upper", 2050), &root);
        let stranger = authority(until("stranger", 2023), &root);
        // For the key of upper as well, by one that is over.
        let old = authority(until("old", 2023), &root);
        let by_old = until("upper", 2040).signed_by(upper.key(), &old).unwrap().der().clone();
        // For the key of the root, by another one that some clients have.
        let elder = CertifiedIssuer::self_signed(params("elder"), KeyPair::generate().unwrap()).unwrap();
        let cross = until("root", 2021).signed_by(root.key(), &elder).unwrap().der().clone();
        // With the name of lower, which was given another key.
        let former = authority(until("lower", 2023), &upper);
        let names_key = {
            let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&KeyPair::generate().unwrap(), &lower).unwrap().der().clone()
        };
        let der = |one: &Authority| one.as_ref().der().clone();
        let own = site(&lower, None);
        let [upper_der, lower_der, other, stranger] = [&upper, &lower, &other, &stranger].map(der);
        for (chain, expected) in [
            (&[&own][..], None),
            (&[&own, &lower_der], Some(("/CN=lower", 2035))),
            (&[&own, &lower_der, &upper_der], Some(("/CN=upper", 2030))),
            // A root that is sent as well is not needed, nor is whoever has signed nothing here.
            (&[&own, &lower_der, &upper_der, &der(&root)], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &upper_der, &stranger], Some(("/CN=upper", 2030))),
            (&[&site(&root, None), &der(&root)], None),
            (&[&der(&root)], None),
            // Nor the older one of the same authority.
            (&[&own, &lower_der, &upper_der, &again], Some(("/CN=lower", 2035))),
            (&[&own, &lower_der, &upper_der, &other], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &by_old, &der(&old), &upper_der], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &upper_der, &by_old, &der(&old)], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &upper_der, &der(&root), &cross], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &upper_der, &cross, &der(&root)], Some(("/CN=upper", 2030))),
            (&[&own, &lower_der, &upper_der, &cross], Some(("/CN=root", 2021))),
            (&[&names_key, &der(&former), &lower_der, &upper_der], Some(("/CN=upper", 2030))),
            (&[&names_key, &lower_der, &der(&former)], Some(("/CN=lower", 2035))),
            // In whatever order they are, most clients find them.
            (&[&own, &upper_der, &lower_der], Some(("/CN=upper", 2030))),
        ] {
            let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
            let found = Chain::of(&chain).end.map(|end| (end.subject, end.not_after));
            let expected = expected.map(|(name, year)| (name.into(), date_time_ymd(year, 9, 30).into()));
            assert_eq!(found, expected, "{}", chain.len());
        }
    }
}
