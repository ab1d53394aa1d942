//! `redirect`, alone and behind `http-request`.

use super::Made;
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Fault, shown},
        lexer::Word,
        sample::Scene,
        template,
    },
};

pub(super) fn convert(words: &[Word], scene: Scene<'_>) -> Result<Made, Fault> {
    let [kind, to, rest @ ..] = words else {
        return Err("`redirect` takes location, prefix or scheme, and where it leads".into());
    };
    let key = match kind.text.as_str() {
        key @ ("location" | "prefix" | "scheme") => key,
        other => return Err(Fault::at(kind, format!("`redirect {}` is not there", shown(other)))),
    };
    let mut entries = vec![(key.to_owned(), Value::Text(template::convert(to, scene)?))];
    if key == "scheme" {
        entries[0].1 = Value::text(to.text.to_ascii_lowercase());
    }
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "code" => {
                let code = words.next().unwrap_or(word);
                let status = code
                    .text
                    .parse::<u64>()
                    .map_err(|_| Fault::at(code, format!("`{}` is no status", shown(&code.text))))?;
                if status != 302 {
                    entries.push(("status".into(), Value::Integer(status)));
                }
            }
            // A location has no query but its own in HAProxy, too.
            "drop-query" if key == "location" => {}
            "drop-query" => entries.push(("drop_query".into(), Value::Flag(true))),
            "keep-query" if key != "location" => {}
            "ignore-empty" => {
                return Err(Fault::at(
                    word,
                    "`ignore-empty`: write a rule with a condition on what the location is made of",
                ));
            }
            other => {
                return Err(Fault::at(word, format!("`{}` of a redirection is not there", shown(other))));
            }
        }
    }
    let to = match entries.as_slice() {
        [(key, value)] if key == "location" => value.clone(),
        _ => Value::Table(entries),
    };
    Ok(Made::Rule { does: vec![("redirect".into(), to)], note: None })
}
