//! What is done with the connections of either side.

use lb_proxy::config::{
    Backend, ConnectionMode, Frontend, HeaderNames, Mode, RetryOptions, ReuseMode, Splice, TcpKeepalive,
};

use super::{append, line, list, quoted, time};

pub(super) fn frontend(out: &mut String, frontend: &Frontend) {
    let (timeout, options) = (&frontend.timeout, &frontend.options);
    if let Some(client_fin) = timeout.client_fin {
        line(out, "timeout.client_fin", time(client_fin));
    }
    line(out, "tcp_keepalive", keepalive(options.tcp_keepalive.as_ref()));
    line(out, "splice", splice(options.splice));
    line(out, "dontlognull", options.dontlognull);
    if frontend.mode == Mode::Tcp {
        return;
    }
    line(out, "timeout.tarpit", time(timeout.tarpit));
    line(out, "http_connection", connection(options.connection));
    line(out, "min_body_rate", options.min_body_rate.map_or(0, std::num::NonZeroU32::get));
    line(out, "wait_for_body", options.wait_for_body);
    let header_names = match options.header_names {
        HeaderNames::Preserve => "preserve",
        HeaderNames::Delete => "delete",
        HeaderNames::Reject => "reject",
    };
    line(out, "restrict_header_names", quoted(header_names));
    line(out, "http_ignore_probes", options.ignore_probes);
}

/// `fullconn` is what the backend has without one of its own.
pub(super) fn backend(out: &mut String, backend: &Backend, fullconn: u32) {
    let (timeout, options) = (&backend.timeout, &backend.options);
    if let Some(tunnel) = timeout.tunnel {
        line(out, "timeout.tunnel", time(tunnel));
    }
    if let Some(server_fin) = timeout.server_fin {
        line(out, "timeout.server_fin", time(server_fin));
    }
    line(out, "tcp_keepalive", keepalive(options.tcp_keepalive.as_ref()));
    line(out, "splice", splice(options.splice));
    line(out, "retry_on", retry_on(&options.retry));
    line(out, "retry_budget", options.retry.budget);
    match options.fullconn {
        Some(fullconn) => line(out, "fullconn", fullconn),
        None => {
            append(out, format_args!("# fullconn: {fullconn}, a tenth of the maxconn of its frontends\n"))
        }
    }
    if options.aborts_awaiting {
        line(out, "abortonclose", "\"always\"");
    } else if let Some(abortonclose) = options.abortonclose {
        line(out, "abortonclose", abortonclose);
    }
    if backend.mode == Mode::Tcp {
        return;
    }
    line(out, "retry_any_method", options.retry.any_method);
    line(out, "http_connection", connection(options.connection));
    let reuse = match options.pool.reuse {
        ReuseMode::Never => "never",
        ReuseMode::Safe => "safe",
        ReuseMode::Aggressive => "aggressive",
        ReuseMode::Always => "always",
    };
    line(out, "http_reuse", quoted(reuse));
    match &options.server_name_header {
        Some(header) => line(out, "server_name_header", quoted(header)),
        None => line(out, "server_name_header", false),
    }
    line(out, "pool.idle", time(options.pool.idle));
    line(out, "pool.max_age", time(options.pool.max_age));
    line(out, "pool.max_requests", options.pool.max_requests.map_or(0, std::num::NonZeroU32::get));
}

fn splice(splice: Splice) -> String {
    quoted(match splice {
        Splice::Auto => "auto",
        Splice::Request => "request",
        Splice::Response => "response",
        Splice::Never => "never",
    })
}

fn connection(mode: ConnectionMode) -> String {
    quoted(match mode {
        ConnectionMode::KeepAlive => "keep-alive",
        ConnectionMode::ServerClose => "server-close",
        ConnectionMode::Close => "close",
    })
}

fn retry_on(retry: &RetryOptions) -> String {
    let failures = [
        (retry.connect_failure, "conn-failure"),
        (retry.empty_response, "empty-response"),
        (retry.junk_response, "junk-response"),
        (retry.response_timeout, "response-timeout"),
    ];
    let failures = failures.into_iter().filter(|(is_on, _)| *is_on).map(|(_, name)| quoted(name));
    list(failures.chain(retry.statuses.iter().map(u16::to_string)))
}

fn keepalive(keepalive: Option<&TcpKeepalive>) -> String {
    let Some(TcpKeepalive { idle, interval, count }) = keepalive else { return "false".into() };
    let keys = [
        idle.map(|idle| format!("idle = {}", time(idle))),
        interval.map(|interval| format!("interval = {}", time(interval))),
        count.map(|count| format!("count = {count}")),
    ];
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    if keys.is_empty() { "true".into() } else { format!("{{ {} }}", keys.join(", ")) }
}
