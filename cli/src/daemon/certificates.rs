//! Certificates that are renewed while the daemon runs: their files are looked at now and then, and read when they are others.
//! And a word on those that end soon.
//!
//! Nothing else of the configuration is read: whoever edits it decides when it comes into force. Files that are being written
//! are left alone until they have stayed the same from one look to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_proxy::{config::Tls, file, tls::Shown};
use lb_vrrp::Moment;
use tokio::task::spawn_blocking;

use super::{Daemon, wake};
use crate::{
    config::{
        Config, authorities,
        certificates::{self, Found, Unstapled, read},
        self_signed,
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

/// A file that is never the same at two looks is told of after so many.
const RESTLESS: u32 = 12;

/// What tells whether a file is still the same: when it or its rights were changed, how long it is, and which one it is.
type Stamp = Option<(i64, i64, u64, u64)>;

type Stamps = BTreeMap<PathBuf, Stamp>;

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
    seen: Stamps,
    /// When they were last read.
    read: Stamps,
    /// Looks in a row at which some file was another one than at the look before.
    restless: u32,
    /// Since when they can't be, and why.
    wrong: Option<(Timestamp, String)>,
    /// Since when a response of OCSP is not shown, and why.
    unstapled: Option<(Timestamp, String)>,
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
                all.push(known.cloned().unwrap_or_else(|| {
                    tell_of_made(&frontend.name, tls);
                    Watched::new(&frontend.name, tls)
                }));
            }
        }
        all
    }

    /// Files that are not what they should be, so what was read before stays.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let unstapled = self.watched.iter().filter_map(|one| {
            let (since, why) = one.unstapled.as_ref()?;
            Some(Problem {
                what: format!("responses of OCSP of frontend {} are not renewed", one.frontend),
                since: Some(*since),
                look_at: format!(
                    "{why}. One that was good before is shown until its end; after that clients that want one ask the authority themselves, \
                     and those that insist refuse the certificate. When the file is renewed, lbctl reads it by itself."
                ),
            })
        });
        let not_renewed = self.watched.iter().filter_map(|one| {
            let (since, why) = one.wrong.as_ref()?;
            Some(Problem {
                what: format!("certificates of frontend {} are not renewed", one.frontend),
                since: Some(*since),
                look_at: format!(
                    "{why}. What it was before is shown on, if it was there, and all others are as their files have them. When the file \
                     is mended, lbctl reads it by itself."
                ),
            })
        });
        not_renewed.chain(unstapled)
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
            seen: Stamps::new(),
            read: Stamps::new(),
            restless: 0,
            wrong: None,
            unstapled: None,
        }
    }

    /// May take its time: for a thread that may wait.
    fn look(mut self, folder: &Path, now: SystemTime) -> Self {
        let before = std::mem::replace(&mut self.seen, stamps(&self.tls, folder));
        // Each by itself: one that somebody writes to all day keeps no other from being read.
        let paths = self.seen.keys().chain(before.keys());
        let moving: BTreeSet<PathBuf> =
            paths.filter(|path| before.get(*path) != self.seen.get(*path)).cloned().collect();
        let has_calmed = moving.is_empty() && self.restless >= RESTLESS;
        self.restless = if moving.is_empty() { 0 } else { self.restless + 1 };
        let settled = |stamps: &Stamps| -> Stamps {
            stamps
                .iter()
                .filter(|(path, _)| !moving.contains(*path))
                .map(|(path, stamp)| (path.clone(), *stamp))
                .collect()
        };
        let (new, old) = (settled(&self.seen), settled(&self.read));
        if new != old || self.restless == RESTLESS || has_calmed || self.is_stapled_too_long(now) {
            self.renew(folder, &moving, now);
            let rest = self.read.iter().filter(|(path, _)| moving.contains(*path));
            self.read = rest.map(|(path, stamp)| (path.clone(), *stamp)).chain(new).collect();
        }
        self
    }

    /// Is a response of OCSP shown whose time is over?
    fn is_stapled_too_long(&self, now: SystemTime) -> bool {
        let all = self.tls.certificates.load();
        all.all().iter().filter_map(|shown| shown.certificate.ocsp()).any(|ocsp| ocsp.next_update <= now)
    }

    /// Each is as its files have it. What can't be read, or is being written, stays as it was.
    fn renew(&mut self, folder: &Path, moving: &BTreeSet<PathBuf>, now: SystemTime) {
        let is_made = |one: &Shown| one.certificate.made().is_some();
        let has_files = !self.tls.certificates.load().all().iter().any(is_made);
        let mut found = if has_files { read(&self.tls.files, folder, now) } else { Found::default() };
        let is_moving = |certificate: &str| {
            let files = [certificate.to_owned()].into_iter().chain(certificates::keys(certificate));
            let files = files.chain(self.key_of(certificate)).chain([certificates::ocsp(certificate)]);
            files.into_iter().any(|file| moving.contains(&folder.join(file)))
        };
        let before = self.tls.certificates.load();
        let known = |certificate: &str| before.all().iter().find(|one| one.file == certificate).cloned();
        found.unstapled.retain(|one| !is_moving(&one.certificate));
        for one in &found.unstapled {
            // What was said before, while it is good, is better than nothing.
            let shown = found.shown.iter_mut().find(|(_, shown)| shown.file == one.certificate);
            let known = known(&one.certificate).and_then(|known| known.certificate.ocsp().cloned());
            if let (Some((_, shown)), Some(known)) = (shown, known) {
                let _ = shown.certificate.staple(known.response(), now);
            }
        }
        let mut all: Vec<(usize, Shown)> = before
            .all()
            .iter()
            .filter(|one| is_made(one) || is_moving(&one.file))
            .filter_map(|one| Some((self.entry_of(&one.file)?, one.clone())))
            .collect();
        all.extend(found.shown.into_iter().filter(|(_, one)| !is_moving(&one.file)));
        let mut wrong = Vec::new();
        for one in found.wrong.into_iter().filter(|one| !is_moving(&one.certificate)) {
            all.extend(known(&one.certificate).map(|shown| (one.entry, shown)));
            wrong.push(format!("{} {}", one.file.escape_debug(), one.why));
        }
        if self.restless >= RESTLESS {
            wrong.extend(moving.first().map(|path| {
                format!(
                    "{} is another one each time, so it is not read",
                    path.display().to_string().escape_debug()
                )
            }));
        }
        wrong.extend(self.renew_authorities(folder, moving));
        self.tell(wrong);
        self.tell_of_unstapled(&found.unstapled);
        // As a folder is read.
        all.sort_by(|(a, one), (b, other)| (a, &one.file).cmp(&(b, &other.file)));
        let shown: Vec<Shown> = all.into_iter().map(|(_, shown)| shown).collect();
        let is_same = |(one, other): (&Shown, &Shown)| {
            (&one.file, &one.certificate) == (&other.file, &other.certificate)
        };
        let is_as_long = before.all().len() == shown.len();
        if shown.is_empty() || (is_as_long && before.all().iter().zip(&shown).all(is_same)) {
            return;
        }
        let chain = |one: &Shown| (one.file.clone(), one.certificate.key().cert.clone());
        let is_new = |one: &&Shown| !before.all().iter().any(|known| is_same((known, one)));
        let has_known_chain = |one: &&Shown| before.all().iter().any(|known| chain(known) == chain(one));
        let (ocsp, certificates): (Vec<_>, Vec<_>) = shown.iter().filter(is_new).partition(has_known_chain);
        let files = |all: Vec<&Shown>| all.iter().map(|one| &*one.file).collect::<Vec<_>>().join(", ");
        if !ocsp.is_empty() {
            tracing::info!(
                frontend = self.frontend,
                files = files(ocsp),
                "responses of OCSP are renewed, or have ended"
            );
        }
        if !certificates.is_empty() || !is_as_long {
            tracing::info!(frontend = self.frontend, files = files(certificates), "certificates are renewed");
        }
        self.tls.certificates.replace(shown);
    }

    /// Which of the files of the configuration names it.
    fn entry_of(&self, certificate: &str) -> Option<usize> {
        self.tls.files.iter().position(|files| {
            files.certificate == certificate
                || certificates::kinds(&files.certificate).iter().any(|kind| kind == certificate)
                || Path::new(certificate).parent() == Some(Path::new(&files.certificate))
        })
    }

    /// The file that the configuration gives for the key of a certificate.
    fn key_of(&self, certificate: &str) -> Option<String> {
        self.tls.files.iter().find(|files| files.certificate == certificate)?.key.clone()
    }

    /// Those of clients, all at once; what is wrong with them.
    fn renew_authorities(&self, folder: &Path, moving: &BTreeSet<PathBuf>) -> Vec<String> {
        let Some(asked) = &self.tls.clients else { return Vec::new() };
        let files: Vec<_> = asked.ca_files.iter().chain(&asked.crl_files).collect();
        if files.iter().any(|file| moving.contains(&folder.join(file))) {
            return Vec::new();
        }
        let found = authorities::of_clients(&asked.ca_files, &asked.crl_files, asked.is_required, folder);
        if found.made.is_some_and(|authorities| asked.clients.replace(authorities)) {
            tracing::info!(frontend = self.frontend, "authorities of clients are renewed");
        }
        let told = |(at, why): (usize, String)| Some(format!("{} {why}", files.get(at)?.escape_debug()));
        found.wrong.into_iter().filter_map(told).collect()
    }

    /// Which responses of OCSP are not shown.
    fn tell_of_unstapled(&mut self, all: &[Unstapled]) {
        let wrong = all.iter().map(|one| format!("{} {}", one.file.escape_debug(), one.why));
        if let Some(why) = note(&mut self.unstapled, wrong) {
            tracing::warn!(frontend = self.frontend, "a response of OCSP can't be shown: {why}");
        }
    }

    /// What is wrong now, if anything.
    fn tell(&mut self, wrong: Vec<String>) {
        if let Some(why) = note(&mut self.wrong, wrong.into_iter()) {
            tracing::error!(
                frontend = self.frontend,
                "a certificate can't be shown as its file has it: {why}"
            );
        }
    }
}

