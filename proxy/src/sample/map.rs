//! Maps: a file of keys and values, looked up per request.
//!
//! ```text
//! # comment
//! key      value, up to the end of the line
//! ```
//! Loading reads the whole file or says what is wrong with which line; a map is never half there. Whoever changes maps
//! while the program runs loads them anew and swaps them whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use regex::bytes::RegexSet;

use self::network::Networks;
use super::function;
use crate::{
    config::Place,
    expression,
    file::{self, ReadError},
    http::head::is_field_content,
};

mod network;

/// Where a map is, and how it is looked up.
#[derive(Clone, Debug)]
pub struct MapFile {
    /// Its name in the file.
    pub name: String,
    /// Where its lines are.
    pub file: PathBuf,
    /// How keys are compared.
    pub kind: MapKind,
    /// Where the configuration names it; errors begin with it.
    pub place: Place,
}

/// How keys are compared with a text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MapKind {
    /// The text is the key (HAProxy `map_str`). Case counts; `lower` before `map` makes it not.
    #[default]
    Exact,
    /// The text begins with the key; the longest key wins (HAProxy `map_beg`).
    Prefix,
    /// The text ends with the key; the longest key wins (HAProxy `map_end`).
    Suffix,
    /// The text is an address in the network of the key; the longest prefix wins (HAProxy `map_ip`).
    Network,
    /// The key is a regular expression that matches; the first line wins (HAProxy `map_reg`).
    Regex,
}

/// The maps of a configuration, by their index.
#[derive(Debug, Default)]
pub struct Maps {
    maps: Box<[Map]>,
}

/// A map that can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MapError {
    /// Where the configuration names it, as in `lb.toml:12:8`.
    pub place: String,
    /// The map's name.
    pub map: String,
    /// Its file.
    pub file: PathBuf,
    /// From 1; `None` speaks of the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub why: String,
}

/// A map file beyond this is none, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// All expressions of a map together, compiled, in bytes.
const LARGEST_SET: usize = 32 << 20;

#[derive(Debug)]
struct Map {
    keys: Keys,
    values: Vec<Box<[u8]>>,
    /// Of its lines, comments left out.
    digest: u64,
}

/// Index of the value, by key.
#[derive(Debug)]
enum Keys {
    Exact(Table),
    Prefix(Table),
    Suffix(Table),
    Network(Networks),
    Regex(RegexSet),
}

/// Keys by their bytes, and every length that a key has, the longest first.
#[derive(Debug, Default)]
struct Table {
    keys: HashMap<Box<[u8]>, usize>,
    lengths: Vec<usize>,
}

impl Maps {
    /// Reads all files.
    ///
    /// # Errors
    /// The first fault of each file; then nothing is loaded.
    pub fn load(files: &[MapFile]) -> Result<Self, Vec<MapError>> {
        let (mut maps, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            let fault = |(line, why)| MapError {
                place: file.place.to_string(),
                map: file.name.clone(),
                file: file.file.clone(),
                line,
                why,
            };
            match read(file).map_err(|why| (None, why)).and_then(|bytes| Map::parse(&bytes, file.kind)) {
                Ok(map) => maps.push(map),
                Err(why) => errors.push(fault(why)),
            }
        }
        if errors.is_empty() { Ok(Self { maps: maps.into() }) } else { Err(errors) }
    }

    /// The same for two maps that say the same; `None` if there is none at `index`.
    pub(crate) fn digest(&self, index: usize) -> Option<u64> {
        self.maps.get(index).map(|map| map.digest)
    }

    /// The value for `text` in the map at `index`.
    pub fn value(&self, index: usize, text: &[u8]) -> Option<&[u8]> {
        let map = self.maps.get(index)?;
        map.values.get(map.find(text)?).map(|value| &**value)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: map `{}`: {}", self.place, self.map, self.file.display())?;
        match self.line {
            Some(line) => write!(formatter, ":{line}: {}", self.why),
            None => write!(formatter, ": {}", self.why),
        }
    }
}

impl std::error::Error for MapError {}

fn read(file: &MapFile) -> Result<Vec<u8>, String> {
    file::read(&file.file, LARGEST_FILE).map_err(|error| match error {
        ReadError::TooLarge => "is larger than 64 MiB; that is no map".to_owned(),
        error => error.to_string(),
    })
}

