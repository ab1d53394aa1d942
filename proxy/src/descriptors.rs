//! Raises the limit on open files to what the hard limit allows, and says when that is too little.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Beside connections: listeners, checks, pipes, the runtime.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one. Each client connection may need one for the server as well.
pub(crate) fn raise_limit(maxconn: u32) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    let needed = 2 * u64::from(maxconn) + OTHERS;
    match raised {
        Ok(limit) if limit < needed => {
            tracing::warn!(
                limit,
                needed,
                maxconn,
                "the limit on open files is too low for maxconn: raise it (LimitNOFILE=, ulimit -Hn) or lower maxconn"
            );
        }
        Ok(limit) => tracing::debug!(limit, needed, "limit on open files"),
        Err(error) => tracing::warn!(%error, "can't raise the limit on open files"),
    }
}
