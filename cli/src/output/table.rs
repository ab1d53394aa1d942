//! A table of plain columns, two spaces apart. The last column takes what is left of the width and wraps.

use super::text::{Paint, Tone, printable, wrap};

/// Characters of a line.
pub(super) const WIDTH: usize = 80;

/// The last column is never narrower than this.
const LAST_MIN: usize = 20;

const GAP: usize = 2;

/// One cell: a few lines in one tone.
#[derive(Debug, Default)]
pub(super) struct Cell {
    lines: Vec<String>,
    tone: Tone,
}

impl Cell {
    pub(super) fn toned(text: &str, tone: Tone) -> Self {
        Self { lines: vec![printable(text)], tone }
    }

    pub(super) fn lines(lines: impl IntoIterator<Item = String>) -> Self {
        Self { lines: lines.into_iter().map(|line| printable(&line)).collect(), tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::toned(&text, Tone::Plain)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    headings: [&'static str; N],
    max: [usize; N],
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// `max` is the most that a column may take; that of the last one is not used.
    pub(super) fn new(headings: [&'static str; N], max: [usize; N]) -> Self {
        Self { headings, max, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// Lines without trailing spaces, each ended by a newline.
    pub(super) fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let headings = self.headings.map(|heading| Cell::toned(heading, Tone::Heading));
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells: Vec<(Vec<String>, Tone)> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| {
                    (cell.lines.iter().flat_map(|line| wrap(line, width)).collect(), cell.tone)
                })
                .collect();
            let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
            for index in 0..height {
                text.push_str(&render_line(&cells, widths, index, paint));
                text.push('\n');
            }
        }
        text
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.headings.map(|heading| heading.chars().count());
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let natural = cell.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
                widths[column] = widths[column].max(natural.min(self.max[column]));
            }
        }
        let longest =
            self.rows.iter().flat_map(|row| &row[N - 1].lines).map(|line| line.chars().count()).max();
        let needed = longest.unwrap_or(0).clamp(widths[N - 1], LAST_MIN);
        let (last, before) = widths.split_last_mut().expect("a table has columns");
        let taken = |before: &[usize]| before.iter().map(|width| width + GAP).sum::<usize>();
        // Long names in several columns at once: the widest gives way, as long as its heading fits.
        while taken(before) + needed > WIDTH {
            let headings = self.headings.iter().map(|heading| heading.chars().count());
            let shrinkable = before.iter_mut().zip(headings).filter(|(width, heading)| **width > *heading);
            let Some((widest, _)) = shrinkable.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
        *last = WIDTH.saturating_sub(taken(before)).max(LAST_MIN);
        widths
    }
}

fn render_line<const N: usize>(
    cells: &[(Vec<String>, Tone)],
    widths: [usize; N],
    index: usize,
    paint: Paint,
) -> String {
    let mut line = String::new();
    let mut owed = 0;
    for ((lines, tone), width) in cells.iter().zip(widths) {
        let text = lines.get(index).map_or("", String::as_str);
        if !text.is_empty() {
            line.extend(std::iter::repeat_n(' ', std::mem::take(&mut owed)));
            line.push_str(&paint.apply(*tone, text));
        }
        owed += width.saturating_sub(text.chars().count()) + GAP;
    }
    line
}
