//! The authorities of clients and what they have revoked, out of their files: with the configuration, and again when the files
//! change.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use lb_proxy::{
    file,
    tls::{self, Authorities, Revoked},
};

/// A list of what is revoked may be long.
const LARGEST: u64 = 16 << 20;

/// What was found in the files.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `None` if anything is wrong.
    pub(crate) authorities: Option<Authorities>,
    /// What was looked at, also in vain.
    pub(crate) paths: Vec<PathBuf>,
    /// What is wrong: which of the files, those of authorities first, and the end of a sentence about it.
    pub(crate) wrong: Vec<(usize, String)>,
    /// By the file among those of lists: until when it is to be trusted.
    pub(crate) ends: Vec<(usize, SystemTime)>,
}

/// Reads all of them; paths are relative to `folder`.
pub(crate) fn read(ca_files: &[String], crl_files: &[String], is_required: bool, folder: &Path) -> Found {
    let mut found = Found::default();
    let (mut authorities, mut revoked) = (Vec::new(), Vec::<Revoked>::new());
    for (at, name) in ca_files.iter().chain(crl_files).enumerate() {
        let path = folder.join(name);
        let content = file::read(&path, LARGEST).map_err(|error| error.to_string());
        found.paths.push(path);
        let outcome = content.and_then(|pem| {
            if at < ca_files.len() {
                authorities.extend(tls::authorities(&pem).map_err(|error| error.to_string())?);
            } else {
                let lists = tls::revoked(&pem).map_err(|error| error.to_string())?;
                let ends = lists.iter().filter_map(|list| list.next_update);
                found.ends.extend(ends.map(|end| (at - ca_files.len(), end)));
                revoked.extend(lists);
            }
            Ok(())
        });
        found.wrong.extend(outcome.err().map(|why| (at, why)));
    }
    if found.wrong.is_empty() {
        match Authorities::new(&authorities, &revoked, is_required) {
            Ok(made) => found.authorities = Some(made),
            Err(why) => found.wrong.push((ca_files.len() + crl_files.len() - 1, why.to_string())),
        }
    }
    found
}
