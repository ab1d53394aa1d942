//! The table of the book, "What ends what", row by row on a pair: what becomes of the addresses, of an exchange in flight, of
//! new clients, of the process and of its part in the election.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{fs, path::Path, time::Duration};

use lb_tests::{
    order::other,
    scene::{Scene, slower},
    wait,
};
use lbctl::lab::{Options, Spawned};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// Rows and words that are shown elsewhere: `systemd.rs`, and `cli/tests/daemon`, `run.rs` for a proxy alone and `notify.rs` for the
/// runner of commands.
const ELSEWHERE: [&str; 5] = [
    "SIGKILL of `lbctl-runner`",
    "`systemctl stop`",
    "`systemctl restart`",
    "a proxy alone",
    "a hang, found by systemd's watchdog after 10 s",
];

/// What a row says.
#[derive(Clone, Copy, Debug)]
struct Says {
    /// The other node has the addresses.
    moves: bool,
    /// An exchange in flight comes to its end.
    finishes: bool,
    clients: Clients,
    process: Process,
    /// The state of the node in the election, if it is in it.
    state: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Clients {
    Served,
    Refused,
    ByOtherServers,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Process {
    Ends,
    Stays,
    Another,
}

impl Says {
    /// A word that the book has not had yet is a new one here.
    fn read(cells: &[&str], above: Option<Self>) -> Self {
        let [addresses, exchanges, clients, process, election] = cells else { panic!("{cells:?}") };
        let begins = |cell: &str, words: &[&str]| words.iter().any(|word| cell.starts_with(word));
        let above = || above.expect("a row above");
        let moves = match *addresses {
            cell if begins(cell, &["the same"]) => above().moves,
            cell if begins(cell, &["given to the other node", "removed by the speaker"]) => true,
            // The other one has them by then, and keeps them.
            cell if begins(cell, &["taken again only as"]) => true,
            cell if begins(cell, &["stay"]) => false,
            cell => panic!("{cell}"),
        };
        let finishes = match *exchanges {
            "the same" => above().finishes,
            "reset" => false,
            cell if begins(cell, &["finish within", "go on"]) => true,
            cell => panic!("{cell}"),
        };
        let clients = match *clients {
            cell if begins(cell, &["the same", "as above"]) => above().clients,
            "refused" => Clients::Refused,
            cell if begins(cell, &["go to other servers"]) => Clients::ByOtherServers,
            cell if begins(cell, &["served", "by the other node"]) => Clients::Served,
            cell => panic!("{cell}"),
        };
        let process = match *process {
            "the same" => above().process,
            "another one" => Process::Another,
            cell if begins(cell, &["ends", "gone"]) => Process::Ends,
            cell if begins(cell, &["stays"]) => Process::Stays,
            cell => panic!("{cell}"),
        };
        let state = match *election {
            "left" => None,
            "left until `lbctl resume`" => Some("Initialize"),
            "not touched" | "goes on" | "only as the file says" => Some("Active"),
            cell if begins(cell, &["a Backup", "taken part in again"]) => Some("Backup"),
            cell => panic!("{cell}"),
        };
        Self { moves, finishes, clients, process, state }
    }
}

/// What is done, in the words of the book, and what it says of that.
fn rows() -> Vec<(String, Says)> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let book = fs::read_to_string(book).unwrap();
    let (_, rest) = book.split_once("\n### What ends what\n").unwrap();
    let table = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let (mut rows, mut above) = (Vec::new(), None);
    for line in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if ELSEWHERE.iter().any(|word| cells[0].contains(word)) && !cells[0].starts_with("`lbctl") {
            continue;
        }
        let says = Says::read(&cells[1..], above);
        above = Some(says);
        let ways = cells[0].split(", ").filter(|way| !ELSEWHERE.contains(way) && !way.starts_with("with a"));
        rows.extend(ways.map(|way| (way.trim_end_matches(" (all frontends)").to_owned(), says)));
    }
    rows
}

/// A pair in which something is done to the holder.
struct Trial<'scene> {
    scene: &'scene Scene,
    holder: String,
}

impl<'scene> Trial<'scene> {
    fn new(scene: &'scene Scene) -> Self {
        let holder = scene.holder();
        scene.wait_until_other_is_ready(&holder);
        Self { scene, holder }
    }

    fn pid(&self) -> Option<u64> {
        self.scene.status_of(&self.holder)["pid"].as_u64()
    }

    #[track_caller]
    fn verb(&self, words: &str) {
        self.scene.done(&self.holder, &words.split(' ').collect::<Vec<_>>());
    }

