//! Certificates that are renewed while the daemon runs: their files are looked at now and then, and read when they are others.
//! And a word on those that end soon.
//!
//! Nothing else of the configuration is read: whoever edits it decides when it comes into force. Files that are being written
//! are left alone until they have stayed the same from one look to the next.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_proxy::{
    config::{Tls, TlsFiles},
    file,
    tls::Shown,
};
use lb_vrrp::Moment;
use tokio::task::spawn_blocking;

use super::{Daemon, wake};
use crate::{
    config::{
        Config,
        certificates::{self, read},
    },
    control::{Certificate, Frontend, Problem, Timestamp},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So long before its end the log has a word on a certificate, and status a note.
const SOON: Duration = DAY.saturating_mul(30);

/// So long before its end status has a problem.
const VERY_SOON: Duration = DAY.saturating_mul(7);

/// What tells whether a file is still the same: when it or its rights were changed, how long it is, and which one it is.
type Stamp = (PathBuf, Option<(i64, i64, u64, u64)>);

/// All certificates of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    next: Option<Moment>,
    is_looking: bool,
    watched: Vec<Watched>,
    /// Certificates by file and end, and how near that was when it was last told.
    told: BTreeMap<(String, Timestamp), Nearness>,
}

/// Those of a listener.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    frontend: String,
    tls: Arc<Tls>,
    /// At the last look.
    seen: Vec<Stamp>,
    /// When they were last read.
    read: Vec<Stamp>,
    /// Since when they can't be, and why.
    wrong: Option<(Timestamp, String)>,
}

/// How near an end is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Nearness {
    Far,
    Soon,
    VerySoon,
    Over,
}

impl Nearness {
    fn of(end: Timestamp, now: Timestamp) -> Self {
        match end.saturating_since(now) {
            left if left.is_zero() => Self::Over,
            left if left < VERY_SOON => Self::VerySoon,
            left if left < SOON => Self::Soon,
            _ => Self::Far,
        }
    }
}

impl Certificates {
    /// Those of `config`; what is known of one goes on.
    fn of(&mut self, config: &Config) -> Vec<Watched> {
        let mut all: Vec<Watched> = Vec::new();
        for frontend in &config.proxy.frontends {
            for tls in frontend.tls.values() {
                if all.iter().any(|one| Arc::ptr_eq(&one.tls, tls)) {
                    continue;
                }
                let known = self.watched.iter().find(|known| Arc::ptr_eq(&known.tls, tls));
                all.push(known.cloned().unwrap_or_else(|| Watched::new(&frontend.name, tls)));
            }
        }
        all
    }

    /// Files that are not what they should be, so what was read before stays.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.watched.iter().filter_map(|one| {
            let (since, why) = one.wrong.as_ref()?;
            Some(Problem {
                what: format!("certificates of frontend {} are not renewed", one.frontend),
                since: Some(*since),
                look_at: format!(
                    "{why}. Those before are shown on. When the file is mended, lbctl reads it by itself."
                ),
            })
        })
    }

    /// What the log is to be told of ends that have come nearer. Of a certificate that is seen for the first time the
    /// configuration's own warnings have told.
    fn nearer(&mut self, config: &Config, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        let mut told = BTreeMap::new();
        for frontend in &config.proxy.frontends {
            for certificate in of_frontend(frontend) {
                let nearness = Nearness::of(certificate.not_after, now);
                let key = (certificate.file.clone(), certificate.not_after);
                let before = self.told.get(&key).copied().unwrap_or(nearness);
                if told.insert(key, nearness.max(before)).is_none() && nearness > before {
                    lines.push(sentence(&frontend.name, &certificate, now));
                }
            }
        }
        self.told = told;
        lines
    }
}

impl Watched {
    /// It is read at the second look: what was loaded may have changed by the first.
    fn new(frontend: &str, tls: &Arc<Tls>) -> Self {
        Self {
            frontend: frontend.to_owned(),
            tls: Arc::clone(tls),
            seen: Vec::new(),
            read: Vec::new(),
            wrong: None,
        }
    }

    /// May take its time: for a thread that may wait.
    fn look(mut self, folder: &Path) -> Self {
        let now = stamps(&self.tls.files, folder);
        let is_settled = now == self.seen;
        self.seen = now;
        if is_settled && self.read != self.seen {
            self.read.clone_from(&self.seen);
            self.renew(folder);
        }
        self
    }

