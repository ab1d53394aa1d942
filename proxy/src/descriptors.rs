//! Raises the limit on open files to what the hard limit allows, and keeps connections within what that is enough for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    config::{Config, Mode},
    tcp::splice,
    upstream::idle,
};

/// Beside all that is counted: files, the control socket and its clients, lookups of names, the speaker.
const OTHERS: u64 = 256;

/// As much of that as a process uses that does little.
const LEAST: u64 = 48;

/// What the runtime of a worker has open.
const RUNTIME: u64 = 8;

/// Of each server: one for its check, one for its agent.
const CHECKS: u64 = 2;

/// Of each client connection: its own, and the server's.
const ENDS: u64 = 2;

/// Of a pipe, of which a connection has one in each direction at most.
const PIPE: u64 = 2;

/// Connections that may do with less beside them: they are too few to need all of [`OTHERS`], and of the idle ones.
const FEW: u64 = 32;

/// Descriptors that a configuration takes without those of the connections that are open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Needs {
    /// However many connections there are.
    fixed: u64,
    /// The part of that that a few connections can't do without.
    least: u64,
    workers: u64,
    /// Of each worker: idle connections that its servers may have, whatever [`idle::kept`] says.
    idle: u64,
    /// Of the pipes of all workers, if connections need so many.
    pipes: u64,
}

/// Raises the soft limit to the hard one. Returns `maxconn`, or less if the limit is too low: clients that took the last
/// descriptors would leave none for servers, checks and the control socket.
pub(crate) fn raise_limit(config: &Config) -> u32 {
    let maxconn = config.maxconn;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    let needs = Needs::of(config);
    let needed = needs.with(maxconn);
    match raised {
        Ok(limit) if limit < needed => {
            let usable = needs.usable(limit, maxconn);
            tracing::warn!(
                limit,
                needed,
                maxconn,
                usable,
                "the limit on open files is too low for maxconn, so fewer connections are taken: raise it (LimitNOFILE=, ulimit -Hn) or lower maxconn"
            );
            usable
        }
        Ok(limit) => {
            tracing::debug!(limit, needed, "limit on open files");
            maxconn
        }
        Err(error) => {
            tracing::warn!(%error, "can't raise the limit on open files");
            maxconn
        }
    }
}

/// The connections that the hard limit on open files of this process is enough for, and that limit, if `maxconn` is more.
pub fn too_few(config: &Config) -> Option<(u32, u64)> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let usable = Needs::of(config).usable(hard, config.maxconn);
    (usable < config.maxconn).then_some((usable, hard))
}

impl Needs {
    fn of(config: &Config) -> Self {
        let (mut servers, mut listeners, mut apart) = (0, 0, 0);
        let (mut idle, mut shared) = (0, 0);
        for backend in &config.backends {
            servers += count(backend.servers.len());
            // Those of mode tcp end with their client's.
            for server in backend.servers.iter().filter(|_| backend.mode == Mode::Http) {
                let (of_server, of_http2) = idle::most_open(server, config.threads.get());
                idle += count(of_server);
                shared += count(of_http2);
            }
        }
        for frontend in &config.frontends {
            listeners += count(frontend.binds.len() + frontend.unix.len() + frontend.inherited.len());
            apart += if frontend.is_apart { u64::from(frontend.maxconn) } else { 0 };
        }
        let workers = count(config.threads.get());
        let least = CHECKS * servers + workers * (RUNTIME + listeners);
        Self {
            fixed: OTHERS + least + workers * shared + apart,
            least: LEAST + least,
            workers,
            idle,
            pipes: workers * PIPE * count(splice::LENT + splice::KEPT),
        }
    }

    /// All that there may be at `maxconn` connections.
    fn with(self, maxconn: u32) -> u64 {
        let idle = self.workers * self.idle.min(count(idle::kept(maxconn)));
        let maxconn = u64::from(maxconn);
        self.fixed + idle + ENDS * maxconn + self.pipes.min(2 * PIPE * maxconn)
    }

