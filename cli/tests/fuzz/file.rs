//! What holds for every text that is given as a configuration.

use lbctl::config;

/// A file is refused with a report, or taken; then what it means can be written and read back.
pub(crate) fn check(text: &str) -> bool {
    let config = match config::parse(text, "lb.toml") {
        Ok(config) => config,
        Err(report) => {
            assert!(report.errors() > 0 && !report.to_string().is_empty());
            return false;
        }
    };
    let effective = config::effective(&config);
    let again = config::parse(&effective, "effective.toml");
    let again = again.unwrap_or_else(|report| panic!("the effective file is refused: {report}\n{effective}"));
    assert_eq!(config::effective(&again), effective);
    true
}
