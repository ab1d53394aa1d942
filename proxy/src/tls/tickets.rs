//! Tickets of sessions (RFC 5077, RFC 8446 §4.6.1) that every node of a cluster can open: their keys follow from a secret that all
//! have, and from the time.
//!
//! ```text
//! epoch (4) │ nonce (12) │ state, sealed with AES-256-GCM-SIV under the key of the epoch │ tag (16)
//! ```
//! A nonce is random and two nodes use the same key, so the cipher is one that a nonce that comes twice does not break (RFC 8452).

mod scope;

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

pub(super) use scope::Scoped;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
    rand,
};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::config::TicketSecret;

/// A key seals for so many seconds.
const EPOCH: u64 = 6 * 3600;

/// Tickets are good for so many seconds at least, and for less than one epoch more.
const LIFETIME: u32 = 12 * 3600;

/// Keys before the one that seals that still open.
const OLD: u32 = 2;

const PURPOSE: &[u8] = b"lbctl session ticket";
const LENGTH_OF_EPOCH: usize = 4;

/// See the module.
pub(super) struct SharedTickets {
    secret: Prk,
}

impl SharedTickets {
    pub(super) fn new(secret: &TicketSecret) -> Self {
        Self { secret: Prk::new_less_safe(HKDF_SHA256, secret.bytes()) }
    }

    fn key(&self, epoch: u32) -> Option<LessSafeKey> {
        let mut key = Zeroizing::new([0; 32]);
        self.secret.expand(&[PURPOSE, &epoch.to_be_bytes()], HKDF_SHA256).ok()?.fill(&mut *key).ok()?;
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &*key).ok()?))
    }

    fn seal(&self, epoch: u32, state: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let header = epoch.to_be_bytes();
        let mut sealed = state.to_vec();
        let beside = Aad::from(header);
        self.key(epoch)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), beside, &mut sealed)
            .ok()?;
        Some([&header[..], &nonce, &sealed].concat())
    }

    /// `None` for what no node of the cluster has sealed, or not lately. A clock that is one epoch behind is no reason.
    fn open(&self, now: u32, ticket: &[u8]) -> Option<Vec<u8>> {
        let (header, rest) = ticket.split_first_chunk::<LENGTH_OF_EPOCH>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let epoch = u32::from_be_bytes(*header);
        if !(now.saturating_sub(OLD)..=now.saturating_add(1)).contains(&epoch) {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(epoch)?.open_in_place(nonce, Aad::from(*header), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(epoch(SystemTime::now()), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(epoch(SystemTime::now()), cipher)
    }
}

/// The clock of the wall: it is what nodes have in common. One that is wrong costs a handshake in full.
fn epoch(now: SystemTime) -> u32 {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(seconds / EPOCH).unwrap_or(u32::MAX)
}

impl fmt::Debug for SharedTickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SharedTickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tickets(secret: u8) -> SharedTickets {
        SharedTickets::new(&TicketSecret::new([secret; 32]))
    }

    #[test]
    fn ticket_of_one_node_is_opened_by_the_other_for_twelve_hours_at_least() {
        let (lb1, lb2) = (tickets(1), tickets(1));
        let ticket = lb1.seal(100, b"state").unwrap();
        assert_eq!(ticket.len(), 4 + 12 + 5 + 16);
        let opened = |now| lb2.open(now, &ticket).as_deref() == Some(b"state");
        assert_eq!([98, 99, 100, 101, 102, 103].map(opened), [false, true, true, true, true, false]);
        assert!(u64::from(OLD) * EPOCH >= u64::from(LIFETIME));
        let at = |seconds| epoch(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((at(0), at(21_599), at(21_600)), (0, 0, 1));
    }

    #[test]
    fn ticket_that_is_anothers_or_was_changed_is_none() {
        let own = tickets(1);
        let ticket = own.seal(100, b"state").unwrap();
        assert_eq!(tickets(2).open(100, &ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(own.open(100, &changed), None, "{at}");
            assert_eq!(own.open(100, &ticket[..at]), None, "{at}");
        }
        // Nor is the same thing sealed twice the same ticket.
        assert_ne!(own.seal(100, b"state").unwrap(), ticket);
    }
}
