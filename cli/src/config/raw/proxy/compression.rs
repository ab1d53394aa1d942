//! `compression`: which responses are compressed.

use lb_proxy::config::{Algorithm, Compression, MediaRange};

use crate::config::reader::{At, Fields, Value};

const EXPECTED: &str =
    "true, false or a table, as in compression = { types = [\"text/*\"], minimum_size = 1000 }";
const ALGORITHMS: [(&str, Algorithm); 2] =
    [(Algorithm::Gzip.name(), Algorithm::Gzip), (Algorithm::Deflate.name(), Algorithm::Deflate)];

const TYPE: &str = "a media type, as in \"text/html\" or \"text/*\"";

/// `None` inside is `false`.
pub(super) fn read(value: &Value<'_>) -> Option<At<Option<Compression>>> {
    let mut compression = Compression::default();
    match value.as_bool() {
        Some(false) => return Some(At::new(None, value.span)),
        Some(true) => {}
        None => {
            let fields = value.fields("`compression`".into(), EXPECTED)?;
            if let Some(values) = some(&fields, "algorithms", "algorithms = [\"gzip\"]") {
                let read = values.iter().filter_map(|value| value.choice(&ALGORITHMS));
                compression.algorithms = read.map(|algorithm| algorithm.value).collect();
            }
            if let Some(values) = some(&fields, "types", "types = [\"text/*\"]") {
                let read = values.iter().filter_map(|value| value.parsed(TYPE, media_range));
                compression.types = read.map(|range| range.value).collect();
            }
            if let Some(size) = fields.measured("minimum_size", 0..=u32::MAX, "bytes") {
                compression.minimum_size = size.value.into();
            }
            if let Some(level) = fields.integer("level", 1..=9) {
                compression.level = u8::try_from(level.value).unwrap_or(compression.level);
            }
            if let Some(offload) = fields.boolean("offload") {
                compression.offload = offload.value;
            }
            fields.finish(|key| {
                let here = match key {
                    "algo" => "algorithms",
                    "type" => "types",
                    "minsize_res" | "minsize-res" | "min_length" => "minimum_size",
                    _ => return None,
                };
                Some(format!("write {here}"))
            });
        }
    }
    Some(At::new(Some(compression), value.span))
}

/// The values of a list that is not empty, or one value.
fn some<'a>(fields: &Fields<'a>, key: &'static str, hint: &str) -> Option<Vec<Value<'a>>> {
    let value = fields.value(key)?;
    if value.is_empty_list() {
        fields.report.error(value.span, format!("{key} is empty, so nothing is compressed; write {hint}"));
    }
    Some(value.one_or_list())
}

fn media_range(text: &str) -> Result<MediaRange, String> {
    MediaRange::parse(text).ok_or_else(|| format!("is not {TYPE}; parameters are not looked at"))
}
