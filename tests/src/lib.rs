//! Harness of the end-to-end tests: a lab per test, programs of other projects in it, and what the record of addresses
//! says.

pub mod attempts;
pub mod browser;
pub mod capture;
pub mod certificate;
pub mod exim;
pub mod keepalived;
pub mod lockstep;
pub mod machine;
pub mod mariadb;
pub mod nginx;
pub mod order;
pub mod package;
pub mod plain;
pub mod preload;
pub mod processes;
pub mod program;
pub mod scene;
pub mod soak;
pub mod wait;
pub mod world;
pub mod wrk;
