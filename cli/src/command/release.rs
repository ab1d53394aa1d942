//! `lbctl release`: the unit's last word, after daemon and speaker are gone.

use std::path::PathBuf;

use super::asking::block_on;
use crate::{
    config::{self, DEFAULT_FILE},
    daemon::RUNTIME_DIR,
    exit::Exit,
};

/// Arguments of `lbctl release`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Removes the addresses of the file that a speaker has left and that none holds; where daemon and speaker \
                  were killed together, they would stay until their lease is over, for 2 s. The packaged unit does it \
                  when the daemon has ended.\n\nExit codes: 0 nothing is left, 1 failed, 64 usage, 78 bad configuration."
)]
pub struct ReleaseArguments {
    /// The configuration
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// The folder of the locks
    #[arg(long, value_name = "DIR", default_value = RUNTIME_DIR)]
    runtime_dir: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &ReleaseArguments) -> Exit {
    let config = match config::load(&arguments.file) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return Exit::Configuration;
        }
    };
    let groups = config.groups.iter().flat_map(|group| &group.by_node);
    let members = groups.flat_map(|group| &group.members);
    block_on(async {
        match lb_vrrp::io::release(members, &arguments.runtime_dir).await {
            Ok(released) => {
                for (interface, address) in released {
                    println!("removed {} from interface {interface}: no speaker held it", address.address);
                }
                Exit::Fine
            }
            Err(error) => {
                eprintln!("lbctl release: {error}");
                Exit::Failure
            }
        }
    })
}
