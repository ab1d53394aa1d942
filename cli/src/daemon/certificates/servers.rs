//! What TLS to servers goes by: whose certificates they may show, and what they are shown.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lb_proxy::{
    config::{ServerTls, ServerVerify},
    tls::{Certificate, Trusted},
};

use super::{
    Certificates,
    files::{Files, stamps},
    note, of_certificate,
};
use crate::{
    config::{Config, authorities, certificates, model::Means},
    control::{Problem, Timestamp},
};

/// The files of one or several servers that have the same.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Servers {
    /// `backend app`; the first of several.
    whose: String,
    tls: Arc<ServerTls>,
    files: Files,
    /// Since when they can't be read, and why.
    wrong: Option<(Timestamp, String)>,
}

impl Certificates {
    /// Those of `config`; what is known of one goes on.
    pub(super) fn of_servers(&self, config: &Config) -> Vec<Servers> {
        let mut all: Vec<Servers> = Vec::new();
        for (whose, tls) in named(config) {
            let has_same = |one: &&Servers| Arc::ptr_eq(&one.tls.content, &tls.content);
            let has_files = tls.verify != ServerVerify::Nothing || tls.file.is_some();
            if all.iter().any(|one| has_same(&one)) || !has_files {
                continue;
            }
            all.push(self.servers.iter().find(has_same).cloned().unwrap_or_else(|| Servers {
                whose,
                tls: Arc::clone(tls),
                files: Files::default(),
                wrong: None,
            }));
        }
        all
    }
}

/// All that speaks TLS to somebody, and what it is called.
fn named(config: &Config) -> impl Iterator<Item = (String, &Arc<ServerTls>)> {
    let backends = config.proxy.backends.iter().flat_map(|backend| {
        let all = backend.servers.iter().flat_map(|server| [&server.tls, &server.check_tls]);
        all.flatten().map(|tls| (format!("backend {}", backend.name), tls))
    });
    let notifiers = config.notifies.iter().filter_map(|notifier| {
        let remote = match &notifier.means {
            Means::Webhook(webhook) => &webhook.remote,
            Means::Mail(mail) => &mail.remote,
            Means::Command(_) => return None,
        };
        Some((format!("notify {}", notifier.name), remote.tls.as_ref()?))
    });
    backends.chain(notifiers)
}

impl Servers {
    /// May take its time: for a thread that may wait.
    pub(super) fn look(mut self, folder: &Path, now: SystemTime) -> Self {
        let (authorities, certificates) = (self.authorities(), self.certificates(folder));
        let all = authorities.iter().chain(&certificates).cloned().collect();
        if let Some(moving) = self.files.look(stamps(all, folder), false) {
            let is_still = |names: &[String]| !names.iter().any(|name| moving.contains(&folder.join(name)));
            self.renew(folder, (is_still(&authorities), is_still(&certificates)), &moving, now);
        }
        self
    }

    /// What is not being written is as its files have it. What is wrong stays as it was.
    fn renew(
        &mut self,
        folder: &Path,
        (are_authorities_still, is_certificate_still): (bool, bool),
        moving: &BTreeSet<PathBuf>,
        now: SystemTime,
    ) {
        let mut content = (*self.tls.content.load()).clone();
        let mut wrong = Vec::new();
        if self.tls.verify != ServerVerify::Nothing && are_authorities_still {
            content.trusted = self.trusted(folder, &mut wrong).or(content.trusted);
        }
        if is_certificate_still {
            content.certificate = self.certificate(folder, now, &mut wrong).or(content.certificate);
        }
        wrong.extend(self.files.restless(moving));
        if let Some(why) = note(&mut self.wrong, wrong.into_iter()) {
            tracing::error!(of = self.whose, "TLS to servers goes by what was there before: {why}");
        }
        if self.tls.content.replace(content) {
            tracing::info!(of = self.whose, "files of TLS to servers are renewed");
        }
    }

    /// Files of authorities, and of what they have revoked.
    fn authorities(&self) -> Vec<String> {
        if self.tls.verify == ServerVerify::Nothing {
            return Vec::new();
        }
        let of_system = self.tls.ca_files.is_empty().then(authorities::of_system).flatten();
        of_system.into_iter().chain(self.tls.ca_files.iter().chain(&self.tls.crl_files).cloned()).collect()
    }

    fn certificates(&self, folder: &Path) -> Vec<String> {
        self.tls.file.iter().flat_map(|files| of_certificate(files, folder)).collect()
    }

    fn trusted(&self, folder: &Path, wrong: &mut Vec<String>) -> Option<Arc<Trusted>> {
        let files = self.authorities();
        let (ca_files, crl_files) = files.split_at(files.len() - self.tls.crl_files.len());
        let found = authorities::of_servers(ca_files, crl_files, folder);
        let told = |(at, why): (usize, String)| Some(format!("{} {why}", files.get(at)?.escape_debug()));
        wrong.extend(found.wrong.into_iter().filter_map(told));
        found.made.map(Arc::new)
    }

    fn certificate(&self, folder: &Path, now: SystemTime, wrong: &mut Vec<String>) -> Option<Certificate> {
        let found = certificates::read(std::slice::from_ref(self.tls.file.as_ref()?), folder, now);
        wrong.extend(found.wrong.iter().map(|one| format!("{} {}", one.file.escape_debug(), one.why)));
        let [(_, only)] = &*found.shown else {
            let is_several = !found.shown.is_empty();
            wrong.extend(
                is_several.then(|| "several certificates are there; a server is shown one".to_owned()),
            );
            return None;
        };
        Some(only.certificate.clone())
    }

    /// Files that are not what they should be, so what was read before stays.
    pub(super) fn problem(&self) -> Option<Problem> {
        let (since, why) = self.wrong.as_ref()?;
        Some(Problem {
            what: format!("files of TLS to servers of {} are not renewed", self.whose),
            since: Some(*since),
            look_at: format!(
                "{why}. Handshakes go by what was there before. When the file is mended, lbctl reads it by itself."
            ),
        })
    }
}

#[cfg(test)]
mod tests;
