//! Golden screens, in `screens/`; `UPDATE=1 cargo test -p lbctl --lib top` blesses them.

use std::{fs, path::Path, time::Duration};

use ratatui::{Terminal, backend::TestBackend};

use super::{Key, Top, draw};
use crate::{
    control::{EarlierProcess, Problem, Ready, ServerState, Status, Timestamp},
    output::status::tests::healthy,
};

fn screen(top: &mut Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal to fail");
    terminal.draw(|frame| draw(top, frame)).expect("drawn");
    let buffer = terminal.backend().buffer().clone();
    let rows = buffer.content().chunks(usize::from(width));
    let lines = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[track_caller]
fn assert_screen(name: &str, top: &mut Top, width: u16, height: u16) {
    let found = screen(top, width, height);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/screens").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).expect("written");
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), found, "{name}:\n{found}");
}

fn later(mut status: Status, seconds: u64) -> Status {
    status.at = Timestamp::from(
        std::time::SystemTime::UNIX_EPOCH
            + Duration::from_secs_f64(status.at.unix_seconds())
            + Duration::from_secs(seconds),
    );
    status
}

fn busy() -> Status {
    let mut status = healthy();
    status.frontends[0].statistics.request_rate.now = 1_804;
    status.frontends[0].statistics.connection_rate.now = 31;
    for (server, rate) in status.backends[0].servers.iter_mut().zip([900, 904]) {
        server.statistics.traffic.rate.now = rate;
    }
    status
}

#[test]
fn connections_of_processes_before_are_in_the_head() {
    let mut status = healthy();
    assert!(!screen(&mut Top::new(status.clone(), true), 80, 24).contains("before the upgrade"));
    let process = |connections| EarlierProcess {
        pid: 7,
        version: "0.1.0".to_owned(),
        since: status.at,
        until: status.at,
        connections,
        exchanges: 1,
        silent_ms: None,
    };
    status.earlier = vec![process(1_200), process(34)];
    let shown = screen(&mut Top::new(status, true), 100, 24);
    assert!(
        shown.lines().next().is_some_and(|head| head.contains(" · 1,234 CONN before the upgrade · ")),
        "{shown}"
    );
}

/// Two seconds later, with what passed meanwhile.
fn with_flow(status: Status) -> Status {
    let mut next = later(status, 2);
    next.frontends[0].connections_total += 62;
    next.frontends[0].requests_total += 3_608;
    for (server, requests) in next.backends[0].servers.iter_mut().zip([1_800, 1_808]) {
        server.statistics.traffic.sessions_total += requests;
    }
    next.frontends[0].bytes_in += 24_600;
    next.frontends[0].bytes_out += 2_400_000_000;
    next
}

#[test]
fn active_node_with_the_flow_between_two_reports() {
    let mut top = Top::new(busy(), true);
    top.report(with_flow(busy()));
    assert_screen("active", &mut top, 80, 24);
}

/// The screen that the book shows is drawn by what draws all others.
#[test]
fn picture_of_the_book_is_one_of_these_screens() {
    let mut status = busy();
    "0.1.0".clone_into(&mut status.version);
    status.problems = vec![Problem {
        what: "app/web2 is down".to_owned(),
        since: Some(status.at),
        look_at: "192.0.2.22:80: L4CON connection refused. Does the service run there? The other server carries all."
            .to_owned(),
    }];
    let mut top = Top::new(status.clone(), true);
    let mut next = with_flow(status);
    let [web1, web2] = next.backends[0].servers.as_mut_slice() else { panic!("two servers") };
    (web2.state, web2.connect_errors, web2.in_flight) = (ServerState::Down, 4, 0);
    web2.since = busy().at;
    web2.last_check.as_mut().expect("a check").code = "L4CON".to_owned();
    web2.statistics.traffic.sessions_total -= 1_808;
    web1.statistics.traffic.sessions_total += 1_808;
    top.report(next);
    assert_screen("book", &mut top, 80, 15);
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md"));
    let page = page.expect("the book");
    let part = page.split("\n### top\n").nth(1).expect("a part of it");
    let shown = part.split("```\n").find(|block| block.contains("q quit")).expect("a screen");
    assert_eq!(shown, screen(&mut top, 80, 15), "it stands in docs/operations.md as in screens/book");
}

