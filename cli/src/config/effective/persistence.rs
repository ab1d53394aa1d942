//! How clients stay with their server, and what one of them may do.

use lb_proxy::config::{Backend, Cookie, CookieMode, Frontend, SameSite};

use super::{line, quoted, time};
use crate::config::rate;

pub(super) fn frontend(out: &mut String, frontend: &Frontend) {
    let Some(limits) = &frontend.per_source else { return };
    if let Some(connections) = limits.connections {
        line(out, "per_source.connections", connections);
    }
    if let Some(connection_rate) = limits.connection_rate {
        line(out, "per_source.connection_rate", quoted(&rate::write(connection_rate)));
    }
    line(out, "per_source.size", limits.size);
    line(out, "per_source.ipv6_prefix", limits.ipv6_prefix);
}

pub(super) fn backend(out: &mut String, backend: &Backend) {
    line(out, "persist", backend.persist);
    if let Some(cookie) = &backend.cookie {
        write_cookie(out, cookie);
    }
    if let Some(stick) = &backend.stick {
        line(out, "stick.by", quoted("source"));
        line(out, "stick.size", stick.capacity.size);
        line(out, "stick.expire", time(stick.capacity.expire));
        line(out, "stick.ipv6_prefix", stick.ipv6_prefix);
    }
}

fn write_cookie(out: &mut String, cookie: &Cookie) {
    line(out, "cookie.name", quoted(&cookie.name));
    let mode = match cookie.mode {
        CookieMode::Insert => "insert",
        CookieMode::Rewrite => "rewrite",
        CookieMode::Prefix => "prefix",
        CookieMode::Passive => "passive",
    };
    line(out, "cookie.mode", quoted(mode));
    line(out, "cookie.indirect", cookie.indirect);
    line(out, "cookie.preserve", cookie.preserve);
    if cookie.mode != CookieMode::Insert {
        return;
    }
    line(out, "cookie.nocache", cookie.nocache);
    line(out, "cookie.postonly", cookie.postonly);
    line(out, "cookie.httponly", cookie.httponly);
    line(out, "cookie.secure", cookie.secure);
    let same_site = cookie.same_site.map(|same_site| match same_site {
        SameSite::Strict => "strict",
        SameSite::Lax => "lax",
        SameSite::None => "none",
    });
    if let Some(same_site) = same_site {
        line(out, "cookie.samesite", quoted(same_site));
    }
    if let Some(domain) = &cookie.domain {
        line(out, "cookie.domain", quoted(domain));
    }
    if let Some(maxidle) = cookie.maxidle {
        line(out, "cookie.maxidle", time(maxidle));
    }
    if let Some(maxlife) = cookie.maxlife {
        line(out, "cookie.maxlife", time(maxlife));
    }
}
