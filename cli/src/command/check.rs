//! `lbctl check`.

use std::path::PathBuf;

use crate::{
    config::{self, Config},
    exit::Exit,
};

/// Arguments of `lbctl check`.
#[derive(Debug, clap::Args)]
pub struct CheckArguments {
    /// The configuration file; `-` reads standard input
    file: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &CheckArguments) -> Exit {
    match config::load(&arguments.file) {
        Ok(config) => {
            eprint!("{}", config.warnings);
            println!("{}: {}", arguments.file.display(), summary(&config));
            Exit::Fine
        }
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            eprintln!("{}. Nothing was changed.", diagnostics.summary());
            Exit::Configuration
        }
    }
}

/// `fine: 2 nodes, 1 vip, 1 frontend, 1 backend, 2 servers`.
fn summary(config: &Config) -> String {
    let vips =
        config.groups.iter().filter_map(|group| group.by_node.first()).map(|node| node.members.len()).sum();
    let servers = config.proxy.backends.iter().map(|backend| backend.servers.len()).sum();
    let counts: [(usize, &str); 5] = [
        (config.cluster.nodes.len(), "node"),
        (vips, "vip"),
        (config.proxy.frontends.len(), "frontend"),
        (config.proxy.backends.len(), "backend"),
        (servers, "server"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, noun)| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    });
    let verdict = match config.warnings.summary() {
        none if none.is_empty() => "fine".to_owned(),
        some => format!("fine, with {some}"),
    };
    format!("{verdict}: {}", counts.collect::<Vec<_>>().join(", "))
}
