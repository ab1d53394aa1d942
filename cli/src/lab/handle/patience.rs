//! How long the user of a lab waits for it. Everything in a lab has a limit of its own that is shorter; this one is for
//! what nobody thought of, so that a test ends with a sentence instead of hanging.

use std::{io, time::Duration};

use anyhow::anyhow;

/// For each line of an answer, and for a start or an end.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Says what was waited for, if that is what went wrong.
pub(super) fn impatient(error: anyhow::Error, what: &str) -> anyhow::Error {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            anyhow!("the lab has not answered for {} s: {what}", PATIENCE.as_secs())
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::lab::protocol::{Reader, Response};

    #[test]
    fn a_lab_that_is_silent_is_an_error_that_says_what_was_asked() {
        let (_silent, stream) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = Reader::new(stream).next::<Response>().unwrap_err();
        assert_eq!(
            impatient(error, "Wait { pid: 7 }").to_string(),
            "the lab has not answered for 60 s: Wait { pid: 7 }"
        );
    }
}
