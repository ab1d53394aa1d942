//! What is asked for behind the URI: `;csv`, `;json`, `;up`, `;no-maint`, `;norefresh`, anywhere and in any order, as in
//! HAProxy.

use super::{Cell, Column, Kind, Row};

/// In which form.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Format {
    /// The page.
    #[default]
    Page,
    /// HAProxy's CSV.
    Csv,
    /// HAProxy's JSON.
    Json,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct View {
    /// In which form.
    pub format: Format,
    /// Without servers that are down.
    pub hide_down: bool,
    /// Without servers in maintenance.
    pub hide_maintenance: bool,
    /// The page does not refresh itself.
    pub no_refresh: bool,
}

impl View {
    /// From what stands behind the URI in a request's target.
    pub fn parse(suffix: &[u8]) -> Self {
        let has = |word: &[u8]| suffix.windows(word.len()).any(|part| part == word);
        Self {
            // HAProxy looks for JSON last, so it wins.
            format: match (has(b";json"), has(b";csv")) {
                (true, _) => Format::Json,
                (false, true) => Format::Csv,
                (false, false) => Format::Page,
            },
            hide_down: has(b";up"),
            hide_maintenance: has(b";no-maint"),
            no_refresh: has(b";norefresh"),
        }
    }

    /// Takes out the rows that shall not be shown. Of a backend that hides some, the status tells how many are up.
    pub fn filter(self, rows: Vec<Row>) -> Vec<Row> {
        if !self.hide_down && !self.hide_maintenance {
            return rows;
        }
        let mut kept = Vec::with_capacity(rows.len());
        let (mut up, mut all) = (0, 0);
        for mut row in rows {
            let word = match row.cell(Column::Status) {
                Cell::Text(word) => word.clone(),
                Cell::Empty | Cell::Number(_) => String::new(),
            };
            match row.kind {
                Kind::Server => {
                    let is_maintained = word.starts_with("MAINT");
                    all += 1;
                    up += u32::from(!is_maintained && !word.starts_with("DOWN"));
                    // `DOWN 1/2` is on its way up, so it stays.
                    let is_down = is_maintained || word == "DOWN" || word == "DOWN (agent)";
                    if (self.hide_down && is_down) || (self.hide_maintenance && is_maintained) {
                        continue;
                    }
                }
                Kind::Backend => {
                    row.set_status(format!("{word} ({up}/{all})"));
                    (up, all) = (0, 0);
                }
                Kind::Frontend => {}
            }
            kept.push(row);
        }
        kept
    }
}
