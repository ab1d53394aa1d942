//! Names that the daemon knows. There are none where it does not run, or does not answer soon: somebody waits for them.

use std::{path::PathBuf, time::Duration};

use clap_complete::{ArgValueCandidates, CompletionCandidate};

use super::Line;
use crate::{
    control::{
        Status,
        client::{Client, DEFAULT_SOCKET},
    },
    output::{status::server_word, text::printable},
};

/// How long somebody who has pressed Tab waits, at most: as for other verbs that ask.
const PATIENCE: Duration = Duration::from_secs(3);

/// `BACKEND/SERVER`, with how it is.
pub(in crate::command) fn servers() -> ArgValueCandidates {
    candidates(|status| {
        let servers = status
            .backends
            .iter()
            .flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)));
        servers
            .map(|(backend, server)| (format!("{}/{}", backend.name, server.name), server_word(server)))
            .collect()
    })
}

/// Of frontends, with where they listen.
pub(in crate::command) fn frontends() -> ArgValueCandidates {
    candidates(frontends_of)
}

/// Of backends, with their servers.
pub(in crate::command) fn backends() -> ArgValueCandidates {
    candidates(backends_of)
}

/// Of frontends and backends.
pub(in crate::command) fn proxies() -> ArgValueCandidates {
    candidates(|status| {
        let mut names = frontends_of(status);
        // Both halves of a `[listen.*]` have its name.
        let others =
            backends_of(status).into_iter().filter(|(name, _)| !names.iter().any(|(has, _)| has == name));
        names.extend(others.collect::<Vec<_>>());
        names
    })
}

/// Of the other nodes.
pub(in crate::command) fn peers() -> ArgValueCandidates {
    candidates(|status| {
        let mut names: Vec<(String, String)> = Vec::new();
        for node in status.groups.iter().flat_map(|group| &group.nodes).filter(|node| !node.local) {
            if !names.iter().any(|(name, _)| *name == node.name) {
                names.push((node.name.clone(), node.state.clone().unwrap_or_default()));
            }
        }
        names
    })
}

fn frontends_of(status: &Status) -> Vec<(String, String)> {
    let binds = |frontend: &crate::control::Frontend| {
        frontend.binds.iter().map(|bind| bind.label.as_str()).collect::<Vec<_>>().join(", ")
    };
    status.frontends.iter().map(|frontend| (frontend.name.clone(), binds(frontend))).collect()
}

fn backends_of(status: &Status) -> Vec<(String, String)> {
    let servers = |backend: &crate::control::Backend| {
        backend.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    status.backends.iter().map(|backend| (backend.name.clone(), servers(backend))).collect()
}

/// Names, and what a shell may say of each.
fn candidates(
    names: impl Fn(&Status) -> Vec<(String, String)> + Send + Sync + 'static,
) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let found = ask().map(|status| names(&status)).unwrap_or_default();
        let candidate = |(name, about): (String, String)| {
            CompletionCandidate::new(name).help(Some(printable(&about).into()))
        };
        found.into_iter().map(candidate).collect()
    })
}

fn ask() -> Option<Status> {
    let control =
        Line::typed().value("--control").map_or_else(|| PathBuf::from(DEFAULT_SOCKET), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(Client::new(&control).get::<Status>("/v1/status", PATIENCE)).ok()?;
    Some(answer.value)
}
