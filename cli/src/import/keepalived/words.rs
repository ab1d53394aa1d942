//! Every word of keepalived.conf that is known: what it becomes, and what is said where it becomes nothing. The book prints
//! these rows.

use super::source::{Grade, Sources};
use super::tree::Statement;
use crate::config::text;
use crate::import::haproxy::Known;

/// A word, or several of one fate.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) known: Known,
    /// How it is told; `None` for one that is converted.
    grade: Option<Grade>,
}

const fn converted(name: &'static str, becomes: &'static str, note: &'static str) -> Row {
    Row { known: Known { name, becomes, note }, grade: None }
}

/// Nothing needs it here.
const fn needless(name: &'static str, note: &'static str) -> Row {
    Row { known: Known { name, becomes: "", note }, grade: Some(Grade::Advise) }
}

/// What it does would be missed.
const fn lost(name: &'static str, note: &'static str) -> Row {
    Row { known: Known { name, becomes: "", note }, grade: Some(Grade::Lost) }
}

/// Something else happens.
const fn differs(name: &'static str, note: &'static str) -> Row {
    Row { known: Known { name, becomes: "", note }, grade: Some(Grade::Differ) }
}

const NO_HOOKS: &str = "nobody is told of that; `[notify.NAME]` tells of moves, and of servers and backends (docs/configuration.md)";
const HOOKS: &str = "as `command_user`, never as root, with the event as JSON on standard input; what `notify` is given is given to it, but for the priority";
const NO_LVS: &str = "there is no LVS: a `[listen.*]` with mode = \"tcp\" forwards";
const NO_KNOB: &str = "the speaker has what it needs by itself";
const ANNOUNCED: &str = "announced at once, three more times within 1 s, and again whenever another node claims, comes back, or the link does";
const NO_RULES: &str = "nothing is filtered, so there are no rules to make";
const NO_READER: &str = "`lbctl status --json` and the metrics have it (docs/metrics.md)";

/// What begins a block of the file, or stands alone in it.
pub(super) const TOP: &[Row] = &[
    converted("global_defs", "`[cluster]`, `[vip.*]`", "see below"),
    converted("vrrp_instance", "`[vip.NAME]`", ""),
    converted("vrrp_script", "`[track.NAME]`, or nothing", "see below"),
    converted(
        "vrrp_sync_group",
        "`group = \"web\"`",
        "all vips are in one group unless the file says otherwise",
    ),
    converted(
        "include, includer, includem, includew, includeb, includea",
        "",
        "followed; the result is one file",
    ),
    lost(
        "track_file, vrrp_track_file",
        "a tracker looks whether a file is there and not at the number in it: `[track.NAME]` with file = \"/run/maintenance\"",
    ),
    converted("vrrp_track_process, track_process", "`[track.NAME]`, or nothing", "see below"),
    lost(
        "bfd_instance",
        "there is no BFD; the loss of a node is noticed after three advertisements, which may be 10 ms apart",
    ),
    lost(
        "static_ipaddress, static_routes, static_rules, track_group, static_track_group",
        "what stays on a node belongs to its network configuration, as in systemd-networkd or /etc/network/interfaces",
    ),
    needless("garp_group", ANNOUNCED),
    needless("linkbeat_interfaces, linkbeat_use_polling", "the kernel tells of links"),
    differs(
        "interface_up_down_delays",
        "delays belong to a `[track.NAME]` with an interface: down_delay, up_delay",
    ),
    lost(
        "net_namespace, net_namespace_ipvs",
        "let `NetworkNamespacePath=` of the systemd unit start lbctl in a namespace",
    ),
    needless("namespace_with_ipsets, use_pid_dir, instance, child_wait_time", "nothing needs it here"),
    lost("virtual_server_group", NO_LVS),
    lost("virtual_server", NO_LVS),
    lost("SSL", "there is no LVS and no SSL_GET; a check of `[backend.*]` is http"),
];

