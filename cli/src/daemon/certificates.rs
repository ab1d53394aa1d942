//! Certificates that are renewed while the daemon runs: their files are looked at now and then, and read when they are others.
//! And a word on those that end soon.
//!
//! Nothing else of the configuration is read: whoever edits it decides when it comes into force. Files that are being written
//! are left alone until they have stayed the same from one look to the next.

mod files;
mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_proxy::{
    config::{Tls, TlsFiles},
    file,
    tls::{self, Shown},
};
use lb_vrrp::Moment;
use tokio::task::spawn_blocking;

use self::{
    files::{Files, stamps},
    servers::Servers,
};
use super::{Daemon, wake};
use crate::{
    config::{
        Config, authorities,
        certificates::{self, Found, Unstapled, read},
        self_signed,
    },
    control::{Certificate, ChainEnd, Frontend, Problem, Status, Timestamp},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// So long before its end the log has a word on a certificate, and status a note.
const SOON: Duration = DAY.saturating_mul(30);

/// So long before its end status has a problem.
const VERY_SOON: Duration = DAY.saturating_mul(7);

/// All certificates of the configuration in force.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    next: Option<Moment>,
    is_looking: bool,
    watched: Vec<Watched>,
    servers: Vec<Servers>,
    /// Certificates by file and end, theirs or their chain's, and how near that was when it was last told.
    told: BTreeMap<(String, Timestamp), Nearness>,
}

/// Those of a listener.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    frontend: String,
    tls: Arc<Tls>,
    files: Files,
    /// Since when they can't be, and why.
    wrong: Option<(Timestamp, String)>,
    /// Since when a response of OCSP is not shown, and why.
    unstapled: Option<(Timestamp, String)>,
}

/// What was looked at: of listeners, and of servers.
pub(super) type Seen = (Vec<Watched>, Vec<Servers>);

/// How near an end is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Nearness {
    Far,
    Soon,
    VerySoon,
    Over,
}

/// A certificate whose end is nearer than it was, or farther.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    pub(super) file: String,
    pub(super) from: Nearness,
    pub(super) to: Nearness,
    /// When that end is.
    pub(super) reason: String,
    /// It is in a file that is seen for the first time: the configuration's own warnings have told of it.
    is_told: bool,
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

    /// As events have it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Far => "valid",
            Self::Soon => "expires_soon",
            Self::VerySoon => "expires_very_soon",
            Self::Over => "expired",
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
        not_renewed.chain(unstapled).chain(self.servers.iter().filter_map(Servers::problem))
    }

    /// Ends that are nearer or farther than they were. One that is seen for the first time was far before.
    fn turns(&mut self, config: &Config, now: Timestamp) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut told = BTreeMap::new();
        // Others that the file had.
        let mut of_files: BTreeMap<&str, Nearness> = BTreeMap::new();
        for ((file, _), nearness) in &self.told {
            let known = of_files.entry(file).or_insert(*nearness);
            *known = (*known).max(*nearness);
        }
        let frontends = config.proxy.frontends.iter().map(|one| (frontend(&one.name), of_frontend(one)));
        let backends = config.proxy.backends.iter().map(|one| (backend(&one.name), of_backend(one)));
        for (whose, certificates) in frontends.chain(backends) {
            for certificate in certificates {
                let key = (certificate.file.clone(), certificate.end());
                let before = self.told.get(&key).copied();
                let to = Nearness::of(certificate.end(), now).max(before.unwrap_or(Nearness::Far));
                if told.insert(key, to).is_some() {
                    continue;
                }
                let of_file = of_files.get(&*certificate.file).copied();
                let from = before.or(of_file).unwrap_or(Nearness::Far);
                if from != to {
                    let reason = sentence(&whose, &certificate, now);
                    let is_told = before.is_none() && of_file.is_none();
                    turns.push(Turn { file: certificate.file, from, to, reason, is_told });
                }
            }
        }
        self.told = told;
        turns
    }
}

impl Watched {
    /// It is read at the second look: what was loaded may have changed by the first.
    fn new(frontend: &str, tls: &Arc<Tls>) -> Self {
        Self {
            frontend: frontend.to_owned(),
            tls: Arc::clone(tls),
            files: Files::default(),
            wrong: None,
            unstapled: None,
        }
    }

    /// May take its time: for a thread that may wait.
    fn look(mut self, folder: &Path, now: SystemTime) -> Self {
        let is_due = self.is_stapled_too_long(now);
        if let Some(moving) = self.files.look(stamps(names(&self.tls, folder), folder), is_due) {
            self.renew(folder, &moving, now);
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
        wrong.extend(self.files.restless(moving));
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
        for one in &certificates {
            if let Some(fault) = one.certificate.chain_fault() {
                tracing::warn!(
                    frontend = self.frontend,
                    file = one.file,
                    "a certificate that is renewed {fault}"
                );
            }
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
        for turn in self.certificates.turns(&self.config, Timestamp::now()) {
            if !turn.is_told && turn.to != Nearness::Far {
                tracing::warn!("{}", turn.reason);
            }
            self.note_certificate(turn);
        }
        let looked = (self.certificates.of(&self.config), self.certificates.of_servers(&self.config));
        if looked.0.is_empty() && looked.1.is_empty() {
            self.handle_certificates(looked);
            return;
        }
        self.certificates.is_looking = true;
        let folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        let steps = self.steps_in.clone();
        self.tasks.spawn(async move {
            let known = looked.clone();
            let looked = spawn_blocking(move || {
                let (listeners, servers) = looked;
                let now = SystemTime::now();
                (
                    listeners.into_iter().map(|one| one.look(&folder, now)).collect(),
                    servers.into_iter().map(|one| one.look(&folder, now)).collect(),
                )
            });
            let _ = steps.send(wake::Step::Certificates(looked.await.unwrap_or(known)));
        });
    }

    pub(super) fn handle_certificates(&mut self, (listeners, servers): Seen) {
        self.certificates.is_looking = false;
        (self.certificates.watched, self.certificates.servers) = (listeners, servers);
    }
}

/// What a frontend shows its clients, each once.
pub(super) fn of_frontend(frontend: &lb_proxy::config::Frontend) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for tls in frontend.tls.values() {
        for shown in tls.certificates.load().all() {
            add(&mut all, &shown.file, shown.names(), &shown.certificate);
        }
    }
    all
}

/// What a backend's servers are shown, each once.
pub(super) fn of_backend(backend: &lb_proxy::config::Backend) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    let of_servers = backend.servers.iter().flat_map(|server| [&server.tls, &server.check_tls]);
    for tls in of_servers.flatten() {
        if let (Some(files), Some(shown)) = (&tls.file, &tls.content.load().certificate) {
            add(&mut all, &files.certificate, &shown.facts().names, shown);
        }
    }
    all
}

