//! Lines of the log as JSON: what stands in every line first, then the fields of the event in their order.

use std::fmt;

use lb_proxy::is_hidden;
use serde_json::Value;
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use crate::control::Timestamp;

/// Parts of the program by the modules whose lines are theirs; the first that fits counts.
const SOURCES: [(&str, &str); 13] = [
    ("lb_proxy::health", "health"),
    ("lb_proxy::listener", "listener"),
    ("lb_proxy::log", "log"),
    ("lb_proxy", "proxy"),
    ("lbctl::speaker", "speaker"),
    ("lbctl::daemon::speaker_link", "speaker"),
    ("lbctl::daemon::group", "vrrp"),
    ("lbctl::daemon::neighbours", "hello"),
    ("lbctl::daemon::reload", "reload"),
    ("lbctl::daemon::upgrade", "upgrade"),
    ("lbctl::daemon::draining", "drain"),
    ("lbctl::daemon::control", "control"),
    ("lbctl", "daemon"),
];

/// An event of the program, of the node with this name.
pub(super) fn event(event: &Event<'_>, node: &str) -> String {
    let metadata = event.metadata();
    let mut fields = Fields::default();
    event.record(&mut fields);
    line(level(*metadata.level()), source(metadata.target()), &fields.message, node, fields.others)
}

/// One object, without the end of the line. Its time is now; `node` is left out where nobody knows it, and where a field says it.
pub(super) fn line(
    level: &str,
    source: &str,
    message: &str,
    node: &str,
    fields: Vec<(&'static str, Value)>,
) -> String {
    let says_node = node.is_empty() || fields.iter().any(|(name, _)| *name == "node");
    let frame = [
        ("time", Value::from(Timestamp::now().to_string())),
        ("level", level.into()),
        ("source", source.into()),
        ("message", message.into()),
    ];
    let node = (!says_node).then(|| ("node", Value::from(node)));
    let members: Vec<_> = frame
        .into_iter()
        .chain(node)
        .chain(fields)
        .map(|(name, value)| format!("\"{name}\":{}", harmless(&value.to_string())))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// What a terminal would obey, or what turns other characters round, is `\u` and digits. `json` has no such character outside texts.
fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            hidden if is_hidden(hidden) => {
                for unit in hidden.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => out.push(character),
        }
    }
    out
}

/// The words of `level` in the configuration.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "err",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

fn source(target: &str) -> &str {
    let known = SOURCES.iter().find(|(module, _)| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    known.map_or_else(|| target.split("::").next().unwrap_or_default(), |(_, source)| source)
}

/// What an event says.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, text.into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name, value.into())),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), value.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Subscriber, subscriber::with_default};
    use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

    use super::*;

    struct Keep(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(super::event(event, "lb1"));
        }
    }

    fn said(say: impl FnOnce()) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        with_default(tracing_subscriber::registry().with(Keep(Arc::clone(&lines))), say);
        let lines = lines.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn line_has_what_every_line_has_and_the_fields_of_its_event() {
        let nothing: Option<&str> = None;
        let lines = said(|| {
            tracing::warn!(target: "lb_proxy::health::board", backend = %"app", up = false, tries = 3_u32, nothing, "server \"a\"\u{202e} is down");
            tracing::error!(target: "lbctl::daemon::node", node = "lb9", delta = -1, "{}", "text");
            tracing::info!(target: "lbctl", reason = ?Some(1));
        });
        let first = &lines[0];
        assert_eq!(
            (first["level"].as_str(), first["source"].as_str(), first["node"].as_str()),
            (Some("warning"), Some("health"), Some("lb1"))
        );
        assert_eq!(first["message"], "server \"a\"\u{202e} is down");
        assert_eq!(
            (&first["backend"], &first["up"], &first["tries"]),
            (&"app".into(), &false.into(), &3.into())
        );
        assert_eq!(first.get("nothing"), None);
        let time = first["time"].as_str().unwrap();
        let form = lb_proxy::expression::builder(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$").build().unwrap();
        assert!(form.is_match(time.as_bytes()), "{time}");
        assert_eq!(
            (&lines[1]["node"], &lines[1]["delta"], &lines[1]["level"]),
            (&"lb9".into(), &(-1).into(), &"err".into())
        );
        assert_eq!((&lines[2]["message"], &lines[2]["reason"]), (&"".into(), &"Some(1)".into()));
    }

    #[test]
    fn characters_that_nobody_sees_are_digits() {
        let line = line("info", "daemon", "a\u{9b}\u{e0041}\n", "", Vec::new());
        assert!(line.ends_with(r#""message":"a\u009b\udb40\udc41\n"}"#), "{line}");
    }

    #[test]
    fn every_line_is_of_a_part_of_the_program() {
        for (target, part) in [
            ("lb_proxy::health::board", "health"),
            ("lb_proxy::healthy", "proxy"),
            ("lb_proxy::log::sink", "log"),
            ("lb_proxy::tcp", "proxy"),
            ("lbctl::speaker", "speaker"),
            ("lbctl::daemon::group", "vrrp"),
            ("lbctl::daemon::reload::plan", "reload"),
            ("lbctl::daemon", "daemon"),
            ("hyper::server", "hyper"),
        ] {
            assert_eq!(source(target), part, "{target}");
        }
    }
}
