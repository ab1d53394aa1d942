//! MariaDB as a server, and sysbench as its client.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    histogram::Histogram,
    load::Seen,
    process::{Running, wait_until},
    roots::{Root, said},
};

const ROWS: u32 = 10_000;

/// A server with a table; its data are in a folder of the bench.
#[derive(Debug)]
pub(crate) struct Database {
    /// Ends it when it is dropped.
    _running: Running,
    pub(crate) address: SocketAddr,
}

impl Database {
    pub(crate) fn start(port: u16, folder: &Path, on: &[usize]) -> anyhow::Result<Self> {
        let folder = folder.join("mariadb");
        fs::create_dir_all(folder.join("tmp"))?;
        let place = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
        said(Command::new("mariadb-install-db").args([
            "--no-defaults",
            "--user=root",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            &place("datadir", "data"),
            &place("tmpdir", "tmp"),
        ]))?;
        let mut server = Root::Here.command("mariadbd");
        server.args(["--no-defaults", "--user=root", "--skip-name-resolve", "--bind-address=127.0.0.1"]);
        server.args(["--innodb-buffer-pool-size=64M", "--skip-log-bin", &format!("--port={port}")]);
        for (option, name) in
            [("datadir", "data"), ("tmpdir", "tmp"), ("socket", "socket"), ("pid-file", "pid")]
        {
            server.arg(place(option, name));
        }
        let log = folder.join("log");
        let running = Running::start(&mut server, on, &log, false)?;
        let ask = |query: &str| {
            let words = ["--no-defaults", "--user=root", &place("socket", "socket"), "--execute", query];
            said(Command::new("mariadb").args(words))
        };
        if !wait_until(Duration::from_secs(60), || ask("SELECT 1").is_ok()) {
            bail!("MariaDB does not answer: {}", fs::read_to_string(&log).unwrap_or_default());
        }
        ask("CREATE DATABASE sbtest; CREATE USER sbtest@'%'; GRANT ALL ON sbtest.* TO sbtest@'%'")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        said(sysbench(address, 1).arg("prepare"))?;
        Ok(Self { _running: running, address })
    }
}

fn sysbench(target: SocketAddr, threads: usize) -> Command {
    let mut command = Command::new("sysbench");
    command.args([
        "oltp_point_select",
        "--db-driver=mysql",
        "--mysql-user=sbtest",
        "--tables=1",
        "--histogram=on",
    ]);
    command.arg(format!("--table-size={ROWS}")).arg(format!("--threads={threads}"));
    command.arg(format!("--mysql-host={}", target.ip())).arg(format!("--mysql-port={}", target.port()));
    command
}

/// Point selects, as fast as they go or at a pace. It counts whole seconds only.
pub(crate) fn load(
    target: SocketAddr,
    threads: usize,
    pace: Option<f64>,
    seconds: f64,
    folder: &Path,
    on: &[usize],
) -> anyhow::Result<Seen> {
    let mut command = sysbench(target, threads);
    command.arg(format!("--time={}", seconds.ceil().max(1.0))).arg("--report-interval=0");
    if let Some(pace) = pace {
        command.arg(format!("--rate={}", pace.ceil().max(1.0)));
    }
    let log = folder.join("sysbench.log");
    let mut running = Running::start(command.arg("run"), on, &log, false)?;
    if !wait_until(Duration::from_secs_f64(seconds + 60.0), || running.has_ended()) {
        bail!("sysbench does not end");
    }
    let text = fs::read_to_string(&log)?;
    report(&text).with_context(|| format!("sysbench says: {text}"))
}

/// What its report says.
fn report(text: &str) -> Option<Seen> {
    let after = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let mut latency = Histogram::default();
    for line in text.lines() {
        // "       0.083 |**********                               1234"
        let Some((value, rest)) = line.split_once('|') else { continue };
        let count = rest.trim().trim_start_matches('*').trim();
        if let (Ok(value), Ok(count)) = (value.trim().parse::<f64>(), count.parse::<u64>()) {
            latency.add(Duration::from_secs_f64(value / 1000.0).as_nanos().try_into().ok()?, count);
        }
    }
    let errors = after("ignored errors:")?.parse().ok()?;
    Some(Seen {
        done: after("total:")?.parse().ok()?,
        failed: if errors > 0 { BTreeMap::from([("errors".to_owned(), errors)]) } else { BTreeMap::new() },
        seconds: after("total time:")?.trim_end_matches('s').parse().ok()?,
        latency,
        ..Seen::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of sysbench 1.0.20.
    const REPORT: &str = "Running the test with following options:\nNumber of threads: 8\n\n\
        Latency histogram (values are in milliseconds)\n       value  ------------- distribution ------------- count\n       \
        0.083 |****                                     300\n       0.100 |****************************************   2000\n       \
        1.300 |                                         1\n \n\
        SQL statistics:\n    queries performed:\n        read:                            2301\n        \
        total:                           2301\n    transactions:                        2301   (2300.12 per sec.)\n    \
        ignored errors:                      0      (0.00 per sec.)\n\n\
        General statistics:\n    total time:                          1.0003s\n    total number of events:              2301\n";

    #[test]
    fn a_report_of_sysbench_is_read() {
        let seen = report(REPORT).unwrap();
        assert_eq!(
            (seen.done, seen.seconds, seen.failed.len(), seen.latency.count()),
            (2301, 1.0003, 0, 2301)
        );
        let median = seen.latency.quantile(500).unwrap().as_nanos();
        assert!((100_000..102_000).contains(&median), "{median}");
        assert!(report("FATAL: unable to connect").is_none());
    }
}
