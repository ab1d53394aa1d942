//! How clients stay with their server, and what one of them may do.

use std::{num::NonZeroU32, time::Duration};

use lb_proxy::{
    config::{Cookie, Mode, Stick},
    table::{Capacity, SourceLimits},
};

use super::backend::value;
use crate::config::{
    diagnostic::Report,
    raw::{Named, Section},
};

/// Clients that are remembered, unless the file says how many.
pub(super) const SIZE: NonZeroU32 = NonZeroU32::new(100_000).expect("is not 0");
const EXPIRE: Duration = Duration::from_secs(1_800);

/// What a household or a virtual machine has.
pub(super) const IPV6_PREFIX: u8 = 64;

/// Values of servers are checked whether a cookie uses them or not.
pub(super) fn cookie(
    section: &Named<Section>,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> Option<Cookie> {
    let raw = &section.value;
    let used = value(&raw.cookie, &defaults.cookie).filter(|_| mode == Mode::Http);
    if let (Some(cookie), Mode::Tcp) = (&raw.cookie, mode) {
        report.error(
            cookie.span,
            "cookie needs mode = \"http\"; in mode tcp write stick = { by = \"source\" }",
        );
    }
    check_values(section, used.is_some(), mode, report);
    let raw = used?;
    Some(Cookie {
        name: raw.name,
        mode: raw.mode,
        indirect: raw.indirect,
        nocache: raw.nocache,
        postonly: raw.postonly,
        preserve: raw.preserve,
        httponly: raw.httponly,
        secure: raw.secure,
        same_site: raw.samesite,
        domain: raw.domain,
        maxidle: raw.maxidle,
        maxlife: raw.maxlife,
    })
}

fn check_values(section: &Named<Section>, is_used: bool, mode: Mode, report: &Report<'_>) {
    let servers = &section.value.servers;
    for (index, server) in servers.iter().enumerate() {
        let Some(cookie) = &server.cookie else {
            let is_backup = server.backup.as_ref().is_some_and(|backup| backup.value);
            if is_used && !server.cookie_given && !is_backup {
                let name = &server.name.value;
                let message = format!(
                    "server `{name}` has no cookie value, so it keeps no client; write server.NAME = {{ address = \
                     \"..\", cookie = \"..\" }}"
                );
                report.warning(server.name.span, message);
            }
            continue;
        };
        let twin = servers[..index].iter().find_map(|twin| {
            Some((&twin.name.value, twin.cookie.as_ref().filter(|at| at.value == cookie.value)?))
        });
        if let Some((name, twin)) = twin {
            let message = format!(
                "the cookie value \"{}\" is that of server `{name}` in line {} already; clients of the two could \
                 not be told apart",
                cookie.value,
                report.line(twin.span)
            );
            report.error(cookie.span, message);
        } else if !is_used {
            let message = match mode {
                Mode::Http => {
                    "cookie has no effect: its backend has no `cookie`; write cookie = { name = \"SRV\", indirect = true }"
                }
                Mode::Tcp => "cookie has no effect in mode tcp",
            };
            report.warning(cookie.span, message);
        }
    }
}

pub(super) fn stick(section: &Section, defaults: &Section) -> Option<Stick> {
    let raw = value(&section.stick, &defaults.stick)?;
    let capacity = Capacity { size: size(raw.size), expire: raw.expire.unwrap_or(EXPIRE) };
    Some(Stick { capacity, ipv6_prefix: raw.ipv6_prefix.unwrap_or(IPV6_PREFIX) })
}

pub(super) fn per_source(section: &Section, defaults: &Section) -> Option<SourceLimits> {
    let raw = value(&section.per_source, &defaults.per_source)?;
    Some(SourceLimits {
        connections: raw.connections.and_then(NonZeroU32::new),
        connection_rate: raw.connection_rate,
        size: size(raw.size),
        ipv6_prefix: raw.ipv6_prefix.unwrap_or(IPV6_PREFIX),
    })
}

fn size(raw: Option<u32>) -> NonZeroU32 {
    raw.and_then(NonZeroU32::new).unwrap_or(SIZE)
}
