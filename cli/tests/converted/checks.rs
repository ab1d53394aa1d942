//! What is said of checks: each kind of them, and each way in which servers pass and fail them, in the words of both programs.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    thread,
};

use nix::sys::socket::{setsockopt, sockopt::Linger};
use regex::Regex;

use self::End::{Closes, Resets, Stays};
use crate::{both::Both, get};

/// How a server goes on when it has said everything.
#[derive(Clone, Copy)]
enum End {
    Stays,
    Closes,
    Resets,
}

/// Its name in the file, how it greets, what it says to each thing that it is told.
type Script = (&'static str, &'static [u8], &'static [&'static [u8]], End);

const SCRIPTS: &[Script] = &[
    ("SILENT", b"", &[], Stays),
    ("CLOSES", b"", &[], Closes),
    ("LEAVES", b"", &[b""], Closes),
    ("RESETS", b"", &[b""], Resets),
    ("GARBAGE", b"garbage\r\n", &[], Closes),
    ("HTTP_200", b"", &[b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"], Stays),
    ("HTTP_404", b"", &[b"HTTP/1.1 404 Not \"here\", <b>\r\nContent-Length: 3\r\n\r\nBAD"], Stays),
    ("HTTP_503", b"", &[b"HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n"], Stays),
    ("HTTP_SHORT", b"", &[b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nBAD"], Closes),
    ("NONSENSE", b"", &[b"nonsense\r\n\r\n"], Stays),
    ("MYSQL", b"\x0e\0\0\0\x0a10.11\0\x07\0\0\0abc", &[b"\x07\0\0\x02\0\0\0\x02\0\0\0"], Stays),
    ("MYSQL_FULL", b"\x10\0\0\0\xff\x10\x04Too many here", &[], Stays),
    (
        "MYSQL_DENIED",
        b"\x0e\0\0\0\x0a10.11\0\x07\0\0\0abc",
        &[b"\x17\0\0\x02\xff\x15\x04#28000Access denied!"],
        Stays,
    ),
    ("SMTP", b"220 mx ESMTP\r\n", &[b"250-mx\r\n250 HELP\r\n", b"221 bye bye\r\n"], Stays),
    ("SMTP_BUSY", b"421 too busy\r\n", &[], Stays),
    ("SMTP_MUTE", b"220 mx\r\n", &[b""], Closes),
    ("SMTP_RUDE", b"220 mx\r\n", &[b"250 mx\r\n", b""], Closes),
    ("PGSQL", b"", &[b"R\0\0\0\x08\0\0\0\x05"], Stays),
    ("PGSQL_FATAL", b"", &[b"E\0\0\0\x1dSFATAL\0C57P03\0Mstarting\0\0"], Stays),
    ("REDIS", b"", &[b"+PONG\r\n"], Stays),
    ("REDIS_DENIES", b"", &[b"-NOAUTH Authentication required.\r\n"], Closes),
    ("OK", b"OK ready\r\n", &[b"OK again\r\n", b"OK at last\r\n"], Stays),
    ("OK_CLOSES", b"OK ready\r\n", &[], Closes),
    ("BAD", b"BAD day\r\n", &[b"BAD luck\r\n"], Closes),
];

fn play((_, greeting, answers, end): Script, mut stream: TcpStream) -> Option<()> {
    stream.write_all(greeting).ok()?;
    for answer in answers {
        if stream.read(&mut [0; 4096]).ok()? == 0 {
            return None;
        }
        stream.write_all(answer).ok()?;
    }
    match end {
        Stays => while stream.read(&mut [0; 4096]).ok()? > 0 {},
        Closes => {}
        Resets => {
            let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream.as_fd(), Linger, &at_once).ok()?;
        }
    }
    Some(())
}

fn start(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || play(script, stream));
        }
    });
    address
}

/// `check_status check_code last_chk` of each server.
fn columns(answer: &str) -> BTreeMap<String, String> {
    let (_, content) = answer.split_once("\r\n\r\n").expect("a head");
    let rows = content.lines().filter_map(|line| {
        let cells: Vec<_> = line.splitn(57, ',').collect();
        let [backend, server, ..] = cells[..] else { return None };
        let is_of_a_server = cells.len() == 57 && !matches!(server, "svname" | "FRONTEND" | "BACKEND");
        let last = match cells[56].strip_prefix('"') {
            // Quotes in it are doubled.
            Some(quoted) => quoted.replace("\"\"", "\u{1}").split('"').next()?.replace('\u{1}', "\""),
            None => cells[56].split(',').next()?.to_owned(),
        };
        is_of_a_server.then(|| (format!("{backend}/{server}"), format!("{} {} {last}", cells[36], cells[37])))
    });
    rows.collect()
}

#[track_caller]
fn assert_same([theirs, ours]: &[BTreeMap<String, String>; 2]) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let differ = ours.iter().filter(|(server, words)| theirs[*server] != **words);
    let differ: Vec<_> =
        differ.map(|(server, words)| format!("{server}: {words}\nHAProxy: {}", theirs[server])).collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn checks_are_told_as_they_were() {
    let servers: Vec<_> = SCRIPTS.iter().map(|script| (script.0, start(*script))).collect();
    let both = Both::before(&servers, "checks");
    assert!(!both.notes.contains("not converted"), "{}", both.notes);
    let duration = Regex::new(r"check duration: \d+ms").expect("an expression");
    let name = Regex::new(r"^(<\d+>).*\]: Health check for server (\S+) (.*)$").expect("an expression");
    let source = include_str!("checks.cfg");
    let wanted = source.lines().filter(|line| line.starts_with("    server ")).count() - 1;
    let mut told = [BTreeMap::new(), BTreeMap::new()];
    while told.iter().any(|told| told.len() < wanted) {
        for (told, read) in told.iter_mut().zip([0, 1]) {
            if told.len() == wanted {
                continue;
            }
            let line = both.next_line(read);
            if let Some(found) = name.captures(&line) {
                let words = format!("{} {}", &found[1], duration.replace(&found[3], "T"));
                assert_eq!(told.insert(found[2].to_owned(), words), None, "{line}");
            }
        }
    }
    assert_same(&told);
    let mut told = both.ask("WEB", &get("/stats;csv", &[])).map(|answer| columns(&answer));
    // HAProxy forgets what it has said in its log. The quote is for spreadsheets.
    for server in ["mysql/good", "mysql_user/good"] {
        assert_eq!(told[0].insert(server.into(), "L7OK 0 10.11".into()).as_deref(), Some("L7OK 0 "));
    }
    let denied = told[1].get_mut("redis/denies").expect("a server");
    *denied = denied.replace('\'', "");
    assert_same(&told);
    let [_, ours] = told;
    assert_eq!(ours["smtp/good"], "L7OK 221 bye bye");
    assert_eq!(ours["text/silent"], "L7TOUT   at step 3 of tcp-check (expect string 'OK')");
}
