//! The alerts of the book on the program itself: each state that one of them is for is made, the metrics are read while it
//! lasts, and Prometheus' own evaluator says which alerts fire if it goes on like that. At which numbers, and for how long they
//! wait: docs/prometheus/alerts.test.yml.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

#[path = "alerts/pair.rs"]
mod pair;
#[path = "alerts/proxy.rs"]
mod proxy;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use lb_tests::program;

/// Longer than the slowest of them waits.
const LASTS: &str = "13h";

/// Scrapes in that time, two minutes apart.
const SCRAPES: u32 = 400;

/// Of all of them: how late workers are is the machine's, where the test does not make them so.
const NOT_OURS: &str = "LbctlWorkerLate";

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus/alerts.yml")
}

/// A node as Prometheus sees it: its answer once, and later; none if there is none.
struct Scraped {
    instance: &'static str,
    answers: Option<[String; 2]>,
}

impl Scraped {
    fn once(instance: &'static str, page: &str) -> Self {
        Self::twice(instance, page, page)
    }

    fn twice(instance: &'static str, before: &str, now: &str) -> Self {
        Self { instance, answers: Some([before, now].map(str::to_owned)) }
    }

    fn dead(instance: &'static str) -> Self {
        Self { instance, answers: None }
    }

    /// Gauges stay, and counters go on growing by as much as between the two answers.
    fn series(&self, rules: &str) -> String {
        let target = format!("job=\"lbctl\",instance=\"{}\"", self.instance);
        let mut text = String::new();
        let mut add = |series: &str, first: f64, step: f64| {
            writeln!(text, "      - series: '{series}'\n        values: '{first}{step:+}x{SCRAPES}'")
                .unwrap();
        };
        let Some([before, now]) = &self.answers else {
            add(&format!("up{{{target}}}"), 0.0, 0.0);
            return text;
        };
        add(&format!("up{{{target}}}"), 1.0, 0.0);
        let types: BTreeMap<_, _> = now
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split_once(' '))
            .collect();
        let grows =
            |name: &str| types.get(name.trim_end_matches("_bucket")).is_some_and(|kind| *kind != "gauge");
        let before = samples(before);
        for (series, value) in samples(now) {
            let name = series.split('{').next().unwrap_or_default();
            if !rules.contains(name) {
                continue;
            }
            // The evaluator's time begins at 0.
            let value =
                if name.ends_with("_timestamp_seconds") { value - seconds_since_1970() } else { value };
            let step =
                if grows(name) { value - before.get(series).copied().unwrap_or_default() } else { 0.0 };
            let labels = series.strip_prefix(name).unwrap_or_default().trim_matches(['{', '}']);
            let comma = if labels.is_empty() { "" } else { "," };
            add(&format!("{name}{{{target}{comma}{labels}}}"), value, step);
        }
        text
    }
}

fn samples(page: &str) -> BTreeMap<&str, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(series, value)| Some((series, value.parse().ok()?))).collect()
}

fn seconds_since_1970() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// States, each with the alerts that fire in it and no others.
#[derive(Default)]
struct States {
    tests: String,
    names: BTreeSet<String>,
}

impl States {
    fn add(&mut self, nodes: &[Scraped], firing: &[&str]) {
        self.add_with(nodes, firing, NOT_OURS);
    }

    /// `unasked`: a pattern of what may fire as well.
    fn add_with(&mut self, nodes: &[Scraped], firing: &[&str], unasked: &str) {
        let rules = fs::read_to_string(rules()).unwrap();
        let series: String = nodes.iter().map(|node| node.series(&rules)).collect();
        let sample =
            |name: &&str| format!("          - {{ labels: '{{alertname=\"{name}\"}}', value: 1 }}\n");
        let expected: String = firing.iter().map(sample).collect();
        let none = if expected.is_empty() { " []" } else { "" };
        write!(
            self.tests,
            "  - interval: 2m\n    input_series:\n{series}    promql_expr_test:\n      - expr: >-\n          group by (alertname) \
             (ALERTS{{alertstate=\"firing\",alertname!~\"{unasked}\"}})\n        eval_time: {LASTS}\n        exp_samples:{none}\n{expected}"
        )
        .unwrap();
        self.names.extend(firing.iter().map(|name| (*name).to_owned()));
    }

    /// The evaluator says the same of all of them. Returns the names that have fired.
    #[track_caller]
    fn fire(self) -> BTreeSet<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("states.yml");
        let head = format!("rule_files: [{}]\nevaluation_interval: 5m\ntests:\n", rules().display());
        fs::write(&file, head + &self.tests).unwrap();
        let output =
            Command::new(program::find("promtool")).args(["test", "rules"]).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&said), self.tests);
        self.names
    }
}

/// What the other test shows is not shown here.
fn alerts_of(other: &[&str]) -> BTreeSet<String> {
    let rules = fs::read_to_string(rules()).unwrap();
    let all = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    all.filter(|name| !other.contains(name)).map(str::to_owned).collect()
}
