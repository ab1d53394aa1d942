//! The configuration of each program for the same job: one or more workers, the same servers, headers, logs and idle
//! connections to servers.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What a proxy is to be.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) job: Job,
    pub(crate) workers: usize,
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) syslog: SocketAddr,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Job {
    /// Requests to the servers in turn, nothing else.
    Http,
    /// Ten rules, [`HOSTS`] hosts, cookies, X-Forwarded-For, a line of log for each request.
    Rich,
    /// The same as the first, and servers are checked every 200 ms.
    Checked,
    Tcp,
}

/// Hosts of [`Job::Rich`], and the backends that they share.
pub(crate) const HOSTS: usize = 50;
const BACKENDS: usize = 10;
/// Paths that are denied; two headers that are set make it ten rules.
const DENIED: usize = 8;
/// Of each program, and of the whole.
const MAXCONN: usize = 8500;

/// The name of a host.
pub(crate) fn host(number: usize) -> String {
    format!("h{number}.example.com")
}

fn each(count: usize, mut line: impl FnMut(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}", line(number));
        text
    })
}

pub(crate) fn lbctl(setup: &Setup) -> String {
    let Setup { port, workers, syslog, .. } = setup;
    let global = format!("[global]\nthreads = {workers}\nmaxconn = {MAXCONN}\n\n");
    let timeouts = r#"timeout = { client = "600s", server = "600s", http_keep_alive = "600s" }"#;
    let servers: Vec<String> = setup.servers.iter().map(|server| format!("\"{server}\"")).collect();
    if setup.job == Job::Rich {
        let rules = each(DENIED, |n| {
            format!("  {{ when = {{ path_prefix = \"/denied{n}\" }}, deny = 403 }},")
        }) + "  { set_header = { \"X-Forwarded-Proto\" = \"http\" } },\n  { set_header = { \"X-Bench\" = \"1\" } },\n"
            + &each(HOSTS, |n| {
                format!("  {{ when = {{ host = \"{}\" }}, backend = \"b{}\" }},", host(n), n % BACKENDS)
            });
        let backends = each(BACKENDS, |number| {
            let servers = each(setup.servers.len(), |n| {
                format!("server.s{n} = {{ address = {}, cookie = \"s{n}\" }}", servers[n])
            });
            format!(
                "[backend.b{number}]\ncheck = false\nhttp_reuse = \"always\"\npool = {{ idle = \"60s\" }}\n\
                 cookie = {{ name = \"SRV\", mode = \"insert\", indirect = true, nocache = true }}\n{servers}"
            )
        });
        return format!(
            "{global}[defaults]\n{timeouts}\n\n[frontend.bench]\nbind = \"127.0.0.1:{port}\"\nmaxconn = {MAXCONN}\n\
             forwardfor = true\nlog = {{ syslog = \"{syslog}\", facility = \"local0\" }}\nlog_format = \"httplog\"\n\
             default_backend = \"b0\"\nrules = [\n{rules}]\n\n{backends}"
        );
    }
    let mode = match setup.job {
        Job::Tcp => "mode = \"tcp\"\n",
        _ => "http_reuse = \"always\"\npool = { idle = \"60s\" }\n",
    };
    let check = match setup.job {
        Job::Checked => r#"{ interval = "200ms", rise = 2, fall = 2 }"#,
        _ => "false",
    };
    format!(
        "{global}[listen.bench]\nbind = \"127.0.0.1:{port}\"\n{mode}maxconn = {MAXCONN}\nretries = 2\n{timeouts}\n\
         check = {check}\nservers = [{}]\n",
        servers.join(", ")
    )
}

pub(crate) fn haproxy(setup: &Setup, splices: bool) -> String {
    let Setup { port, workers, syslog, .. } = setup;
    let mode = if setup.job == Job::Tcp {
        "tcp"
    } else {
        "http\n  http-reuse always\n  timeout http-keep-alive 600s"
    };
    // Each pipe is two files more, and two connections are all that there is to be spliced.
    let (pipes, splice) = if splices { ("  maxpipes 100\n", "  option splice-auto\n") } else { ("", "") };
    let log = if setup.job == Job::Rich { format!("  log {syslog} local0\n") } else { String::new() };
    let text = format!(
        "global\n  nbthread {workers}\n  maxconn {MAXCONN}\n{pipes}{log}defaults\n  mode {mode}\n  maxconn {MAXCONN}\n  retries 2\n  \
         option redispatch\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n{splice}"
    );
    let server = |n: usize| format!("  server s{n} {}", setup.servers[n]);
    if setup.job == Job::Rich {
        let rules = each(DENIED, |n| format!("  http-request deny if {{ path_beg /denied{n} }}"));
        let routes =
            each(HOSTS, |n| format!("  use_backend b{} if {{ hdr(host) -i {} }}", n % BACKENDS, host(n)));
        let backends = each(BACKENDS, |number| {
            let servers = each(setup.servers.len(), |n| format!("{} cookie s{n}", server(n)));
            format!("backend b{number}\n  cookie SRV insert indirect nocache\n{servers}")
        });
        return format!(
            "{text}frontend bench\n  bind 127.0.0.1:{port}\n  log global\n  option httplog\n  option forwardfor\n{rules}  \
             http-request set-header X-Forwarded-Proto http\n  http-request set-header X-Bench 1\n{routes}  \
             default_backend b0\n{backends}"
        );
    }
    let check =
        if setup.job == Job::Checked { "  default-server check inter 200ms rise 2 fall 2\n" } else { "" };
    format!("{text}listen bench\n  bind 127.0.0.1:{port}\n{check}{}", each(setup.servers.len(), server))
}

