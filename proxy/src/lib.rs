//! The data plane of lbctl: it forwards bytes (tcp) and HTTP/1 exchanges (http) from listeners to servers.

pub mod config;
pub mod server;
pub mod status;

pub use config::Config;
pub use server::{Proxy, StartError};
pub use status::{Health, Status};
