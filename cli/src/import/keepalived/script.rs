//! `vrrp_script` and `vrrp_track_process`: what they look at, and whether a tracker of ours looks at the same.

use std::time::Duration;

use super::{
    instance::{Kind, number, seconds},
    source::{Place, Sources},
    tree::Statement,
    words::{self, PROCESS, SCRIPT},
};
use crate::{
    config::text,
    import::{self, document::Value},
};

/// The longest name of a process that the kernel knows.
const COMM: usize = 15;

/// How often a process is looked for, for which Keepalived has the kernel tell it.
const PROCESS_INTERVAL: Duration = Duration::from_secs(1);

/// A script, or what is known of a process, by its name.
#[derive(Debug)]
pub(super) struct Script {
    /// Each has names of its own.
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) look: Look,
    /// Of the line with the command.
    pub(super) at: Place,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) rise: Option<u8>,
    pub(super) fall: Option<u8>,
    pub(super) weight: i32,
    pub(super) is_reversed: bool,
}

/// What a script finds out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// Whether HAProxy runs, which needs no looking.
    Proxy,
    /// Whether an address answers.
    Address(String),
    /// Whether a file is there, which is a failure, or that it is not.
    File { path: String, fails_while_present: bool },
    /// What a program says: its words.
    Command(Vec<String>),
}

impl Script {
    pub(super) fn read(statement: &Statement, sources: &Sources) -> Option<Self> {
        let mut script = Self::named(statement, Kind::Script, sources)?;
        for inner in statement.inner() {
            match (inner.keyword(), inner.argument()) {
                ("script", Some(_)) => {
                    script.look =
                        look(&inner.words[1..].iter().map(|word| word.text.as_str()).collect::<Vec<_>>());
                    script.at = inner.place();
                }
                ("interval", Some(_)) => script.interval = seconds(inner, sources),
                ("timeout", Some(_)) => script.timeout = seconds(inner, sources),
                ("rise", Some(_)) => script.rise = number(inner, 1..=255, sources),
                ("fall", Some(_)) => script.fall = number(inner, 1..=255, sources),
                ("weight", Some(_)) => script.weigh(inner, sources),
                _ => words::tell(inner, SCRIPT, "a `vrrp_script`", sources),
            }
        }
        Some(script)
    }

    /// `vrrp_track_process`.
    pub(super) fn read_process(statement: &Statement, sources: &Sources) -> Option<Self> {
        let mut script = Self::named(statement, Kind::Process, sources)?;
        let (mut given, mut at_least, mut is_whole) = (Vec::new(), 1, false);
        for inner in statement.inner() {
            match (inner.keyword(), inner.argument()) {
                ("process", Some(_)) => {
                    let words = inner.words[1..].iter().flat_map(|word| word.text.split_ascii_whitespace());
                    given = words.collect();
                    script.at = inner.place();
                }
                ("quorum", Some(_)) => at_least = number(inner, 1..=255, sources).unwrap_or(1),
                ("delay" | "terminate_delay", Some(_)) => {
                    // Gone for so long.
                    let delay =
                        seconds(inner, sources).unwrap_or_default().div_duration_f64(PROCESS_INTERVAL);
                    script.fall = Some(delay.clamp(1.0, 100.0) as u8);
                }
                ("weight", Some(_)) => script.weigh(inner, sources),
                ("full_command", None) => is_whole = true,
                _ => words::tell(inner, PROCESS, "a `vrrp_track_process`", sources),
            }
        }
        if given.is_empty() {
            sources.lost(script.place, "a `vrrp_track_process` has a `process`");
            return None;
        }
        script.look = running(&given, at_least, is_whole);
        script.interval = Some(PROCESS_INTERVAL);
        script.timeout = Some(PROCESS_INTERVAL);
        script.rise = Some(1);
        script.fall = script.fall.or(Some(1));
        Some(script)
    }

    fn named(statement: &Statement, kind: Kind, sources: &Sources) -> Option<Self> {
        let place = statement.place();
        let Some(name) = statement.argument() else {
            sources.lost(place, format!("a `{}` has a name", statement.keyword()));
            return None;
        };
        Some(Self {
            kind,
            name: name.text.clone(),
            place,
            look: Look::Command(Vec::new()),
            at: place,
            interval: None,
            timeout: None,
            rise: None,
            fall: None,
            weight: 0,
            is_reversed: false,
        })
    }

