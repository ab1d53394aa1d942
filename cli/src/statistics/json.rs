//! HAProxy's JSON: a list of rows, each a list of fields with their place, tags, type and value.

use serde::Serialize;

use super::{Cell, Kind, Row};

#[derive(Serialize)]
struct Field<'a> {
    #[serde(rename = "objType")]
    of: &'static str,
    #[serde(rename = "proxyId")]
    proxy: i64,
    id: i64,
    field: Place,
    #[serde(rename = "processNum")]
    process: u32,
    tags: Tags,
    value: Value<'a>,
}

#[derive(Serialize)]
struct Place {
    pos: usize,
    name: &'static str,
}

#[derive(Serialize)]
struct Tags {
    origin: &'static str,
    nature: &'static str,
    scope: &'static str,
}

#[derive(Serialize)]
struct Value<'a> {
    r#type: &'static str,
    value: Typed<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Typed<'a> {
    Number(i64),
    Text(&'a str),
}

/// The whole text. Empty columns are left out, as HAProxy does.
pub fn json(rows: &[Row]) -> Result<String, serde_json::Error> {
    serde_json::to_string(&rows.iter().map(fields).collect::<Vec<_>>())
}

fn fields(row: &Row) -> Vec<Field<'_>> {
    let number = |column| match row.cell(column) {
        Cell::Number(number) => *number,
        Cell::Empty | Cell::Text(_) => 0,
    };
    let (proxy, id) = (number(super::Column::Iid), number(super::Column::Sid));
    let of = match row.kind {
        Kind::Frontend => "Frontend",
        Kind::Backend => "Backend",
        Kind::Server => "Server",
    };
    let filled = row.cells().filter_map(|(column, cell)| match cell {
        Cell::Empty => None,
        Cell::Number(number) => Some((column, Typed::Number(*number))),
        Cell::Text(word) => Some((column, Typed::Text(word))),
    });
    filled
        .map(|(column, value)| {
            let tags = column.tags();
            Field {
                of,
                proxy,
                id,
                field: Place { pos: column as usize, name: column.name() },
                process: 1,
                tags: Tags { origin: tags.origin, nature: tags.nature, scope: tags.scope },
                value: Value { r#type: tags.kind, value },
            }
        })
        .collect()
}
