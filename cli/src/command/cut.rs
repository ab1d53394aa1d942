//! What a move or a stop has cost.

/// `nothing was cut`; `unanswered` processes before an upgrade did not say what they cut.
pub(super) fn cut(cut: u64, unanswered: u64) -> String {
    let known = match cut {
        0 => "nothing was cut".to_owned(),
        1 => "1 connection was cut".to_owned(),
        n => format!("{n} connections were cut"),
    };
    match not_known(unanswered) {
        Some(not_known) => format!("{known} here; {not_known}"),
        None => known,
    }
}

/// So many processes before an upgrade did not say what they cut.
pub(super) fn not_known(unanswered: u64) -> Option<String> {
    let who = match unanswered {
        0 => return None,
        1 => "a process before an upgrade does not answer, and what it".to_owned(),
        n => format!("{n} processes before an upgrade do not answer, and what they"),
    };
    Some(format!("{who} cut is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_said_to_be_nothing() {
        assert_eq!([cut(0, 0), cut(1, 0)], ["nothing was cut", "1 connection was cut"]);
        assert_eq!(
            cut(0, 1),
            "nothing was cut here; a process before an upgrade does not answer, and what it cut is not known"
        );
        assert_eq!(
            cut(3, 2),
            "3 connections were cut here; 2 processes before an upgrade do not answer, and what they cut is not known"
        );
    }
}
