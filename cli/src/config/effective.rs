//! The file with every default in it, written from the model: what `check --effective` prints. It is TOML again, and
//! reading it gives the same model: `[defaults]` is spread over the sections, a `[listen.*]` is its two halves.

mod answers;
mod balance;
mod check;
mod compression;
mod forwarded;
mod log;
mod notify;
mod options;
mod persistence;
mod proxy_protocol;
mod rules;
mod server_tls;
mod source;
mod statistics;
mod tls;
mod track;
mod users;

use std::fmt::Write;

use lb_proxy::config::{
    Backend, BackendId, Elsewhere, Frontend, FrontendTimeouts, Inherited, MapFile, Mode, OwnCheck, Owner,
    Server, UnixBind,
};
use lb_vrrp::{ChecksumForm, GroupConfig, Interface, MemberConfig, PeerKind, Preempt, Version};

use self::proxy_protocol::accept;
use super::{
    convert::DEFAULT_GROUP,
    model::{Cluster, Config, Group},
    raw::{EVENT_FORMATS, MAP_KINDS},
    text::{bind_address, write_duration},
};
use crate::{import::key, signing};

/// `config` as TOML.
pub fn effective(config: &Config) -> String {
    let mut out = String::new();
    cluster(&mut out, &config.cluster);
    for group in &config.groups {
        vips(&mut out, group, &config.cluster);
    }
    for one in &config.tracks {
        track::track(&mut out, one, &config.cluster);
    }
    for one in &config.notifies {
        notify::notify(&mut out, one);
    }
    section(&mut out, "global", None);
    line(&mut out, "maxconn", config.proxy.maxconn);
    match config.global.threads {
        Some(threads) => line(&mut out, "threads", threads),
        None => out.push_str("# threads: one per core of the machine\n"),
    }
    line(&mut out, "drain_timeout", time(config.global.drain_timeout));
    line(&mut out, "stall_timeout", time(config.global.stall_timeout));
    match config.proxy.resolver.nameservers.as_slice() {
        [] => out.push_str("# nameservers: those of /etc/resolv.conf\n"),
        some => line(&mut out, "nameservers", list(some.iter().map(|address| quoted(&address.to_string())))),
    }
    line(&mut out, "compression_cpu", config.proxy.compression_cpu);
    let global = &config.global;
    let owners = [("user", &global.user), ("group", &global.group), ("command_user", &global.command_user)];
    for (key, value) in owners {
        if let Some(value) = value {
            line(&mut out, key, owner(value));
        }
    }
    log::targets(&mut out, &config.proxy.log);
    let format = EVENT_FORMATS.iter().find(|(_, format)| *format == config.global.log_event_format);
    if let Some((name, _)) = format {
        line(&mut out, "log_event_format", quoted(name));
    }
    for map in &config.proxy.maps {
        write_map(&mut out, map);
    }
    for list in &config.proxy.users {
        users::users(&mut out, list);
    }
    for frontend in &config.proxy.frontends {
        write_frontend(&mut out, frontend, &config.proxy);
    }
    for (index, backend) in config.proxy.backends.iter().enumerate() {
        write_backend(&mut out, index, backend, config);
    }
    out
}

fn cluster(out: &mut String, cluster: &Cluster) {
    if cluster.nodes.is_empty() {
        return;
    }
    section(out, "cluster", None);
    for node in &cluster.nodes {
        let foreign = if node.kind == PeerKind::Keepalived { ", foreign = \"keepalived\"" } else { "" };
        let table = format!(
            "{{ address = {}, priority = {}{foreign} }}",
            quoted(&node.address.to_string()),
            node.priority.get()
        );
        line(out, &format!("node.{}", key(&node.name)), table);
    }
    match &cluster.secret {
        Some(secret) => line(out, "secret_file", quoted(&secret.file)),
        None => out.push_str("# secret_file: none, so neither hello nor advertisements are signed\n"),
    }
    match cluster.sign_advertisements {
        Some(step) => line(out, "sign_advertisements", quoted(signing::word(Some(step)))),
        None if cluster.secret.is_some() => {
            out.push_str("# sign_advertisements: none, so the hello alone is signed\n");
        }
        None => {}
    }
}

