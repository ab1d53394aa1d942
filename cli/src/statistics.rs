//! The statistics in HAProxy's form: the same rows and columns as its page, its CSV and its JSON, made from the report
//! that `lbctl status` prints.
//!
//! ```text
//! Status ──> rows: one per frontend, server, backend ──┬──> csv
//!    │                                                 ├──> json
//!    └── node, addresses, problems ────────────────────┴──> page
//! ```

mod column;
mod csv;
mod json;
mod page;
mod row;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use column::Column;
pub use csv::csv;
pub use json::json;
pub use page::{Page, page};
pub use row::{Cell, Kind, Row, rows};
pub use view::{Format, View};
