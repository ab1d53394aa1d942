//! The lab: the two-node deployment on one machine, made of network namespaces, to play with and to test with.
//!
//! ```text
//!  this process            outer            init (PID 1)                 one thread per node, in its namespaces
//!  Lab ──── starts ──────> unshare ──────> bridges, cables, record ───> client  lb1  lb2  web1  web2
//!   └── Unix socket, a JSON line each way ──> serve ── fail, heal, exec ──┘ lbctl run, web servers, commands
//! ```
//! Everything is one program, `lbctl`, that runs itself again with hidden verbs; nothing else is needed on the machine.
//! The namespaces have no names and the processes are those of one PID namespace, so whatever happens to the lab, the
//! kernel cleans up after it.
//!
//! ```no_run
//! use lbctl::lab::{How, Lab, LoadOptions, Options};
//!
//! let lab = Lab::up(&Options::default())?;
//! let load = lab.load(&LoadOptions::default())?;
//! let holder = lab.wait_for_holder(std::time::Duration::from_secs(5))?;
//! let at = lab.fail(&holder, How::Kill)?;
//! lab.heal(&holder)?;
//! println!("{:?}", load.stop()?.gap_around(at));
//! # Ok::<(), anyhow::Error>(())
//! ```

mod clock;
mod daemon;
pub mod demo;
mod fault;
mod handle;
mod harm;
mod hint;
pub mod hold;
pub mod init;
pub mod load;
mod network;
mod node;
mod options;
pub mod outer;
mod processes;
mod protocol;
mod record;
mod report;
pub mod screen;
mod serve;
mod stage;
mod status;
mod topology;
pub mod web;

pub use clock::now;
pub use fault::How;
pub use handle::{Lab, Load, Output, Spawned};
pub use hint::DEFAULT_NAME;
pub use load::{LoadOptions, Outcome, Sample};
pub use options::Options;
pub use processes::Ended;
pub use record::{Change, Event};
pub use report::Report;
pub use status::{LabStatus, NodeStatus};
pub use topology::{BALANCERS, CONFIGURATION, NODES, Network, Role, VIP, VIP_IPV6};