fn vips(out: &mut String, group: &Group, cluster: &Cluster) {
    let Some(first) = group.by_node.first() else { return };
    for (index, member) in first.members.iter().enumerate() {
        // Both families of a vip are one table.
        if index
            .checked_sub(1)
            .and_then(|before| first.members.get(before))
            .is_some_and(|b| b.vip == member.vip)
        {
            continue;
        }
        let both = first.members.iter().filter(|other| other.vip == member.vip);
        section(out, "vip", Some(&member.vip));
        let by_node = group.by_node.iter().zip(&cluster.nodes);
        let interfaces: Vec<_> = by_node
            .filter_map(|(config, node)| Some((node.name.as_str(), &config.members.get(index)?.interface)))
            .collect();
        interface(out, &interfaces);
        line(out, "vrid", member.vrid);
        line(
            out,
            "addresses",
            list(both.flat_map(|member| &member.addresses).map(|at| {
                let alone = if at.address.is_ipv4() { 32 } else { 128 };
                quoted(&if at.prefix == alone {
                    at.address.to_string()
                } else {
                    format!("{}/{}", at.address, at.prefix)
                })
            })),
        );
        protocol(out, member);
        let members: Vec<Vec<_>> = group
            .by_node
            .iter()
            .map(|config| config.members.iter().filter(|other| other.vip == member.vip).collect())
            .collect();
        transport(out, &members, cluster);
        preference(out, first);
        if let Some(order) = prefer(group, cluster) {
            line(out, "prefer", order);
        }
        if group.name != DEFAULT_GROUP {
            line(out, "group", quoted(&group.name));
        }
        line(out, "garp_refresh", time(first.garp_refresh));
    }
}

fn interface(out: &mut String, interfaces: &[(&str, &Interface)]) {
    let named = interfaces.iter().filter_map(|(node, interface)| match interface {
        Interface::Named(name) => Some((*node, name.as_str())),
        Interface::Holding(_) => None,
    });
    let named: Vec<_> = named.collect();
    match named.as_slice() {
        [] => out.push_str("# interface: the one that has the node's own address\n"),
        [(_, first), rest @ ..]
            if named.len() == interfaces.len() && rest.iter().all(|(_, name)| name == first) =>
        {
            line(out, "interface", quoted(first));
        }
        _ => {
            let entries = named.iter().map(|(node, name)| format!("{} = {}", key(node), quoted(name)));
            line(out, "interface", format!("{{ {} }}", entries.collect::<Vec<_>>().join(", ")));
        }
    }
}

fn protocol(out: &mut String, member: &MemberConfig) {
    line(out, "advertisement_interval", time(member.interval.get()));
    match member.version {
        Version::V2 => {
            line(out, "version", 2);
            if let Some(password) = &member.password {
                line(out, "password", quoted(password.as_str()));
            }
        }
        Version::V3 => {
            line(out, "version", 3);
            let form = match member.checksum {
                ChecksumForm::Rfc9568 => "rfc9568",
                ChecksumForm::Rfc5798 => "rfc5798",
            };
            line(out, "checksum", quoted(form));
        }
    }
}

/// By node, then by family.
fn transport(out: &mut String, members: &[Vec<&MemberConfig>], cluster: &Cluster) {
    let Some(first) = members.first().and_then(|own| own.first()?.transport.unicast()) else {
        line(out, "transport", quoted("multicast"));
        return;
    };
    line(out, "transport", quoted("unicast"));
    let sources = |own: &[&MemberConfig]| -> Vec<_> {
        own.iter().filter_map(|member| member.transport.unicast()).map(|unicast| unicast.source).collect()
    };
    let by_node = || members.iter().map(|own| sources(own)).zip(&cluster.nodes);
    if by_node().all(|(sources, node)| sources == [node.address]) {
        out.push_str("# unicast_addresses: those of [cluster]\n");
    } else {
        let by_node = by_node().map(|(sources, node)| {
            let sources = list(sources.iter().map(|source| quoted(&source.to_string())));
            format!("{} = {sources}", key(&node.name))
        });
        line(out, "unicast_addresses", format!("{{ {} }}", by_node.collect::<Vec<_>>().join(", ")));
    }
    line(out, "minimum_ttl", first.minimum_ttl);
}