    /// A verb that others are done beside.
    fn begin(&self, words: &str) -> Spawned<'scene> {
        let lbctl = lb_tests::program::lbctl();
        self.scene.spawn(&self.holder, "verb", [lbctl.as_str()].into_iter().chain(words.split(' '))).unwrap()
    }

    /// One that the server answers after so many milliseconds.
    fn request(&self, takes: u32) -> Spawned<'scene> {
        let url = format!("http://198.51.100.10/wait/{takes}");
        let request =
            self.scene.spawn("client", "request", ["curl", "-sS", "--max-time", "30", &url]).unwrap();
        wait::until("it is in flight", LONG, || {
            let status = self.scene.status_of(&self.holder);
            (status["frontends"][0]["connections"].as_u64() > Some(0)).then_some(())
        });
        request
    }

    fn signal(&self, process: u64, signal: &str) {
        let name = signal.strip_prefix("SIG").unwrap();
        self.scene.shell(&self.holder, &format!("kill -{name} {process}"));
    }

    /// What has to be before it makes sense.
    fn prepare(&self, way: &str) {
        match way {
            "`lbctl resume`" => {
                self.verb("drain --json");
                self.scene.wait_until_held_by(other(&self.holder), LONG).unwrap();
            }
            "`lbctl frontend NAME resume`" | "SIGTTIN" => self.verb("frontend web pause"),
            _ => {}
        }
    }

    fn carry_out(&self, way: &str) {
        let pid = self.pid().unwrap();
        match way.trim_matches('`').strip_prefix("lbctl ") {
            Some(words) if ["stop", "stop --now"].contains(&words) => drop(self.begin(words)),
            Some(words) if ["drain", "switchover"].contains(&words) => drop(self.begin(words)),
            Some(words) => self.verb(&words.replace("NAME", "web").replace("B/S", "web/web1")),
            None if way == "a second signal" => {
                self.signal(pid, "SIGTERM");
                wait::until("it has heard", LONG, || {
                    (self.scene.status_of(&self.holder)["phase"] != "running").then_some(())
                });
                self.signal(pid, "SIGTERM");
            }
            None if way == "SIGKILL of the daemon" => self.signal(pid, "SIGKILL"),
            None if way == "SIGKILL of the speaker" => {
                let is_here = "[ /proc/$p/ns/net -ef /proc/self/ns/net ]";
                let kill =
                    format!("for p in $(pgrep -x lbctl-speaker); do {is_here} && kill -KILL $p; done; true");
                self.scene.shell(&self.holder, &kill);
            }
            None if way.starts_with("SIG") => self.signal(pid, way),
            None => panic!("what is {way}?"),
        }
    }

    #[track_caller]
    fn is_as(&self, way: &str, says: Says, before: u64) {
        let (scene, holder) = (self.scene, &self.holder);
        let whose = if says.moves { other(holder) } else { holder };
        scene.wait_until_held_by(whose, LONG).unwrap();
        wait::until(&format!("{way}: {says:?}"), LONG, || {
            let status = scene.status_of(holder);
            let pid = status["pid"].as_u64();
            let process = match says.process {
                Process::Ends => pid.is_none(),
                Process::Stays => pid == Some(before),
                Process::Another => pid.is_some_and(|pid| pid != before),
            };
            let state = says.state.is_none_or(|state| status["groups"][0]["nodes"][0]["state"] == state);
            (process && state).then_some(())
        });
        let ask =
            || scene.exec("client", ["curl", "-sS", "--max-time", "10", "http://198.51.100.10/"]).unwrap();
        match says.clients {
            Clients::Served => drop(scene.wait_for_answer()),
            Clients::Refused => {
                wait::until(&format!("{way}: refused"), LONG, || (ask().ended.code == Some(7)).then_some(()));
            }
            Clients::ByOtherServers => {
                assert!((0..6).all(|_| ask().stdout.trim() == "web2"), "{way}");
            }
        }
    }

    fn undo(&self) {
        let status = self.scene.status_of(&self.holder);
        if status == Value::Null {
            self.scene.heal(&self.holder).unwrap();
            return;
        }
        if !status["drained"].is_null() {
            self.verb("resume --json");
        }
        for words in [["frontend", "web", "resume"], ["server", "web/web1", "ready"]] {
            // Who has nothing to be taken back may say so.
            let _ = self.scene.verb(&self.holder, &words);
        }
    }
}

#[test]
fn table_of_the_book_says_what_verbs_and_signals_do() {
    let rows = rows();
    assert!(rows.len() >= 20, "{rows:#?}");
    let file = slower("1s").replacen("[global]\n", "[global]\ndrain_timeout = \"60s\"\n", 1);
    for part in rows.chunks(8) {
        Scene::unless_starved(&Options::default().configuration(&file), |scene| {
            for (way, says) in part {
                println!("{way}: {says:?}");
                let trial = Trial::new(scene);
                // What is reset would not end by itself. Whoever is drained has none.
                let flies = (way != "`lbctl resume`")
                    .then(|| trial.request(if says.finishes { 1_500 } else { 60_000 }));
                trial.prepare(way);
                let before = trial.pid().unwrap();
                trial.carry_out(way);
                if let Some(flies) = flies {
                    let (ended, said) = (flies.wait().unwrap(), scene.log("client", "request").unwrap());
                    assert_eq!(ended.code == Some(0), says.finishes, "{way}: {said}");
                }
                trial.is_as(way, *says, before);
                trial.undo();
            }
        });
    }
}
