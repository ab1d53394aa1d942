//! `vrrp_script`: what it looks at, and whether a tracker of ours looks at the same.

use std::time::Duration;

use super::{
    instance::{number, seconds},
    source::{Place, Sources},
    tree::Statement,
    words::{self, SCRIPT},
};
use crate::{
    config::text,
    import::{self, document::Value},
};

/// A script by its name.
#[derive(Debug)]
pub(super) struct Script {
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
        let place = statement.place();
        let Some(name) = statement.argument() else {
            sources.lost(place, "a `vrrp_script` has a name");
            return None;
        };
        let mut script = Self {
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
        };
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
                ("weight", Some(word)) => {
                    match word.text.parse() {
                        Ok(weight) => script.weight = weight,
                        Err(_) => sources.lost(word.place, "`weight` takes a number from -253 to 253"),
                    }
                    script.is_reversed = inner.words.get(2).is_some_and(|word| word.text == "reverse");
                }
                _ => words::tell(inner, SCRIPT, "a `vrrp_script`", sources),
            }
        }
        Some(script)
    }
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
