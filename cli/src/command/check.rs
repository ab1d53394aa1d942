//! `lbctl check`.

use std::{collections::BTreeSet, io::Write, path::PathBuf};

use lb_proxy::sample::Maps;

use crate::{
    config::{self, Config},
    exit::Exit,
};

pub(super) mod here;
mod strangers;
mod what_if;

/// Arguments of `lbctl check`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the file is fine (warnings included), 78 it is not: every error is on stderr.\n\
                        Without --here neither rights nor this machine's network matter."
)]
pub struct CheckArguments {
    /// The configuration file; `-` reads standard input
    #[arg(default_value = config::DEFAULT_FILE)]
    file: PathBuf,
    /// Check this machine too: which node it is, interfaces, free ports, rights
    #[arg(long)]
    here: bool,
    /// Take this machine for the node NAME
    #[arg(long, value_name = "NAME", requires = "here")]
    node: Option<String>,
    /// Print the file with every default in it
    #[arg(long)]
    effective: bool,
    /// Print who would hold the addresses after each fault and each degradation
    #[arg(long, conflicts_with = "effective")]
    what_if: bool,
}

/// Runs the verb.
pub fn run(arguments: &CheckArguments) -> Exit {
    let config = match config::load(&arguments.file) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            eprintln!("{}. Nothing was changed.", diagnostics.summary());
            return Exit::Configuration;
        }
    };
    eprint!("{}", config.warnings);
    let name = match arguments.file.to_string_lossy() {
        dash if dash == "-" => "stdin".into(),
        name => name,
    };
    // What has expired keeps no node from running, and says nothing of the rest.
    let (mut errors, mut warnings) = (config.warnings.stale(), config.warnings.warnings());
    if let Err(wrong) = Maps::load(&config.proxy.maps) {
        wrong.iter().for_each(|error| eprintln!("{error}"));
        errors += wrong.len();
    }
    if arguments.here {
        let findings = here::check(&config, &arguments.file, arguments.node.as_deref(), false);
        for finding in &findings {
            let label = if finding.fatal { "" } else { "warning: " };
            let place = finding.place.as_deref().unwrap_or(&name);
            eprintln!("{place}: on this machine: {label}{}", finding.message);
        }
        let fatal = findings.iter().filter(|finding| finding.fatal).count();
        errors += fatal;
        warnings += findings.len() - fatal;
    }
    if errors > 0 {
        eprintln!("{}. Nothing was changed.", count(errors, "error"));
        return Exit::Configuration;
    }
    let verdict = match warnings {
        0 => "fine".to_owned(),
        _ => format!("fine, with {}", count(warnings, "warning")),
    };
    let text = if arguments.effective {
        format!("# {name}: {verdict}: {}\n{}", summary(&config), config::effective(&config))
    } else {
        let told = if arguments.what_if { what_if::tell(&config) } else { String::new() };
        format!("{name}: {verdict}: {}\n{told}", summary(&config))
    };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that went away (`| head`) has seen what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("lbctl: can't write to stdout: {error}");
            Exit::Failure
        }
        Ok(()) | Err(_) => Exit::Fine,
    }
}

/// `2 nodes, 1 vip, 1 frontend, 1 backend, 2 servers`.
fn summary(config: &Config) -> String {
    let members =
        config.groups.iter().filter_map(|group| group.by_node.first()).flat_map(|node| &node.members);
    let vips = members.map(|member| &member.vip).collect::<BTreeSet<_>>().len();
    let servers = config.proxy.backends.iter().map(|backend| backend.servers.len()).sum();
    let counts: [(usize, &str); 5] = [
        (config.cluster.nodes.len(), "node"),
        (vips, "vip"),
        (config.proxy.frontends.len(), "frontend"),
        (config.proxy.backends.len(), "backend"),
        (servers, "server"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0).map(|(number, noun)| count(*number, noun));
    counts.collect::<Vec<_>>().join(", ")
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
