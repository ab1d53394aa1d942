//! Variables: text that a rule keeps for later rules, templates and the log.

use std::fmt;

/// How long a variable lives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scope {
    /// From the request to the end of its response (HAProxy `txn`).
    Request,
    /// While the response is worked on (HAProxy `res`).
    Response,
    /// As long as the client's connection (HAProxy `sess`).
    Session,
}

/// The name of a variable as the file has it: `tenant`, `request.tenant` (the same), `response.x`, `session.user`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct VariableName {
    /// How long it lives.
    pub scope: Scope,
    /// 1 to 63 letters, digits and `_`.
    pub name: String,
}

/// A variable of a configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct VariableId {
    scope: Scope,
    index: usize,
}

/// The variables of one connection or of one exchange. Nothing is allocated until one is set, and nothing again where
/// others were forgotten.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// Those that are set, then room of those that were.
    values: Vec<(VariableId, Vec<u8>)>,
    set: usize,
}

/// Room of a forgotten variable beyond this is given back.
const KEPT: usize = 1024;

/// Bytes of one variable. A longer text is not kept: half of it would be another text.
pub(super) const LONGEST_VALUE: usize = 16 * 1024;

impl VariableName {
    /// Reads a name; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scope, name) = match text.split_once('.') {
            None => (Scope::Request, text),
            Some(("request", name)) => (Scope::Request, name),
            Some(("response", name)) => (Scope::Response, name),
            Some(("session", name)) => (Scope::Session, name),
            Some(_) => return None,
        };
        let is_name = (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| Self { scope, name: name.to_owned() })
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Scope::Request => "",
            Scope::Response => "response.",
            Scope::Session => "session.",
        };
        write!(formatter, "{scope}{}", self.name)
    }
}

impl VariableId {
    /// The unique id of the request, which no rule sets.
    pub const REQUEST_ID: Self = Self { scope: Scope::Request, index: usize::MAX };

    /// The user whom a rule has let pass; no rule sets it.
    pub const REQUEST_USER: Self = Self { scope: Scope::Request, index: usize::MAX - 1 };

    pub(super) fn new(scope: Scope, index: usize) -> Self {
        Self { scope, index }
    }

    /// Which set of variables it belongs to.
    pub fn scope(self) -> Scope {
        self.scope
    }
}

impl Variables {
    /// The value, if it was set.
    pub fn value(&self, variable: VariableId) -> Option<&[u8]> {
        self.position(variable).map(|at| self.values[at].1.as_slice())
    }

    /// Sets it. A value beyond 16 KiB unsets it; false then.
    pub fn set(&mut self, variable: VariableId, value: &[u8]) -> bool {
        if value.len() > LONGEST_VALUE {
            self.unset(variable);
            return false;
        }
        let at = self.position(variable).unwrap_or_else(|| {
            self.set += 1;
            self.set - 1
        });
        match self.values.get_mut(at) {
            Some((id, room)) => {
                *id = variable;
                room.clear();
                room.extend_from_slice(value);
            }
            None => self.values.push((variable, value.to_owned())),
        }
        debug_assert!(self.set <= self.values.len());
        true
    }

    /// Goes on with them under the ids of another configuration; those that it does not have are forgotten.
    pub(crate) fn rename(&mut self, rename: impl Fn(VariableId) -> Option<VariableId>) {
        self.values.truncate(self.set);
        self.values.retain_mut(|(id, _)| rename(*id).map(|new| *id = new).is_some());
        self.set = self.values.len();
    }

    /// Forgets it.
    pub fn unset(&mut self, variable: VariableId) {
        if let Some(at) = self.position(variable) {
            self.set -= 1;
            self.values.swap(at, self.set);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        for (_, room) in &mut self.values[..self.set] {
            if room.capacity() > KEPT {
                *room = Vec::new();
            }
        }
        self.set = 0;
    }

    fn position(&self, variable: VariableId) -> Option<usize> {
        self.values[..self.set].iter().position(|(known, _)| *known == variable)
    }
}