/// `stream` is the module for tcp, where it is not built in.
pub(crate) fn nginx(setup: &Setup, folder: &Path, stream: Option<&Path>) -> anyhow::Result<String> {
    let Setup { port, workers, syslog, .. } = setup;
    let place = |name: &str| -> PathBuf { folder.join(name) };
    let load = match stream {
        Some(module) if setup.job == Job::Tcp => format!("load_module {};\n", module.display()),
        _ => String::new(),
    };
    let text = format!(
        "{load}daemon off;\npid {};\nerror_log stderr;\nuser root;\nworker_processes {workers};\n\
         worker_rlimit_nofile {};\nevents {{ worker_connections {}; }}\n",
        place("pid").display(),
        MAXCONN * 2 + 500,
        MAXCONN * 2
    );
    let servers = each(setup.servers.len(), |n| format!("    server {};", setup.servers[n]));
    let listen = format!("listen 127.0.0.1:{port} backlog=4096;");
    if setup.job == Job::Tcp {
        return Ok(format!(
            "{text}stream {{\n  upstream web {{\n{servers}  }}\n  server {{ {listen} proxy_timeout 600s; proxy_pass web; }}\n}}\n"
        ));
    }
    let mut http = String::from(
        "http {\n  keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;\n",
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(http, "  {kind}_temp_path {};", place(kind).display())?;
    }
    // As the others: content goes on as it comes, and none of it to a disk.
    http.push_str(
        "  proxy_http_version 1.1; proxy_request_buffering off; proxy_max_temp_file_size 0;\n  \
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n",
    );
    let idle = "    keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 60s;\n";
    if setup.job != Job::Rich {
        return Ok(format!(
            "{text}{http}  access_log off;\n  upstream web {{\n{servers}{idle}  }}\n  server {{ {listen} location / {{ \
             proxy_pass http://web; }} }}\n}}\n"
        ));
    }
    let upstreams = each(BACKENDS, |number| {
        format!("  upstream b{number} {{\n    hash $cookie_SRV;\n{servers}{idle}  }}")
    });
    let denied = each(DENIED, |n| format!("    location ^~ /denied{n} {{ return 403; }}"));
    let hosts = each(HOSTS, |n| {
        // A backlog may be given once.
        let backlog = if n == 0 { " backlog=4096" } else { "" };
        format!(
            "  server {{\n    listen 127.0.0.1:{port}{backlog};\n    server_name {};\n{denied}    location / {{ proxy_pass \
             http://b{}; }}\n  }}",
            host(n),
            n % BACKENDS
        )
    });
    Ok(format!(
        "{text}{http}  access_log syslog:server={syslog},facility=local0 combined;\n  \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http;\n  \
         proxy_set_header X-Bench 1;\n{upstreams}{hosts}}}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rich() -> Setup {
        Setup {
            port: 8001,
            job: Job::Rich,
            workers: 1,
            servers: vec![([127, 0, 0, 1], 9001).into(), ([127, 0, 0, 1], 9002).into()],
            syslog: ([127, 0, 0, 1], 514).into(),
        }
    }

    #[test]
    fn rich_files_have_the_same_rules_hosts_and_servers() {
        let setup = rich();
        let nginx = nginx(&setup, Path::new("/run"), None).unwrap();
        for (text, denies, hosts, servers) in [
            (lbctl(&setup), "deny = 403", "when = { host", "address ="),
            (haproxy(&setup, false), "http-request deny", "use_backend", "  server s"),
        ] {
            let count = |what| text.matches(what).count();
            assert_eq!(
                (count(denies), count(hosts), count(servers)),
                (DENIED, HOSTS, 2 * BACKENDS),
                "{text}"
            );
        }
        assert_eq!(nginx.matches("server_name").count(), HOSTS);
        assert_eq!(nginx.matches("backlog").count(), 1);
        assert_eq!(nginx.matches("return 403").count(), DENIED * HOSTS);
    }

    #[test]
    fn only_who_is_told_to_splices_and_only_tcp_needs_the_module() {
        let setup = Setup { job: Job::Tcp, ..rich() };
        assert!(haproxy(&setup, true).contains("splice-auto") && !haproxy(&setup, false).contains("splice"));
        let module = Some(Path::new("/m.so"));
        assert!(nginx(&setup, Path::new("/run"), module).unwrap().starts_with("load_module /m.so;"));
        assert!(!nginx(&rich(), Path::new("/run"), module).unwrap().contains("load_module"));
    }
}
