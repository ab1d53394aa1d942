//! `log`, formats of logs, captures.

use super::Proxy;
use crate::import::haproxy::table::{Row, missing};

const NO_LOG: &str = "requests are not logged in this version; events and errors are, on stderr";
#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    missing("log", "dflb", NO_LOG),
    missing("log-format, log-format-sd, error-log-format", "dfl", NO_LOG),
    missing("log-tag", "dflb", NO_LOG),
    missing("log-steps, option httplog, option httpslog", "dfl", NO_LOG),
    missing("option tcplog", "dflb", NO_LOG),
    missing("option dontlog-normal, option log-separate-errors, option logasap", "dfl", NO_LOG),
    missing("capture cookie, capture request header, capture response header, declare capture", "fl", NO_LOG),
];
