//! `lbctl announce`.

use std::path::PathBuf;

use super::asking::{block_on, order};
use crate::{
    control::{AnnounceReport, AnnounceRequest, Announcement, client::DEFAULT_SOCKET},
    exit::Exit,
};

/// Arguments of `lbctl announce`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asked for on the node that holds the addresses: gratuitous ARP for those of IPv4, unsolicited neighbour advertisements \
                  for those of IPv6, one each, and what was sent is printed. A node announces on its own whenever that is needed \
                  and every garp_refresh; this is for a switch or a neighbour that was replaced or reset.\n\nExit codes: 0 sent, \
                  1 refused (this node holds no address), no daemon or no answer, 64 usage."
)]
pub struct AnnounceArguments {
    /// Print JSON: address, interface, hardware address
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &AnnounceArguments) -> Exit {
    block_on(order(&arguments.control, "/v1/announce", &AnnounceRequest {}, arguments.json, sentences))
}

fn sentences(report: &AnnounceReport) -> String {
    report.announced.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(one: &Announcement) -> String {
    let Announcement { vip, address, interface, hardware_address, error, .. } = one;
    let how = if address.is_ipv4() { "gratuitous ARP" } else { "unsolicited neighbour advertisement" };
    match error {
        None => format!("{vip}: {address} is at {hardware_address}, said on {interface} ({how})"),
        Some(why) => format!("{vip}: {address} was not announced on {interface}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_line_that_says_what_was_sent() {
        let one = |address: &str, error: Option<&str>| Announcement {
            group: "default".to_owned(),
            vip: "web".to_owned(),
            address: address.parse().unwrap(),
            interface: "eth1".to_owned(),
            hardware_address: "02:00:5e:10:00:01".to_owned(),
            error: error.map(str::to_owned),
        };
        let announced = vec![
            one("192.0.2.10", None),
            one("2001:db8::10", None),
            one("192.0.2.20", Some("no buffer space")),
        ];
        assert_eq!(
            sentences(&AnnounceReport { node: "lb1".to_owned(), announced }),
            "web: 192.0.2.10 is at 02:00:5e:10:00:01, said on eth1 (gratuitous ARP)\n\
             web: 2001:db8::10 is at 02:00:5e:10:00:01, said on eth1 (unsolicited neighbour advertisement)\n\
             web: 192.0.2.20 was not announced on eth1: no buffer space"
        );
    }
}