#[test]
fn figures_of_a_line_are_of_the_same_second_whatever_the_daemon_counts_in_its_own() {
    let figures = |top: &mut Top| {
        let screen = screen(top, 80, 24);
        let row = |name: &str| screen.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        let words = |row: String| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        (words(row("2,000"))[3..].join(" "), words(row("web1"))[7].clone())
    };
    let mut top = Top::new(busy(), true);
    assert_eq!(figures(&mut top), ("31 1,804 0 - -".to_owned(), "900".to_owned()));
    let counted = |mut status: Status, requests: u64| {
        let frontend = &mut status.frontends[0];
        frontend.connections_total += requests;
        frontend.requests_total += requests;
        frontend.bytes_in += 80 * requests;
        frontend.bytes_out += 1_000 * requests;
        status.backends[0].servers[0].statistics.traffic.sessions_total += requests;
        status
    };
    let expected = |text: &str, server: &str| (text.to_owned(), server.to_owned());
    let second = counted(later(busy(), 1), 100);
    top.report(second.clone());
    assert_eq!(figures(&mut top), expected("100 100 0 8.0 kB 100 kB", "100"));
    // Asked again at once: no figure of a moment.
    top.report(counted(second.clone(), 1));
    assert_eq!(figures(&mut top), expected("100 100 0 8.0 kB 100 kB", "100"));
    top.report(counted(later(second.clone(), 10), 50));
    assert_eq!(figures(&mut top), expected("5 5 0 400 B 5.0 kB", "5"));
    // A daemon that was started anew counts from 0.
    let mut anew = later(busy(), 20);
    anew.started = anew.at;
    top.report(anew);
    assert_eq!(figures(&mut top), expected("31 1,804 0 - -", "900"));
}

#[test]
fn backup_node() {
    let mut status = busy();
    status.groups[0].nodes[0].state = Some("Backup".to_owned());
    status.groups[0].nodes[1].state = Some("Active".to_owned());
    status.groups[0].holders = vec!["lb2".to_owned()];
    assert_screen("backup", &mut Top::new(status, true), 80, 24);
}

#[test]
fn degraded_node_says_why_and_an_address_that_nobody_holds_is_told() {
    let mut status = busy();
    let reasons =
        vec!["backend app has no usable server (web1: connection refused; web2: timeout)".to_owned()];
    status.groups[0].nodes[0].ready = Some(Ready::Degraded { reasons });
    status.groups[0].nodes[0].state = Some("Backup".to_owned());
    status.groups[0].nodes[1].silent = true;
    status.groups[0].holders.clear();
    assert_screen("degraded", &mut Top::new(status, true), 80, 24);
}

fn one_down() -> Status {
    let mut status = busy();
    status.backends[0].servers[1].state = ServerState::Down;
    status.backends[0].servers[1].connect_errors = 12;
    status.backends[0].servers[1].in_flight = 0;
    status.backends[0].queued = 7;
    status.problems = vec![Problem {
        what: "app/web2 is down".to_owned(),
        since: Some(status.at),
        look_at:
            "192.0.2.22:80 refuses connections. Does the service run there? The other server carries all. \
                  It was restarted by hand."
                .to_owned(),
    }];
    status
}

#[test]
fn server_that_is_down() {
    assert_screen("down", &mut Top::new(one_down(), true), 80, 24);
}

#[test]
fn advice_is_whole_where_problems_are_few_and_marked_where_it_is_cut() {
    let mut many = one_down();
    many.problems[0].look_at.push_str(" And so on, for more than a line. What is to be done stands last.");
    let whole = screen(&mut Top::new(many.clone(), true), 80, 24);
    assert!(whole.replace('\n', " ").contains("What is to be done stands last."), "{whole}");
    many.problems = vec![many.problems[0].clone(); 4];
    let cut = screen(&mut Top::new(many, true), 80, 24);
    assert!(!cut.contains("stands last"), "{cut}");
    assert_eq!(cut.matches(" …\n").count(), 4, "{cut}");
    // How it is started stands at the end.
    let mut top = Top::new(busy(), true);
    let why =
        "lbctl is not running here (no /run/lbctl/control.sock); start it: systemctl start lbctl".to_owned();
    top.no_answer(Duration::from_secs(4), why);
    let gone = screen(&mut top, 80, 24).replace('\n', " ");
    assert!(gone.contains("start it: systemctl start lbctl"), "{gone}");
}

