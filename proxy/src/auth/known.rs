//! What a worker knows already, so that a client's next request costs no hash.

use std::collections::{HashMap, HashSet};

use crate::table::Key;

/// What came of credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// They are those of the user with this index in the list.
    Granted(usize),
    /// They are nobody's.
    Refused,
}

/// Credentials, by their keyed hash, and what came of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    pub(crate) key: Key,
    pub(crate) outcome: Outcome,
}

/// Credentials that are known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    granted: HashMap<Key, usize>,
    refused: HashSet<Key>,
}

/// Good credentials that are kept. Only who has a password can add to them.
const MOST_GRANTED: usize = 16 * 1024;

/// Bad ones: a client that was not told of a new password asks again and again. Anybody can add to them.
const MOST_REFUSED: usize = 1024;

impl Known {
    pub(crate) fn find(&self, key: &Key) -> Option<Outcome> {
        let granted = self.granted.get(key).map(|user| Outcome::Granted(*user));
        granted.or_else(|| self.refused.contains(key).then_some(Outcome::Refused))
    }

    /// When there is no room, all of a kind are forgotten: to be found again they cost a hash each.
    pub(crate) fn learn(&mut self, proof: Proof) {
        match proof.outcome {
            Outcome::Granted(user) => {
                if self.granted.len() >= MOST_GRANTED {
                    self.granted.clear();
                }
                self.granted.insert(proof.key, user);
            }
            Outcome::Refused => {
                if self.refused.len() >= MOST_REFUSED {
                    self.refused.clear();
                }
                self.refused.insert(proof.key);
            }
        }
    }
}
