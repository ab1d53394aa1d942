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

/// The variables of one connection or of one exchange. Nothing is allocated until one is set.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: Vec<(VariableId, Vec<u8>)>,
}

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
        self.values.iter().find(|(known, _)| *known == variable).map(|(_, value)| value.as_slice())
    }

    /// Sets it. A value beyond 16 KiB unsets it; false then.
    pub fn set(&mut self, variable: VariableId, value: &[u8]) -> bool {
        if value.len() > LONGEST_VALUE {
            self.unset(variable);
            return false;
        }
        match self.values.iter_mut().find(|(known, _)| *known == variable) {
            Some((_, old)) => {
                old.clear();
                old.extend_from_slice(value);
            }
            None => self.values.push((variable, value.to_owned())),
        }
        true
    }

    /// Forgets it.
    pub fn unset(&mut self, variable: VariableId) {
        self.values.retain(|(known, _)| *known != variable);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}
