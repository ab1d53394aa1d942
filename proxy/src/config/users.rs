//! Who may be asked for a name and a password.

use crate::auth::PasswordHash;

/// Users and their groups (HAProxy `userlist`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserList {
    /// Unique among lists.
    pub name: String,
    /// Where some of the users stand, as the configuration has it.
    pub file: Option<String>,
    /// At least one; names differ.
    pub users: Vec<User>,
    /// Names differ.
    pub groups: Vec<Group>,
}

/// Somebody with a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// 1 to 255 bytes, without a colon or a control character.
    pub name: String,
    /// Their password.
    pub hash: PasswordHash,
    /// They stand in [`UserList::file`].
    pub is_of_file: bool,
}

/// Some of the users of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// What rules call it.
    pub name: String,
    /// Indices of users, ascending.
    pub members: Vec<usize>,
}