/// What stands in `global_defs`.
pub(super) const GLOBAL: &[Row] = &[
    converted("router_id", "the name of the node in `[cluster]`", ""),
    converted(
        "vrrp_version",
        "`version = 2` beside a node that still runs Keepalived",
        "two nodes of lbctl speak version 3",
    ),
    converted("default_interface", "`interface = \"eth0\"`", "of instances that name none"),
    converted("vrrp_garp_master_refresh", "`garp_refresh = \"60s\"`", ""),
    converted(
        "notification_email, notification_email_from, smtp_server, smtp_connect_timeout, smtp_alert, smtp_alert_vrrp",
        "`[notify.mail]` with `smtp`",
        "where `smtp_alert` is set; gathered, so that there is at most one mail a minute",
    ),
    lost("smtp_alert_checker", NO_HOOKS),
    needless(
        "smtp_helo_name, no_email_faults, no_checker_emails",
        "a mail server is told the node's address, and what a mail tells of is `events` and `to` of [notify.mail]",
    ),
    lost(
        "notify_fifo, notify_fifo_script, vrrp_notify_fifo, vrrp_notify_fifo_script, lvs_notify_fifo, lvs_notify_fifo_script, vrrp_notify_priority_changes, fifo_write_vrrp_states_on_reload",
        "`lbctl events --follow --json` writes each event as it happens, and `[notify.NAME]` runs a program for it",
    ),
    lost(
        "startup_script, shutdown_script",
        "`ExecStartPre=` and `ExecStopPost=` of the systemd unit run programs",
    ),
    needless("startup_script_timeout, shutdown_script_timeout", "there are no such scripts"),
    needless(
        "script_user, enable_script_security",
        "commands run as `command_user` of [global], which is never root, and a file that others may write runs none",
    ),
    needless(
        "vrrp_garp_master_delay, vrrp_garp_master_repeat, vrrp_garp_master_refresh_repeat, vrrp_garp_lower_prio_delay, vrrp_garp_lower_prio_repeat, vrrp_garp_interval, vrrp_gna_interval, vrrp_min_garp, vrrp_garp_extra_if",
        ANNOUNCED,
    ),
    differs("vrrp_down_timer_adverts", "a Backup waits for three advertisements"),
    differs("vrrp_lower_prio_no_advert", "a losing advertisement is always answered, as RFC 9568 wants"),
    needless("vrrp_higher_prio_send_advert", "a loser always sends one last advertisement"),
    differs("vrrp_mcast_group4, vrrp_mcast_group6", "advertisements go to 224.0.0.18 and ff02::12"),
    needless("vrrp_skip_check_adv_addr", "a list of addresses that differs is told and drops nothing"),
    needless(
        "vrrp_strict",
        "what it forbids is refused by `lbctl check`, and traffic to a vip is never dropped",
    ),
    needless("vrrp_check_unicast_src", "it is always so"),
    needless("vrrp_startup_delay", "a node counts as ready once its first checks are done"),
    needless("dynamic_interfaces", "an interface may always come later"),
    needless(
        "nftables, nftables_priority, nftables_counters, nftables_ifindex, vrrp_iptables, vrrp_ipsets, disable_local_igmp",
        NO_RULES,
    ),
    needless("vmac_prefix, vmac_addr_prefix", "there are no virtual MAC addresses"),
    needless(
        "max_auto_priority, min_auto_priority_delay, vrrp_priority, vrrp_no_swap, vrrp_cpu_affinity, vrrp_rt_priority, vrrp_rlimit_rttime, vrrp_rlimit_rtime, vrrp_process_name, process_name, process_names, vrrp_netlink_cmd_rcv_bufs, vrrp_netlink_cmd_rcv_bufs_force, vrrp_netlink_monitor_rcv_bufs, vrrp_netlink_monitor_rcv_bufs_force, process_monitor_rcv_bufs, process_monitor_rcv_bufs_force, vrrp_rx_bufs_policy, vrrp_rx_bufs_multiplier, random_seed",
        NO_KNOB,
    ),
    needless(
        "checker_priority, checker_no_swap, checker_cpu_affinity, checker_rt_priority, checker_rlimit_rttime, checker_process_name, checker_log_all_failures, rs_init_notifies, bfd_priority, bfd_no_swap, bfd_cpu_affinity, bfd_rt_priority, bfd_rlimit_rttime, bfd_process_name, lvs_netlink_cmd_rcv_bufs, lvs_netlink_cmd_rcv_bufs_force, lvs_netlink_monitor_rcv_bufs, lvs_netlink_monitor_rcv_bufs_force",
        "there is no process of that kind",
    ),
    lost(
        "lvs_sync_daemon, lvs_timeouts, lvs_flush, lvs_flush_on_stop, nftables_ipvs, nftables_ipvs_priority, nftables_ipvs_start_fwmark",
        NO_LVS,
    ),
    needless(
        "snmp_socket, enable_snmp_vrrp, enable_snmp_checker, enable_snmp_keepalived, enable_snmp_rfc, enable_snmp_rfcv2, enable_snmp_rfcv3, enable_traps, enable_dbus, dbus_service_name, data_use_instance",
        NO_READER,
    ),
    needless(
        "umask, tmp_config_directory, config_save_dir, include_check, log_unknown_vrids",
        "nothing needs it here",
    ),
    needless(
        "reload_check_config, reload_time_file, reload_repeat, reload_file",
        "`lbctl reload` checks the file first and changes nothing if it is wrong",
    ),
    lost(
        "net_namespace, net_namespace_ipvs",
        "let `NetworkNamespacePath=` of the systemd unit start lbctl in a namespace",
    ),
    needless(
        "instance, use_pid_dir, linkbeat_use_polling, namespace_with_ipsets, child_wait_time",
        "nothing needs it here",
    ),
];

