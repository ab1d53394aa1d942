//! What holds for all bytes that are given to `lbctl import` as a file of Keepalived's.

use std::path::PathBuf;

use lbctl::{
    config,
    import::{
        self, Refused,
        keepalived::{self, Input, Options},
    },
};

/// They are converted, and our own reader takes what comes out; or there is one sentence about why not. `true` if they were
/// converted.
pub(crate) fn check(bytes: &[u8]) -> bool {
    // Nothing that they include is there.
    let input = || Input {
        name: "keepalived.conf".into(),
        bytes: bytes.to_vec(),
        folder: PathBuf::from("/nonexistent"),
    };
    let foreign = |name: &str| Options { foreign: Some(name.into()), ..Options::default() };
    for (inputs, options) in [
        (vec![input()], Options::default()),
        (vec![input(), input()], Options::default()),
        (vec![input()], foreign("lb2")),
    ] {
        match keepalived::read(&inputs, &options) {
            Ok(pair) => {
                let warnings: usize = pair.notes.iter().map(config::Diagnostics::warnings).sum();
                assert!(pair.lost <= warnings && pair.notes.iter().all(|notes| notes.errors() == 0));
                match import::alone(&pair, "keepalived.conf", "lb.toml") {
                    Ok(toml) => {
                        let config = config::parse_alone(&toml, "lb.toml").expect("it was taken before");
                        let effective = config::effective(&config);
                        if let Err(report) = config::parse_alone(&effective, "effective.toml") {
                            panic!("what it means is refused: {report}\n{effective}");
                        }
                    }
                    Err(Refused::Bug(bug)) => {
                        panic!("what was made is refused: {}\n{}", bug.report, bug.toml)
                    }
                    Err(other) => panic!("{other:?}"),
                }
                if inputs.len() == 1 && options.foreign.is_none() {
                    continue;
                }
            }
            Err(Refused::Source(report)) => {
                assert_eq!(report.errors(), 1, "{report}");
                return false;
            }
            // It has no node of that name.
            Err(Refused::Arguments(_)) if options.foreign.is_some() => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    true
}
