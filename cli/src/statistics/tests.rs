//! Literal rows from literal states; the form is that of HAProxy 2.6's own output.

use super::*;
use crate::control::{
    Backend, BackendStatistics, Bind, Check, Compressed, FileReport, Frontend, FrontendStatistics, Group,
    GroupNode, Handshakes, Level, Outage, PerSecond, Phase, Problem, Ready, Server, ServerState,
    ServerStatistics, Status, StepTimes, Steps, Timestamp, Traffic, Vip,
};

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("RFC 3339")
}

pub(crate) fn server(name: &str) -> Server {
    Server {
        name: name.to_owned(),
        address: "192.0.2.21:80".to_owned(),
        resolved: Some(([192, 0, 2, 21], 80).into()),
        name_problem: None,
        state: ServerState::Up,
        since: time("2026-09-21T13:58:20Z"),
        in_flight: 3,
        queued: 0,
        requests_total: 40,
        connect_errors: 2,
        weight: 10,
        share: 100,
        backup: false,
        maxconn: Some(50),
        last_check: Some(Check {
            passed: true,
            code: "L7OK".to_owned(),
            what: "200".to_owned(),
            info: String::new(),
            microseconds: 1_900,
            in_a_row: 7,
            fall: 5,
            at: time("2026-09-21T14:00:00Z"),
        }),
        ordered: Vec::new(),
        statistics: ServerStatistics {
            traffic: Traffic {
                current: 3,
                peak: 9,
                queued: 1,
                queued_peak: 4,
                sessions_total: 42,
                rate: PerSecond { now: 2, max: 11 },
                balanced_total: 41,
                idle: Some(5),
                bytes_in: 1_000,
                bytes_out: 20_000,
                responses: [1, 2, 30, 4, 5, 6],
                connect_failures: 7,
                retries: 8,
                redispatches: 9,
                response_errors: 10,
                server_aborts: 11,
                denied_responses: 14,
                denied_requests: 0,
                client_aborts: 12,
                tls: Handshakes { completed: 15, resumed: 13, failed: 2 },
                times: Some(StepTimes {
                    average: Steps { queue: 1, connect: 2, response: 30, total: 40 },
                    longest: Steps { queue: 101, connect: 102, response: 1_030, total: 1_040 },
                    count: 38,
                    sum: Steps { queue: 40, connect: 80, response: 1_100, total: 1_500 },
                }),
            },
            outage: Outage { is_down: false, seconds: 100, count: 2, total_seconds: 33 },
            failed_checks: 13,
            observed_errors: None,
            is_checked: true,
            level: Some(Level { rise: 2, fall: 5, now: 6 }),
            is_in_use: true,
            check_status: Some(200),
            agent: None,
        },
    }
}

pub(crate) fn frontend(name: &str) -> Frontend {
    Frontend {
        name: name.to_owned(),
        mode: "http".to_owned(),
        binds: vec![Bind { label: "*:80".to_owned(), address: Some(([0, 0, 0, 0], 80).into()), error: None }],
        connections: 4,
        maxconn: 2_000,
        full_since: None,
        connections_total: 60,
        requests_total: 71,
        requests_per_second: 2.0,
        responses: [1, 2, 30, 4, 5, 6],
        server_errors_per_minute: 0,
        bytes_in: 1_500,
        bytes_out: 21_000,
        counters: [("denied_total", 1), ("tarpitted_total", 2), ("denied_responses_total", 4)]
            .map(|(name, n)| (name.to_owned(), n))
            .into(),
        refused: Vec::new(),
        paused: None,
        certificates: Vec::new(),
        statistics: FrontendStatistics {
            position: 0,
            connections_peak: 12,
            connection_rate: PerSecond { now: 1, max: 8 },
            request_rate: PerSecond { now: 2, max: 9 },
            request_errors: 5,
            compressed: Compressed { responses: 4, bytes_in: 1_000, bytes_out: 300, bytes_bypassed: 7 },
        },
    }
}

