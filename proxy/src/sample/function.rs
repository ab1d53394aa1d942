//! Functions: what may follow a placeholder after `|`. Each makes one text of another; what has no value stays so, but
//! for `default`.

use std::num::NonZeroU64;

use regex::bytes::Regex;
use sha2::{Digest, Sha256};

use super::{
    Maps, Names, address, base64,
    encode::{html, json, json_of_log, put_hex, url_decode, url_encode},
    fault::Fault,
    hash,
    parse::Argument,
    text::ShortText,
};
use crate::{
    http::{
        cookie,
        headers::{self, Sink},
        query,
    },
    substitute::Substitute,
};

/// One function with its arguments.
#[derive(Clone, Debug)]
pub(super) enum Function {
    Lower,
    Upper,
    Trim,
    Length,
    Field {
        index: i32,
        delimiters: Box<[u8]>,
        skip_empty: bool,
        /// What a text becomes that has fewer.
        otherwise: Option<Box<[u8]>>,
    },
    Bytes {
        start: usize,
        length: Option<usize>,
    },
    Regsub {
        substitute: Box<Substitute>,
        all: bool,
    },
    UrlDecode,
    /// Not in the table: what places that tell requests apart do to a parameter (`Text::Key`).
    Decode,
    /// Likewise: what they do to a cookie.
    DecodeCookie,
    UrlEncode,
    Base64,
    Base64Decode,
    Hex,
    Html,
    Json,
    /// The same in a line of a log: what only HTML minds stays, and all is ASCII.
    JsonOfLog,
    /// In a line of a log: as it is.
    Raw,
    Crc32,
    Sha256,
    Xxh64,
    Address,
    Mask {
        v4: u8,
        /// IPv6 has no value without it.
        v6: Option<u8>,
    },
    /// The number that it begins with.
    Number,
    /// What is left of a number.
    Modulo(NonZeroU64),
    Default(Box<[u8]>),
    Map {
        index: usize,
        /// What a text becomes that has no line.
        otherwise: Option<Box<[u8]>>,
    },
}

/// A row of the documented table.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// `field`
    pub name: &'static str,
    /// How it is written with its arguments: `field(2, ":")`.
    pub usage: &'static str,
    /// HAProxy's name for it; `-` if it has none.
    pub haproxy: &'static str,
}

const fn row(name: &'static str, usage: &'static str, haproxy: &'static str) -> Signature {
    Signature { name, usage, haproxy }
}

/// All functions, in the order of docs/templates.md.
pub const FUNCTIONS: &[Signature] = &[
    row("lower", "lower", "lower"),
    row("upper", "upper", "upper"),
    row("trim", "trim", "ltrim, rtrim"),
    row("length", "length", "length"),
    row("field", "field(2, \":\")", "field"),
    row("word", "word(-1, \", \")", "word"),
    row("bytes", "bytes(0, 8)", "bytes"),
    row("regsub", "regsub(\"^/v([0-9]+)/\", \"/$1/\", \"gi\")", "regsub"),
    row("url_decode", "url_decode", "url_dec"),
    row("url_encode", "url_encode", "url_enc"),
    row("base64", "base64", "base64"),
    row("base64_decode", "base64_decode", "b64dec"),
    row("hex", "hex", "hex,lower"),
    row("html", "html", "-"),
    row("json", "json", "json"),
    row("raw", "raw", "-"),
    row("crc32", "crc32", "crc32"),
    row("sha256", "sha256", "sha2(256),hex,lower"),
    row("xxh64", "xxh64", "xxh64"),
    row("address", "address", "hdr_ip"),
    row("mask", "mask(24, 64)", "ipmask"),
    row("number", "number", "-"),
    row("modulo", "modulo(100)", "mod"),
    row("map", "map(\"NAME\")", "map(FILE)"),
    row("default", "default(\"none\")", "-"),
];

/// Bytes of a text that a function makes; what is more is cut off.
pub(super) const LONGEST: usize = 64 * 1024;

/// Bytes of a compiled expression, about as `regex` counts them.
const LARGEST_REGEX: usize = 1 << 20;

impl Function {
    /// Is its text an address, so that it has nothing to say of any other?
    pub(super) fn wants_address(&self) -> bool {
        matches!(self, Self::Address | Self::Mask { .. })
    }

