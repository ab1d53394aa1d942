//! What the process says in its own log, as lines of `name=value`.

use std::{
    fmt::{Debug, Write},
    sync::{Mutex, Once},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LISTEN: Once = Once::new();

struct Listener;

struct Line(String);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{}", event.metadata().level()));
        event.record(&mut line);
        SAID.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value}").unwrap();
    }
}

/// From now on, whoever says it.
pub(crate) fn listen() {
    LISTEN.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// The lines so far that have `part`.
pub(crate) fn lines_with(part: &str) -> Vec<String> {
    SAID.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
}