pub(crate) fn backend(name: &str, servers: Vec<Server>) -> Backend {
    Backend {
        certificates: Vec::new(),
        name: name.to_owned(),
        queued: 0,
        servers,
        refused: Vec::new(),
        unanswered: None,
        statistics: BackendStatistics {
            position: 0,
            mode: "http".to_owned(),
            fullconn: 200,
            traffic: Traffic { current: 5, peak: 10, sessions_total: 50, ..Traffic::default() },
            compressed: Compressed { responses: 3, bytes_in: 900, bytes_out: 200, bytes_bypassed: 6 },
            outage: Outage { is_down: false, seconds: 77, count: 1, total_seconds: 6 },
            totals: None,
        },
    }
}

/// The frontends come first in the file.
pub(crate) fn status(mut frontends: Vec<Frontend>, mut backends: Vec<Backend>) -> Status {
    let positions = frontends.iter_mut().map(|one| &mut one.statistics.position);
    let positions = positions.chain(backends.iter_mut().map(|one| &mut one.statistics.position));
    positions.zip(1..).for_each(|(position, number)| *position = number);
    Status {
        at: time("2026-09-21T14:00:00Z"),
        node: "lb1".to_owned(),
        version: "0.3.0".to_owned(),
        pid: 1,
        started: time("2026-09-21T13:00:00Z"),
        upgraded: None,
        drained: None,
        giving: None,
        speaker: None,
        runner_restarts_total: 0,
        trackers: Vec::new(),
        earlier: Vec::new(),
        phase: Phase::Running,
        file: FileReport {
            path: "/etc/lbctl/lb.toml".to_owned(),
            hash: "8f31c2aa".to_owned(),
            loaded: None,
            generation: 1,
            old_generations: 0,
        },
        signs: "off".to_owned(),
        peers: Vec::new(),
        groups: Vec::new(),
        connections: 4,
        maxconn: 2_000,
        full_since: None,
        frontends,
        backends,
        tables: Vec::new(),
        logs: Vec::new(),
        delays: Vec::new(),
        counters: Default::default(),
        problems: Vec::new(),
        alarms: Vec::new(),
        notifiers: Vec::new(),
        events: Vec::new(),
        notes: Vec::new(),
    }
}

const HEADER: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,\n";

#[test]
fn the_csv_is_haproxys_to_the_letter() {
    let found = csv(&rows(&status(vec![frontend("web")], vec![backend("app", vec![server("web1")])])));
    assert_eq!(
        found,
        [
            HEADER,
            "web,FRONTEND,,,4,12,2000,60,1500,21000,3,4,5,,,,,OPEN,,,,,,,,,1,1,0,,,,0,1,0,8,,,,2,30,4,5,6,1,,2,9,71,,,1000,300,7,4,,,,,,,,\n",
            "app,web1,1,4,3,9,50,42,1000,20000,,14,,7,10,8,9,UP,10,1,0,13,2,100,33,,1,2,1,,41,,2,2,,11,L7OK,200,1,2,30,4,5,6,1,,,,48,12,11,,,,,5,,,1,2,30,40,\n",
            "app,BACKEND,0,0,5,10,200,50,0,0,0,0,,0,0,0,0,UP,10,1,0,,1,77,6,,1,2,0,,0,,1,0,,0,,,,0,0,0,0,0,0,,,,0,0,0,900,200,6,3,-1,,,,,,,\n",
        ]
        .concat()
    );
    assert!(found.lines().all(|line| line.matches(',').count() == 62), "{found}");
}

#[test]
fn rows_are_in_the_order_of_the_file_and_the_two_halves_of_a_listen_together() {
    let mut status = status(
        vec![frontend("a"), frontend("b"), frontend("other")],
        vec![backend("other", vec![server("s1")]), backend("b", vec![server("s1"), server("s2")])],
    );
    for (frontend, position) in status.frontends.iter_mut().zip([2, 3, 4]) {
        frontend.statistics.position = position;
    }
    for (backend, position) in status.backends.iter_mut().zip([1, 3]) {
        backend.statistics.position = position;
    }
    let names: Vec<_> = rows(&status)
        .iter()
        .map(|row| {
            let text = |column| match row.cell(column) {
                Cell::Text(text) => text.clone(),
                Cell::Number(number) => number.to_string(),
                Cell::Empty => String::new(),
            };
            [Column::Pxname, Column::Svname, Column::Iid, Column::Sid].map(text).join(" ")
        })
        .collect();
    assert_eq!(
        names,
        [
            "other s1 1 1",
            "other BACKEND 1 0",
            "a FRONTEND 2 0",
            "b FRONTEND 3 0",
            "b s1 3 1",
            "b s2 3 2",
            "b BACKEND 3 0",
            "other FRONTEND 4 0",
        ]
    );
}