    pub(super) fn new(row: &Signature, arguments: &[Argument], names: &Names) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::Arguments { usage: row.usage, why: why.to_owned() };
        let none = |function| match arguments {
            [] => Ok(function),
            _ => Err(wrong(&format!("`{}` takes no arguments", row.name))),
        };
        match row.name {
            "lower" => none(Self::Lower),
            "upper" => none(Self::Upper),
            "trim" => none(Self::Trim),
            "length" => none(Self::Length),
            "url_decode" => none(Self::UrlDecode),
            "url_encode" => none(Self::UrlEncode),
            "base64" => none(Self::Base64),
            "base64_decode" => none(Self::Base64Decode),
            "hex" => none(Self::Hex),
            "html" => none(Self::Html),
            "json" => none(Self::Json),
            "raw" => none(Self::Raw),
            "crc32" => none(Self::Crc32),
            "sha256" => none(Self::Sha256),
            "xxh64" => none(Self::Xxh64),
            "address" => none(Self::Address),
            "number" => none(Self::Number),
            "field" | "word" => match arguments {
                [Argument::Number(index), Argument::Text(delimiters), rest @ ..] if rest.len() < 2 => {
                    let otherwise = match rest.first() {
                        Some(Argument::Text(text)) => Some(Box::from(text.as_bytes())),
                        Some(Argument::Number(_)) => {
                            return Err(wrong("what a text with fewer parts becomes is in quotes"));
                        }
                        None => None,
                    };
                    let index = i32::try_from(*index).ok().filter(|index| *index != 0);
                    let index = index.ok_or_else(|| wrong("the first is 1, the last is -1"))?;
                    if delimiters.is_empty() {
                        return Err(wrong("at least one delimiter is wanted"));
                    }
                    let delimiters = Box::from(delimiters.as_bytes());
                    Ok(Self::Field { index, delimiters, skip_empty: row.name == "word", otherwise })
                }
                _ => Err(wrong(&format!("`{}` takes a number and delimiters in quotes", row.name))),
            },
            "bytes" => {
                let size = |number: i64| usize::try_from(number).map_err(|_| wrong("both count from 0"));
                match arguments {
                    [Argument::Number(start)] => Ok(Self::Bytes { start: size(*start)?, length: None }),
                    [Argument::Number(start), Argument::Number(length)] => {
                        Ok(Self::Bytes { start: size(*start)?, length: Some(size(*length)?) })
                    }
                    _ => Err(wrong("`bytes` takes a start and a length")),
                }
            }
            "regsub" => {
                let (pattern, replacement, flags) = match arguments {
                    [Argument::Text(pattern), Argument::Text(replacement)] => (pattern, replacement, ""),
                    [Argument::Text(pattern), Argument::Text(replacement), Argument::Text(flags)] => {
                        (pattern, replacement, flags.as_str())
                    }
                    _ => {
                        return Err(wrong(
                            "`regsub` takes a regular expression and its replacement, in quotes",
                        ));
                    }
                };
                if let Some(flag) = flags.chars().find(|flag| !"gi".contains(*flag)) {
                    return Err(wrong(&format!("`{}` is no flag; flags are g and i", flag.escape_debug())));
                }
                let regex = regex(pattern, flags.contains('i')).map_err(|why| wrong(&why))?;
                let substitute = Substitute::new(regex, replacement).map_err(|group| {
                    let hint = "a group is `$1` or `${1}`, the character itself `$$`";
                    wrong(&format!("the expression has no group `{}`; {hint}", group.escape_debug()))
                })?;
                Ok(Self::Regsub { substitute: Box::new(substitute), all: flags.contains('g') })
            }
            "mask" => {
                let bits = |number: &i64, most| u8::try_from(*number).ok().filter(|bits| *bits <= most);
                let (v4, v6) = match arguments {
                    [Argument::Number(v4)] => (bits(v4, 32), Some(None)),
                    [Argument::Number(v4), Argument::Number(v6)] => (bits(v4, 32), bits(v6, 128).map(Some)),
                    _ => return Err(wrong("`mask` takes the prefix lengths for IPv4 and IPv6")),
                };
                match (v4, v6) {
                    (Some(v4), Some(v6)) => Ok(Self::Mask { v4, v6 }),
                    _ => Err(wrong("prefix lengths are 0..32 for IPv4 and 0..128 for IPv6")),
                }
            }
            "modulo" => match arguments {
                [Argument::Number(number)] => {
                    let number = u64::try_from(*number).ok().and_then(NonZeroU64::new);
                    Ok(Self::Modulo(number.ok_or_else(|| wrong("numbers are divided by 1 or more"))?))
                }
                _ => Err(wrong("`modulo` takes a number")),
            },
            "default" => match arguments {
                [Argument::Text(text)] => Ok(Self::Default(Box::from(text.as_bytes()))),
                _ => Err(wrong("`default` takes one text in quotes")),
            },
            "map" => match arguments {
                [Argument::Text(name), rest @ ..] if rest.len() < 2 => {
                    let otherwise = match rest.first() {
                        Some(Argument::Text(text)) => Some(Box::from(text.as_bytes())),
                        Some(Argument::Number(_)) => {
                            return Err(wrong("what a text without a line becomes is in quotes"));
                        }
                        None => None,
                    };
                    let unknown = || Fault::Map { name: name.clone(), known: names.maps().to_vec() };
                    Ok(Self::Map { index: names.map(name).ok_or_else(unknown)?, otherwise })
                }
                _ => Err(wrong(
                    "`map` takes the name of a [map.*] in quotes, and what a text without a line becomes",
                )),
            },
            _ => Err(Fault::Function { name: row.name.to_owned() }),
        }
    }
}

