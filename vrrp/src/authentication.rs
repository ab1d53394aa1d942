//! The trailer by which nodes know each other's advertisements. VRRPv3 has no authentication of its own (RFC 9568 §9).
//!
//! ```text
//!  0  'L' 'B' 'A' 1
//!  4  boot, 64 bit: another one for each run of the sender
//! 12  counter, 64 bit: grows with each message of a boot
//! 20  HMAC-SHA256, 32 octets, over source, destination, the VRRP message, and the 20 octets before it
//! ```
//!
//! It stands behind the VRRP message, whose length and checksum do not count it: a router that knows of none sees a message
//! that is too long. No clock is asked, so one that jumps changes nothing.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::{
    Secret,
    advertisement::{DecodeError, Envelope, length_by_header},
    secret::SIGNATURE,
};

/// What is signed.
const PURPOSE: &str = "lbctl advertisement 1";

const MAGIC: [u8; 4] = *b"LBA\x01";

/// Octets before the signature, and of all.
const HEAD: usize = 20;
const TRAILER: usize = HEAD + SIGNATURE;

/// Boots that are remembered, so that nothing of them is heard twice.
const BOOTS: usize = 64;

/// How far the nodes of a cluster are with signatures. Each goes to the next step on one node after the other.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Advertisements are signed, and whatever comes is heard: a wrong signature is told of.
    Send,
    /// A wrong signature is dropped, none at all is heard.
    Accept,
    /// Nothing but what is signed is heard.
    Require,
}

impl Step {
    /// Whether a packet with this fault is dropped.
    pub const fn drops(self, fault: &DecodeError) -> bool {
        match self {
            Self::Send => false,
            Self::Accept => !matches!(fault, DecodeError::Unsigned),
            Self::Require => true,
        }
    }
}

/// What a group signs its advertisements by, and what it makes of those of others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Authentication {
    /// The cluster's.
    pub secret: Secret,
    /// See [`Step`].
    pub step: Step,
}

/// What is behind a VRRP message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trailer<'p> {
    head: &'p [u8; HEAD],
    signature: &'p [u8],
}

impl Trailer<'_> {
    fn number(&self, at: usize) -> u64 {
        let octets = self.head.get(at..at + 8).and_then(|octets| octets.try_into().ok());
        u64::from_be_bytes(octets.unwrap_or_default())
    }
}

/// Takes the trailer off a message that came from `source`, if there is one.
pub fn split(bytes: &[u8], source: IpAddr) -> (&[u8], Option<Trailer<'_>>) {
    let parts = || {
        let (message, trailer) = bytes.split_at_checked(length_by_header(bytes, source)?)?;
        let (head, signature) = trailer.split_first_chunk::<HEAD>()?;
        let fits = head.starts_with(&MAGIC) && trailer.len() == TRAILER;
        fits.then_some((message, Some(Trailer { head, signature })))
    };
    parts().unwrap_or((bytes, None))
}

/// Signs what this process sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sender {
    boot: u64,
    counter: u64,
}

impl Sender {
    /// `counter` is at least the last one that was sent of this `boot`.
    pub const fn new(boot: u64, counter: u64) -> Self {
        Self { boot, counter }
    }

    /// The last one that was used.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Appends the trailer.
    pub fn sign(&mut self, secret: &Secret, source: IpAddr, destination: IpAddr, message: &mut Vec<u8>) {
        self.counter += 1;
        let length = message.len();
        message.extend_from_slice(&MAGIC);
        message.extend_from_slice(&self.boot.to_be_bytes());
        message.extend_from_slice(&self.counter.to_be_bytes());
        let (content, head) = message.split_at(length);
        let signature = digest(source, destination, content, head, |parts| secret.sign(PURPOSE, parts));
        message.extend_from_slice(&signature);
    }
}

/// What one virtual router has heard, by boot, the last one last.
#[derive(Debug, Default)]
pub struct Receiver {
    boots: VecDeque<(u64, u64)>,
}

impl Receiver {
    /// Looks at a message that is sound otherwise. What has a right signature is remembered.
    ///
    /// # Errors
    /// [`DecodeError::Unsigned`], [`DecodeError::Signature`] or [`DecodeError::Replayed`]; [`Step::drops`] says what to do.
    pub fn check(
        &mut self,
        secret: &Secret,
        envelope: &Envelope,
        message: &[u8],
        trailer: Option<&Trailer<'_>>,
    ) -> Result<(), DecodeError> {
        let trailer = trailer.ok_or(DecodeError::Unsigned)?;
        let (boot, counter) = (trailer.number(4), trailer.number(12));
        let known = self.boots.iter().position(|(known, _)| *known == boot);
        // Before the signature: whatever that is, this is not heard, and a recording that is played in a loop costs nothing.
        if known.and_then(|at| self.boots.get(at)).is_some_and(|(_, last)| counter <= *last) {
            return Err(DecodeError::Replayed);
        }
        let Envelope { source, destination, .. } = *envelope;
        let is_right = |parts: &[&[u8]]| secret.is_signed(PURPOSE, parts, trailer.signature);
        if !digest(source, destination, message, trailer.head, is_right) {
            return Err(DecodeError::Signature);
        }
        // A boot that seemed to be over goes on from where it was: a recorded message of another one must not silence it.
        match known {
            Some(at) => drop(self.boots.remove(at)),
            None if self.boots.len() == BOOTS => drop(self.boots.pop_front()),
            None => {}
        }
        self.boots.push_back((boot, counter));
        Ok(())
    }
}

/// Calls `sign` with the parts of a signature.
fn digest<T>(
    source: IpAddr,
    destination: IpAddr,
    message: &[u8],
    head: &[u8],
    sign: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let octets = |address| match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address).octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    };
    sign(&[&octets(source), &octets(destination), message, head])
}

#[cfg(test)]
mod tests;
