//! Prometheus' text format: for each metric what it is, in words and by type, then its samples.

use std::fmt::Write;

use lb_proxy::metrics::BOUNDS;

use crate::control::Histogram;

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were up to each bound.
    Histogram,
    /// A sum, and of how many.
    Summary,
}

/// Labels of a sample: names and values.
pub(super) type Labels<'l> = [(&'l str, &'l str)];

/// The text, metric by metric.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// A metric whose samples are being written. One without samples leaves nothing behind.
#[derive(Debug)]
pub(super) struct Metric<'t> {
    text: &'t mut String,
    name: &'t str,
    kind: Kind,
    help: &'t str,
    has_begun: bool,
}

/// Milliseconds in seconds.
pub(super) fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Text {
    pub(super) fn metric<'t>(&'t mut self, name: &'t str, kind: Kind, help: &'t str) -> Metric<'t> {
        Metric { text: &mut self.0, name, kind, help, has_begun: false }
    }

    /// A gauge with one sample and no label.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.metric(name, Kind::Gauge, help).sample(&[], value);
        }
    }

    /// A counter with one sample and no label.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            self.metric(name, Kind::Counter, help).sample(&[], value);
        }
    }
}

impl Metric<'_> {
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: f64) {
        self.write("", labels, None, value);
    }

    /// One for each of `states`, 1 for the one that it `is`.
    pub(super) fn states(&mut self, labels: &Labels<'_>, states: &[&str], is: Option<&str>) {
        for state in states {
            self.write("", labels, Some(("state", state)), f64::from(u8::from(is == Some(*state))));
        }
    }

    /// One for each class of responses, others first, as `1xx`.
    pub(super) fn responses(&mut self, labels: &Labels<'_>, responses: &[u64; 6]) {
        for (code, count) in ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(responses) {
            self.write("", labels, Some(("code", code)), *count as f64);
        }
    }

    pub(super) fn summary(&mut self, labels: &Labels<'_>, sum: f64, count: u64) {
        self.write("_sum", labels, None, sum);
        self.write("_count", labels, None, count as f64);
    }

    pub(super) fn histogram(&mut self, labels: &Labels<'_>, found: &Histogram) {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound).to_string());
        for (bound, of_class) in bounds.chain(["+Inf".to_owned()]).zip(&found.counts) {
            count += of_class;
            self.write("_bucket", labels, Some(("le", &bound)), count as f64);
        }
        self.summary(labels, found.microseconds as f64 / 1e6, count);
    }

    fn write(&mut self, suffix: &str, labels: &Labels<'_>, last: Option<(&str, &str)>, value: f64) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
                Kind::Summary => "summary",
            };
            let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a String can't fail, here and below.
            let _ = writeln!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
        }
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        let _ = writeln!(self.text, "{} {value}", if separator == ',' { "}" } else { "" });
    }
}