fn preference(out: &mut String, config: &GroupConfig) {
    match config.preempt {
        Preempt::Degraded => line(out, "preempt", quoted("degraded")),
        Preempt::Never => line(out, "preempt", quoted("never")),
        Preempt::Always { delay } => {
            line(out, "preempt", quoted("always"));
            line(out, "preempt_delay", time(delay));
        }
    }
}

/// The nodes by falling priority, where that is not what `[cluster]` says.
fn prefer(group: &Group, cluster: &Cluster) -> Option<String> {
    let mut order: Vec<_> = group.by_node.iter().zip(&cluster.nodes).collect();
    if order.iter().all(|(config, node)| config.priority == node.priority) {
        return None;
    }
    order.sort_by_key(|(config, _)| std::cmp::Reverse(config.priority));
    Some(list(order.iter().map(|(_, node)| quoted(&node.name))))
}

fn write_frontend(out: &mut String, frontend: &Frontend, config: &lb_proxy::Config) {
    if let Some(page) = frontend.statistics.as_ref().filter(|_| frontend.is_apart) {
        section(out, "statistics", None);
        line(out, "bind", list(binds(frontend)));
        statistics::keys(page, &config.users).into_iter().for_each(|(key, value)| line(out, key, value));
        log::traffic(out, frontend);
        return;
    }
    section(out, "frontend", Some(&frontend.name));
    line(out, "mode", quoted(frontend.mode.name()));
    line(out, "bind", list(binds(frontend)));
    line(out, "maxconn", frontend.maxconn);
    line(out, "timeout.client", time(frontend.timeout.client));
    line(out, "timeout.client_handshake", time(frontend.timeout.client_handshake));
    if frontend.mode == Mode::Tcp || frontend.timeout.inspect != FrontendTimeouts::default().inspect {
        line(out, "timeout.inspect", time(frontend.timeout.inspect));
    }
    if frontend.mode == Mode::Http {
        line(out, "timeout.http_request", time(frontend.timeout.http_request));
        line(out, "timeout.http_keep_alive", time(frontend.timeout.http_keep_alive));
        line(out, "forwardfor", frontend.forwardfor);
        if let Some(forwarded) = &frontend.forwarded {
            forwarded::write(out, forwarded);
        }
        hsts(out, frontend);
    }
    options::frontend(out, frontend);
    compression::frontend(out, frontend);
    log::traffic(out, frontend);
    persistence::frontend(out, frontend);
    answers::pages(out, &frontend.error_pages);
    if let Some(monitor) = &frontend.monitor {
        answers::monitor(out, monitor, &config.backends);
    }
    if let Some(statistics) = &frontend.statistics {
        statistics::write(out, statistics, &config.users);
    }
    if let Some(backend) = frontend.default_backend.and_then(|id| config.backends.get(id.0)) {
        line(out, "default_backend", quoted(&backend.name));
    }
    if let Some(id) = &frontend.unique_id {
        let header = id.header.as_ref().map(|header| format!("header = {}, ", quoted(header)));
        let template = quoted(id.template.source());
        line(out, "unique_id", format!("{{ {}template = {template} }}", header.unwrap_or_default()));
    }
    if frontend.mode == Mode::Http {
        rules::ambiguous_path(out, frontend.ambiguous_path);
    }
    rules::rules(out, "rules", &frontend.rules, config);
    rules::rules(out, "response_rules", &frontend.response_rules, config);
}

