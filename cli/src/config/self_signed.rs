//! `tls = "auto-selfsigned"`: certificates that this process makes for listeners of a lab.
//!
//! Those of the process: each reading of a file finds the one that was made for the same names before, as long as a configuration
//! has it. `lbctl upgrade` passes them on. A process that starts makes others.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use lb_proxy::{
    config::Tls,
    tls::{Certificate, SelfSigned, Shown},
};

use super::Config;

/// What stands in place of a file. A file of this name is `./auto-selfsigned`.
pub(crate) const WORD: &str = "auto-selfsigned";

static MADE: Mutex<Vec<Weak<SelfSigned>>> = Mutex::new(Vec::new());

/// The one for these names and addresses, made if there is none.
///
/// # Errors
/// The end of a sentence about it.
pub(crate) fn of(names: &[String]) -> Result<Shown, String> {
    let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.iter().filter_map(Weak::upgrade).find(|one| one.names() == names);
    let made = match known {
        Some(known) => known,
        None => {
            let made = Arc::new(SelfSigned::make(names)?);
            all.retain(|one| one.strong_count() > 0);
            all.push(Arc::downgrade(&made));
            made
        }
    };
    shown(made)
}

fn shown(made: Arc<SelfSigned>) -> Result<Shown, String> {
    let certificate = Certificate::from_self_signed(made).map_err(|error| error.to_string())?;
    Ok(Shown { file: WORD.to_owned(), certificate, names: None })
}

/// Those of a configuration, each once, for the next process.
pub(crate) fn all(config: &Config) -> Vec<Arc<SelfSigned>> {
    let mut all: Vec<Arc<SelfSigned>> = Vec::new();
    for made in listeners(config).filter_map(made) {
        if !all.contains(&made) {
            all.push(made);
        }
    }
    all
}

/// Goes on with those of the process before: in `config`, which was read without them, and in all that is read later.
pub(crate) fn go_on(config: &Config, passed: Vec<SelfSigned>) {
    for passed in passed.into_iter().map(Arc::new) {
        let mine = listeners(config).filter(|tls| made(tls).is_some_and(|own| own.names() == passed.names()));
        for tls in mine {
            // What is no certificate leaves the new one.
            let Ok(shown) = shown(Arc::clone(&passed)) else { continue };
            tls.certificates.replace(vec![shown]);
        }
        let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.upgrade().is_some_and(|one| one.names() != passed.names()));
        all.push(Arc::downgrade(&passed));
    }
}

fn listeners(config: &Config) -> impl Iterator<Item = &Arc<Tls>> {
    config.proxy.frontends.iter().flat_map(|frontend| frontend.tls.values())
}

fn made(tls: &Arc<Tls>) -> Option<Arc<SelfSigned>> {
    tls.certificates.load().all().first().and_then(|shown| shown.certificate.made()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn text(name: &str) -> String {
        format!(
            "[listen.web]\nservers = [\"192.0.2.21:80\"]\n[listen.web.bind]\naddress = \"192.0.2.10:443\"\n\
             tls.certificate = {{ certificate = \"auto-selfsigned\", sni = \"{name}\" }}\n"
        )
    }

    fn fingerprint(config: &Config) -> String {
        let tls = listeners(config).next().unwrap();
        tls.certificates.load().all()[0].certificate.facts().fingerprint()
    }

    #[test]
    fn certificate_stays_the_same_in_each_reading_for_the_same_names() {
        let first = parse(&text("same.example"), "lb.toml").unwrap();
        assert_eq!(all(&first)[0].names(), ["same.example", "192.0.2.10"]);
        let second = parse(&text("same.example"), "lb.toml").unwrap();
        let other = parse(&text("other.example"), "lb.toml").unwrap();
        assert_eq!(fingerprint(&first), fingerprint(&second));
        assert_ne!(fingerprint(&first), fingerprint(&other));
        drop(first);
        assert_eq!(fingerprint(&second), fingerprint(&parse(&text("same.example"), "lb.toml").unwrap()));
    }

    #[test]
    fn next_process_goes_on_with_what_it_is_passed_and_reads_it_again() {
        // What another process has made, and one for a name that is in the file no longer.
        let passed = [["passed.example", "192.0.2.10"], ["gone.example", "192.0.2.10"]]
            .map(|names| SelfSigned::make(&names.map(str::to_owned)).unwrap());
        let json = serde_json::to_string(&passed).unwrap();
        let [first, _] = passed;
        let expected = shown(Arc::new(first)).unwrap();
        let config = parse(&text("passed.example"), "lb.toml").unwrap();
        go_on(&config, serde_json::from_str(&json).unwrap());
        assert_eq!(fingerprint(&config), expected.certificate.facts().fingerprint());
        assert_eq!(fingerprint(&parse(&text("passed.example"), "lb.toml").unwrap()), fingerprint(&config));
    }
}
