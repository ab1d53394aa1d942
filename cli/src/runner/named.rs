//! Which commands the file names. The daemon's word counts for nothing here: it may have been taken over.

use std::{
    collections::BTreeSet,
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::unistd::geteuid;
use toml::de::{DeTable, DeValue};

use crate::config::LARGEST_FILE;

/// A file is known by its state: read again once that has changed.
type State = (u64, u64, u64, SystemTime, i64, i64);

/// See the module.
#[derive(Debug)]
pub(super) struct Named {
    file: PathBuf,
    /// Why nothing is run at all.
    refusal: Option<String>,
    known: Option<(State, BTreeSet<Vec<String>>)>,
}

impl Named {
    pub(super) fn new(file: PathBuf, refusal: Option<String>) -> Self {
        Self { file, refusal, known: None }
    }

    /// Whether this may be run now; why not, in a sentence without a full stop.
    pub(super) fn allows(&mut self, command: &[String]) -> Result<(), String> {
        if let Some(why) = &self.refusal {
            return Err(why.clone());
        }
        let shown = self.file.display();
        let failed = |why: String| cannot_read(&self.file, &why);
        // The state is that of what is read: another file may have the name by now.
        let mut file = File::open(&self.file).map_err(|error| failed(error.to_string()))?;
        let state = file.metadata().map_err(|error| failed(error.to_string()))?;
        if let Some(why) = why_not(&self.file, &state) {
            return Err(why);
        }
        let state = state_of(&state).map_err(|error| failed(error.to_string()))?;
        let named = match &self.known {
            Some((known, named)) if *known == state => named,
            _ => {
                let mut text = String::new();
                let read = file.by_ref().take(LARGEST_FILE).read_to_string(&mut text);
                read.map_err(|error| failed(error.to_string()))?;
                &self.known.insert((state, commands(&text))).1
            }
        };
        if named.contains(command) {
            return Ok(());
        }
        Err(format!("{shown} does not name this command now; lbctl reload"))
    }
}

fn state_of(found: &Metadata) -> std::io::Result<State> {
    Ok((found.dev(), found.ino(), found.len(), found.modified()?, found.ctime(), found.ctime_nsec()))
}

fn cannot_read(file: &Path, why: &str) -> String {
    format!(
        "who runs commands (user {}) can't read {}: {why}",
        crate::privileges::name_of(geteuid()),
        file.display()
    )
}

/// Why this thread, as who runs commands, would run nothing.
pub(crate) fn unreadable(file: &Path) -> Option<String> {
    File::open(file).err().map(|error| cannot_read(file, &error.to_string()))
}

/// Why nothing in the file would be run, if that is because of who may write it.
pub(crate) fn distrust(file: &Path) -> Option<String> {
    why_not(file, &file.metadata().ok()?)
}

/// Whoever may write the file could have anything run by this process.
fn why_not(file: &Path, found: &Metadata) -> Option<String> {
    let shown = file.display();
    let is_ours = found.uid() == 0 || found.uid() == geteuid().as_raw();
    let (who, fix) = match found.mode() & 0o022 {
        _ if !is_ours => {
            let owner = crate::privileges::name_of(nix::unistd::Uid::from_raw(found.uid()));
            (owner, format!("chown root {shown}"))
        }
        0 => return None,
        _ => ("others than its owner".to_owned(), format!("chmod go-w {shown}")),
    };
    Some(format!("{who} may write {shown}, and could have any command run: {fix}"))
}

/// Each list of texts under a key `command`, wherever it stands. What is no TOML names none.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    if let Ok(table) = DeTable::parse(text) {
        look_into(table.get_ref(), &mut found);
    }
    found
}

fn look_into(table: &DeTable<'_>, found: &mut BTreeSet<Vec<String>>) {
    for (key, value) in table {
        let value = value.get_ref();
        if key.get_ref() == "command" {
            found.extend(words(value));
        }
        match value {
            DeValue::Table(table) => look_into(table, found),
            DeValue::Array(list) => {
                for table in list.iter().filter_map(|one| one.get_ref().as_table()) {
                    look_into(table, found);
                }
            }
            _ => {}
        }
    }
}

fn words(value: &DeValue<'_>) -> Option<Vec<String>> {
    let list = value.as_array()?;
    list.iter().map(|word| word.get_ref().as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn commands_of_a_file_are_found_wherever_they_stand() {
        let text = "[track.a]\ncommand = [\"/bin/a\", \"-x\"]\n[[hook]]\ncommand = [\"/bin/b\"]\n\
                    [hooks]\nlist = [{ command = [\"/bin/c\"] }]\n[track.d]\ncommand = \"/bin/d\"\nargument = [\"/bin/e\"]\n\
                    [track.f]\ncommand = [\"/bin/f\", 1]\n";
        let expected = [command(&["/bin/a", "-x"]), command(&["/bin/b"]), command(&["/bin/c"])];
        assert_eq!(commands(text), BTreeSet::from(expected));
        assert_eq!(commands("command = [\"/bin/a\"]\n= no toml"), BTreeSet::new());
    }

    #[test]
    fn what_the_file_names_now_is_run_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.toml");
        let mut named = Named::new(path.clone(), None);
        let allows = |named: &mut Named, words: &[&str]| named.allows(&command(words));
        assert!(allows(&mut named, &["/bin/a"]).unwrap_err().contains("can't read"));
        fs::write(&path, "[track.a]\ncommand = [\"/bin/a\"]\n").unwrap();
        assert_eq!(allows(&mut named, &["/bin/a"]), Ok(()));
        for other in [&["/bin/a", "-x"][..], &["/bin/b"], &[]] {
            let why = allows(&mut named, other).unwrap_err();
            assert_eq!(why, format!("{} does not name this command now; lbctl reload", path.display()));
        }
        // As an editor replaces it.
        fs::write(path.with_extension("new"), "[track.a]\ncommand = [\"/bin/b\"]\n").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert_eq!(allows(&mut named, &["/bin/b"]), Ok(()));
        assert!(allows(&mut named, &["/bin/a"]).is_err(), "that was the old one");
    }

    #[test]
    fn file_that_others_may_write_names_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb.toml");
        fs::write(&path, "[track.a]\ncommand = [\"/bin/a\"]\n").unwrap();
        let mut named = Named::new(path.clone(), None);
        for (mode, is_trusted) in [(0o644, true), (0o664, false), (0o646, false), (0o600, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(named.allows(&command(&["/bin/a"])).is_ok(), is_trusted, "{mode:o}");
        }
    }

    #[test]
    fn nothing_is_run_by_who_must_not() {
        let mut named = Named::new("/etc/passwd".into(), Some("never as root".to_owned()));
        assert_eq!(named.allows(&command(&["/bin/a"])), Err("never as root".to_owned()));
    }
}
