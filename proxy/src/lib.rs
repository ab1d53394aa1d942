//! The data plane of lbctl: it forwards bytes (tcp) and HTTP/1 exchanges (http) from listeners to servers.
//!
//! ```text
//! Proxy::start(Config)                        control side: any tokio runtime
//!   ├── listener::bind ── sockets ─┐            ├── health: checks, verdicts, usable sets
//!   │                              ▼            └── stall watch, binding again, rates
//!   ├── worker 0: thread, runtime, accept loops ── Connection ── tcp::serve | http::serve ── upstream::Search
//!   └── worker N ...                                                                             │
//!            shared: Node (limits, positions, usable servers) <──────────────────────────────────┘
//! ```
//! A connection lives on one worker from accept to close. Sessions are generic over [`Stream`]; they find servers
//! with [`upstream::Search`], time with [`wheel::Deadline`], memory with [`buffer::BufferPool`].
#![warn(missing_docs)]

pub mod auth;
pub mod buffer;
mod calendar;
pub mod client_hello;
pub mod config;
mod connection;
pub mod descriptors;
mod drain;
mod endpoint;
pub mod error;
pub mod expression;
pub mod file;
mod handover;
pub mod health;
mod hex;
mod hidden;
pub mod http;
pub mod http2;
pub mod inquiry;
pub mod invalid;
mod limit;
mod listener;
pub mod log;
pub mod loops;
pub mod metrics;
mod node;
pub mod patience;
pub mod proxy_protocol;
mod rates;
mod refusals;
pub mod resolve;
pub mod rules;
pub mod sample;
pub mod server;
mod slack;
mod splitmix;
mod stall;
pub mod status;
pub mod stream;
mod substitute;
pub mod table;
mod tcp;
pub mod tls;
pub mod trace;
mod transitions;
mod unused;
pub mod upstream;
pub mod wheel;
mod worker;

pub use config::Config;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use handover::{Grown, HandOverError, Handover, Known, Listener, Tally};
pub use hidden::is_hidden;
pub use listener::{
    inherited::{close_unnamed_descriptors, note_passed_descriptors},
    newcomers::{drop_newcomers, newcomers_are_dropped_by},
    pause::{Pause, PauseError},
};
pub use log::{Fact, LogEvent};
pub use server::{Prepared, Proxy, ReloadError, Reloaded, StartError};
pub use status::{Health, Status};
pub use stream::Stream;
pub use transitions::StateChange;
pub use worker::Worker;
