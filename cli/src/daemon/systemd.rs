//! What systemd wants to hear of a service of Type=notify (sd_notify(3)).

use std::{
    collections::VecDeque,
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::ffi::OsStrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// For systemd to read what came before.
const RETRIES: u32 = 100;
const RETRY: Duration = Duration::from_millis(50);

/// The same for what it waits for: a minute and more.
const PATIENCE: u32 = 1_500;

/// A reload begins; `READY=1` ends it (systemd.service(5), Type=notify-reload).
pub(super) fn notify_reloading() {
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    insist(&format!("RELOADING=1\nMONOTONIC_USEC={}", since_boot.as_micros()));
}

/// How long systemd waits for the next `WATCHDOG=1` (sd_watchdog_enabled(3)); `None`: it does not. `succeeds`: this process
/// takes the place of the one that was asked for it.
pub(super) fn watchdog_limit(succeeds: bool) -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_asked = succeeds || number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let limit = Duration::from_micros(number("WATCHDOG_USEC")?);
    (is_asked && !limit.is_zero()).then_some(limit)
}

/// Another process is the one to watch: systemd takes the end of the one that it knows for that of the service.
///
/// # Errors
/// Its socket is full, or gone.
pub(super) fn tell_main_process(pid: u32) -> io::Result<()> {
    send(&format!("MAINPID={pid}"))
}

/// The same again, where it was not told.
pub(super) async fn insist_on_main_process(pid: u32) {
    let mut told = tell_main_process(pid);
    for _ in 0..RETRIES {
        if told.is_ok() {
            return;
        }
        tokio::time::sleep(RETRY).await;
        told = tell_main_process(pid);
    }
    if let Err(error) = told {
        tracing::error!(%error, pid, "systemd can't be told which process is in charge: it may end the service with this one");
    }
}

/// What could not be told yet, oldest first: systemd's socket was full. While there is some, a thread tells it. It belongs to the
/// process as NOTIFY_SOCKET does.
static UNTOLD: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// As [`notify`], for what systemd waits for (`READY=1`, `RELOADING=1`, `STOPPING=1`): told later where its socket is full, in order.
pub(super) fn insist(state: &str) {
    let mut untold = untold();
    if untold.is_empty() {
        match send(state) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(()) => return,
            Err(error) => return tracing::debug!(%error, state, "can't notify systemd"),
        }
        if let Err(error) = thread::Builder::new().name("notify".to_owned()).spawn(tell_untold) {
            return tracing::error!(%error, state, "can't notify systemd");
        }
    }
    untold.push_back(state.to_owned());
}

fn untold() -> MutexGuard<'static, VecDeque<String>> {
    UNTOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_untold() {
    for _ in 0..PATIENCE {
        thread::sleep(RETRY);
        let mut untold = untold();
        while let Some(state) = untold.front() {
            match send(state) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(()) | Err(_) => drop(untold.pop_front()),
            }
        }
        if untold.is_empty() {
            return;
        }
    }
    let mut untold = untold();
    tracing::error!(untold = untold.make_contiguous().join(", "), "systemd does not read what it is told");
    untold.clear();
}

/// Sends `state` (`STATUS=..`, `WATCHDOG=1`) where NOTIFY_SOCKET points; without one it does nothing. It is said again soon anyway.
pub(super) fn notify(state: &str) {
    if let Err(error) = send(state) {
        tracing::debug!(%error, state, "can't notify systemd");
    }
}

fn send(state: &str) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address?)?;
    Ok(())
}