/// Compiles an expression for bytes: linear in the text whatever it is. `Err` is a clause.
pub(super) fn regex(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    let mut builder = crate::expression::builder(pattern);
    builder.case_insensitive(ignore_case).size_limit(LARGEST_REGEX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        // The last line of the library's text says what; those before draw it.
        error => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!("the regular expression is wrong: {why}")
        }
    })
}

/// A text on its way through functions.
pub(super) struct Work<'a> {
    maps: &'a Maps,
    current: Current<'a>,
    made: Vec<u8>,
    spare: Vec<u8>,
    /// The part of the current text that counts.
    start: usize,
    end: usize,
}

/// Where the text is.
#[derive(Clone, Copy)]
enum Current<'a> {
    /// It has no value.
    Absent,
    /// No function has made it anew.
    Given(&'a [u8]),
    /// In `made`.
    Made,
}

impl<'a> Work<'a> {
    /// `room` is two empty vectors.
    pub(super) fn new(value: Option<&'a [u8]>, maps: &'a Maps, [made, spare]: [Vec<u8>; 2]) -> Self {
        let mut work = Self { maps, current: Current::Absent, made, spare, start: 0, end: 0 };
        if let Some(value) = value {
            work.give(value);
        }
        work
    }

    /// The text that these are together.
    pub(super) fn joined(parts: [&[u8]; 2], maps: &'a Maps, room: [Vec<u8>; 2]) -> Self {
        let mut work = Self::new(Some(b""), maps, room);
        work.make(|_, out| parts.iter().for_each(|part| out.extend_from_slice(part)));
        work
    }

    /// The text, if it has a value.
    pub(super) fn value(&self) -> Option<&[u8]> {
        let text = match self.current {
            Current::Absent => return None,
            Current::Given(text) => text,
            Current::Made => &self.made,
        };
        text.get(self.start..self.end)
    }

    /// Gives the room back.
    pub(super) fn into_room(self) -> [Vec<u8>; 2] {
        [self.made, self.spare]
    }