    fn renew(&mut self, folder: &Path) {
        let found = read(&self.tls.files, folder);
        if let Some(wrong) = found.wrong.first() {
            let why = format!("{} {}", wrong.file.escape_debug(), wrong.why);
            if self.wrong.as_ref().is_none_or(|(_, known)| *known != why) {
                tracing::error!(frontend = self.frontend, "certificates are not renewed: {why}");
                self.wrong = Some((Timestamp::now(), why));
            }
            return;
        }
        self.wrong = None;
        let shown: Vec<Shown> = found.shown.into_iter().map(|(_, shown)| shown).collect();
        let before = self.tls.certificates.load();
        let chain = |one: &Shown| (one.file.clone(), one.certificate.key().cert.clone());
        if before.all().iter().map(chain).eq(shown.iter().map(chain)) {
            return;
        }
        let is_new = |one: &&Shown| !before.all().iter().any(|known| chain(known) == chain(one));
        let files: Vec<_> = shown.iter().filter(is_new).map(|one| &*one.file).collect();
        tracing::info!(frontend = self.frontend, files = files.join(", "), "certificates are renewed");
        self.tls.certificates.replace(shown);
    }
}

impl Daemon {
    /// To be called now and then.
    pub(super) fn watch_certificates(&mut self, now: Moment) {
        if self.certificates.is_looking || self.certificates.next.is_some_and(|next| now < next) {
            return;
        }
        self.certificates.next = Some(now + INTERVAL);
        for line in self.certificates.nearer(&self.config, Timestamp::now()) {
            tracing::warn!("{line}");
        }
        let watched = self.certificates.of(&self.config);
        if watched.is_empty() {
            self.certificates.watched = watched;
            return;
        }
        self.certificates.is_looking = true;
        let folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        let steps = self.steps_in.clone();
        self.tasks.spawn(async move {
            let known = watched.clone();
            let looked = spawn_blocking(move || watched.into_iter().map(|one| one.look(&folder)).collect());
            let _ = steps.send(wake::Step::Certificates(looked.await.unwrap_or(known)));
        });
    }

    pub(super) fn handle_certificates(&mut self, looked: Vec<Watched>) {
        self.certificates.is_looking = false;
        self.certificates.watched = looked;
    }
}

