//! The authorities of clients and of servers, and what they have revoked, out of their files: with the configuration, and again when the files
//! change.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use lb_proxy::{
    file,
    tls::{self, Authorities, AuthorityError, Der, Revoked, Trusted},
};

/// A list of what is revoked may be long.
const LARGEST: u64 = 16 << 20;

/// What was found in the files.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// `None` if anything is wrong.
    pub(crate) made: Option<T>,
    /// What was looked at, also in vain.
    pub(crate) paths: Vec<PathBuf>,
    /// What is wrong: which of the files, those of authorities first, and the end of a sentence about it.
    pub(crate) wrong: Vec<(usize, String)>,
    /// By the file among those of lists: until when it is to be trusted.
    pub(crate) ends: Vec<(usize, SystemTime)>,
}

/// Where systems keep the authorities that everybody trusts: Debian and Alpine, Red Hat, SUSE.
const OF_SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of authorities that this machine trusts, if it has one.
pub(crate) fn of_system() -> Option<String> {
    OF_SYSTEM.iter().find(|path| Path::new(path).is_file()).map(|path| (*path).to_owned())
}

/// Those of clients.
pub(crate) fn of_clients(
    ca_files: &[String],
    crl_files: &[String],
    is_required: bool,
    folder: &Path,
) -> Found<Authorities> {
    read(ca_files, crl_files, folder, |authorities, revoked| {
        Authorities::new(&authorities, revoked, is_required)
    })
}

/// Those of servers.
pub(crate) fn of_servers(ca_files: &[String], crl_files: &[String], folder: &Path) -> Found<Trusted> {
    read(ca_files, crl_files, folder, Trusted::new)
}

/// Reads all of them; paths are relative to `folder`.
fn read<T>(
    ca_files: &[String],
    crl_files: &[String],
    folder: &Path,
    make: impl FnOnce(Vec<Der>, &[Revoked]) -> Result<T, AuthorityError>,
) -> Found<T> {
    let mut found = Found { made: None, paths: Vec::new(), wrong: Vec::new(), ends: Vec::new() };
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
        match make(authorities, &revoked) {
            Ok(made) => found.made = Some(made),
            Err(why) => found.wrong.push((ca_files.len() + crl_files.len() - 1, why.to_string())),
        }
    }
    found
}