/// Keeps what is wrong now, if anything, and since when; returns what is news.
fn note(
    known: &mut Option<(Timestamp, String)>,
    mut wrong: impl ExactSizeIterator<Item = String>,
) -> Option<&str> {
    let Some(first) = wrong.next() else {
        *known = None;
        return None;
    };
    let more = wrong.len();
    let why = if more > 0 { format!("{first}, and {more} more") } else { first };
    if known.as_ref().is_some_and(|(_, known)| *known == why) {
        return None;
    }
    Some(&known.insert((Timestamp::now(), why)).1)
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
            let looked = spawn_blocking(move || {
                watched.into_iter().map(|one| one.look(&folder, SystemTime::now())).collect()
            });
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
                sha256: facts.fingerprint(),
                stapled_until: shown.certificate.ocsp().map(|ocsp| moment(ocsp.next_update)),
            };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

/// One that nobody can verify is compared with this line.
fn tell_of_made(frontend: &str, tls: &Tls) {
    let all = tls.certificates.load();
    for shown in all.all().iter().filter(|shown| shown.certificate.made().is_some()) {
        let sha256 = shown.certificate.facts().fingerprint();
        tracing::info!(frontend, sha256, "clients are shown a certificate that lbctl has made itself");
    }
}

/// Those that nobody can verify, and by what a client tells whether it is ours.
pub(super) fn made(frontends: &[Frontend]) -> impl Iterator<Item = String> {
    frontends.iter().flat_map(|frontend| {
        let made = frontend.certificates.iter().filter(|one| one.file == self_signed::WORD);
        made.map(|one| {
            format!(
                "{} of frontend {} is made by lbctl itself, for a lab; its SHA-256: {}",
                one.file, frontend.name, one.sha256
            )
        })
    })
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

/// Of all that is read for a listener. Reads none.
fn stamps(tls: &Tls, folder: &Path) -> Stamps {
    let mut names = Vec::new();
    if let Some(asked) = &tls.clients {
        names.extend(asked.ca_files.iter().chain(&asked.crl_files).cloned());
    }
    for files in &tls.files {
        names.extend(files.key.clone());
        let name = &files.certificate;
        let inside = file::list(&folder.join(name)).unwrap_or_default();
        let inside =
            certificates::among(inside).map(|inner| format!("{}/{inner}", name.trim_end_matches('/')));
        for name in inside.chain(certificates::kinds(name)).chain([name.clone()]) {
            names.extend(certificates::keys(&name));
            names.push(certificates::ocsp(&name));
            names.push(name);
        }
    }
    let stamp = |name: String| {
        let path = folder.join(name);
        // A folder is what is in it.
        let found = fs::metadata(&path).ok().filter(|found| !found.is_dir());
        let stamp = found.map(|found| (found.ctime(), found.ctime_nsec(), found.size(), found.ino()));
        (path, stamp)
    };
    names.into_iter().map(stamp).collect()
}

#[cfg(test)]
mod tests;