fn hsts(out: &mut String, frontend: &Frontend) {
    let Some(hsts) = &frontend.hsts else { return };
    line(out, "hsts.max_age", time(hsts.max_age()));
    line(out, "hsts.include_subdomains", hsts.include_subdomains());
    line(out, "hsts.preload", hsts.preload());
}

fn binds(frontend: &Frontend) -> Vec<String> {
    let mut binds: Vec<String> = Vec::new();
    let tls_of = |place: usize| {
        let mut http2 = String::new();
        if frontend.http2.contains(&place) {
            http2 += ", http2 = true";
        }
        if frontend.without_websocket.contains(&place) {
            http2 += ", http2_websocket = false";
        }
        let tls = frontend.tls.get(&place).map(|tls| format!(", tls = {}", tls::write(tls)));
        tls.unwrap_or_default() + &http2
    };
    for (place, bind) in frontend.binds.iter().enumerate() {
        let more = accept(&bind.accept_proxy) + &tls_of(place);
        let entry = match bind.label.rsplit_once(':') {
            Some((vip, port)) if bind_address(&bind.label).is_err() => {
                format!("{{ vip = {}, port = {port}{more} }}", quoted(vip))
            }
            _ if more.is_empty() => quoted(&bind.label),
            _ => format!("{{ address = {}{more} }}", quoted(&bind.label)),
        };
        // A vip with several addresses is one entry.
        if binds.last() != Some(&entry) {
            binds.push(entry);
        }
    }
    let first = frontend.binds.len();
    binds.extend(frontend.unix.iter().zip(first..).map(|(bind, place)| unix(bind, &tls_of(place))));
    let first = first + frontend.unix.len();
    binds.extend(frontend.inherited.iter().zip(first..).map(|(bind, place)| {
        let more = accept(&bind.accept_proxy) + &tls_of(place);
        match &bind.socket {
            Inherited::Descriptor(fd) => format!("{{ fd = {fd}{more} }}"),
            Inherited::Named(name) => format!("{{ socket = {}{more} }}", quoted(name)),
        }
    }));
    binds
}

fn unix(bind: &UnixBind, tls: &str) -> String {
    let owned = |key: &str, by: &Option<Owner>| {
        by.as_ref().map(|by| format!(", {key} = {}", owner(by))).unwrap_or_default()
    };
    let mode = bind.mode.map(|mode| format!(", mode = \"{mode:04o}\"")).unwrap_or_default();
    let owners = owned("user", &bind.user) + &owned("group", &bind.group);
    let more = accept(&bind.accept_proxy) + tls;
    if mode.is_empty() && owners.is_empty() && more.is_empty() {
        return quoted(&bind.address.to_string());
    }
    format!("{{ unix = {}{mode}{owners}{more} }}", quoted(bind.address.as_str()))
}

fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Id(id) => id.to_string(),
        Owner::Name(name) => quoted(name),
    }
}

fn write_backend(out: &mut String, index: usize, backend: &Backend, config: &Config) {
    section(out, "backend", Some(&backend.name));
    line(out, "mode", quoted(backend.mode.name()));
    balance::write(out, backend);
    line(out, "retries", backend.retries);
    line(out, "redispatch", backend.redispatch);
    line(out, "source", source::source(config, index, None, &backend.source));
    if backend.mode == Mode::Http {
        line(out, "http2", server_tls::common_http2(&backend.servers));
    }
    line(out, "tls", server_tls::write(server_tls::common(&backend.servers)));
    line(out, "send_proxy", proxy_protocol::send(proxy_protocol::common(&backend.servers)));
    line(out, "timeout.connect", time(backend.timeout.connect));
    line(out, "timeout.server", time(backend.timeout.server));
    line(out, "timeout.queue", time(backend.timeout.queue));
    options::backend(out, backend, config.proxy.fullconn(BackendId(index)));
    compression::backend(out, backend);
    forwarded::backend(out, &backend.forwarded);
    log::targets(out, &backend.log);
    if backend.check.is_some() {
        line(out, "log_health_checks", backend.log_health_checks);
    }
    persistence::backend(out, backend);
    answers::pages(out, &backend.error_pages);
    check::backend(out, backend);
    if backend.check.is_some() {
        line(out, "readiness", backend.readiness);
        let counted = config
            .groups
            .iter()
            .flat_map(|group| &group.backends)
            .find(|counted| counted.name == backend.name);
        if let Some(counted) = counted {
            line(out, "hold", time(counted.hold));
        }
    }
    servers(out, index, &backend.servers, config);
    rules::rules(out, "rules", &backend.rules, &config.proxy);
    rules::rules(out, "response_rules", &backend.response_rules, &config.proxy);
}

