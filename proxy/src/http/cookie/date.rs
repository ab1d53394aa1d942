//! Moments in a cookie, as HAProxy writes them: seconds of Unix time in steps of four, 30 bits in five characters. A
//! client that comes from there brings a cookie that is understood here.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters of a moment.
pub(super) const LENGTH: usize = 5;

/// `seconds` rounded up to the next step.
pub(super) fn encode(seconds: u64) -> [u8; LENGTH] {
    let steps = seconds.div_ceil(4);
    std::array::from_fn(|at| {
        let shift = 6 * (LENGTH - 1 - at);
        DIGITS[usize::try_from((steps >> shift) & 63).unwrap_or(0)]
    })
}

/// The seconds; `None` if it is no moment.
pub(super) fn decode(text: &[u8]) -> Option<u64> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let steps = text.iter().try_fold(0, |steps, byte| {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        Some(steps << 6 | digit as u64)
    })?;
    (steps > 0).then_some(steps * 4)
}
