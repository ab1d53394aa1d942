//! `[global]`: the process.

use std::time::Duration;

use crate::config::reader::{At, Fields};

#[derive(Debug, Default)]
pub(crate) struct Global {
    pub(crate) maxconn: Option<At<u32>>,
    pub(crate) threads: Option<At<u32>>,
    pub(crate) drain_timeout: Option<At<Duration>>,
}

impl Global {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let global = Self {
            maxconn: fields.integer("maxconn", 1..=10_000_000),
            threads: fields.integer("threads", 1..=1024),
            drain_timeout: fields.duration("drain_timeout", Duration::ZERO..=Duration::from_secs(3600)),
        };
        fields.finish(|key| (key == "nbthread" || key == "nbproc").then(|| "write `threads`".into()));
        global
    }
}
