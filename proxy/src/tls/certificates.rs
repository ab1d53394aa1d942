//! The certificates of a listener, and which of them a client is shown (RFC 6066 §3).
//!
//! The whole name first, then the wildcard for its first label, then the first of the file. Of several for the same name the
//! client is shown one whose signature it understands: ECDSA before RSA, and otherwise the first of the file.

use std::{collections::HashMap, fmt, sync::Arc};

use rustls::{SignatureAlgorithm, SignatureScheme, sign::CertifiedKey};

use super::Certificate;
use crate::node::Published;

/// A certificate among those of a listener.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where it is, as reports say it.
    pub file: String,
    /// With its key.
    pub certificate: Certificate,
    /// Names for which it is shown, in lower case, instead of its own.
    pub names: Option<Vec<String>>,
}

impl Shown {
    /// For which names it is shown.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.names.as_ref().unwrap_or(&self.certificate.facts().names)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.certificate.key().key.algorithm()
    }

    /// Smaller is better.
    fn rank(&self) -> u8 {
        match self.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::RSA => 2,
            _ => 1,
        }
    }

    fn can_sign(&self, schemes: &[SignatureScheme]) -> bool {
        self.certificate.key().key.choose_scheme(schemes).is_some()
    }
}

/// Those of a listener. All configurations and handshakes that have one of these see others as soon as it has them.
#[derive(Debug)]
pub struct Certificates(Published<Set>);

impl Certificates {
    /// In the order of the file.
    #[must_use]
    pub fn new(all: Vec<Shown>) -> Self {
        Self(Published::new(Set::new(all)))
    }

    /// As they are now.
    #[must_use]
    pub fn load(&self) -> Arc<Set> {
        self.0.load()
    }

    /// Handshakes that begin from now on get these. Connections that are open go on.
    pub fn replace(&self, all: Vec<Shown>) {
        self.0.store(Set::new(all));
    }
}

/// Certificates, and where to find them by name.
pub struct Set {
    all: Vec<Shown>,
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind the `*.`
    wildcards: HashMap<String, Vec<usize>>,
    /// The first one, and those of other algorithms for the same names.
    default: Vec<usize>,
}

impl Set {
    fn new(all: Vec<Shown>) -> Self {
        let (mut exact, mut wildcards) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, shown) in all.iter().enumerate() {
            for name in shown.names() {
                let places = match name.strip_prefix("*.") {
                    Some(rest) => wildcards.entry(rest.to_owned()).or_default(),
                    None => exact.entry(name.clone()).or_default(),
                };
                if !places.iter().any(|before: &usize| all[*before].algorithm() == shown.algorithm()) {
                    places.push(at);
                }
            }
        }
        let mut default: Vec<usize> = Vec::new();
        for (at, shown) in all.iter().enumerate() {
            let is_other = |before: &usize| all[*before].algorithm() != shown.algorithm();
            if shown.names() == all[0].names() && default.iter().all(is_other) {
                default.push(at);
            }
        }
        Self { all, exact, wildcards, default }
    }

    /// In the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Shown] {
        &self.all
    }

    /// Where those are among [`Self::all`] that no client is shown, whatever name it asks for: others stand before them.
    pub fn hidden(&self, is_strict: bool) -> impl Iterator<Item = usize> {
        let is_shown = move |at: &usize| {
            let named = self.exact.values().chain(self.wildcards.values());
            named.flatten().chain(self.default.iter().filter(|_| !is_strict)).any(|shown| shown == at)
        };
        (0..self.all.len()).filter(move |at| !is_shown(at))
    }

    /// For a client that asks for `name` and understands signatures of `schemes`. With `is_strict` it has to ask for one that is
    /// there. One that can't be signed for is better than none: the handshake then says what is wrong.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
        is_strict: bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name.and_then(|name| self.wildcards.get(name.split_once('.')?.1));
        let candidates = [exact, wildcard, Some(&self.default).filter(|_| !is_strict)];
        let candidates = || candidates.into_iter().flatten();
        let usable = |places: &Vec<usize>| {
            let shown = places.iter().map(|at| &self.all[*at]);
            shown.filter(|shown| shown.can_sign(schemes)).min_by_key(|shown| shown.rank())
        };
        let found = candidates().find_map(usable);
        let found = found.or_else(|| candidates().flatten().next().map(|at| &self.all[*at]));
        found.map(|shown| shown.certificate.key())
    }
}