    fn weigh(&mut self, statement: &Statement, sources: &Sources) {
        let Some(word) = statement.argument() else { return };
        match word.text.parse() {
            Ok(weight) => self.weight = weight,
            Err(_) => sources.lost(word.place, "`weight` takes a number from -253 to 253"),
        }
        self.is_reversed = statement.words.get(2).is_some_and(|word| word.text == "reverse");
    }
}

/// Whether so many processes run that were started by these words. `is_whole`: by these and no others.
fn running(given: &[&str], at_least: u8, is_whole: bool) -> Look {
    let program = given[0].rsplit('/').next().unwrap_or_default();
    if program == "haproxy" {
        return Look::Proxy;
    }
    let fixed = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let (option, pattern) = if given.len() == 1 && program.len() <= COMM && !is_whole {
        ("-x", quoted(program))
    } else {
        let mut words = vec![quoted(program)];
        words.extend(given[1..].iter().map(|word| quoted(word)));
        ("-f", format!("^([^ ]*/)?{}{}", words.join(" "), if is_whole { "$" } else { "( |$)" }))
    };
    if at_least == 1 {
        return Look::Command(fixed(&["/usr/bin/pgrep", option, &pattern]));
    }
    // Handed to the shell as an argument of its own, so that nothing in it means anything there.
    let line = format!("test \"$(/usr/bin/pgrep -c {option} \"$0\")\" -ge {at_least}");
    Look::Command(fixed(&["/bin/sh", "-c", &line, &pattern]))
}

/// For an extended regular expression, as it is.
fn quoted(word: &str) -> String {
    let special = |c: char| if "\\.[]{}()*+?^$|".contains(c) { format!("\\{c}") } else { c.to_string() };
    word.chars().map(special).collect()
}

/// What a command finds out. One word is a whole line, as it is between quotes.
fn look(given: &[&str]) -> Look {
    let command = given.join(" ");
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let program = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let first = words.first().map(|word| program(word)).unwrap_or_default();
    let last = words.last().copied().unwrap_or_default();
    let of_haproxy = |word: &str| matches!(program(word).as_str(), "haproxy" | "haproxy.service");
    let has_signal_0 = words.windows(2).any(|pair| pair == ["-s", "0"]) || words.contains(&"-0");
    match first.as_str() {
        "killall" | "pkill" if has_signal_0 && of_haproxy(last) => return Look::Proxy,
        "pidof" | "pgrep" if of_haproxy(last) => return Look::Proxy,
        "systemctl" if words.contains(&"is-active") && of_haproxy(last) => return Look::Proxy,
        "service" if words.get(1).is_some_and(|word| of_haproxy(word)) && last == "status" => {
            return Look::Proxy;
        }
        "kill" if has_signal_0 && command.contains("haproxy") && command.contains("pid") => {
            return Look::Proxy;
        }
        "ping" | "ping6" if text::own_address(last).is_ok() => return Look::Address(last.to_owned()),
        _ => {}
    }
    match file(&words) {
        Some((path, fails_while_present)) => Look::File { path: path.to_owned(), fails_while_present },
        None => Look::Command(arguments(given)),
    }
}

/// The words of a command: a program by its whole path, and what it is given. A line that is one for a shell gets one.
pub(super) fn arguments(given: &[&str]) -> Vec<String> {
    let words = match given {
        [line] => split(line),
        words => words.iter().map(|word| (*word).to_owned()).collect(),
    };
    let is_for_shell = |word: &String| word.contains(['|', '&', ';', '<', '>', '`', '$', '*', '(', '[']);
    let fixed = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    if words.iter().any(is_for_shell) {
        return fixed(&["/bin/sh", "-c", &given.join(" ")]);
    }
    // Keepalived looks for it where a shell would.
    let searched = words.first().is_some_and(|program| !program.starts_with('/'));
    let before = if searched { fixed(&["/usr/bin/env"]) } else { Vec::new() };
    before.into_iter().chain(words).collect()
}

/// Does our file take these words? The reader of it has the last word.
pub(super) fn is_taken(command: &[String]) -> Result<(), String> {
    let list = Value::List(command.iter().map(Value::text).collect());
    import::is_taken(&format!("[track.a]\ncommand = {list}\n"))
}

/// At white space, but for that between quotes.
fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote: Option<char> = None;
    let mut goes_on = false;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                if !goes_on {
                    words.push(String::new());
                }
                goes_on = true;
            }
            None if c.is_whitespace() => goes_on = false,
            _ => {
                if !goes_on {
                    words.push(String::new());
                }
                goes_on = true;
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words
}

