//! Commands that the file names: are they there?

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    config::{
        Config,
        model::{Means, Subject},
    },
    privileges, runner,
};

/// One sentence for each that could not be run now.
pub(super) fn check(config: &Config, file: &Path) -> Vec<String> {
    if !config.names_commands() || file == Path::new("-") {
        return Vec::new();
    }
    let commands = config.tracks.iter().filter_map(|track| match &track.subject {
        Subject::Command { command, .. } => {
            Some((format!("track.{}", track.name), Path::new(command.first()?)))
        }
        Subject::Interface { .. } | Subject::Address { .. } | Subject::File { .. } => None,
    });
    let notifies = config.notifies.iter().filter_map(|notify| match &notify.means {
        Means::Command(command) => Some((format!("notify.{}", notify.name), Path::new(command.first()?))),
        Means::Webhook(_) | Means::Mail(_) => None,
    });
    let missing = commands.chain(notifies).filter_map(|(name, program)| {
        let why = match fs::metadata(program) {
            Err(error) => error.to_string(),
            Ok(found) if !found.is_file() => "it is no file".to_owned(),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => "it is not executable".to_owned(),
            Ok(_) => return None,
        };
        Some(format!("[{name}] can't run {}: {why}", program.display()))
    });
    // Whose they are then depends on who starts lbctl, which is another one here than in the packaged unit.
    let hindrance = privileges::hindrance_of_commands(&config.global, file).map(|why| {
        format!(
            "commands are run by the daemon's user, who reads keys, and not at all where that is root: {why}"
        )
    });
    let unread =
        || privileges::as_who_runs_commands(&config.global, file, || runner::unreadable(file)).flatten();
    hindrance.or_else(unread).into_iter().chain(runner::distrust(file)).chain(missing).collect()
}