/// What it is made from says it all.
impl fmt::Debug for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.all).finish()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const ED25519: SignatureScheme = SignatureScheme::ED25519;

    fn shown(file: &str, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Shown {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let signed = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let pem = |kind: &str, der: &[u8]| {
            let mut text = Vec::new();
            crate::sample::base64::encode(der, &mut text);
            let text = String::from_utf8(text).unwrap();
            format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
        };
        let text = pem("CERTIFICATE", signed.der()) + &pem("PRIVATE KEY", &key.serialize_der());
        let certificate = Certificate::from_pem(text.as_bytes(), None).unwrap();
        Shown { file: file.to_owned(), certificate, names: None }
    }

    fn chosen(set: &Set, name: Option<&str>, schemes: &[SignatureScheme], is_strict: bool) -> Option<String> {
        let found = set.choose(name, schemes, is_strict)?;
        let shown = set.all.iter().find(|shown| Arc::ptr_eq(shown.certificate.key(), found));
        shown.map(|shown| shown.file.clone())
    }

    #[test]
    fn whole_name_goes_before_a_wildcard_and_that_before_the_first() {
        let p256 = &PKCS_ECDSA_P256_SHA256;
        let set = Set::new(vec![
            shown("first", &["first.example"], p256),
            shown("wild", &["*.a.example"], p256),
            shown("whole", &["www.a.example", "a.example"], p256),
            Shown { names: Some(vec!["other.example".into()]), ..shown("given", &["own.example"], p256) },
        ]);
        for (name, expected) in [
            (None, "first"),
            (Some("first.example"), "first"),
            (Some("www.a.example"), "whole"),
            (Some("a.example"), "whole"),
            (Some("b.a.example"), "wild"),
            (Some("c.b.a.example"), "first"),
            (Some("other.example"), "given"),
            (Some("own.example"), "first"),
            (Some("nobody"), "first"),
        ] {
            assert_eq!(chosen(&set, name, &[ECDSA], false).as_deref(), Some(expected), "{name:?}");
            let strictly = Some(expected).filter(|_| expected != "first" || name == Some("first.example"));
            assert_eq!(chosen(&set, name, &[ECDSA], true).as_deref(), strictly, "{name:?}");
        }
    }

    #[test]
    fn client_is_shown_what_it_understands() {
        let set = Set::new(vec![
            shown("ed25519", &["a.example"], &PKCS_ED25519),
            shown("ecdsa", &["a.example"], &PKCS_ECDSA_P256_SHA256),
            shown("again", &["a.example"], &PKCS_ECDSA_P256_SHA256),
            shown("whole", &["b.example"], &PKCS_ED25519),
            shown("wild", &["*.example"], &PKCS_ECDSA_P256_SHA256),
        ]);
        let chosen = |name, schemes: &[_]| chosen(&set, Some(name), schemes, false).unwrap();
        assert_eq!(chosen("a.example", &[ED25519, ECDSA]), "ecdsa");
        assert_eq!(chosen("a.example", &[ED25519]), "ed25519");
        // What stands for no name does so for both algorithms.
        assert_eq!(chosen("nobody", &[ECDSA]), "ecdsa");
        assert_eq!(chosen("nobody", &[ED25519]), "ed25519");
        assert_eq!(chosen("b.example", &[ECDSA]), "wild");
        assert_eq!(chosen("b.example", &[ECDSA, ED25519]), "whole");
        // Nothing fits: the handshake fails, and says why.
        assert_eq!(chosen("b.example", &[SignatureScheme::RSA_PSS_SHA256]), "whole");
        let hidden = |is_strict| set.hidden(is_strict).map(|at| &*set.all[at].file).collect::<Vec<_>>();
        assert_eq!(hidden(true), ["again"]);
    }

    #[test]
    fn certificate_without_a_name_is_shown_to_those_who_ask_for_none() {
        let p256 = &PKCS_ECDSA_P256_SHA256;
        let nameless = Shown { names: Some(Vec::new()), ..shown("nameless", &[], p256) };
        let set = Set::new(vec![nameless.clone(), shown("a", &["a.example"], p256)]);
        assert_eq!(chosen(&set, Some("b.example"), &[ECDSA], false).as_deref(), Some("nameless"));
        assert_eq!(set.hidden(false).count(), 0);
        assert_eq!(set.hidden(true).collect::<Vec<_>>(), [0]);
        let set = Set::new(vec![shown("a", &["a.example"], p256), nameless]);
        assert_eq!(set.hidden(false).collect::<Vec<_>>(), [1]);
    }
}