#[test]
fn names_that_are_long_are_cut_and_control_characters_are_none() {
    let mut status = one_down();
    status.node =
        "a-node-with-a-name-that-is-longer-than-anybody-would-want-to-have-it-on-a-terminal".to_owned();
    status.frontends[0].name = "frontend-of-the-customers-portal-in-the-second-data-centre".to_owned();
    status.backends[0].name = "backend-of-the-customers-portal".to_owned();
    status.backends[0].servers[0].name = "web\u{1b}[31m1".to_owned();
    assert_screen("long", &mut Top::new(status, true), 80, 24);
}

#[test]
fn narrow_and_low_terminals_show_what_fits_and_scroll() {
    let mut top = Top::new(one_down(), true);
    assert_screen("narrow", &mut top, 40, 10);
    top.key(Key::Scroll(3));
    assert_screen("scrolled", &mut top, 40, 10);
    top.key(Key::End);
    let end = screen(&mut top, 40, 10);
    top.key(Key::Page(5));
    assert_eq!(screen(&mut top, 40, 10), end);
    top.key(Key::Home);
    top.key(Key::Scroll(-1));
    assert_screen("narrow", &mut top, 40, 10);
    // A larger terminal has room for all of it.
    top.key(Key::End);
    assert_screen("down", &mut top, 80, 24);
    for (width, height) in [(1, 1), (2, 1), (80, 2), (7, 24), (300, 100)] {
        screen(&mut top, width, height);
    }
}

#[test]
fn help_is_shown_until_the_next_key() {
    let mut top = Top::new(busy(), true);
    top.key(Key::Help);
    assert_screen("help", &mut top, 80, 24);
    top.key(Key::Other);
    assert!(screen(&mut top, 80, 24).contains("FRONTEND"));
}

#[test]
fn nothing_newer_is_shown_while_it_is_frozen() {
    let mut top = Top::new(busy(), true);
    top.key(Key::Freeze);
    top.report(later(one_down(), 2));
    let frozen = screen(&mut top, 80, 24);
    assert!(frozen.contains("no problems FROZEN") && !frozen.contains("DOWN"), "{frozen}");
    top.key(Key::Freeze);
    let screen = screen(&mut top, 80, 24);
    assert!(
        screen.contains("1 problem") && screen.contains("DOWN") && !screen.contains("FROZEN"),
        "{screen}"
    );
}

#[test]
fn daemon_that_is_gone_is_told_and_what_it_said_last_stays() {
    let mut top = Top::new(busy(), true);
    top.no_answer(Duration::from_secs(4), "lbctl is not running here".to_owned());
    let gone = screen(&mut top, 80, 24);
    assert!(gone.contains("\nno answer for 4 s, tries again: lbctl is not running here\n"), "{gone}");
    assert!(gone.contains("web1"), "{gone}");
    top.report(later(busy(), 9));
    assert!(!screen(&mut top, 80, 24).contains("no answer"));
}

#[test]
fn servers_are_in_the_order_that_is_wanted() {
    let mut status = one_down();
    status.problems.clear();
    let servers = &mut status.backends[0].servers;
    servers[0].in_flight = 5;
    servers[1].in_flight = 9;
    servers[0].statistics.traffic.rate.now = 8;
    servers[1].statistics.traffic.rate.now = 4;
    let mut top = Top::new(status, true);
    let mut first = |key| {
        top.key(key);
        let screen = screen(&mut top, 80, 24);
        let (place, word) = (screen.find("web1") < screen.find("web2"), screen.lines().last());
        let word = word.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned();
        (if place { "web1" } else { "web2" }, word)
    };
    let expected =
        [("web1", "file"), ("web2", "state"), ("web2", "sessions"), ("web1", "rate"), ("web2", "errors")];
    for (index, (server, word)) in expected.into_iter().enumerate() {
        let key = if index == 0 { Key::Other } else { Key::Sort };
        assert_eq!(first(key), (server, word.to_owned()));
    }
    assert_eq!(first(Key::Sort), ("web1", "file".to_owned()));
}