/// A fault and its line.
type Fault = (Option<usize>, String);

impl Map {
    fn parse(bytes: &[u8], kind: MapKind) -> Result<Self, Fault> {
        let (mut values, mut lines) = (Vec::new(), Vec::new());
        let mut builder = Builder::new(kind);
        let mut digest = DefaultHasher::new();
        for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let at = |why: String| (Some(number + 1), why);
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
            let (key, value) = (&line[..end], line[end..].trim_ascii());
            if value.is_empty() {
                return Err(at(format!("the key `{}` has no value; write both on one line", shown(key))));
            }
            if !is_field_content(line) {
                return Err(at("control characters can't be in a map; take them out".to_owned()));
            }
            if let Some(other) = builder.add(key, values.len()).map_err(at)? {
                let line: usize = lines[other];
                return Err(at(format!("the key `{}` is in line {line} already; keep one", shown(key))));
            }
            (key, value).hash(&mut digest);
            values.push(Box::from(value));
            lines.push(number + 1);
        }
        Ok(Self { keys: builder.finish().map_err(|why| (None, why))?, values, digest: digest.finish() })
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        match &self.keys {
            Keys::Exact(table) => table.keys.get(text).copied(),
            Keys::Prefix(table) => table.find(text, |length| text.get(..length)),
            Keys::Suffix(table) => table.find(text, |length| text.get(text.len() - length..)),
            Keys::Network(networks) => networks.find(std::str::from_utf8(text).ok()?.parse().ok()?),
            Keys::Regex(set) => set.matches(text).iter().next(),
        }
    }
}

/// Keys while a file is read.
enum Builder {
    Table(Table, MapKind),
    Networks(Networks),
    Patterns(Vec<String>),
}

impl Builder {
    fn new(kind: MapKind) -> Self {
        match kind {
            MapKind::Exact | MapKind::Prefix | MapKind::Suffix => Self::Table(Table::default(), kind),
            MapKind::Network => Self::Networks(Networks::default()),
            MapKind::Regex => Self::Patterns(Vec::new()),
        }
    }

    /// Adds a key; the index of the same one if there is one already. `Err` is what is wrong with it.
    fn add(&mut self, key: &[u8], index: usize) -> Result<Option<usize>, String> {
        match self {
            Self::Table(table, _) => Ok(match table.keys.entry(Box::from(key)) {
                Entry::Occupied(other) => Some(*other.get()),
                Entry::Vacant(free) => {
                    free.insert(index);
                    None
                }
            }),
            Self::Networks(networks) => {
                let network = std::str::from_utf8(key).map_err(|_| "the key is no network".to_owned())?;
                networks.add(network, index)
            }
            Self::Patterns(patterns) => {
                let pattern = std::str::from_utf8(key).map_err(|_| "the key is not UTF-8".to_owned())?;
                function::regex(pattern, false)?;
                patterns.push(pattern.to_owned());
                Ok(None)
            }
        }
    }

    fn finish(self) -> Result<Keys, String> {
        Ok(match self {
            Self::Table(mut table, kind) => {
                table.lengths = table.keys.keys().map(|key| key.len()).collect();
                table.lengths.sort_unstable_by(|a, b| b.cmp(a));
                table.lengths.dedup();
                match kind {
                    MapKind::Prefix => Keys::Prefix(table),
                    MapKind::Suffix => Keys::Suffix(table),
                    MapKind::Exact | MapKind::Network | MapKind::Regex => Keys::Exact(table),
                }
            }
            Self::Networks(networks) => Keys::Network(networks),
            Self::Patterns(patterns) => {
                let set = expression::set_builder(patterns).size_limit(LARGEST_SET).build();
                Keys::Regex(set.map_err(|_| "its regular expressions together are too large".to_owned())?)
            }
        })
    }
}

impl Table {
    /// The longest key that `part` of the text is: one lookup for each length that a key has.
    fn find<'t>(&self, text: &[u8], part: impl Fn(usize) -> Option<&'t [u8]>) -> Option<usize> {
        let fitting = self.lengths.iter().filter(|length| **length <= text.len());
        fitting.filter_map(|&length| self.keys.get(part(length)?)).next().copied()
    }
}

fn shown(key: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(key).chars().take(60).collect();
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
