//! A long run of a pair: mixed work through the address, reloads, faults, and the question whether all that failed was the
//! fault's. `tests/bench/soak` runs it for as long as one likes; one minute of it is a test.
//!
//! ```text
//!  clients: HTTP and tcp over kept connections ─┐
//!  curl: closing, uploads, TLS and HTTP/2 ──────┼─> samples ─┐
//!  run: reload, fault, heal ──> windows ────────┘            ├─> report: what no window explains
//!                           └─> logs, memory, descriptors ───┘
//! ```

mod report;
mod work;

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lbctl::lab::{BALANCERS, CONFIGURATION, How, Options, now};

pub use report::{Report, Usage, Usages, Window};

use crate::{order::other, processes, scene::Scene, wait};

/// Once a fault has had its effect, what met it may still come to an end.
const GRACE: Duration = Duration::from_secs(1);
/// A pair that is well again says nothing more about the fault after this.
const SETTLED: Duration = Duration::from_secs(3);
/// How long an effect may take, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a fault is left alone.
const FAULT: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_secs(60);
/// How often descriptors are counted until two counts agree, and the time between two.
const READINGS: usize = 20;
const BETWEEN_READINGS: Duration = Duration::from_millis(100);
/// The minute that the last one is compared with: all is warm by then.
const WARM: u64 = 10;

/// What is done to the pair.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Server(&'static str),
    Switchover,
    Daemon,
}

/// In turn. The address moves three times in a round, so each daemon is killed in each, and the next round begins on the other node.
const FAULTS: [Fault; 5] =
    [Fault::Server("web1"), Fault::Switchover, Fault::Daemon, Fault::Server("web2"), Fault::Daemon];

impl Fault {
    /// Of what warnings about it speak.
    fn words(self) -> &'static [&'static str] {
        match self {
            Fault::Server("web1") => &["server=web1 ", "198.51.100.141"],
            Fault::Server(_) => &["server=web2 ", "198.51.100.142"],
            Fault::Switchover => &[" leaving ", "drain", "connections are cut"],
            // The one that starts says what there is to say at each start.
            Fault::Daemon => &[
                " is silent ",
                "alarm=\"no_standby\"",
                " stays root, ",
                "the first round of checks is not done",
                "limit on open files",
            ],
        }
    }
}

/// The lab's file, and beside its listener one of mode tcp and one with TLS and HTTP/2.
pub fn options() -> Options {
    let servers = "server.web1 = { address = \"198.51.100.141:80\" }\nserver.web2 = { address = \"198.51.100.142:80\" }\n";
    let checked = "check = { interval = \"500ms\", timeout = \"500ms\", rise = 2, fall = 2 }\n";
    Options::default().configuration(&format!(
        "{CONFIGURATION}\n[listen.bytes]\nbind = {{ vip = \"web\", port = 81 }}\nmode = \"tcp\"\n{checked}{servers}\n\
         [listen.secure]\nbind = {{ vip = \"web\", port = 443, tls = \"auto-selfsigned\" }}\n{checked}{servers}"
    ))
}

/// Runs for so many minutes; `say` is told what happens.
///
/// # Panics
/// The lab is gone, or the pair does not get well again after a fault.
pub fn run(scene: &Scene, minutes: u64, say: impl Fn(&str)) -> Report {
    let whole = MINUTE * u32::try_from(minutes).expect("not for centuries");
    // In a short run as much happens as there is time for.
    let (reloads, faults) = (MINUTE.min(whole / 4), (2 * MINUTE).min(whole / 4));
    scene.wait_until_other_is_ready(&scene.holder());
    let mut watch = Watch::new(scene);
    let mut report = Report { minutes, ..Report::default() };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Before anything may panic: the scope waits for its threads then, too.
        let end_of_work = Ends(&over);
        let curl = scope.spawn(|| work::curl(scene, &over));
        let begin = Instant::now();
        let (mut reload, mut fault) = (begin + reloads / 2, begin + faults);
        let mut number = 0;
        for minute in 1..=minutes {
            let kept = work::Kept::start(scene);
            let end = begin + MINUTE * u32::try_from(minute).expect("as above");
            loop {
                let next = reload.min(fault).min(end);
                thread::sleep(next.saturating_duration_since(Instant::now()));
                if next == end {
                    break;
                }
                if next == reload {
                    for node in BALANCERS {
                        let _ = scene.done(node, &["reload", "--json"]);
                    }
                    report.reloads += 1;
                    reload += reloads;
                    continue;
                }
                watch.look_but_for(&[], &mut report);
                let window = harm(scene, FAULTS[number % FAULTS.len()]);
                say(&format!(
                    "minute {minute}: {}, its effect was over after {} ms",
                    window.what,
                    window.millis()
                ));
                watch.look_but_for(window.words, &mut report);
                report.windows.push(window);
                number += 1;
                fault += faults;
            }
            kept.stop().into_iter().for_each(|(kind, samples)| report.take(kind, samples));
            watch.look_but_for(&[], &mut report);
            let usage = usage_at_rest(scene);
            say(&format!(
                "minute {minute} of {minutes}: {} requests; {}",
                report.samples.len(),
                report::all(&usage)
            ));
            report.usage.push(usage);
        }
        drop(end_of_work);
        for (kind, sample) in curl.join().expect("curl is run") {
            report.take(kind, [sample]);
        }
    });
    report
}

