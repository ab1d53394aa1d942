//! What `lbctl top` shows: a report of the daemon, which part of it is in sight, and what the keys do. It knows no terminal, no
//! clock and no daemon: keys and reports go in, lines come out.

mod draw;
mod rates;

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, time::Duration};

use crate::control::{Backend, Server, Status};

pub use draw::draw;
use rates::Rates;

/// What a key asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Key {
    /// The next order of servers.
    Sort,
    /// Shows no newer report until it is pressed again.
    Freeze,
    /// Says what the keys do, until the next key.
    Help,
    /// So many lines down; up if it is negative.
    Scroll(i32),
    /// The beginning.
    Home,
    /// The end.
    End,
    /// A page down; up if it is negative.
    Page(i32),
    /// Nothing that means anything.
    Other,
}

/// By what servers are in order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// As in the file.
    #[default]
    File,
    /// Those that are not usable first.
    State,
    /// Most in flight first.
    Sessions,
    /// Most per second first.
    Rate,
    /// Most errors first.
    Errors,
}

/// See the module.
#[derive(Debug)]
pub struct Top {
    status: Status,
    /// What came while it was frozen.
    newer: Option<Status>,
    rates: Rates,
    /// For how long the daemon has not answered, and why.
    trouble: Option<(Duration, String)>,
    sort: Sort,
    is_frozen: bool,
    shows_help: bool,
    /// Lines above those that are in sight.
    scrolled: usize,
    /// Lines in sight, and lines in all, when it was drawn last.
    page: usize,
    lines: usize,
    is_coloured: bool,
}

impl Sort {
    fn next(self) -> Self {
        match self {
            Self::File => Self::State,
            Self::State => Self::Sessions,
            Self::Sessions => Self::Rate,
            Self::Rate => Self::Errors,
            Self::Errors => Self::File,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::State => "state",
            Self::Sessions => "sessions",
            Self::Rate => "rate",
            Self::Errors => "errors",
        }
    }
}

impl Top {
    /// With the first report.
    pub fn new(status: Status, is_coloured: bool) -> Self {
        Self {
            rates: Rates::new(&status),
            status,
            newer: None,
            trouble: None,
            sort: Sort::default(),
            is_frozen: false,
            shows_help: false,
            scrolled: 0,
            page: 1,
            lines: 0,
            is_coloured,
        }
    }

    /// The daemon has answered.
    pub fn report(&mut self, status: Status) {
        self.trouble = None;
        if self.is_frozen {
            self.newer = Some(status);
        } else {
            self.show(status);
        }
    }

    /// It has not, for so long.
    pub fn no_answer(&mut self, waited: Duration, why: String) {
        self.trouble = Some((waited, why));
    }

    /// A key was pressed.
    pub fn key(&mut self, key: Key) {
        if self.shows_help {
            self.shows_help = false;
            self.scrolled = 0;
            return;
        }
        match key {
            Key::Sort => self.sort = self.sort.next(),
            Key::Freeze => {
                self.is_frozen = !self.is_frozen;
                if let Some(newer) = self.newer.take() {
                    self.show(newer);
                }
            }
            Key::Help => (self.shows_help, self.scrolled) = (true, 0),
            Key::Scroll(by) => self.scroll(by),
            Key::Page(by) => self.scroll(by.saturating_mul(i32::try_from(self.page).unwrap_or(i32::MAX))),
            Key::Home => self.scrolled = 0,
            Key::End => self.scrolled = self.lines,
            Key::Other => {}
        }
    }

    fn scroll(&mut self, by: i32) {
        let by = isize::try_from(by).unwrap_or(0);
        self.scrolled = self.scrolled.saturating_add_signed(by).min(self.lines.saturating_sub(self.page));
    }

    fn show(&mut self, status: Status) {
        self.rates.go_on(&status);
        self.status = status;
    }

    /// In the order that is wanted; equal ones as in the file.
    fn servers(&self) -> Vec<(&Backend, &Server)> {
        let all = self.status.backends.iter();
        let mut all: Vec<_> =
            all.flat_map(|backend| backend.servers.iter().map(move |server| (backend, server))).collect();
        match self.sort {
            Sort::File => {}
            Sort::State => all.sort_by_key(|(_, server)| server.is_usable()),
            Sort::Sessions => all.sort_by_key(|(_, server)| Reverse(server.in_flight)),
            Sort::Rate => all.sort_by_key(|(backend, server)| Reverse(self.rates.server(backend, server))),
            Sort::Errors => all.sort_by_key(|(_, server)| Reverse(errors(server))),
        }
        all
    }
}

/// Attempts to connect that failed, and responses that did not come or were not valid.
fn errors(server: &Server) -> u64 {
    server.connect_errors + server.statistics.traffic.response_errors
}