/// As HAProxy 2.6 has it of the same answers.
#[test]
fn what_a_check_found_is_told_in_haproxys_words() {
    for (code, status, info, expected) in [
        ("L7OK", Some(200), "", "L7OK,200,1,"),
        ("L7OK", None, "", "L7OK,0,1,"),
        ("L7STS", Some(404), "Not \"here\", no", "L7STS,404,1,\"Not \"\"here\"\", no\""),
        ("L7TOUT", None, "", "L7TOUT,,1,"),
        ("L7RSP", None, "", "L7RSP,,1,"),
        ("L4CON", None, "Connection refused", "L4CON,,1,Connection refused"),
        ("L4TOUT", None, "", "L4TOUT,,1,"),
    ] {
        let mut web1 = server("web1");
        web1.statistics.check_status = status;
        let check = web1.last_check.as_mut().unwrap();
        (check.code, check.info) = (code.to_owned(), info.to_owned());
        let text = csv(&rows(&status_of(web1)));
        let line = text.lines().find(|line| line.starts_with("app,web1,")).unwrap();
        let cells: Vec<_> = line.splitn(57, ',').collect();
        let last = cells[56].trim_end_matches(",,1,2,30,40,");
        assert_eq!(format!("{},{},{},{last}", cells[36], cells[37], cells[38]), expected);
    }
}

fn status_of(server: Server) -> Status {
    status(Vec::new(), vec![backend("app", vec![server])])
}

#[test]
fn only_cells_that_need_it_are_quoted() {
    let mut web1 = server("web1");
    if let Some(check) = &mut web1.last_check {
        check.info = "said \"no\", and left".to_owned();
    }
    let found = csv(&rows(&status(Vec::new(), vec![backend("app", vec![web1])])));
    assert!(found.contains(",5,\"said \"\"no\"\", and left\",,1,2,30,40,\n"), "{found}");
}

#[test]
fn words_of_an_agent_are_no_formula() {
    for (said, cell) in [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-1", "'-1"),
        ("=HYPERLINK(\"a\",1)", "\"'=HYPERLINK(\"\"a\"\",1)\""),
        ("up 50%", "up 50%"),
    ] {
        let mut web1 = server("web1");
        web1.statistics.agent = Some(said.to_owned());
        let found = csv(&rows(&status(Vec::new(), vec![backend("app", vec![web1])])));
        assert!(found.contains(&format!(",{cell},")), "{found}");
    }
}

#[test]
fn states_are_told_in_haproxys_words() {
    let told = |state, now| {
        let mut server = server("s");
        server.state = state;
        server.statistics.level = Some(Level { rise: 2, fall: 3, now });
        row::status(&server)
    };
    use ServerState::{AgentDown, Down, Drain, Maintenance, NoBalance, NoCheck, Unchecked, Up};
    assert_eq!([4, 3, 2].map(|now| told(Up, now)), ["UP", "UP 2/3", "UP 1/3"]);
    assert_eq!([1, 0].map(|now| told(Down, now)), ["DOWN 1/2", "DOWN"]);
    assert_eq!([4, 3].map(|now| told(NoBalance, now)), ["NOLB", "NOLB 2/3"]);
    let others = [AgentDown, Drain, Maintenance, NoCheck, Unchecked].map(|state| told(state, 0));
    assert_eq!(others, ["DOWN (agent)", "DRAIN (agent)", "MAINT", "no check", "DOWN"]);
    let ordered = crate::control::Ordered {
        what: "drain".to_owned(),
        by: "root".to_owned(),
        at: time("2026-09-21T14:00:00Z"),
    };
    let drained = Server { ordered: vec![ordered], state: Drain, ..server("s") };
    assert_eq!(row::status(&drained), "DRAIN");
    let nowhere = Server { resolved: None, state: Down, ..server("s") };
    assert_eq!(row::status(&nowhere), "MAINT (resolution)");
}

