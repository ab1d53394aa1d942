//! The files that one import reads, and what is said about each: a file and all that it includes.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    config::{self, Diagnostics, diagnostic::Span},
    import::{bytes, notes::Notes},
};

/// Files of one import, with all that they include.
const MOST_FILES: usize = 200;

/// Where something stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    /// Which of the [`Sources`].
    pub(super) file: usize,
    pub(super) span: Span,
}

/// What makes a file unreadable: one place, one sentence.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) place: Place,
    pub(super) message: String,
}

/// A file as it is, and what its `include` lines lead to.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// Files that lines of it include, by where the line begins.
    pub(super) includes: BTreeMap<usize, Vec<usize>>,
    folder: PathBuf,
}

/// All files of one import.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
    said: RefCell<Vec<Said>>,
}

#[derive(Debug)]
struct Said {
    place: Place,
    grade: Grade,
    message: String,
}

/// As the functions of [`Notes`] that they are handed to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grade {
    Advise,
    Lost,
    Differ,
    Hide,
}

impl Sources {
    /// Takes a file and what it includes; its index.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8], folder: &Path) -> Result<usize, Diagnostics> {
        let text = bytes::text(bytes, name, &['#', '!'])?.into_owned();
        let index = self.files.len();
        self.files.push(Source {
            name: name.to_owned(),
            text,
            includes: BTreeMap::new(),
            folder: folder.to_owned(),
        });
        self.include(index);
        Ok(index)
    }

    /// Reads what lines with `include` name, before anything else of the file is understood, as Keepalived does.
    fn include(&mut self, index: usize) {
        let mut start = 0;
        let text = self.files[index].text.clone();
        for line in text.split_inclusive('\n') {
            let at = start;
            start += line.len();
            let line = line.trim_end();
            let mut words = line.split_ascii_whitespace();
            let (Some(word), Some(pattern)) = (words.next(), words.next()) else { continue };
            if !is_include(word) {
                continue;
            }
            let pattern = pattern.trim_matches(['"', '\'']);
            let place = Place { file: index, span: span_of(line, at) };
            let mut found = Vec::new();
            match self.matching(index, pattern) {
                Ok(paths) if paths.is_empty() => {
                    self.lost(place, format!("no file is {pattern}, which this line includes"));
                }
                Ok(paths) => {
                    for path in paths {
                        match self.included(&path) {
                            Ok(index) => found.push(index),
                            Err(why) => {
                                self.lost(place, format!("{} can't be included: {why}", path.display()));
                            }
                        }
                    }
                }
                Err(why) => self.lost(place, why),
            }
            self.files[index].includes.insert(at, found);
        }
    }

    fn included(&mut self, path: &Path) -> Result<usize, String> {
        if self.files.len() >= MOST_FILES {
            return Err(format!("it is one of more than {MOST_FILES} files"));
        }
        let first = |report: Diagnostics| {
            report.iter().next().map(|diagnostic| diagnostic.message.clone()).unwrap_or_default()
        };
        let (name, bytes) = config::read(path).map_err(first)?;
        self.add(&name, &bytes, path.parent().unwrap_or(Path::new(""))).map_err(first)
    }

    /// The files that a pattern names; `*` and `?` stand for parts of a file's name.
    fn matching(&self, index: usize, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = self.files[index].folder.join(pattern);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if folder.to_string_lossy().contains(['*', '?', '[', '{']) || name.contains(['[', '{']) {
            return Err(format!(
                "{pattern} is not followed: `*` and `?` are, in the name of a file; include the files one by one"
            ));
        }
        if !name.contains(['*', '?']) {
            return Ok(vec![path]);
        }
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        let entries = match fs::read_dir(here) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{} can't be looked into: {error}", here.display())),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|entry| !entry.starts_with('.') && fits(&name, entry)).collect();
        names.sort();
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    pub(super) fn file(&self, index: usize) -> &Source {
        &self.files[index]
    }

    /// The line of a place, counted from 1.
    pub(super) fn number(&self, place: Place) -> usize {
        let before = self.files[place.file].text.get(..place.span.start).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// `lb1.conf line 12`
    pub(super) fn line(&self, place: Place) -> String {
        format!("{} line {}", self.files[place.file].name, self.number(place))
    }

    pub(super) fn advise(&self, place: Place, message: impl Into<String>) {
        self.say(Grade::Advise, place, message);
    }

    pub(super) fn lost(&self, place: Place, message: impl Into<String>) {
        self.say(Grade::Lost, place, message);
    }

    pub(super) fn differ(&self, place: Place, message: impl Into<String>) {
        self.say(Grade::Differ, place, message);
    }

    /// What stands there is a secret.
    pub(super) fn hide(&self, place: Place) {
        self.say(Grade::Hide, place, "");
    }

    pub(super) fn say(&self, grade: Grade, place: Place, message: impl Into<String>) {
        self.said.borrow_mut().push(Said { place, grade, message: message.into() });
    }

    /// What was said, by file, and how much of it is about what is lost.
    pub(super) fn finish(&self, strict: bool) -> (Vec<Diagnostics>, usize) {
        let mut reports = Vec::new();
        let mut lost = 0;
        for (index, source) in self.files.iter().enumerate() {
            let notes = Notes::new(&source.text, strict);
            for said in self.said.borrow().iter().filter(|said| said.place.file == index) {
                let (span, message) = (said.place.span, said.message.as_str());
                match said.grade {
                    Grade::Advise => notes.advise(span, message),
                    Grade::Lost => notes.lost(span, message),
                    Grade::Differ => notes.differ(span, message),
                    Grade::Hide => notes.hide(span),
                }
            }
            let (report, count) = notes.finish(&source.name);
            lost += count;
            reports.push(report);
        }
        (reports, lost)
    }
}

/// `include`, and its relatives that are stricter about what is found.
pub(super) fn is_include(word: &str) -> bool {
    matches!(word, "include" | "includer" | "includem" | "includew" | "includeb" | "includea")
}

/// A line without the white space around it.
fn span_of(line: &str, at: usize) -> Span {
    let start = at + line.len() - line.trim_start().len();
    Span { start, end: at + line.trim_end().len() }
}

/// `*` is any text, `?` one character.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last `*` was, and how much of the name it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    let (mut at, mut of) = (0, 0);
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[of] => {
                at += 1;
                of += 1;
            }
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, of) = (*from + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaayb", true),
            ("*a*b", "xaayc", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
