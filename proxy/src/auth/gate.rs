//! Where a rule asks who sent a request.

use std::{cell::RefCell, net::IpAddr};

use super::{Known, Outcome, Proof, Question, Verifier, credentials::Credentials};
use crate::{http::message::Message, rules::RequireAuth};

/// What is needed to say who sent a request.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'w> {
    pub(crate) verifier: &'w Verifier,
    /// What the worker knows.
    pub(crate) known: &'w RefCell<Known>,
    /// What came of the question that this very request had to ask.
    pub(crate) proof: Option<Proof>,
}

/// What a rule is told.
pub(crate) enum Pass<'w> {
    /// The request is from the user of this name.
    Granted(&'w str),
    /// It is from nobody who may send it.
    Refused,
    /// It has to be found out first.
    Unknown(Box<Question>),
}

impl<'w> Gate<'w> {
    /// Is the request, which came from `source`, from somebody whom the rule lets pass? `room` lends a vector.
    pub(crate) fn check(
        &self,
        wanted: &RequireAuth,
        request: &Message<'_>,
        source: IpAddr,
        room: &mut Vec<u8>,
    ) -> Pass<'w> {
        // The same name in two lists is two users.
        room.clear();
        room.extend_from_slice(&wanted.users().to_le_bytes());
        let prefix = room.len();
        let Some(credentials) = Credentials::read(request, room) else { return Pass::Refused };
        let (user, length) = (credentials.user.len(), credentials.password.len());
        let key = self.verifier.key(room);
        let own = self.proof.filter(|proof| proof.key == key).map(|proof| proof.outcome);
        match own.or_else(|| self.known.borrow().find(&key)) {
            Some(Outcome::Granted(user)) => {
                let list = &self.verifier.lists()[wanted.users()];
                let is_member = |group: &usize| list.groups[*group].members.binary_search(&user).is_ok();
                if wanted.groups().is_empty() || wanted.groups().iter().any(is_member) {
                    Pass::Granted(&list.users[user].name)
                } else {
                    Pass::Refused
                }
            }
            Some(Outcome::Refused) => Pass::Refused,
            None => {
                let password = room[room.len() - length..].into();
                let user = &room[prefix..prefix + user];
                Pass::Unknown(Box::new(self.verifier.question(key, wanted.users(), user, password, source)))
            }
        }
    }
}