/// What stands in a `vrrp_instance`.
pub(super) const INSTANCE: &[Row] = &[
    converted(
        "state",
        "the order of the nodes",
        "all begin as a Backup, and the election decides, as it does in Keepalived since 2.0",
    ),
    converted(
        "interface",
        "`interface = \"eth0\"`",
        "`interface = { lb1 = \"ens18\", lb2 = \"enp3s0\" }` where names differ; without the key it is the one that has the node's address",
    ),
    converted("virtual_router_id", "`vrid = 51`", ""),
    converted(
        "priority",
        "the order of the nodes",
        "leave numbers out. If they have to be: `node.lb1 = { address = \"192.0.2.11\", priority = 150 }`",
    ),
    converted(
        "advert_int",
        "`advertisement_interval = \"1s\"`",
        "our default is 100 ms, so a dead machine is noticed after 0.3 s instead of 3.6 s: take the line out once both nodes run lbctl",
    ),
    converted(
        "version",
        "`version = 2` beside a node that still runs Keepalived",
        "two nodes of lbctl speak version 3",
    ),
    converted(
        "virtual_ipaddress, virtual_ipaddress_excluded",
        "`addresses = [\"192.0.2.10\", \"2001:db8::10\"]`",
        "both families in one list, installed as /32 and /128; `dev` is followed; `label`, `scope`, `brd` and the like are not there",
    ),
    converted(
        "nopreempt",
        "`preempt = \"degraded\"`",
        "the default, and what most people mean: nothing is taken from a node that serves as well. `\"never\"` also leaves it with one that lost its servers",
    ),
    converted(
        "preempt",
        "`preempt = \"always\"`",
        "so it is without `nopreempt`, too. Each return is one more interruption",
    ),
    converted(
        "preempt_delay",
        "`preempt_delay = \"30s\"`",
        "beside `preempt = \"always\"`. The node has to have been ready for so long, not only to run",
    ),
    converted("garp_master_refresh", "`garp_refresh = \"60s\"`", "the default; in a mixed pair it is 1 s"),
    converted(
        "unicast_peer, unicast_src_ip",
        "`transport = \"unicast\"`",
        "peers are the nodes of the file. Other addresses: `unicast_addresses = { lb1 = \"198.51.100.11\", lb2 = \"198.51.100.12\" }`; `min_ttl` is `minimum_ttl = 253`",
    ),
    converted("mcast_src_ip", "the node's address in `[cluster]`", ""),
    converted(
        "authentication",
        "`password = \"secret\"` beside a node that still runs Keepalived",
        "PASS with `version = 2` alone: it protects nothing. AH is nowhere; signed advertisements protect (docs/configuration.md)",
    ),
    converted(
        "track_interface",
        "`[track.NAME]` with `interface = \"eth0\"`",
        "no weights: without one a failure is a fault, with one a degradation. The interface of a vip counts always",
    ),
    converted(
        "track_script",
        "`[track.NAME]`, or nothing",
        "what looks at HAProxy goes: the proxy is known from inside. A ping is `address = \"192.0.2.1\"`, a test for a file is `file = \"/run/maintenance\"`, everything else `command = [\"/usr/local/bin/fit\", \"-q\"]`",
    ),
    lost(
        "track_file",
        "a tracker looks whether a file is there and not at the number in it: `[track.NAME]` with file = \"/run/maintenance\"",
    ),
    converted(
        "track_process",
        "`[track.NAME]`, or nothing",
        "HAProxy goes: the proxy is known from inside. Another one is `command = [\"/usr/bin/pgrep\", \"-x\", \"named\"]`, once a second",
    ),
    lost(
        "track_bfd",
        "there is no BFD; the loss of a node is noticed after three advertisements, which may be 10 ms apart",
    ),
    converted(
        "notify, notify_master, notify_backup, notify_fault, notify_stop",
        "`[notify.NAME]` with a `command`",
        HOOKS,
    ),
    converted("smtp_alert", "see `notification_email`", ""),
    lost("notify_deleted, notify_master_rx_lower_pri, notify_priority_changes", NO_HOOKS),
    differs(
        "use_vmac, use_vmac_addr, vmac_xmit_base, use_ipvlan",
        "nodes answer with their own hardware address, and announce it after a move",
    ),
    needless("native_ipv6", "the addresses say their family"),
    needless("accept", "it is always so: the proxy is behind the address"),
    differs("no_accept", "a vip always accepts: the proxy is behind the address"),
    lost("dont_track_primary", "the interface of a vip counts always: without its link nobody is served"),
    needless(
        "garp_master_delay, garp_master_repeat, garp_master_refresh_repeat, garp_lower_prio_delay, garp_lower_prio_repeat, garp_extra_if",
        ANNOUNCED,
    ),
    differs("down_timer_adverts", "a Backup waits for three advertisements"),
    differs("lower_prio_no_advert", "a losing advertisement is always answered, as RFC 9568 wants"),
    needless("higher_prio_send_advert", "a loser always sends one last advertisement"),
    needless(
        "strict_mode",
        "what it forbids is refused by `lbctl check`, and traffic to a vip is never dropped",
    ),
    needless("skip_check_adv_addr", "a list of addresses that differs is told and drops nothing"),
    needless("check_unicast_src, unicast_fault_no_peer, track_src_ip", "it is always so"),
    needless("old_unicast_checksum", "it is for Keepalived up to 1.3.6, which is not spoken to"),
    needless("unicast_ttl", "advertisements leave with a TTL of 255; see minimum_ttl"),
    differs("mcast_dst_ip", "advertisements go to 224.0.0.18 and ff02::12"),
    lost(
        "virtual_routes, virtual_rules, virtual_routes_excluded, virtual_rules_excluded",
        "routes and rules don't move: give them to both nodes for good, with the vip as `src` where that is wanted",
    ),
    lost("no_virtual_ipaddress", "a virtual router without an address has nothing to move"),
    needless("promote_secondaries", "a /32 is nobody's secondary address"),
    lost("vrf", "the sockets are those of the main table; `interface` decides"),
    lost("lvs_sync_daemon_interface", NO_LVS),
    needless("debug, kernel_rx_buf_size, linkbeat_use_polling, log_unknown_vrids", NO_KNOB),
];