/// Servers of a `servers` list have an address for a name, which no key can be.
fn servers(out: &mut String, backend: usize, servers: &[Server], config: &Config) {
    let mut listed: Vec<String> = Vec::new();
    let (common, common_tls) = (proxy_protocol::common(servers), server_tls::common(servers));
    let common_http2 = server_tls::common_http2(servers);
    for (index, server) in servers.iter().enumerate() {
        if is_listed(server) {
            listed.push(quoted(&server.name));
            continue;
        }
        if !listed.is_empty() {
            line(out, "servers", list(std::mem::take(&mut listed)));
        }
        let maxconn = server.maxconn.map(|maxconn| format!(", maxconn = {maxconn}")).unwrap_or_default();
        let minconn = server.minconn.map(|minconn| format!(", minconn = {minconn}")).unwrap_or_default();
        let check_address =
            server.check_at.address.map(|at| format!(", check_address = {}", quoted(&at.to_string())));
        let check_port = server.check_at.port.map(|port| format!(", check_port = {port}"));
        let check_at = check_address.unwrap_or_default() + &check_port.unwrap_or_default();
        let check_at = check_at + &check::own(&server.own_check);
        let cookie = server.cookie.as_ref().map(|value| format!(", cookie = {}", quoted(value)));
        let cookie = cookie.unwrap_or_default();
        let own = server.source.as_ref().map(|own| source::source(config, backend, Some(index), own));
        let own = own.map(|own| format!(", source = {own}")).unwrap_or_default();
        let proxy = proxy_protocol::of_server(server, common);
        let tls = server_tls::of_server(server, common_tls, common_http2);
        let address = quoted(&server.address.to_string());
        let backup = if server.backup { ", backup = true" } else { "" };
        let disabled = if server.disabled { ", disabled = true" } else { "" };
        let table = format!(
            "{{ address = {address}{own}{tls}{proxy}{check_at}, weight = {}{backup}{disabled}{maxconn}{minconn}{cookie} }}",
            server.weight
        );
        line(out, &format!("server.{}", key(&server.name)), table);
    }
    if !listed.is_empty() || servers.is_empty() {
        line(out, "servers", list(listed));
    }
}

fn is_listed(server: &Server) -> bool {
    server.name == server.address.to_string()
        && server.check_at == Elsewhere::default()
        && server.own_check == OwnCheck::default()
}

fn write_map(out: &mut String, map: &MapFile) {
    section(out, "map", Some(&map.name));
    line(out, "file", quoted(&map.file.to_string_lossy()));
    let kind = MAP_KINDS.iter().find(|(_, kind)| *kind == map.kind);
    line(out, "match", quoted(kind.map_or("exact", |(name, _)| name)));
}

fn section(out: &mut String, kind: &str, name: Option<&str>) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let name = name.map(|name| format!(".{}", key(name))).unwrap_or_default();
    append(out, format_args!("{gap}[{kind}{name}]\n"));
}

fn line(out: &mut String, key: &str, value: impl std::fmt::Display) {
    append(out, format_args!("{key} = {value}\n"));
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

fn time(duration: std::time::Duration) -> String {
    quoted(&write_duration(duration))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
