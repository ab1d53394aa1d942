//! Text for people: tables of 80 columns, relative times, colour only where it is wanted.

pub mod age;
pub mod errors;
pub mod events;
pub mod nagios;
pub mod status;
mod table;
pub(crate) mod text;
pub mod trace;

pub use text::Paint;
