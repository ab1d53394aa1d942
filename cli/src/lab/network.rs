//! The cables: two bridges in the lab's own network namespace (the switch), a veth pair from there into each node.

use std::{future::Future, net::IpAddr};

use anyhow::Context as _;
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags},
    link::{BridgeStpState, InfoData, InfoVeth},
};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth};

use super::{
    node::Node,
    topology::{Network, PREFIX, PREFIX_IPV6, Port},
};

/// Lays all cables. To be called on a thread in the switch's namespace.
pub(crate) fn build(nodes: &[&Node]) -> anyhow::Result<()> {
    with_netlink(async |netlink| {
        for network in Network::ALL {
            let bridge = LinkBridge::new(network.bridge())
                .index(network.bridge_index())
                .stp_state(BridgeStpState::Disabled)
                .mcast_snooping(false);
            netlink
                .link()
                .add(bridge.build())
                .execute()
                .await
                .with_context(|| format!("cannot make the bridge {}", network.bridge()))?;
        }
        for node in nodes {
            for port in node.member.ports {
                plug(&netlink, node, port).await.with_context(|| {
                    format!("cannot plug {} into {}", node.member.name, port.network.bridge())
                })?;
            }
        }
        Ok(())
    })?;
    for node in nodes {
        let ports = node.member.ports;
        node.run(move || with_netlink(async |netlink| address(&netlink, ports).await))?
            .with_context(|| format!("cannot set the addresses of {}", node.member.name))?;
    }
    Ok(())
}

/// Plugs the cable in or pulls it: the node loses its carrier, the interface stays.
pub(crate) fn set_carrier(port: &'static Port, up: bool) -> anyhow::Result<()> {
    with_netlink(async |netlink| {
        let link = LinkUnspec::new_with_index(port.switch_index());
        let link = if up { link.up() } else { link.down() };
        netlink.link().set(link.build()).execute().await.context("cannot set the port of the switch")
    })
}

/// Lets the switch of the front network pass multicast, or drop it at every port, as one does whose IGMP snooping has lost
/// the groups. Unicast and broadcast pass all the same.
pub(crate) fn set_multicast(nodes: &[&Node], passes: bool) -> anyhow::Result<()> {
    let ports = nodes.iter().flat_map(|node| node.member.ports);
    let front: Vec<u32> =
        ports.filter(|port| port.network == Network::Front).map(Port::switch_index).collect();
    with_netlink(async |netlink| {
        for index in front {
            let port = LinkBridgePort::new(index).mcast_flood(passes).build();
            netlink.link().set_port(port).execute().await.context("cannot set the port of the switch")?;
        }
        Ok(())
    })
}

async fn plug(netlink: &Handle, node: &Node, port: &Port) -> anyhow::Result<()> {
    let far_end = LinkUnspec::new_with_index(port.node_index())
        .name(port.network.interface())
        .address(port.hardware_address().to_vec())
        .setns_by_fd(node.network_descriptor())
        .build();
    let name = format!("{}-{}", node.member.name, port.network.bridge());
    let cable = LinkVeth::new(&name, port.network.interface())
        .index(port.switch_index())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .build();
    netlink.link().add(cable).execute().await?;
    let into_bridge =
        LinkUnspec::new_with_index(port.switch_index()).controller(port.network.bridge_index()).up();
    netlink.link().set(into_bridge.build()).execute().await?;
    Ok(())
}

async fn address(netlink: &Handle, ports: &[Port]) -> anyhow::Result<()> {
    const LOOPBACK: u32 = 1;
    netlink.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await?;
    for port in ports {
        let index = port.node_index();
        netlink.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
        netlink.address().add(index, IpAddr::V4(port.address), PREFIX).execute().await?;
        // Nobody else has it, and the second in which the kernel would ask is one in which the node is not ready.
        let mut ipv6 = netlink.address().add(index, IpAddr::V6(port.ipv6()), PREFIX_IPV6);
        ipv6.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        ipv6.execute().await?;
    }
    Ok(())
}

/// Runs `work` with a netlink connection of the calling thread's network namespace.
fn with_netlink<T, F: Future<Output = anyhow::Result<T>>>(
    work: impl FnOnce(Handle) -> F,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    })
}
