//! Files that the file names: lists of values are read now, maps are named in our file.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{directive::shown, regex};
use crate::import::document::key;

/// A list beyond this is no list of conditions.
const LARGEST: u64 = 1 << 20;

/// Maps that samples use: the file and the kind, by the name that our file gives it.
#[derive(Debug)]
pub(super) struct Maps<'f> {
    folder: &'f Path,
    /// The folder as a whole path, if our file will be in another one.
    elsewhere: Option<PathBuf>,
    known: RefCell<BTreeMap<String, (String, &'static str)>>,
}

impl<'f> Maps<'f> {
    /// `folder` is where files are that have no whole path.
    pub(super) fn new(folder: &'f PathBuf) -> Self {
        Self { folder, elsewhere: None, known: RefCell::default() }
    }

    /// For a file of ours that is called `output`.
    pub(super) fn for_output(self, output: &str) -> Self {
        let whole = |folder: &Path| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            std::fs::canonicalize(folder).ok()
        };
        let own = whole(self.folder);
        let other = Path::new(output).parent().and_then(whole);
        Self { elsewhere: own.filter(|own| other.as_ref() != Some(own)), ..self }
    }

    /// Where files are that have no whole path.
    pub(super) fn folder(&self) -> &Path {
        self.folder
    }

    /// What a file of the source is called in ours, which looks for it beside itself.
    pub(super) fn ours(&self, file: &str) -> String {
        match &self.elsewhere {
            Some(folder) if Path::new(file).is_relative() => folder.join(file).display().to_string(),
            _ => file.to_owned(),
        }
    }

    /// The name of the map in `file`, as the converter `word` asks it.
    pub(super) fn add(&self, file: &str, word: &str) -> Result<String, String> {
        let kind = match word.split('_').nth(1) {
            Some("beg") => "prefix",
            Some("end") => "suffix",
            Some("ip") => "network",
            Some("reg") => "regex",
            _ => "exact",
        };
        if file.is_empty() || file.starts_with("virt@") || file.starts_with("opt@") {
            return Err(format!("`{word}` takes the name of a file"));
        }
        if kind == "regex" {
            self.is_the_same_here(file)?;
        }
        let stem =
            Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut base: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' })
            .take(50)
            .collect();
        if !base.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            base = format!("map{base}");
        }
        let mut known = self.known.borrow_mut();
        for number in 1.. {
            let name = if number == 1 { base.clone() } else { format!("{base}-{number}") };
            let value = (file.to_owned(), kind);
            if known.get(&name).is_none_or(|found| *found == value) {
                known.insert(name.clone(), value);
                return Ok(name);
            }
        }
        Err("there are too many maps".into())
    }

    /// The file stays as it is, so its expressions have to mean the same. Whether it can be read is told elsewhere.
    fn is_the_same_here(&self, file: &str) -> Result<(), String> {
        let lines = self.lines(file).unwrap_or_default();
        let keys = keys(&lines);
        let both = keys.map(|key| (key, regex::adapt(key, false)));
        match both.into_iter().find(|(key, ours)| key != ours) {
            Some((key, ours)) => {
                Err(format!("the expression `{}` of {file} is written `{}` here", shown(key), shown(&ours)))
            }
            None => Ok(()),
        }
    }

    /// Of several keys that a text ends with HAProxy takes the first line, and our map the longest key: told where these are
    /// not the same.
    pub(super) fn first_of_ends(&self, file: &str, word: &str) -> Option<String> {
        if !word.starts_with("map_end") {
            return None;
        }
        let lines = self.lines(file).unwrap_or_default();
        let keys: Vec<&str> = keys(&lines).collect();
        let numbers: HashMap<&str, usize> =
            keys.iter().rev().enumerate().map(|(at, key)| (*key, keys.len() - at)).collect();
        keys.iter().enumerate().find_map(|(at, long)| {
            let ends = long.char_indices().skip(1).map(|(begin, _)| &long[begin..]);
            let short = ends.into_iter().find(|end| numbers.get(end).is_some_and(|number| *number <= at))?;
            Some(format!(
                "`{word}`: what ends with `{}` has the line of `{}` in HAProxy, which stands before it in {file}, and here that of the longer key: put the longer one first, and both do the same",
                shown(long),
                shown(short)
            ))
        })
    }

    /// Keys of our map are texts, so a number has to be written in the one way in which it is found: what is in the way, if
    /// anything is.
    pub(super) fn odd_number(&self, file: &str, word: &str) -> Option<String> {
        let is_plain = |key: &str| key.parse::<i64>().is_ok_and(|number| number.to_string() == key);
        let lines = match self.lines(file) {
            Ok(lines) => lines,
            Err(why) => return Some(format!("`{word}`: whether its keys are numbers can't be told: {why}")),
        };
        let key = keys(&lines).find(|key| !is_plain(key))?;
        Some(format!(
            "`{word}`: our map goes by texts, and `{}` in {file} is no number in its shortest form: write it so",
            shown(key)
        ))
    }

    /// HAProxy takes the first line of a key, and our map has each key once: the key that is there twice, if one is.
    pub(super) fn twice(&self, file: &str, word: &str) -> Option<String> {
        if word.starts_with("map_reg") {
            return None;
        }
        let lines = self.lines(file).unwrap_or_default();
        let mut seen = HashSet::new();
        let key = keys(&lines).find(|key| !seen.insert(*key))?;
        Some(format!(
            "`{word}`: `{}` has two lines in {file}; HAProxy takes the first, and here the file is refused: take the others out",
            shown(key)
        ))
    }

    /// Name, file and kind of each.
    pub(super) fn all(&self) -> Vec<(String, String, &'static str)> {
        let known = self.known.borrow();
        known.iter().map(|(name, (file, kind))| (key(name), self.ours(file), *kind)).collect()
    }

    /// A page, which has to be text.
    pub(super) fn text(&self, file: &str) -> Result<String, String> {
        const LARGEST: u64 = 64 << 10;
        let path = self.folder.join(file);
        let unreadable = |error: std::io::Error| format!("{file} can't be read here: {error}");
        let metadata = std::fs::metadata(&path).map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(format!("{file} is no file of at most 64 kB"));
        }
        std::fs::read_to_string(&path).map_err(unreadable)
    }

    /// The lines of a list: without empty ones and comments.
    pub(super) fn lines(&self, file: &str) -> Result<Vec<String>, String> {
        let path = self.folder.join(file);
        let unreadable = |error: std::io::Error| format!("the list {file} can't be read here: {error}");
        let metadata = std::fs::metadata(&path).map_err(unreadable)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(format!("the list {file} is no file of at most 1 MiB"));
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        // A blank behind it is a part of a line.
        let bare = |line: &str| {
            line.split('\r').next().unwrap_or_default().trim_start_matches([' ', '\t']).to_owned()
        };
        Ok(lines.map(bare).collect())
    }
}

/// The keys of a map that has these lines.
fn keys(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| line.split_ascii_whitespace().next())
}
