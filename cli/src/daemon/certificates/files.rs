//! Files that are looked at now and then, to be read when they are others and have stayed so from one look to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A file that is never the same at two looks is told of after so many.
pub(super) const RESTLESS: u32 = 12;

/// What tells whether a file is still the same: when it or its rights were changed, how long it is, and which one it is.
type Stamp = Option<(i64, i64, u64, u64)>;

pub(super) type Stamps = BTreeMap<PathBuf, Stamp>;

/// See the module. They are read at the second look: what was loaded may have changed by the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// At the last look.
    pub(super) seen: Stamps,
    /// When they were last read.
    read: Stamps,
    /// Looks in a row at which some file was another one than at the look before.
    restless: u32,
}

impl Files {
    /// What is there now. If anything is to be read, or `is_due`: those that are being written, which have to wait.
    pub(super) fn look(&mut self, now: Stamps, is_due: bool) -> Option<BTreeSet<PathBuf>> {
        let before = std::mem::replace(&mut self.seen, now);
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
        if new == old && self.restless != RESTLESS && !has_calmed && !is_due {
            return None;
        }
        let rest = self.read.iter().filter(|(path, _)| moving.contains(*path));
        self.read = rest.map(|(path, stamp)| (path.clone(), *stamp)).chain(new).collect();
        Some(moving)
    }

    /// A sentence about one of those that are being written, when they have been for too long.
    pub(super) fn restless(&self, moving: &BTreeSet<PathBuf>) -> Option<String> {
        let path = moving.first().filter(|_| self.restless >= RESTLESS)?.display().to_string();
        Some(format!("{} is another one each time, so it is not read", path.escape_debug()))
    }
}

/// Of the files of these names. Reads none.
pub(super) fn stamps(names: Vec<String>, folder: &Path) -> Stamps {
    let stamp = |name: String| {
        let path = folder.join(name);
        // A folder is what is in it.
        let found = fs::metadata(&path).ok().filter(|found| !found.is_dir());
        let stamp = found.map(|found| (found.ctime(), found.ctime_nsec(), found.size(), found.ino()));
        (path, stamp)
    };
    names.into_iter().map(stamp).collect()
}
