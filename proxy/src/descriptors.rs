//! Raises the limit on open files to what the hard limit allows, and keeps connections within what that is enough for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Beside connections: listeners, checks, pipes, the runtime.
const OTHERS: u64 = 256;

/// Descriptors that connections get in any case.
const FEW: u64 = 64;

/// Raises the soft limit to the hard one. Returns `maxconn`, or less if the limit is too low: clients that took the last
/// descriptors would leave none for servers, checks and the control socket. Each client connection may need one for the
/// server as well.
pub(crate) fn raise_limit(maxconn: u32) -> u32 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    let needed = 2 * u64::from(maxconn) + OTHERS;
    match raised {
        Ok(limit) if limit < needed => {
            let usable = usable(limit, maxconn);
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

/// Connections that `limit` descriptors are enough for: at most `maxconn`, at least a few.
fn usable(limit: u64, maxconn: u32) -> u32 {
    let connections = limit.saturating_sub(OTHERS).max(FEW) / 2;
    u32::try_from(connections).unwrap_or(u32::MAX).min(maxconn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_servers_and_the_rest() {
        assert_eq!(usable(20_000, 20_000), 9_872);
        assert_eq!(usable(1_024, 20_000), 384);
        assert_eq!(usable(1_024, 100), 100);
        assert_eq!(usable(64, 100), 32);
    }
}
