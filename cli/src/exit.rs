//! Exit codes, the same for every verb.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: fine.
    Fine,
    /// 1: failed.
    Failure,
    /// 2: works, but degraded; or not found, as the verb documents.
    Degraded,
    /// 64 (EX_USAGE): the arguments are off.
    Usage,
    /// 78 (EX_CONFIG): the configuration is bad.
    Configuration,
    /// The code of a command that ran on the user's behalf.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Failure => 1,
            Exit::Degraded => 2,
            Exit::Usage => 64,
            Exit::Configuration => 78,
            Exit::Of(code) => code,
        })
    }
}
