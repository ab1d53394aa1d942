//! The process, its file, its logs and tables, and the nodes that it knows.

use super::{flag, number};
use crate::{
    control::{AlarmName, EarlierProcess, Phase, Status},
    metrics::{
        Process,
        text::{Kind, Text},
    },
};

pub(super) fn write(text: &mut Text, status: &Status, process: &Process) {
    self::process(text, status, process);
    node(text, status);
    workers(text, status);
    tables_and_logs(text, status);
    peers(text, status);
}

/// The names that every exporter has for them.
fn process(text: &mut Text, status: &Status, process: &Process) {
    let help = "Time of all threads of the daemon on processors.";
    text.counter("process_cpu_seconds_total", help, process.cpu_seconds);
    let bytes = |value: Option<u64>| value.map(number);
    text.gauge("process_resident_memory_bytes", "Memory in RAM.", bytes(process.resident_bytes));
    text.gauge("process_virtual_memory_bytes", "Memory that is mapped.", bytes(process.virtual_bytes));
    text.gauge("process_open_fds", "Open file descriptors.", process.open_fds.map(number));
    text.gauge("process_max_fds", "The most that may be open.", process.max_fds.map(number));
    let help = "When this process of the daemon started, in seconds since 1970.";
    let started = status.upgraded.unwrap_or(status.started);
    text.gauge("process_start_time_seconds", help, started.unix_seconds());
}

fn node(text: &mut Text, status: &Status) {
    let help = "Always 1; the version of lbctl and the name of the node.";
    let labels = [("version", status.version.as_str()), ("node", &status.node)];
    text.metric("lbctl_build_info", Kind::Gauge, help).sample(&labels, 1.0);
    let uptime = status.at.saturating_since(status.started).as_secs_f64();
    text.gauge("lbctl_uptime_seconds", "How long the daemon has run, through upgrades.", uptime);
    let is = match &status.phase {
        Phase::Running => "running",
        Phase::Waiting { .. } => "waiting",
        Phase::Stopping { .. } => "stopping",
    };
    let help = "1 for what the daemon is about: waiting can't begin with the addresses yet.";
    text.metric("lbctl_phase", Kind::Gauge, help).states(&[], &["running", "waiting", "stopping"], Some(is));
    let help = "1 while the node is out of the election by lbctl drain.";
    text.gauge("lbctl_drained", help, flag(status.drained.is_some()));
    if let Some(speaker) = &status.speaker {
        let help =
            "Speakers that were lost, with another one started in their place, or could not be started.";
        text.counter("lbctl_speaker_restarts_total", help, number(speaker.restarts_total));
        let help = "Messages of the speaker that the daemon could not read: status may miss something.";
        text.counter("lbctl_speaker_unreadable_messages_total", help, number(speaker.unreadable_total));
    }
    let help = "Processes that run commands which have died, with another one started in their place.";
    text.counter("lbctl_runner_restarts_total", help, number(status.runner_restarts_total));
    let help = "Problems that lbctl status shows.";
    text.gauge("lbctl_problems", help, number(status.problems.len() as u64));
    alarms(text, status);
    text.gauge("lbctl_connections", "Client connections of the process.", number(status.connections));
    let help = "Processes before an upgrade whose connections still end.";
    text.gauge("lbctl_earlier_processes", help, number(status.earlier.len() as u64));
    let of_earlier = |of: fn(&EarlierProcess) -> u64| number(status.earlier.iter().map(of).sum());
    let help = "Client connections of these; they are not among lbctl_connections.";
    text.gauge("lbctl_earlier_connections", help, of_earlier(|process| process.connections));
    let help = "Exchanges in flight on these.";
    text.gauge("lbctl_earlier_exchanges", help, of_earlier(|process| process.exchanges));
    let help = "The most that there may be: maxconn, or less where open files are too few.";
    text.gauge("lbctl_connections_limit", help, number(status.maxconn));
    let help = "1 while clients wait because the process has as many connections as it may.";
    text.gauge("lbctl_full", help, flag(status.full_since.is_some()));
    let help = "Always 1; the SHA-256 of the configuration in force.";
    let labels = [("hash", status.file.hash.as_str())];
    text.metric("lbctl_config_info", Kind::Gauge, help).sample(&labels, 1.0);
    let help = "When the configuration in force was loaded, in seconds since 1970.";
    let loaded = status.file.loaded.map(|loaded| loaded.unix_seconds());
    text.gauge("lbctl_config_loaded_timestamp_seconds", help, loaded);
    let help = "Configurations since the process began, from 1.";
    text.counter("lbctl_config_generations_total", help, number(status.file.generation));
    let help = "Configurations before the one in force that connections still use.";
    text.gauge("lbctl_config_old_generations", help, number(status.file.old_generations));
    let help = "Datagrams of other nodes, and connections and requests of the control socket, that were refused or went wrong.";
    let mut metric = text.metric("lbctl_control_events_total", Kind::Counter, help);
    for (event, count) in &status.counters {
        metric.sample(&[("event", event)], number(*count));
    }
}