/// What stands in a `vrrp_sync_group`.
pub(super) const SYNC_GROUP: &[Row] = &[
    converted("group", "`group = \"web\"`", "in each of its vips, where there is more than one group"),
    converted("track_interface, track_script, track_process", "`groups` of the tracker", ""),
    lost(
        "track_file",
        "a tracker looks whether a file is there and not at the number in it: `[track.NAME]` with file = \"/run/maintenance\"",
    ),
    lost(
        "track_bfd",
        "there is no BFD; the loss of a node is noticed after three advertisements, which may be 10 ms apart",
    ),
    converted(
        "notify, notify_master, notify_backup, notify_fault, notify_stop",
        "`[notify.NAME]` with a `command`",
        HOOKS,
    ),
    converted("smtp_alert", "see `notification_email`", ""),
    lost("notify_deleted, notify_priority_changes", NO_HOOKS),
    needless(
        "global_tracking, sync_group_tracking_weight",
        "what fails for one vip of a group fails for the group",
    ),
];

/// What stands in a `vrrp_script`.
pub(super) const SCRIPT: &[Row] = &[
    converted("script", "see `track_script`", ""),
    converted("interval, timeout, rise, fall", "the same keys of `[track.NAME]`", ""),
    converted(
        "weight",
        "a degradation; without one a fault",
        "there are no weights, and so no sum that can come out wrong",
    ),
    needless("user", "commands run as `command_user` of [global], which is never root"),
    needless("init_fail", "a node counts as ready once its first checks are done"),
];