fn add(all: &mut Vec<Certificate>, file: &str, names: &[String], certificate: &tls::Certificate) {
    let facts = certificate.facts();
    let moment = |at: SystemTime| Timestamp::from(at);
    let one = Certificate {
        file: file.to_owned(),
        names: names.to_vec(),
        not_before: moment(facts.not_before),
        not_after: moment(facts.not_after),
        sha256: facts.fingerprint(),
        stapled_until: certificate.ocsp().map(|ocsp| moment(ocsp.next_update)),
        chain_fault: certificate.chain_fault().map(tls::ChainFault::to_string),
        chain_end: certificate
            .chain_end()
            .map(|end| ChainEnd { subject: end.subject.to_string(), not_after: moment(end.not_after) }),
    };
    if !all.contains(&one) {
        all.push(one);
    }
}

fn frontend(name: &str) -> String {
    format!("frontend {name}")
}

fn backend(name: &str) -> String {
    format!("backend {name}")
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

/// Certificates that end within a week, or have, or whose chain does.
pub(super) fn expiring(status: &Status) -> impl Iterator<Item = Problem> {
    near(status, Nearness::VerySoon..=Nearness::Over).map(|(whose, who, certificate)| {
        let (what, then) = if certificate.end() <= status.at {
            ("has expired", "refuse it")
        } else {
            ("expires", "refuse it from then on")
        };
        let (most, how) = match certificate.weakest() {
            Some(_) => ("most ", "Put the one in its place that the authority offers now, or leave it out if they have it as a root"),
            None => ("", "Renew it"),
        };
        Problem {
            what: format!("{} {what}", subject(&whose, certificate)),
            since: None,
            look_at: format!(
                "on {}: {most}{who} {then}. {how}; lbctl reads the new file by itself.",
                date(certificate.end())
            ),
        }
    })
}

/// Those that end within a month, but for the former, and those that clients may not be able to trust for what stands behind them.
pub(super) fn notes(status: &Status) -> impl Iterator<Item = String> {
    let soon = near(status, Nearness::Soon..=Nearness::Soon)
        .map(|(whose, _, certificate)| sentence(&whose, certificate, status.at));
    soon.chain(near(status, Nearness::Far..=Nearness::Over).filter_map(|(whose, _, certificate)| {
        Some(format!("{} of {whose} {}", certificate.file, certificate.chain_fault.as_ref()?))
    }))
}

/// With whose they are, and who is shown them.
fn near(
    status: &Status,
    how: std::ops::RangeInclusive<Nearness>,
) -> impl Iterator<Item = (String, &'static str, &Certificate)> {
    let frontends = status.frontends.iter().flat_map(|one| {
        one.certificates.iter().map(|certificate| (frontend(&one.name), "clients", certificate))
    });
    let backends = status.backends.iter().flat_map(|one| {
        one.certificates.iter().map(|certificate| (backend(&one.name), "servers", certificate))
    });
    let all = frontends.chain(backends);
    all.filter(move |(_, _, certificate)| how.contains(&Nearness::of(certificate.end(), status.at)))
}

fn sentence(whose: &str, certificate: &Certificate, now: Timestamp) -> String {
    let (what, end) = (subject(whose, certificate), date(certificate.end()));
    match certificate.end().saturating_since(now) {
        left if left.is_zero() => format!("{what} has expired on {end}"),
        left => {
            let days = left.as_secs() / DAY.as_secs();
            format!("{what} expires on {end}, in {days} days")
        }
    }
}

/// Whose end is told of.
fn subject(whose: &str, certificate: &Certificate) -> String {
    let file = &certificate.file;
    match certificate.weakest() {
        Some(ChainEnd { subject, .. }) => {
            format!("{file} of {whose} has a certificate of its authority {subject} that")
        }
        None => format!("{file} of {whose}"),
    }
}

/// `2026-12-01`
fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// Of all that is read for a listener.
fn names(tls: &Tls, folder: &Path) -> Vec<String> {
    let asked = tls.clients.iter().flat_map(|asked| asked.ca_files.iter().chain(&asked.crl_files));
    asked.cloned().chain(tls.files.iter().flat_map(|files| of_certificate(files, folder))).collect()
}

/// Where a certificate, its key and what is beside it may be.
fn of_certificate(files: &TlsFiles, folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = files.key.iter().cloned().collect();
    let name = &files.certificate;
    let inside = file::list(&folder.join(name)).unwrap_or_default();
    let inside = certificates::among(inside).map(|inner| format!("{}/{inner}", name.trim_end_matches('/')));
    for name in inside.chain(certificates::kinds(name)).chain([name.clone()]) {
        names.extend(certificates::keys(&name));
        names.push(certificates::ocsp(&name));
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests;
