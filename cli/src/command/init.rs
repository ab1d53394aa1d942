//! `lbctl init`.

use std::{fmt::Write as _, net::Ipv4Addr};

use lb_proxy::config::ServerAddress;
use nix::unistd::User;

use crate::{
    config::{self, text},
    exit::Exit,
};

/// The packages make it.
const USER: &str = "lbctl";

/// Arguments of `lbctl init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lbctl init --node lb1=192.0.2.11 --node lb2=192.0.2.12 --vip 192.0.2.10 \\\n    \
                        --server 192.0.2.21:80 --server 192.0.2.22:80 > /etc/lbctl/lb.toml"
)]
pub struct InitArguments {
    /// A node and its own address; once for each node, the preferred one first
    #[arg(long = "node", value_name = "NAME=ADDRESS", required = true, value_parser = node)]
    nodes: Vec<(String, Ipv4Addr)>,
    /// The address the nodes share; can be given again
    #[arg(long = "vip", value_name = "ADDRESS", required = true, value_parser = vip)]
    vips: Vec<String>,
    /// A server behind it; once for each server
    #[arg(long = "server", value_name = "ADDRESS:PORT", required = true, value_parser = server)]
    servers: Vec<ServerAddress>,
    /// Where clients connect
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Number of the virtual router; no other one on the same network may have it
    #[arg(long, default_value_t = 51, value_parser = clap::value_parser!(u8).range(1..))]
    vrid: u8,
    /// What is spoken
    #[arg(long, default_value = "http", value_parser = ["http", "tcp"])]
    mode: String,
}

/// Runs the verb.
pub fn run(arguments: &InitArguments) -> Exit {
    for (index, (name, _)) in arguments.nodes.iter().enumerate() {
        if arguments.nodes.iter().take(index).any(|(earlier, _)| earlier == name) {
            eprintln!("error: --node {name} is given twice; each node has a name of its own");
            return Exit::Usage;
        }
    }
    let has_user = User::from_name(USER).is_ok_and(|found| found.is_some());
    let text = first_file(arguments, has_user);
    // One argument is fine alone; together they may clash, and the checks of the file know how.
    if let Err(diagnostics) = config::parse(&text, "lb.toml") {
        for diagnostic in diagnostics.iter() {
            eprintln!("error: {}", diagnostic.message);
        }
        return Exit::Usage;
    }
    super::print_all(text.as_bytes())
}

fn first_file(arguments: &InitArguments, has_user: bool) -> String {
    let list = |items: Vec<String>| {
        let items: Vec<_> = items.iter().map(|item| format!("\"{item}\"")).collect();
        items.join(", ")
    };
    let mut nodes = String::new();
    for (name, address) in &arguments.nodes {
        let key = if name.contains('.') { format!("\"{name}\"") } else { name.clone() };
        writeln!(nodes, "node.{key} = \"{address}\"").expect("a String takes everything");
    }
    let mode = if arguments.mode == "http" { "" } else { "mode    = \"tcp\"\n" };
    format!(
        "\
# The same file, byte for byte, on every node: /etc/lbctl/lb.toml
# Check it with `lbctl check`; every key is described in docs/configuration.md (packages: /usr/share/doc/lbctl/docs).

# Whose the processes are once they run; without it they stay root, if root starts them.{user}
# Each node and its own address. The first one is preferred.
[cluster]
{nodes}
# The address that moves. No other virtual router on this network may have the same vrid.
[vip.web]
vrid      = {vrid}
addresses = [{vips}]

# Where clients come in, and who answers. Servers are checked with a TCP connection every 2 s;
# better: check = {{ http = {{ path = \"/health\" }} }}
[listen.web]
{mode}bind    = {{ vip = \"web\", port = {port} }}
servers = [{servers}]
",
        user = if has_user {
            format!("\n[global]\nuser = \"{USER}\"\n")
        } else {
            format!(" useradd --system {USER}, then:\n# [global]\n# user = \"{USER}\"\n")
        },
        vrid = arguments.vrid,
        vips = list(arguments.vips.clone()),
        port = arguments.port,
        servers = list(arguments.servers.iter().map(ToString::to_string).collect()),
    )
}

pub(super) fn node(argument: &str) -> Result<(String, Ipv4Addr), String> {
    let (name, address) = argument.split_once('=').ok_or("write NAME=ADDRESS, as in lb1=192.0.2.11")?;
    text::name(name).map_err(|why| format!("the name `{}` {why}", name.escape_debug()))?;
    let address = text::host_address(address).map_err(|why| format!("{} {why}", address.escape_debug()))?;
    Ok((name.to_owned(), address))
}

fn vip(argument: &str) -> Result<String, String> {
    text::virtual_address(argument).map_err(|why| format!("it {why}"))?;
    Ok(argument.to_owned())
}

fn server(argument: &str) -> Result<ServerAddress, String> {
    text::server_address(argument).map_err(|why| format!("it {why}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        init: InitArguments,
    }

    #[test]
    fn processes_are_not_roots_where_the_machine_has_the_user_of_the_packages() {
        let words =
            "init --node lb1=192.0.2.11 --node lb2=192.0.2.12 --vip 192.0.2.10 --server 192.0.2.21:80";
        let arguments = Arguments::parse_from(words.split(' ')).init;
        let user = |has_user| {
            let config = config::parse(&first_file(&arguments, has_user), "lb.toml").expect("a good file");
            config.global.user
        };
        assert_eq!(user(true), Some(lb_proxy::config::Owner::Name(USER.to_owned())));
        assert_eq!(user(false), None);
        assert!(first_file(&arguments, false).contains("\n# user = \"lbctl\"\n"));
    }
}
