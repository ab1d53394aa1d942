//! What a client takes (RFC 9110 §12.5.3).

use crate::{
    config::{Algorithm, Compression},
    http::{
        headers::{has_token, list},
        message::Message,
    },
};

/// In thousandths; 0 is not acceptable.
type Weight = u16;

const FULL: Weight = 1000;

/// What the response to a request may be coded with. With `offload` its server does not see that.
pub(crate) fn of_request(policy: &Compression, message: &mut Message<'_>) -> Option<Algorithm> {
    // RFC 9111 §5.2.1.6
    if message.all(b"cache-control").any(|value| has_token(value, b"no-transform")) {
        return None;
    }
    let accepted = accepted(&message.all(b"accept-encoding"), &policy.algorithms)?;
    if policy.offload {
        message.remove(b"accept-encoding");
    }
    Some(accepted)
}

/// The algorithm that a client likes best, by the values of its Accept-Encoding lines; `None` if it takes none of them, or
/// likes it less than what is not coded at all.
fn accepted<'v>(
    values: &(impl Iterator<Item = &'v [u8]> + Clone),
    algorithms: &[Algorithm],
) -> Option<Algorithm> {
    let weight = |is_it: fn(&[u8], &str) -> bool, name: &str| {
        let members = values.clone().flat_map(list).map(member);
        members.filter(|(coding, _)| is_it(coding, name)).map(|(_, weight)| weight).max()
    };
    let is = |coding: &[u8], name: &str| {
        // RFC 9110 §8.4.1.3: "x-gzip" is equivalent to "gzip".
        let coding = if coding.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { coding };
        coding.eq_ignore_ascii_case(name.as_bytes())
    };
    let others = weight(is, "*").unwrap_or(0);
    let identity = weight(is, "identity").unwrap_or(0);
    let mut best = None;
    for &algorithm in algorithms {
        let weight = weight(is, algorithm.name()).unwrap_or(others);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, algorithm));
        }
    }
    best.filter(|(weight, _)| *weight >= identity).map(|(_, algorithm)| algorithm)
}

/// A coding and its weight.
fn member(member: &[u8]) -> (&[u8], Weight) {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', value @ ..] => Some(quality(value)),
        _ => None,
    });
    (coding, quality.unwrap_or(FULL))
}

/// RFC 9110 §12.4.2: `0`, `1`, and up to three digits behind the point. What is none of it asks for nothing.
fn quality(value: &[u8]) -> Weight {
    let (whole, digits) = match value {
        [whole] | [whole, b'.'] => (*whole, &b""[..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            (*whole, digits)
        }
        _ => return 0,
    };
    let places = [100, 10, 1];
    let part: Weight =
        digits.iter().zip(places).map(|(digit, place)| Weight::from(digit - b'0') * place).sum();
    match (whole, part) {
        (b'0', part) => part,
        (b'1', 0) => FULL,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Algorithm::{Deflate, Gzip};

    #[test]
    fn client_gets_what_it_likes_best_and_nothing_that_it_refuses() {
        let both = &[Gzip, Deflate][..];
        for (values, algorithms, expected) in [
            (&[][..], both, None),
            (&[""], both, None),
            (&["gzip"], both, Some(Gzip)),
            (&["GZip"], both, Some(Gzip)),
            (&["x-gzip"], both, Some(Gzip)),
            (&["gzipped, br"], both, None),
            (&["deflate, gzip"], both, Some(Gzip)),
            (&["deflate, gzip"], &[Deflate, Gzip], Some(Deflate)),
            (&["deflate, gzip;q=0.999"], both, Some(Deflate)),
            (&["gzip;q=0.5", "deflate;q=0.6"], both, Some(Deflate)),
            (&["gzip;q=0"], both, None),
            (&["gzip; Q=0.000, deflate"], both, Some(Deflate)),
            (&["gzip ; q=0.001"], both, Some(Gzip)),
            (&["*"], both, Some(Gzip)),
            (&["gzip;q=0, *"], both, Some(Deflate)),
            (&["gzip;q=0, *"], &[Gzip], None),
            (&["*;q=0"], both, None),
            (&["*;q=0, deflate"], both, Some(Deflate)),
            (&["identity"], both, None),
            (&["identity;q=0"], both, None),
            (&["identity, gzip"], both, Some(Gzip)),
            (&["identity, gzip;q=0.5"], both, None),
            (&["identity;q=0.5, gzip;q=0.5"], both, Some(Gzip)),
            (&["br;q=1.0, gzip;q=0.8, *;q=0.1"], both, Some(Gzip)),
            // No weights: they ask for nothing.
            (&["gzip;q=2"], both, None),
            (&["gzip;q=1.5"], both, None),
            (&["gzip;q=.5"], both, None),
            (&["gzip;q=0.1234"], both, None),
            (&["gzip;q=-1"], both, None),
            (&["gzip;q="], both, None),
        ] {
            let found = accepted(&values.iter().map(|value| value.as_bytes()), algorithms);
            assert_eq!(found, expected, "{values:?} {algorithms:?}");
        }
    }
}