/// What a frontend shows its clients, each once.
pub(super) fn of_frontend(frontend: &lb_proxy::config::Frontend) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for tls in frontend.tls.values() {
        for shown in tls.certificates.load().all() {
            let facts = shown.certificate.facts();
            let moment = |at: SystemTime| Timestamp::from(at);
            let one = Certificate {
                file: shown.file.clone(),
                names: shown.names().to_vec(),
                not_before: moment(facts.not_before),
                not_after: moment(facts.not_after),
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// Certificates that end within a week, or have.
pub(super) fn expiring(frontends: &[Frontend], now: Timestamp) -> impl Iterator<Item = Problem> {
    near(frontends, now, Nearness::VerySoon..=Nearness::Over).map(move |(frontend, certificate)| {
        let (what, clients) = if certificate.not_after <= now {
            ("has expired", "clients refuse it")
        } else {
            ("expires", "clients refuse it from then on")
        };
        Problem {
            what: format!("{} of frontend {} {what}", certificate.file, frontend.name),
            since: None,
            look_at: format!(
                "on {}: {clients}. Renew it; lbctl reads the new file by itself.",
                date(certificate.not_after)
            ),
        }
    })
}

/// Those that end within a month, but for the former.
pub(super) fn notes(frontends: &[Frontend], now: Timestamp) -> impl Iterator<Item = String> {
    near(frontends, now, Nearness::Soon..=Nearness::Soon)
        .map(move |(frontend, certificate)| sentence(&frontend.name, certificate, now))
}

fn near(
    frontends: &[Frontend],
    now: Timestamp,
    how: std::ops::RangeInclusive<Nearness>,
) -> impl Iterator<Item = (&Frontend, &Certificate)> {
    let all =
        frontends.iter().flat_map(|one| one.certificates.iter().map(move |certificate| (one, certificate)));
    all.filter(move |(_, certificate)| how.contains(&Nearness::of(certificate.not_after, now)))
}

fn sentence(frontend: &str, certificate: &Certificate, now: Timestamp) -> String {
    let (file, end) = (&certificate.file, date(certificate.not_after));
    match certificate.not_after.saturating_since(now) {
        left if left.is_zero() => format!("{file} of frontend {frontend} has expired on {end}"),
        left => {
            let days = left.as_secs() / DAY.as_secs();
            format!("{file} of frontend {frontend} expires on {end}, in {days} days")
        }
    }
}

/// `2026-12-01`
fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Of all that is read for `files`. Reads none.
fn stamps(files: &[TlsFiles], folder: &Path) -> Vec<Stamp> {
    let mut paths = Vec::new();
    for files in files {
        paths.extend(files.key.as_ref().map(|key| folder.join(key)));
        if let Ok(names) = file::list(&folder.join(&files.certificate)) {
            paths.extend(names.into_iter().map(|name| folder.join(&files.certificate).join(name)));
        }
        for name in [files.certificate.clone()].into_iter().chain(certificates::kinds(&files.certificate)) {
            let path = folder.join(&name);
            paths.extend([path.with_extension("key"), folder.join(format!("{name}.key")), path]);
        }
    }
    let stamp = |path: PathBuf| {
        let found = fs::metadata(&path).ok();
        let stamp = found.map(|found| (found.ctime(), found.ctime_nsec(), found.size(), found.ino()));
        (path, stamp)
    };
    paths.into_iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SITE: &str = include_str!("../../tests/good/site.pem");
    const SHOP: &str = include_str!("../../tests/good/certificates/shop.pem");

    /// A configuration whose certificate is a file of the folder.
    fn watched(folder: &Path) -> (Config, Watched) {
        fs::write(folder.join("site.pem"), SITE).unwrap();
        let text = "[listen.web]\nbind = { address = \"*:443\", tls = \"site.pem\" }\nservers = [\"192.0.2.21:80\"]\n";
        fs::write(folder.join("lb.toml"), text).unwrap();
        let config = config::load(&folder.join("lb.toml")).unwrap();
        let watched = Certificates::default().of(&config).remove(0);
        (config, watched)
    }

    fn names(config: &Config) -> Vec<String> {
        let certificates = of_frontend(&config.proxy.frontends[0]);
        certificates.into_iter().flat_map(|certificate| certificate.names).collect()
    }

    #[test]
    fn file_that_has_changed_is_read_when_it_has_settled_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.pem");
        let (config, mut one) = watched(folder.path());
        let look = |one: Watched| one.look(folder.path());
        one = look(look(one));
        assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
        // Another file in its place, as certbot and `mv` have it.
        let other = folder.path().join("new");
        fs::write(&other, SHOP).unwrap();
        fs::rename(&other, &path).unwrap();
        one = look(one);
        assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
        one = look(one);
        assert_eq!(names(&config), ["shop.example.com", "*.shop.example.com"]);

        fs::write(&path, &SITE[..SITE.len() / 2]).unwrap();
        one = look(look(one));
        assert_eq!(names(&config), ["shop.example.com", "*.shop.example.com"]);
        let certificates = Certificates { watched: vec![one.clone()], ..Certificates::default() };
        let problem = certificates.problems().next().unwrap();
        assert_eq!(problem.what, "certificates of frontend web are not renewed");
        assert!(problem.look_at.starts_with("site.pem is broken: a section has no line"), "{problem:?}");

        fs::write(&path, SITE).unwrap();
        one = look(look(one));
        assert_eq!(names(&config), ["www.example.com", "*.example.org"]);
        assert_eq!(one.wrong, None);
    }

    #[test]
    fn what_is_known_of_a_listener_goes_on_until_another_configuration_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (config, one) = watched(folder.path());
        let mut certificates =
            Certificates { watched: vec![one.look(folder.path())], ..Certificates::default() };
        assert_eq!(certificates.of(&config)[0].seen, certificates.watched[0].seen);
        let (again, _) = watched(folder.path());
        assert_eq!(certificates.of(&again)[0].seen, []);
    }

    #[test]
    fn end_that_comes_nearer_is_told_at_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let (config, _) = watched(folder.path());
        let end = of_frontend(&config.proxy.frontends[0])[0].not_after;
        let mut certificates = Certificates::default();
        let mut told = Vec::new();
        for days in [400, 31, 30, 29, 28, 8, 6, 1, 0, 0] {
            let now = end.saturating_sub(DAY * days).saturating_add(Duration::from_secs(60));
            told.extend(certificates.nearer(&config, now));
        }
        let line = |rest: &str| format!("site.pem of frontend web {rest}");
        assert_eq!(
            told,
            [
                line("expires on 2126-11-03, in 29 days"),
                line("expires on 2126-11-03, in 5 days"),
                line("has expired on 2126-11-03")
            ]
        );
        // Who starts with one that is near has heard of it by then.
        let near = end.saturating_sub(DAY);
        assert_eq!(Certificates::default().nearer(&config, near), Vec::<String>::new());
    }
}
