//! What systemd wants to hear of a service of Type=notify (sd_notify(3)).

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::ffi::OsStrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// A reload begins; `READY=1` ends it (systemd.service(5), Type=notify-reload).
pub(super) fn notify_reloading() {
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", since_boot.as_micros()));
}

/// How long systemd waits for the next `WATCHDOG=1` (sd_watchdog_enabled(3)); `None`: it does not. `succeeds`: this process
/// takes the place of the one that was asked for it.
pub(super) fn watchdog_limit(succeeds: bool) -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_asked = succeeds || number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let limit = Duration::from_micros(number("WATCHDOG_USEC")?);
    (is_asked && !limit.is_zero()).then_some(limit)
}

/// Sends `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`) where NOTIFY_SOCKET points; without one it does nothing.
pub(super) fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::debug!(%error, state, "can't notify systemd");
    }
}