/// The file that a test is about, and whether the test fails while it is there: `[ ! -f /run/down ]`, `test -e /run/up`,
/// and as the manual has it, `[[ -f /etc/keepalived/down ]] && exit 1 || exit 0`.
fn file<'c>(words: &[&'c str]) -> Option<(&'c str, bool)> {
    let is_test = |word: &str| matches!(word, "-e" | "-f");
    let inner = match words {
        ["test", inner @ ..] | ["/usr/bin/test" | "/bin/test", inner @ ..] => inner,
        ["[", inner @ .., "]"] | ["[[", inner @ .., "]]"] => inner,
        ["[[", "-f" | "-e", path, "]]", "&&", "exit", "1", "||", "exit", "0"]
        | ["[", "-f" | "-e", path, "]", "&&", "exit", "1", "||", "exit", "0"] => {
            return Some((*path, true)).filter(|(path, _)| path.starts_with('/'));
        }
        _ => return None,
    };
    let found = match inner {
        ["!", test, path] if is_test(test) => (*path, true),
        [test, path] if is_test(test) => (*path, false),
        _ => return None,
    };
    Some(found).filter(|(path, _)| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_for_by_its_name_or_by_the_words_that_started_it() {
        let command = |words: &[&str]| Look::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let cases: [(&[&str], u8, bool, Look); 7] = [
            (&["haproxy"], 1, false, Look::Proxy),
            (&["/usr/sbin/haproxy"], 2, false, Look::Proxy),
            (&["/usr/sbin/named"], 1, false, command(&["/usr/bin/pgrep", "-x", "named"])),
            (&["nginx++"], 1, false, command(&["/usr/bin/pgrep", "-x", "nginx\\+\\+"])),
            (
                &["a-rather-long-name"],
                1,
                false,
                command(&["/usr/bin/pgrep", "-f", "^([^ ]*/)?a-rather-long-name( |$)"]),
            ),
            (
                &["named", "-u", "bind"],
                1,
                true,
                command(&["/usr/bin/pgrep", "-f", "^([^ ]*/)?named -u bind$"]),
            ),
            (
                &["php-fpm"],
                3,
                false,
                command(&["/bin/sh", "-c", "test \"$(/usr/bin/pgrep -c -x \"$0\")\" -ge 3", "php-fpm"]),
            ),
        ];
        for (given, at_least, is_whole, expected) in cases {
            assert_eq!(running(given, at_least, is_whole), expected, "{given:?}");
        }
    }

    #[test]
    fn what_a_command_looks_at_is_known_by_its_words() {
        let down = |fails_while_present| Look::File { path: "/run/x".to_owned(), fails_while_present };
        for (command, expected) in [
            ("killall -0 haproxy", Look::Proxy),
            ("/usr/bin/killall -0 haproxy", Look::Proxy),
            ("pidof haproxy", Look::Proxy),
            ("/usr/bin/pgrep haproxy", Look::Proxy),
            ("/bin/pidof /usr/sbin/haproxy", Look::Proxy),
            ("systemctl is-active --quiet haproxy", Look::Proxy),
            ("kill -0 `cat /var/run/haproxy.pid`", Look::Proxy),
            ("ping -c 1 -W 1 192.0.2.1", Look::Address("192.0.2.1".to_owned())),
            ("[ ! -f /run/x ]", down(true)),
            ("test -e /run/x", down(false)),
            ("[[ -f /run/x ]] && exit 1 || exit 0", down(true)),
        ] {
            assert_eq!(look(&[command]), expected, "{command}");
            let words: Vec<_> = command.split(' ').collect();
            assert_eq!(look(&words), expected, "{command}");
        }
        let cases: &[(&[&str], &[&str])] = &[
            (&["killall -0 nginx"], &["/usr/bin/env", "killall", "-0", "nginx"]),
            (&["/etc/keepalived/check.sh 'a b' c"], &["/etc/keepalived/check.sh", "a b", "c"]),
            (&["/x", "a b", "c"], &["/x", "a b", "c"]),
            (&["</dev/tcp/127.0.0.1/80"], &["/bin/sh", "-c", "</dev/tcp/127.0.0.1/80"]),
            (&["/usr/bin/a | grep b"], &["/bin/sh", "-c", "/usr/bin/a | grep b"]),
            (&["ping -c1 gateway"], &["/usr/bin/env", "ping", "-c1", "gateway"]),
            (&["test -f x"], &["/usr/bin/env", "test", "-f", "x"]),
        ];
        for (given, expected) in cases {
            assert_eq!(look(given), Look::Command(expected.iter().map(|word| (*word).to_owned()).collect()));
        }
    }
}