#[test]
fn server_in_maintenance_has_no_check_as_in_haproxy() {
    let web1 = Server { state: ServerState::Maintenance, ..server("web1") };
    let text = csv(&rows(&status_of(web1)));
    assert!(text.contains(",MAINT,10,1,0,13,2,100,33,"), "{text}");
    assert!(text.contains(",,11,,,,2,30,"), "{text}");
    assert!(text.contains(",5,,,1,2,30,40,\n"), "{text}");
}

#[test]
fn the_json_has_haproxys_fields() {
    let found = json(&rows(&status(vec![frontend("web")], Vec::new()))).expect("written");
    assert!(
        found.starts_with(
            "[[{\"objType\":\"Frontend\",\"proxyId\":1,\"id\":0,\"field\":{\"pos\":0,\"name\":\"pxname\"},\"processNum\":1,\
             \"tags\":{\"origin\":\"Key\",\"nature\":\"Name\",\"scope\":\"Service\"},\"value\":{\"type\":\"str\",\"value\":\"web\"}},"
        ),
        "{found}"
    );
    assert!(
        found.contains(
            "{\"objType\":\"Frontend\",\"proxyId\":1,\"id\":0,\"field\":{\"pos\":4,\"name\":\"scur\"},\"processNum\":1,\
             \"tags\":{\"origin\":\"Metric\",\"nature\":\"Gauge\",\"scope\":\"Process\"},\"value\":{\"type\":\"u32\",\"value\":4}}"
        ),
        "{found}"
    );
}

#[test]
fn suffixes_are_found_anywhere_behind_the_uri() {
    let view = |suffix: &str| View::parse(suffix.as_bytes());
    assert_eq!(view(""), View::default());
    assert_eq!(view("XYZ;csv").format, Format::Csv);
    assert_eq!(view(";csv;json").format, Format::Json);
    let all = View { format: Format::Csv, hide_down: true, hide_maintenance: true, no_refresh: true };
    assert_eq!(view("/x;up;norefresh;no-maint;csv"), all);
    assert_eq!(view("?csv&up"), View::default());
}

#[test]
fn what_is_hidden_is_still_counted_in_the_status_of_its_backend() {
    let in_state = |name: &str, state, now| {
        let mut server = server(name);
        server.state = state;
        server.statistics.level = Some(Level { rise: 2, fall: 3, now });
        server
    };
    use ServerState::{Down, Maintenance, Up};
    let servers = vec![
        in_state("up", Up, 4),
        in_state("down", Down, 0),
        in_state("rising", Down, 1),
        in_state("maint", Maintenance, 4),
    ];
    let status = status(vec![frontend("web")], vec![backend("app", servers)]);
    let shown = |suffix: &str| -> Vec<_> {
        let rows = View::parse(suffix.as_bytes()).filter(rows(&status));
        let text = |row: &Row, column| match row.cell(column) {
            Cell::Text(text) => text.clone(),
            Cell::Number(_) | Cell::Empty => String::new(),
        };
        rows.iter().map(|row| text(row, Column::Svname) + " " + &text(row, Column::Status)).collect()
    };
    assert_eq!(
        shown(""),
        ["FRONTEND OPEN", "up UP", "down DOWN", "rising DOWN 1/2", "maint MAINT", "BACKEND UP"]
    );
    assert_eq!(shown(";up"), ["FRONTEND OPEN", "up UP", "rising DOWN 1/2", "BACKEND UP (1/4)"]);
    assert_eq!(
        shown(";no-maint"),
        ["FRONTEND OPEN", "up UP", "down DOWN", "rising DOWN 1/2", "BACKEND UP (1/4)"]
    );
}

