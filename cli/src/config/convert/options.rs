//! What is done with the connections of either side.

use std::num::NonZeroU32;

use lb_proxy::config::{BackendOptions, FrontendOptions, Mode, PoolOptions, RetryOptions, TcpKeepalive};

use super::backend::value;
use crate::config::{
    diagnostic::{Report, Span},
    raw::{AbortOnClose, Failure, Keepalive, RetryOn, Section},
    reader::At,
};

/// Of a frontend. What only http knows does not reach one in mode tcp from `[defaults]`; written there, it is a warning.
pub(super) fn frontend(
    section: &Section,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> FrontendOptions {
    let (own, other) = (&section.frontend_options, &defaults.frontend_options);
    let built_in = FrontendOptions::default();
    let tcp_keepalive =
        value(&own.tcp_keepalive, &other.tcp_keepalive).map_or(built_in.tcp_keepalive, keepalive);
    let splice = value(&own.splice, &other.splice).unwrap_or(built_in.splice);
    let dontlognull = value(&own.dontlognull, &other.dontlognull);
    if mode == Mode::Tcp {
        without_effect(
            [
                ("http_connection", span(&own.http_connection)),
                ("min_body_rate", span(&own.min_body_rate)),
                ("wait_for_body", span(&own.wait_for_body)),
                ("restrict_header_names", span(&own.restrict_header_names)),
                ("http_ignore_probes", span(&own.http_ignore_probes)),
            ],
            report,
        );
        // Where servers speak first, a client that says nothing may be one that was not served.
        let dontlognull = dontlognull.unwrap_or(false);
        return FrontendOptions { tcp_keepalive, splice, dontlognull, ..built_in };
    }
    FrontendOptions {
        tcp_keepalive,
        splice,
        connection: value(&own.http_connection, &other.http_connection).unwrap_or(built_in.connection),
        min_body_rate: value(&own.min_body_rate, &other.min_body_rate)
            .map_or(built_in.min_body_rate, NonZeroU32::new),
        wait_for_body: value(&own.wait_for_body, &other.wait_for_body).unwrap_or(built_in.wait_for_body),
        header_names: value(&own.restrict_header_names, &other.restrict_header_names)
            .unwrap_or(built_in.header_names),
        dontlognull: dontlognull.unwrap_or(built_in.dontlognull),
        ignore_probes: value(&own.http_ignore_probes, &other.http_ignore_probes)
            .unwrap_or(built_in.ignore_probes),
    }
}

/// Of a backend.
pub(super) fn backend(
    section: &Section,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> BackendOptions {
    let (own, other) = (&section.backend_options, &defaults.backend_options);
    let built_in = BackendOptions::default();
    let tcp_keepalive =
        value(&own.tcp_keepalive, &other.tcp_keepalive).map_or(built_in.tcp_keepalive, keepalive);
    let splice = value(&own.splice, &other.splice).unwrap_or(built_in.splice);
    let abort = value(&own.abortonclose, &other.abortonclose);
    let abortonclose = Some(abort.map_or(mode == Mode::Http, |abort| abort != AbortOnClose::Never));
    let aborts_awaiting = mode == Mode::Http && abort == Some(AbortOnClose::Always);
    let fullconn = value(&own.fullconn, &other.fullconn);
    let retry_on = value(&own.retry_on, &other.retry_on);
    let failure = |one, built_in| retry_on.as_ref().map_or(built_in, |on| on.failures.contains(&one));
    let retry = RetryOptions {
        connect_failure: failure(Failure::Connect, built_in.retry.connect_failure),
        empty_response: failure(Failure::Empty, built_in.retry.empty_response),
        junk_response: failure(Failure::Junk, built_in.retry.junk_response),
        response_timeout: failure(Failure::Timeout, built_in.retry.response_timeout),
        statuses: retry_on.as_ref().map_or(Box::default(), |on| on.statuses.clone().into()),
        any_method: value(&own.retry_any_method, &other.retry_any_method)
            .unwrap_or(built_in.retry.any_method),
        budget: value(&own.retry_budget, &other.retry_budget).unwrap_or(built_in.retry.budget),
    };
    if mode == Mode::Tcp {
        // A listen has said so as a frontend.
        let connection = span(&own.http_connection).filter(|_| !section.kind.is_frontend());
        let unused = [
            ("retry_any_method", span(&own.retry_any_method)),
            ("http_connection", connection),
            ("http_reuse", span(&own.http_reuse)),
            ("pool", span(&own.pool)),
            ("server_name_header", span(&own.server_name_header)),
        ];
        without_effect(unused, report);
        if let Some(at) = own.retry_on.as_ref().filter(|at| retries_requests(&at.value)) {
            report.error(
                at.span,
                "in mode tcp there are no requests to send again; only \"conn-failure\" is possible",
            );
        }
        let retry =
            RetryOptions { connect_failure: retry.connect_failure, budget: retry.budget, ..built_in.retry };
        return BackendOptions { tcp_keepalive, splice, abortonclose, fullconn, retry, ..built_in };
    }
    let (pool, other_pool) = (pool(&own.pool), pool(&other.pool));
    BackendOptions {
        tcp_keepalive,
        splice,
        abortonclose,
        aborts_awaiting,
        fullconn,
        retry,
        server_name_header: value(&own.server_name_header, &other.server_name_header)
            .flatten()
            .map(Into::into),
        connection: value(&own.http_connection, &other.http_connection).unwrap_or(built_in.connection),
        pool: PoolOptions {
            reuse: value(&own.http_reuse, &other.http_reuse).unwrap_or(built_in.pool.reuse),
            idle: pool.idle.or(other_pool.idle).unwrap_or(built_in.pool.idle),
            max_age: pool.max_age.or(other_pool.max_age).unwrap_or(built_in.pool.max_age),
            max_requests: pool
                .max_requests
                .or(other_pool.max_requests)
                .map_or(built_in.pool.max_requests, NonZeroU32::new),
        },
    }
}

fn pool(raw: &Option<At<crate::config::raw::Pool>>) -> crate::config::raw::Pool {
    raw.as_ref().map(|at| at.value).unwrap_or_default()
}

fn retries_requests(retry_on: &RetryOn) -> bool {
    !retry_on.statuses.is_empty() || retry_on.failures.iter().any(|failure| *failure != Failure::Connect)
}

fn span<T>(at: &Option<At<T>>) -> Option<Span> {
    at.as_ref().map(|at| at.span)
}

fn without_effect<const N: usize>(keys: [(&str, Option<Span>); N], report: &Report<'_>) {
    for (key, span) in keys.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        report.warning(span, format!("{key} has no effect in mode tcp"));
    }
}

fn keepalive(raw: Keepalive) -> Option<TcpKeepalive> {
    match raw {
        Keepalive::Off => None,
        Keepalive::On { idle, interval, count } => Some(TcpKeepalive { idle, interval, count }),
    }
}
