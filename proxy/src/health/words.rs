//! What servers and their agents say in words of their own: what of it may be shown, and how often it is complained of.

use std::time::Duration;

use tokio::time::Instant;

/// Between two complaints about one agent.
const PAUSE: Duration = Duration::from_secs(60);

/// Does the character show nothing, or change how others are shown (Unicode's categories Cc and Cf)? A log or a page that
/// repeats it would not say what it seems to say.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x600..=0x605
                | 0x61c
                | 0x6dd
                | 0x70f
                | 0x890..=0x891
                | 0x8e2
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0x110bd
                | 0x110cd
                | 0x13430..=0x1343f
                | 0x1bca0..=0x1bca3
                | 0x1d173..=0x1d17a
                | 0xe0001
                | 0xe0020..=0xe007f
        )
}

/// Bounds what is logged of somebody who says nonsense as fast as they are asked.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Option<Instant>,
    untold: u64,
}

impl Complaints {
    /// May one be told now? Then how many were not, since the last one.
    pub(super) fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_a_minute_with_the_number_of_those_that_were_not_told() {
        let (start, mut complaints) = (Instant::now(), Complaints::default());
        let told: Vec<_> = [0, 1, 2, 59, 60, 61, 200]
            .map(|second| complaints.tell(start + Duration::from_secs(second)))
            .into_iter()
            .collect();
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }

    #[test]
    fn what_turns_a_line_round_or_can_not_be_seen_is_hidden() {
        assert!(
            ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{e0041}', '\x1b']
                .map(is_hidden)
                .iter()
                .all(|hidden| *hidden)
        );
        assert!(!['a', ' ', 'ä', '\u{a0}', '字', '😀'].map(is_hidden).iter().any(|hidden| *hidden));
    }
}
