//! From the proxy's numbers to those of the report.

use std::time::SystemTime;

use lb_proxy::status::{self as proxy, BackendStatus, FrontendStatus, ServerStatus};

use crate::control::{
    BackendStatistics, Compressed, FrontendStatistics, Handshakes, Histogram, Level, Outage, PerSecond,
    ServerStatistics, StepTimes, Steps, Traffic,
};

pub(super) fn frontend(found: &FrontendStatus) -> FrontendStatistics {
    FrontendStatistics {
        position: 0,
        connections_peak: found.connections_peak,
        connection_rate: per_second(found.connection_rate),
        request_rate: per_second(found.request_rate),
        request_errors: found.request_errors,
        compressed: compressed(found.compressed),
    }
}

pub(super) fn backend(found: &BackendStatus) -> BackendStatistics {
    BackendStatistics {
        position: 0,
        mode: found.mode.name().to_owned(),
        fullconn: found.fullconn,
        traffic: traffic(&found.traffic),
        compressed: compressed(found.compressed),
        outage: outage(found.outage),
        totals: found.totals.as_ref().map(histogram),
    }
}

pub(super) fn histogram(found: &proxy::Histogram) -> Histogram {
    Histogram { counts: found.counts.into(), microseconds: found.microseconds }
}

pub(super) fn server(found: &ServerStatus) -> ServerStatistics {
    ServerStatistics {
        traffic: traffic(&found.traffic),
        outage: outage(found.history.outage),
        failed_checks: found.history.failed_checks,
        observed_errors: found.is_observed.then_some(found.history.observed_errors),
        is_checked: found.is_checked,
        level: found.level.map(|proxy::Level { rise, fall, now }| Level { rise, fall, now }),
        is_in_use: found.is_in_use,
        check_status: found.last_check.as_ref().and_then(|check| check.status),
        agent: found.agent.clone(),
    }
}

fn traffic(found: &proxy::Traffic) -> Traffic {
    Traffic {
        current: found.current,
        peak: found.peak,
        queued: found.queued,
        queued_peak: found.queued_peak,
        sessions_total: found.sessions_total,
        rate: per_second(found.rate),
        balanced_total: found.balanced_total,
        idle: found.idle.map(|idle| idle.as_secs()),
        bytes_in: found.bytes_in,
        bytes_out: found.bytes_out,
        responses: found.responses,
        connect_failures: found.connect_failures,
        retries: found.retries,
        redispatches: found.redispatches,
        response_errors: found.response_errors,
        server_aborts: found.server_aborts,
        denied_responses: found.denied_responses,
        denied_requests: found.denied_requests,
        client_aborts: found.client_aborts,
        tls: handshakes(found.tls),
        times: found.steps.map(|found| StepTimes {
            average: steps(found.average),
            longest: steps(found.longest),
            count: found.count,
            sum: steps(found.sum),
        }),
    }
}

fn handshakes(found: proxy::Handshakes) -> Handshakes {
    let proxy::Handshakes { completed, resumed, failed } = found;
    Handshakes { completed, resumed, failed }
}

fn steps(found: proxy::Steps) -> Steps {
    let proxy::Steps { queue, connect, response, total } = found;
    Steps { queue, connect, response, total }
}

fn compressed(found: proxy::Compressed) -> Compressed {
    let proxy::Compressed { responses, bytes_in, bytes_out, bytes_bypassed } = found;
    Compressed { responses, bytes_in, bytes_out, bytes_bypassed }
}

fn per_second(found: proxy::PerSecond) -> PerSecond {
    PerSecond { now: found.now, max: found.max }
}

fn outage(found: proxy::Outage) -> Outage {
    let now = SystemTime::now();
    Outage {
        is_down: found.is_down,
        seconds: now.duration_since(found.since).unwrap_or_default().as_secs(),
        count: found.count,
        total_seconds: found.total(now).as_secs(),
    }
}
