//! The configuration file: text -> raw tables with spans -> one typed model, all errors at once.

pub mod model;

pub use model::Config;
