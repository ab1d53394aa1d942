//! No two listeners on one address and port. The kernel would take both (SO_REUSEPORT, or the more specific of the
//! two) and hand connections to the wrong frontend. And none on one Unix-domain socket.

use std::net::SocketAddr;

use lb_proxy::config::Address;

use crate::config::{
    diagnostic::{Report, Span},
    raw::{self, BindAddress},
};

struct Listener<'a> {
    frontend: &'a str,
    span: Span,
    address: Address,
}

pub(super) fn check(file: &raw::File, report: &Report<'_>) {
    let listeners = listeners(file);
    for (index, listener) in listeners.iter().enumerate() {
        let clash = listeners.iter().take(index).find(|earlier| overlap(&earlier.address, &listener.address));
        let Some(earlier) = clash else { continue };
        let whose = if earlier.frontend == listener.frontend {
            "this frontend".to_owned()
        } else {
            format!("`{}`", earlier.frontend)
        };
        let line = report.line(earlier.span);
        let message = if earlier.address == listener.address {
            format!("{whose} listens on {} already (line {line}); two can't share it", listener.address)
        } else {
            format!(
                "{whose} listens on {} (line {line}), which overlaps with {}; list single addresses instead of all",
                earlier.address, listener.address
            )
        };
        report.error(listener.span, message);
    }
}

fn listeners(file: &raw::File) -> Vec<Listener<'_>> {
    let mut listeners = Vec::new();
    for section in super::frontend::sections(file) {
        let frontend = section.name.value.as_str();
        for bind in &section.value.binds {
            let span = bind.span;
            match &bind.address {
                BindAddress::Address { address, .. } => {
                    listeners.push(Listener { frontend, span, address: (*address).into() })
                }
                BindAddress::Unix(unix) => {
                    listeners.push(Listener { frontend, span, address: Address::Unix(unix.address.clone()) });
                }
                // Its address is not known here, and nobody else can bind it.
                BindAddress::Inherited(_) => {}
                BindAddress::Vip { vip, port } => {
                    let known = file.vips.iter().filter(|known| known.name.value == vip.value);
                    let addresses = known.flat_map(|vip| vip.value.served());
                    listeners.extend(addresses.map(|address| Listener {
                        frontend,
                        span,
                        address: SocketAddr::new(address, *port).into(),
                    }));
                }
            }
        }
    }
    listeners
}

fn overlap(a: &Address, b: &Address) -> bool {
    let (Some(a), Some(b)) = (a.socket(), b.socket()) else { return a == b };
    let same_family = a.is_ipv4() == b.is_ipv4();
    a.port() == b.port()
        && same_family
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
