//! What holds for all bytes that are given to `lbctl import`.

use lbctl::{
    config,
    import::{
        Refused,
        haproxy::{self, Options},
    },
};

/// They are converted, and our own reader takes what comes out and what that means; or there is one sentence about why not.
/// `true` if they were converted.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let import = |strict| haproxy::import(bytes, "haproxy.cfg", &Options { strict, ..Options::default() });
    match (import(false), import(true)) {
        (Ok(lenient), Ok(strict)) => {
            assert!(lenient.lost <= lenient.notes.warnings() && lenient.notes.errors() == 0);
            // What can't be converted is an error where it is wanted to be one, and nothing else is.
            assert_eq!((strict.lost, strict.notes.errors()), (lenient.lost, lenient.lost));
            assert!(lenient.lost == 0 || !strict.notes.to_string().is_empty());
            let taken = config::parse_alone(&lenient.toml, "lb.toml");
            let config = taken.unwrap_or_else(|report| panic!("not taken: {report}\n{}", lenient.toml));
            let effective = config::effective(&config);
            if let Err(report) = config::parse_alone(&effective, "effective.toml") {
                panic!("what it means is refused: {report}\n{effective}");
            }
            true
        }
        (Err(Refused::Source(lenient)), Err(Refused::Source(strict))) => {
            assert_eq!((lenient.errors(), strict.errors()), (1, 1), "{lenient}");
            false
        }
        (Err(Refused::Bug(bug)), _) => panic!("what was made is refused: {}\n{}", bug.report, bug.toml),
        (lenient, _) => panic!("strictness changes what can be read: {}", lenient.is_ok()),
    }
}