    /// Applies one function.
    pub(super) fn apply(&mut self, function: &'a Function) {
        let Some(text) = self.value() else {
            if let Function::Default(text) = function {
                self.give(text);
            }
            return;
        };
        match function {
            Function::Lower => self.each(|byte| byte.to_ascii_lowercase()),
            Function::Upper => self.each(|byte| byte.to_ascii_uppercase()),
            Function::Trim => {
                let start = text.len() - text.trim_ascii_start().len();
                let end = start + text.trim_ascii().len();
                self.narrow(Some((start, end)));
            }
            Function::Length => {
                let length = ShortText::display(text.len());
                self.make(|_, out| out.put(&length));
            }
            Function::Field { index, delimiters, skip_empty, otherwise } => {
                match (field(text, *index, delimiters, *skip_empty), otherwise) {
                    (None, Some(otherwise)) => self.give(otherwise),
                    (place, _) => self.narrow(place),
                }
            }
            Function::Bytes { start, length } => {
                let all = text.len();
                let start = (*start).min(all);
                let end = length.map_or(all, |length| start.saturating_add(length).min(all));
                self.narrow(Some((start, end)));
            }
            Function::Regsub { substitute, all } => {
                // What is beyond a bound is cut off: left as it was it would get past who relies on the replacement.
                self.make_some(|text, out| substitute.apply(text, *all, LONGEST, out).unwrap_or(true));
            }
            Function::UrlDecode => self.make(url_decode),
            Function::Decode => {
                if memchr::memchr2(b'%', b'+', text).is_some() {
                    self.make(|text, out| out.extend(query::bytes(text)));
                }
            }
            Function::DecodeCookie => {
                if !cookie::is_plain(text) {
                    self.make(cookie::plain);
                }
            }
            Function::UrlEncode => self.make(|text, out| text.iter().for_each(|&byte| url_encode(byte, out))),
            Function::Base64 => self.make(base64::encode),
            Function::Base64Decode => {
                let mut is_base64 = false;
                self.make(|text, out| is_base64 = base64::decode(text, out).is_some());
                if !is_base64 {
                    self.current = Current::Absent;
                }
            }
            Function::Hex => self.make(put_hex),
            Function::Html => self.make(|text, out| text.iter().for_each(|&byte| html(byte, out))),
            Function::Json => self.make(json),
            Function::JsonOfLog => self.make(json_of_log),
            // Where it is written it is asked for.
            Function::Raw => {}
            Function::Crc32 => self.make(|text, out| out.put(&ShortText::display(hash::crc32(text)))),
            Function::Xxh64 => {
                self.make(|text, out| out.put(&ShortText::display(hash::xxh64(text).cast_signed())))
            }
            Function::Sha256 => self.make(|text, out| put_hex(&Sha256::digest(text), out)),
            Function::Address => match address::read(text) {
                Some(address) => self.make(|_, out| out.put(&ShortText::display(address))),
                None => self.current = Current::Absent,
            },
            Function::Mask { v4, v6 } => match address::masked(text, *v4, *v6) {
                Some(address) => self.make(|_, out| headers::put_address(address, out)),
                None => self.current = Current::Absent,
            },
            Function::Number => match number(text) {
                Some(number) => self.make(|_, out| out.put(&ShortText::display(number))),
                None => self.current = Current::Absent,
            },
            Function::Modulo(by) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i128>().ok());
                match number {
                    Some(number) => {
                        self.make(|_, out| out.put(&ShortText::display(number % i128::from(by.get()))));
                    }
                    None => self.current = Current::Absent,
                }
            }
            Function::Map { index, otherwise } => {
                match self.maps.value(*index, text).or(otherwise.as_deref()) {
                    Some(value) => self.give(value),
                    None => self.current = Current::Absent,
                }
            }
            Function::Default(text) => {
                if self.start == self.end {
                    self.give(text);
                }
            }
        }
    }

    fn give(&mut self, text: &'a [u8]) {
        (self.current, self.start, self.end) = (Current::Given(text), 0, text.len());
    }

    /// A part of the text, or no value.
    fn narrow(&mut self, part: Option<(usize, usize)>) {
        match part {
            Some((start, end)) => (self.start, self.end) = (self.start + start, self.start + end),
            None => self.current = Current::Absent,
        }
    }

    /// Takes what `make` makes of the text.
    fn make(&mut self, make: impl FnOnce(&[u8], &mut Vec<u8>)) {
        self.make_some(|text, out| {
            make(text, out);
            true
        });
    }

    /// Takes what `make` makes of the text, unless it returns false.
    fn make_some(&mut self, make: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) {
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        if !make(self.value().unwrap_or_default(), &mut out) {
            self.spare = out;
            return;
        }
        out.truncate(LONGEST);
        self.spare = std::mem::replace(&mut self.made, out);
        (self.current, self.start, self.end) = (Current::Made, 0, self.made.len());
    }

    /// Changes single bytes; copies nothing if none changes.
    fn each(&mut self, change: impl Fn(u8) -> u8) {
        if self.value().unwrap_or_default().iter().any(|&byte| change(byte) != byte) {
            self.make(|text, out| out.extend(text.iter().map(|&byte| change(byte))));
        }
    }
}

/// The number that a text begins with, as HAProxy makes a number of it: 0 if it begins with none, and nothing of nothing.
fn number(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [] => return None,
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number =
        digits.fold(0, |number: i64, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
    Some(if is_negative { -number } else { number })
}

/// Where the field is: the first is 1, the last -1. Fields stand between delimiters; words are those that are not empty.
fn field(text: &[u8], index: i32, delimiters: &[u8], skip_empty: bool) -> Option<(usize, usize)> {
    let is_delimiter = |byte: &u8| delimiters.contains(byte);
    let wanted = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1);
    let counts = |(start, end): &(usize, usize)| !skip_empty || start < end;
    if index > 0 {
        let mut start = 0;
        let fields = text.split(is_delimiter).map(|field| {
            let place = (start, start + field.len());
            start += field.len() + 1;
            place
        });
        return fields.filter(counts).nth(wanted);
    }
    let mut end = text.len();
    let fields = text.rsplit(is_delimiter).map(|field| {
        let place = (end - field.len(), end);
        end = place.0.saturating_sub(1);
        place
    });
    fields.filter(counts).nth(wanted)
}
