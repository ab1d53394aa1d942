//! lbctl: the composition root. It reads the file, runs the proxy and the speaker, and serves and speaks the control
//! interface. The binary is a thin shell over this library; the end-to-end tests use its lab.

pub mod command;
pub mod config;
pub mod control;
pub mod daemon;
pub mod exit;
pub mod import;
mod interfaces;
pub mod keeper;
pub mod lab;
pub mod log;
pub mod metrics;
pub mod output;
pub mod packets;
pub mod privileges;
mod process;
pub mod runner;
mod service;
mod signing;
pub mod speaker;
pub mod statistics;
pub mod top;
