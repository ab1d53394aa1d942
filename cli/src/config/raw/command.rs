//! Commands: a program and its arguments, which no shell sees.

use crate::config::reader::{At, Value};

/// More arguments, or longer ones, are none that a person wrote.
const LONGEST: usize = 16 << 10;

/// The process that runs commands looks for each list under a key called `command`.
pub(crate) fn read(value: &Value<'_>) -> Option<At<Vec<String>>> {
    let expected =
        "a list: a program by its whole path, and its arguments, as in [\"/usr/local/bin/fit\", \"-q\"]";
    if let Some(line) = value.as_str() {
        let words: Vec<_> = line.split_whitespace().map(|word| format!("{word:?}")).collect();
        let why = format!("is one text, and no shell takes it apart; write [{}]", words.join(", "));
        value.wrong(&why);
        return None;
    }
    let span = value.span;
    if value.is_empty_list() {
        value.mismatch(expected);
        return None;
    }
    let words = value.list(expected)?;
    let given = words.len();
    let words: Vec<_> = words.iter().enumerate().filter_map(|(index, word)| one(word, index == 0)).collect();
    if words.len() < given {
        return None;
    }
    let length: usize = words.iter().map(|word| word.len() + 1).sum();
    if length > LONGEST {
        value.wrong(&format!("has {length} bytes, more than {LONGEST}; put them into a script"));
        return None;
    }
    Some(At::new(words, span))
}

fn one(value: &Value<'_>, is_program: bool) -> Option<String> {
    let expected = if is_program { "the whole path of a program" } else { "a text" };
    let word = value.parsed(expected, |word| match word {
        _ if word.contains('\0') => Err("has a zero in it".to_owned()),
        _ if is_program && !word.starts_with('/') => {
            Err("has to begin with /: programs are not looked for".to_owned())
        }
        word => Ok(word.to_owned()),
    });
    word.map(|word| word.value)
}