    /// Connections that `limit` descriptors are enough for: at most `maxconn`, at least one.
    fn usable(self, limit: u64, maxconn: u32) -> u32 {
        let (mut enough, mut too_many) = (0, maxconn.saturating_add(1));
        while too_many - enough > 1 {
            let middle = enough + (too_many - enough) / 2;
            *if self.with(middle) <= limit { &mut enough } else { &mut too_many } = middle;
        }
        // Each may have left an idle connection behind.
        let few = limit.saturating_sub(self.least) / (ENDS + 2 * PIPE + 1);
        let few = u32::try_from(few.clamp(1, FEW)).unwrap_or(1);
        enough.max(few).min(maxconn)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two workers in front of 20 servers.
    const NEEDS: Needs = Needs {
        fixed: 256 + 2 * 20 + 2 * (8 + 2),
        least: 48 + 2 * 20 + 2 * (8 + 2),
        workers: 2,
        idle: 20 * (512 + 64),
        pipes: 2 * 2 * 320,
    };

    #[test]
    fn pipes_idle_connections_checks_and_listeners_are_counted_by_worker() {
        use crate::config::{Backend, Bind, Frontend, Mode, Server};
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let bind = || Bind { label: String::new(), address, accept_proxy: None };
        let server = |n: u32| Server::new(format!("s{n}"), address);
        let backend = |servers| Backend::new("app", Mode::Http, servers);
        let config = Config {
            threads: 2.try_into().unwrap(),
            maxconn: 100,
            node: String::new(),
            log: Vec::new(),
            maps: Vec::new(),
            users: Vec::new(),
            resolver: Default::default(),
            compression_cpu: 100,
            stall_timeout: std::time::Duration::from_secs(1),
            desk: None,
            ticket_secret: None,
            frontends: vec![Frontend::new("front", Mode::Tcp, vec![bind(), bind()])],
            backends: vec![backend((0..20).map(server).collect())],
        };
        assert_eq!(Needs::of(&config), NEEDS);
        let of = |backend: Backend| {
            let needs = Needs::of(&Config { backends: vec![backend], ..config.clone() });
            (needs.fixed, needs.idle)
        };
        // Of anybody and of clients; with HTTP/2 those that wait for requests.
        assert_eq!(of(backend(vec![server(0)])), (256 + 2 + 2 * (8 + 2), 512 + 64));
        let of_http2 = Server { http2: true, ..server(0) };
        assert_eq!(of(backend(vec![of_http2])), (256 + 2 + 2 * (8 + 2 + 4), 512 + 64));
        for (maxconn, idle) in [(200, 100 + 64), (40, 40 + 40), (1, 1 + 1)] {
            let small = Server { maxconn: Some(maxconn), ..server(0) };
            assert_eq!(of(backend(vec![small])), (256 + 2 + 2 * (8 + 2), idle), "{maxconn}");
        }
        assert_eq!(of(Backend::new("mail", Mode::Tcp, vec![server(0)])), (256 + 2 + 2 * (8 + 2), 0));
    }

    #[test]
    fn connections_leave_descriptors_for_pipes_servers_checks_and_the_rest() {
        assert_eq!(NEEDS.with(20_000), 316 + 2 * 1_024 + 40_000 + 1_280);
        assert_eq!(NEEDS.with(100), 316 + 2 * 100 + 200 + 400);
        // Few connections leave few behind that are idle, and each may have its pipes.
        assert_eq!(NEEDS.with(10), 316 + 2 * 64 + 20 + 40);
        assert_eq!(NEEDS.usable(65_536, 20_000), 20_000);
        assert_eq!(NEEDS.usable(20_000, 20_000), 8_178);
        assert_eq!([1_000, 4_096].map(|limit| NEEDS.usable(limit, 20_000)), [85, 625]);
        // Too few for all that is beside them, which a few don't need.
        assert_eq!([1_000, 400, 200, 120, 64].map(|limit| NEEDS.usable(limit, 100)), [85, 32, 13, 1, 1]);
        for limit in [900, 2_700, 4_096, 20_000] {
            let usable = NEEDS.usable(limit, 20_000);
            assert!(NEEDS.with(usable) <= limit && NEEDS.with(usable + 1) > limit, "{limit}: {usable}");
        }
    }
}
