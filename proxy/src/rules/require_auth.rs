//! What a rule that asks for a name and a password wants.

/// A request passes if it is from one of these users (HAProxy `http-request auth`).
#[derive(Clone, Debug)]
pub struct RequireAuth {
    users: usize,
    groups: Vec<usize>,
    realm: String,
    challenge: String,
}

impl RequireAuth {
    /// `users` is the index of a list, `groups` are indices of its groups: a user of any of them passes; without groups
    /// every user does. `realm` is what clients show, without control characters.
    pub fn new(users: usize, groups: Vec<usize>, realm: impl Into<String>) -> Self {
        let realm = realm.into();
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        // RFC 7617 §2.1: names and passwords are sent in UTF-8.
        let challenge = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
        Self { users, groups, realm, challenge }
    }

    /// The index of the list.
    pub fn users(&self) -> usize {
        self.users
    }

    /// The indices of the groups in that list.
    pub fn groups(&self) -> &[usize] {
        &self.groups
    }

    /// As it was written.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The value of WWW-Authenticate.
    pub(crate) fn challenge(&self) -> &str {
        &self.challenge
    }
}
