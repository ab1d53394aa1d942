//! HAProxy's CSV: a first line with `# `, a comma after every cell, a line end after every line. A text that a spreadsheet
//! would compute has a `'` in front, as some of them are a server's or an agent's own words.

use super::{Cell, Column, Row};

/// The whole text.
pub fn csv(rows: &[Row]) -> String {
    // A line of numbers has about 200 bytes.
    let mut text = String::with_capacity(700 + 250 * rows.len());
    text.push_str("# ");
    for column in Column::ALL {
        text.push_str(column.name());
        text.push(',');
    }
    text.push('\n');
    for row in rows {
        for (_, cell) in row.cells() {
            match cell {
                Cell::Empty => {}
                Cell::Number(number) => text.push_str(&number.to_string()),
                Cell::Text(word) => push_quoted(word, &mut text),
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// In quotes only if it has to be (RFC 4180 section 2).
fn push_quoted(word: &str, text: &mut String) {
    let formula = if word.starts_with(['=', '+', '-', '@', '\t']) { "'" } else { "" };
    if !word.contains(['"', ',', '\n', '\r']) {
        text.push_str(formula);
        return text.push_str(word);
    }
    text.push('"');
    text.push_str(formula);
    text.push_str(&word.replace('"', "\"\""));
    text.push('"');
}