/// What stands in a `vrrp_track_process`.
pub(super) const PROCESS: &[Row] = &[
    converted(
        "process",
        "see `track_process`",
        "by the words that started it, where there are several or the name is longer than 15",
    ),
    converted("quorum", "a count in its `command`", ""),
    converted("delay, terminate_delay", "`fall`, once a second", ""),
    converted("full_command", "the whole command line counts", ""),
    converted("weight", "a degradation; without one a fault", "as in a `vrrp_script`"),
    needless("fork_delay", "a process counts as soon as it is seen"),
    needless("param_match", "what the process was started with counts from the first word on"),
    lost("quorum_max", "too many processes are no failure here; write a command that says so"),
];

/// The names of a table.
pub(super) fn names(rows: &[Row]) -> impl Iterator<Item = &'static str> {
    rows.iter().flat_map(|row| row.known.name.split(", "))
}

/// Says what becomes of a statement that no code converts; `place` is what the table is about.
pub(super) fn tell(statement: &Statement, rows: &[Row], place: &str, sources: &Sources) {
    let word = statement.keyword();
    let shown: String = word.chars().take(40).collect::<String>().escape_debug().to_string();
    match rows.iter().find(|row| row.known.name.split(", ").any(|name| name == word)) {
        Some(Row { grade: Some(grade), known }) => {
            let verb = if *grade == Grade::Advise { " is left out" } else { "" };
            sources.say(*grade, statement.place(), format!("`{word}`{verb}: {}", known.note));
        }
        // One that is converted stands here once too often, or without what it needs.
        Some(_) => sources.lost(statement.place(), format!("`{word}` has no meaning here")),
        None => {
            let hint = text::nearest(word, names(rows)).map(|name| format!("; did you mean `{name}`?"));
            let hint = hint.unwrap_or_default();
            sources.lost(statement.place(), format!("`{shown}` is no word that {place} has{hint}"));
        }
    }
}