/// Ends the work of the other threads when it goes, be it in a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does it, waits until it has had its effect on requests, undoes it, and waits until the pair is well.
fn harm(scene: &Scene, fault: Fault) -> Window {
    let holder = scene.holder();
    let from = now();
    let fail = |node: &str| drop_moment(scene.fail(node, How::Kill));
    let heal = |node: &str| drop_moment(scene.heal(node));
    let is_over = || {
        thread::sleep(GRACE);
        now()
    };
    let (what, to) = match fault {
        Fault::Server(name) => {
            fail(name);
            wait_until_down(scene, name);
            let to = is_over();
            heal(name);
            (format!("{name} killed"), to)
        }
        Fault::Switchover => {
            let _ = scene.done(&holder, &["switchover", "--json"]);
            assert_eq!(scene.holder(), other(&holder), "after a switchover");
            (format!("switchover from {holder}"), is_over())
        }
        Fault::Daemon => {
            fail(&holder);
            scene.wait_until_held_by(other(&holder), PATIENCE).unwrap_or_else(|error| panic!("{error:#}"));
            let to = is_over();
            thread::sleep(FAULT);
            heal(&holder);
            (format!("daemon of {holder} killed"), to)
        }
    };
    scene.wait_until_all_ready().unwrap_or_else(|error| panic!("{what}: {error:#}"));
    scene.wait_until_other_is_ready(&scene.holder());
    thread::sleep(SETTLED);
    Window { what, from, to, words: fault.words() }
}

fn drop_moment(done: anyhow::Result<lb_vrrp::Moment>) {
    if let Err(error) = done {
        panic!("{error:#}");
    }
}

/// Until no node sends anything to a web server any more.
fn wait_until_down(scene: &Scene, name: &str) {
    for node in BALANCERS {
        wait::until(&format!("{name} is down on {node}"), PATIENCE, || {
            let status = scene.status_of(node);
            let backends = status["backends"].as_array()?;
            let servers = || backends.iter().filter_map(|backend| backend["servers"].as_array()).flatten();
            let mut of_name = servers().filter(|server| server["name"] == name).peekable();
            (of_name.peek().is_some() && of_name.all(|server| server["state"] == "down")).then_some(())
        });
    }
}

/// Once the descriptors of connections that have just ended are closed. Some work goes on, so they may never stand still: then it is the
/// last of the readings.
fn usage_at_rest(scene: &Scene) -> Usages {
    let mut last = usages(scene);
    for _ in 0..READINGS {
        thread::sleep(BETWEEN_READINGS);
        let before = report::all(&last).descriptors;
        last = usages(scene);
        if report::all(&last).descriptors == before {
            break;
        }
    }
    last
}

/// What each daemon and each speaker has: `daemon of lb1`.
fn usages(scene: &Scene) -> Usages {
    let mut usages = Usages::new();
    for (node, process) in
        BALANCERS.iter().flat_map(|node| processes::of(scene, node).into_iter().map(move |one| (node, one)))
    {
        let what = match (process.is_daemon(), process.is_speaker()) {
            (true, _) => "daemon",
            (false, true) => "speaker",
            (false, false) => continue,
        };
        let folder = format!("/proc/{}", process.pid);
        let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = kilobytes.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        let usage = usages.entry(format!("{what} of {node}")).or_default();
        usage.resident += kilobytes.unwrap_or_default() << 10;
        usage.descriptors += fs::read_dir(format!("{folder}/fd")).map_or(0, |open| open.count() as u64);
    }
    usages
}

/// The logs of both nodes as far as they were looked at.
struct Watch<'s> {
    scene: &'s Scene,
    read: [usize; 2],
}

impl<'s> Watch<'s> {
    fn new(scene: &'s Scene) -> Self {
        let mut watch = Self { scene, read: [0; 2] };
        watch.skip();
        watch
    }

    fn logs(&self) -> [String; 2] {
        BALANCERS.map(|node| self.scene.log(node, "lbctl").unwrap_or_default())
    }

    /// What was said of the start.
    fn skip(&mut self) {
        self.read = self.logs().map(|log| log.len());
    }

    /// What was said since, but for lines with one of these words in them, is nobody's.
    fn look_but_for(&mut self, words: &[&str], report: &mut Report) {
        for (index, log) in self.logs().into_iter().enumerate() {
            let new = log.get(self.read[index]..).unwrap_or_default();
            // What there is to say of the file is said at each reload.
            let is_warning = |line: &&str| {
                (line.contains(" WARN ") || line.contains(" ERROR "))
                    && !line.contains(" WARN /run/lab.toml:")
                    && !words.iter().any(|word| line.contains(word))
            };
            let node = BALANCERS[index];
            report.warnings.extend(new.lines().filter(is_warning).map(|line| format!("{node}: {line}")));
            self.read[index] = log.len();
        }
    }
}