#[test]
fn the_page_shows_what_the_rows_have_and_the_node_at_its_top() {
    let mut web2 = server("web2");
    web2.state = ServerState::Down;
    web2.statistics.level = Some(Level { rise: 2, fall: 5, now: 0 });
    if let Some(check) = &mut web2.last_check {
        *check = Check {
            passed: false,
            code: "L4CON".to_owned(),
            what: "connection refused".to_owned(),
            info: "Connection refused".to_owned(),
            ..check.clone()
        };
    }
    let status = status(vec![frontend("web")], vec![backend("app", vec![server("web1"), web2])]);
    let page = page(&status, &rows(&status), "/haproxy-stats", View::default());
    let text = page.text.as_str();
    for part in [
        "<title>lb1 · lbctl statistics</title>",
        "<p>lbctl 0.3.0, up 1 h · process 1 · file /etc/lbctl/lb.toml 8f31c2 · 4 of 2,000 connections</p>",
        "<h2>web <small>frontend · *:80</small></h2>",
        "<h2>app <small>backend</small></h2>",
        "<tr class=\"server up\"><td>web1</td><td class=\"text words\" data-l=\"State\"><span class=\"word\">UP</span> \
         <span class=\"dim\">for 1 m 40 s, was down 2 times, 33 s in all</span></td>\
         <td class=\"text words\" data-l=\"Last check\">L7OK 200 in 1 ms</td>\
         <td class=\"\" data-l=\"Sessions now / most / limit\">3 / 9 / 50</td>",
        "<tr class=\"server down\"><td>web2</td><td class=\"text words\" data-l=\"State\"><span class=\"word\">DOWN</span>",
        "L4CON connection refused, 5 of 5 failed",
        "<span title=\"20,000 bytes\">20.0 kB</span>",
        "<span title=\"average of the last 1,024; at most in line: 101, connect: 102, response: 1,030, all: 1,040\">1 / 2 / 30 / 40</span>",
        "<span class=\"bad\" title=\"connections: 7, responses: 10, ended by clients: 12\">29</span>",
        "<a href=\"/haproxy-stats;up\">Hide servers that are down</a>",
        "<a href=\"/haproxy-stats;csv\">CSV</a>",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let policy = &page.policy;
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    // Nothing is fetched from anywhere but here.
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    let still = super::page(&status, &rows(&status), "/", View { no_refresh: true, ..View::default() });
    assert!(!still.text.contains("<script") && !still.text.contains("http-equiv"), "{}", still.text);
}

#[test]
fn nothing_that_others_have_said_is_markup() {
    let attack = "</td><script>alert('1')</script>\"&\u{7}";
    let mut web1 = server(attack);
    web1.state = ServerState::Down;
    if let Some(check) = &mut web1.last_check {
        check.what = attack.to_owned();
        check.passed = false;
    }
    let mut front = frontend(attack);
    front.binds[0].error = Some(attack.to_owned());
    front.binds[0].label = attack.to_owned();
    let mut status = status(vec![front], vec![backend("app", vec![web1])]);
    status.node = attack.to_owned();
    status.version = attack.to_owned();
    status.file.path = attack.to_owned();
    status.phase = Phase::Waiting { reason: attack.to_owned() };
    status.notes.push(attack.to_owned());
    status.problems.push(Problem { what: attack.to_owned(), since: None, look_at: attack.to_owned() });
    let node = GroupNode {
        name: attack.to_owned(),
        local: true,
        state: Some(attack.to_owned()),
        since: None,
        ready: Some(Ready::Fault { reason: attack.to_owned() }),
        priority: None,
        heard: None,
        silent: false,
    };
    let vip = Vip {
        name: attack.to_owned(),
        addresses: vec![attack.to_owned()],
        unheld: Vec::new(),
        installed: Vec::new(),
        interface: None,
        vrid: 1,
        interval_ms: 100,
        routers: Vec::new(),
    };
    status.groups.push(Group {
        name: attack.to_owned(),
        vips: vec![vip],
        holders: vec![attack.to_owned()],
        since: None,
        why: attack.to_owned(),
        nodes: vec![node],
        transitions: Vec::new(),
        counters: Default::default(),
    });
    let text = page(&status, &rows(&status), attack, View::default()).text;
    assert_eq!(text.matches("<script").count(), 1, "{text}");
    assert_eq!(text.matches("alert(&#39;1&#39;)").count(), text.matches("alert(").count(), "{text}");
    assert!(text.matches("alert(").count() >= 15 && !text.contains('\u{7}'), "{text}");
}
