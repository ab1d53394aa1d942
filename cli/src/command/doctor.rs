//! `lbctl doctor`: what would stop a pair from working on this machine, with what to do about it.
//!
//! It begins with what `check --here` finds. It looks, and changes nothing: what it sends are packets that leave no machine, a
//! question for each address of a vip (from 0.0.0.0, so nobody learns from it), and two echoes to each other node.

mod answers;
mod filters;
mod limits;
mod managers;
mod path;
mod processes;
mod settings;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use lb_vrrp::{GroupConfig, MemberConfig};
use serde::Serialize;

use super::{check::here, status};
use crate::{
    config::{self, Config, identify},
    control::{
        Status,
        client::{Client, DEFAULT_SOCKET},
    },
    exit::Exit,
    interfaces::{LocalAddress, interface_of, local_addresses, mtu_by_interface},
    privileges,
};

/// A daemon that is stuck keeps nobody from looking.
const DEADLINE: Duration = Duration::from_secs(3);

/// Arguments of `lbctl doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing found, 2 something that would stop the pair or will harm it, 78 the file is not fine.\n\
                  It works with lbctl running here or not. As root it sees most; what it could not look at it says."
)]
pub struct DoctorArguments {
    /// The configuration file; without one that of the lbctl that runs here, or /etc/lbctl/lb.toml
    file: Option<PathBuf>,
    /// Take this machine for the node NAME
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Print JSON: the same findings
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Which one this machine is, if that is known.
    node: Option<String>,
    file: String,
    /// Does lbctl run here?
    running: bool,
    findings: Vec<Finding>,
    /// What could not be looked at, and what is well to know.
    notes: Vec<String>,
}

/// Something that would stop the pair, or will harm it.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at: `firewall`, `addresses`, ..
    check: &'static str,
    /// The pair can't work like this; else it works and will be harmed.
    fatal: bool,
    /// What, where, and what to do.
    message: String,
}

/// What is looked at.
struct Scene<'s> {
    config: &'s Config,
    groups: Vec<&'s GroupConfig>,
    local: &'s [LocalAddress],
    status: Option<&'s Status>,
    /// In bytes.
    mtu_by_interface: BTreeMap<String, u32>,
}

/// Collects what is found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    notes: Vec<String>,
}

impl Findings {
    fn fatal(&mut self, check: &'static str, message: impl Into<String>) {
        self.found.push(Finding { check, fatal: true, message: message.into() });
    }

    fn harm(&mut self, check: &'static str, message: impl Into<String>) {
        self.found.push(Finding { check, fatal: false, message: message.into() });
    }

    fn note(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.notes.contains(&message) {
            self.notes.push(message);
        }
    }
}

impl Scene<'_> {
    /// Virtual routers of this node with their interfaces, where those are here.
    fn members(&self) -> impl Iterator<Item = (&GroupConfig, &MemberConfig, &str, u32)> {
        self.groups
            .iter()
            .flat_map(|group| group.members.iter().map(move |member| (*group, member)))
            .filter_map(|(group, member)| {
                let interface = interface_of(member, self.local)?;
                let index = nix::net::if_::if_nametoindex(interface).ok()?;
                Some((group, member, interface, index))
            })
    }

    /// The addresses of the other nodes.
    fn others(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.config.cluster.nodes.iter().map(|node| node.address);
        addresses.filter(|address| !self.local.iter().any(|one| one.address == *address))
    }

    /// The interfaces of all vips, each once.
    fn interfaces(&self) -> Vec<(&str, u32)> {
        let mut all: Vec<(&str, u32)> = self.members().map(|(_, _, name, index)| (name, index)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Runs the verb.
pub fn run(arguments: &DoctorArguments) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot begin: {error}");
            return Exit::Failure;
        }
    };
    let status = runtime.block_on(ask(arguments));
    let file = arguments.file.clone().unwrap_or_else(|| {
        status.as_ref().map_or_else(|| config::DEFAULT_FILE.into(), |status| PathBuf::from(&status.file.path))
    });
    let config = match config::load(&file) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            eprintln!("{}. Nothing was looked at.", diagnostics.summary());
            return Exit::Configuration;
        }
    };
    let local = local_addresses();
    let addresses: Vec<_> = local.iter().map(|local| local.address).collect();
    let hostname =
        nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let node = identify(&config, &addresses, &hostname, arguments.node.as_deref()).ok();
    let groups = node.map_or_else(Vec::new, |node| {
        config.groups.iter().filter_map(|group| group.by_node.get(node)).collect()
    });
    let mut findings = Findings::default();
    // Whose the processes are is a matter of safety, and stops no pair.
    let root = privileges::root_warning(&config.global);
    let found = here::check(&config, &file, arguments.node.as_deref(), status.is_some()).into_iter();
    for found in found {
        if Some(&found.message) == root.as_ref() {
            findings.note(found.message);
        } else {
            findings.found.push(Finding { check: "file", fatal: found.fatal, message: found.message });
        }
    }
    let scene = Scene {
        config: &config,
        groups,
        local: &local,
        status: status.as_ref(),
        mtu_by_interface: runtime.block_on(mtu_by_interface()),
    };
    filters::look(&scene, &mut findings);
    answers::look(&scene, &mut findings);
    managers::look(&scene, &mut findings);
    settings::look(&scene, &mut findings);
    path::look(&scene, node, &mut findings);
    limits::look(&scene, &mut findings);
    if let Some(status) = &status {
        for problem in &status.problems {
            findings.harm("status", format!("{}. {}", problem.what, problem.look_at));
        }
    }
    findings.found.sort_by_key(|finding| !finding.fatal);
    let report = Report {
        node: node.and_then(|node| config.cluster.nodes.get(node)).map(|node| node.name.clone()),
        file: file.display().to_string(),
        running: status.is_some(),
        findings: findings.found,
        notes: findings.notes,
    };
    let exit = if report.findings.is_empty() { Exit::Fine } else { Exit::Degraded };
    let text = if arguments.json {
        serde_json::to_string(&report).unwrap_or_default() + "\n"
    } else {
        render(&report)
    };
    status::print(&text, exit)
}

async fn ask(arguments: &DoctorArguments) -> Option<Status> {
    let client = Client::new(&arguments.control);
    client.get::<Status>("/v1/status", DEADLINE).await.ok().map(|answer| answer.value)
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    let node = report.node.as_deref().unwrap_or("this machine");
    let running = if report.running { "lbctl runs here" } else { "no lbctl runs here" };
    let verdict = match report.findings.len() {
        0 => "nothing found".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    let line = |text: &mut String, line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(&mut text, format!("{node} · {} · {running} · {verdict}", report.file));
    for finding in &report.findings {
        let mark = if finding.fatal { "!!" } else { "! " };
        line(&mut text, format!("{mark} {}: {}", finding.check, finding.message));
    }
    for note in &report.notes {
        line(&mut text, format!("-  {note}"));
    }
    text
}