fn workers(text: &mut Text, status: &Status) {
    let help = "Threads that serve clients.";
    text.gauge("lbctl_workers", help, number(status.delays.len() as u64));
    let help = "How much later than it should a worker did what was due, ten times a second.";
    let mut metric = text.metric("lbctl_worker_loop_delay_seconds", Kind::Histogram, help);
    for (worker, delays) in status.delays.iter().enumerate() {
        metric.histogram(&[("worker", &worker.to_string())], delays);
    }
}

fn tables_and_logs(text: &mut Text, status: &Status) {
    let mut metric = text.metric("lbctl_table_entries", Kind::Gauge, "Clients that are remembered.");
    status.tables.iter().for_each(|table| metric.sample(&[("table", &table.name)], number(table.entries)));
    let help = "The most that are remembered.";
    let mut metric = text.metric("lbctl_table_size", Kind::Gauge, help);
    status.tables.iter().for_each(|table| metric.sample(&[("table", &table.name)], number(table.size)));
    let help = "Clients that were forgotten before their time because the table was full.";
    let mut metric = text.metric("lbctl_table_evictions_total", Kind::Counter, help);
    for table in &status.tables {
        metric.sample(&[("table", &table.name)], number(table.evictions_total));
    }
    let help = "1 while the place of a log can be written.";
    let mut metric = text.metric("lbctl_log_up", Kind::Gauge, help);
    for log in &status.logs {
        metric.sample(&[("target", &log.target)], flag(log.problem.is_none()));
    }
    let help = "Lines that the place of a log has got.";
    let mut metric = text.metric("lbctl_log_lines_written_total", Kind::Counter, help);
    status.logs.iter().for_each(|log| metric.sample(&[("target", &log.target)], number(log.written_total)));
    let help = "Lines that the place of a log was too slow for, or refused.";
    let mut metric = text.metric("lbctl_log_lines_lost_total", Kind::Counter, help);
    status.logs.iter().for_each(|log| metric.sample(&[("target", &log.target)], number(log.lost_total)));
}

/// All of them, also those that are off: who alerts needs a series to look at.
fn alarms(text: &mut Text, status: &Status) {
    let is_on = |name: AlarmName, group: Option<&str>| {
        flag(status.alarms.iter().any(|alarm| alarm.name == name && alarm.group.as_deref() == group))
    };
    if status.groups.is_empty() {
        return;
    }
    let help = "1 while the alarm is on; those of the whole node have no group.";
    let mut metric = text.metric("lbctl_alarm", Kind::Gauge, help);
    for name in AlarmName::ALL {
        if name.is_of_node() {
            metric.sample(&[("alarm", name.word()), ("group", "")], is_on(name, None));
            continue;
        }
        for group in &status.groups {
            metric.sample(&[("alarm", name.word()), ("group", &group.name)], is_on(name, Some(&group.name)));
        }
    }
}

fn peers(text: &mut Text, status: &Status) {
    let speak = || status.peers.iter().filter(|peer| peer.says_hello);
    let help = "1 while hello of the other node is heard.";
    let mut metric = text.metric("lbctl_peer_up", Kind::Gauge, help);
    speak().for_each(|peer| {
        metric.sample(&[("peer", &peer.name)], flag(peer.heard.is_some() && !peer.silent));
    });
    let help = "1 while the other node has the same file.";
    let mut metric = text.metric("lbctl_peer_same_file", Kind::Gauge, help);
    for peer in speak() {
        if let Some(hash) = &peer.hash {
            metric.sample(&[("peer", &peer.name)], flag(*hash == status.file.hash));
        }
    }
    let help = "When the other node was heard last, in seconds since 1970.";
    let mut metric = text.metric("lbctl_peer_last_hello_timestamp_seconds", Kind::Gauge, help);
    for peer in speak() {
        if let Some(heard) = peer.heard {
            metric.sample(&[("peer", &peer.name)], heard.unix_seconds());
        }
    }
}
