//! Where a template stands: which facts exist there, and what its text becomes.

use std::cell::Cell;

use super::{Scope, VariableId, VariableName};

/// Where a template stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'n> {
    /// What has happened by then.
    pub stage: Stage,
    /// The backend is chosen: in rules of a backend, and always in a response.
    pub backend: bool,
    /// What the text becomes.
    pub text: Text,
    /// The names of the file.
    pub names: &'n Names,
}

/// What has happened when a text is computed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// A client has connected (rules of tcp frontends).
    Connection,
    /// The head of a request is here.
    Request,
    /// The head of a response is here.
    Response,
}

/// What a text becomes, and so which bytes of a placeholder's value are made harmless.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Text {
    /// Nothing on a wire: a variable, a key, the value of a condition. As it is.
    Plain,
    /// The value of a field: control bytes but HTAB become a space (RFC 9110 §5.5).
    Field,
    /// A Location: what may not be in a URI is percent-encoded, and a path never becomes another host by a second
    /// slash at its beginning.
    Location,
    /// The path of a request: what may not be in a path is percent-encoded.
    Path,
    /// The query of a request, without its `?`: likewise.
    Query,
    /// Content of a response: as it is. Functions `html` and `json` make a value harmless there.
    Content,
}

/// The names that templates of a file may use.
#[derive(Clone, Debug, Default)]
pub struct Names {
    variables: Vec<VariableName>,
    maps: Vec<String>,
    request_id: Cell<bool>,
}

impl Names {
    /// Without variables; `maps` are the names of the maps in their order.
    pub fn new(maps: Vec<String>) -> Self {
        Self { maps, ..Self::default() }
    }

    /// A rule sets this variable.
    pub fn declare(&mut self, variable: &VariableName) -> VariableId {
        let known = self.variables.iter().position(|known| known == variable);
        let index = known.unwrap_or_else(|| {
            self.variables.push(variable.clone());
            self.variables.len() - 1
        });
        VariableId::new(variable.scope, index)
    }

    /// The variable, if any rule sets it.
    pub fn variable(&self, name: &VariableName) -> Option<VariableId> {
        let index = self.variables.iter().position(|known| known == name)?;
        Some(VariableId::new(name.scope, index))
    }

    /// Those that are set by some rule and can be read at `stage`, as placeholders name them.
    pub fn variables(&self, stage: Stage) -> impl Iterator<Item = String> {
        let readable = move |name: &&VariableName| name.scope != Scope::Response || stage == Stage::Response;
        self.variables.iter().filter(readable).map(|name| format!("var.{name}"))
    }

    /// Does any template that was read with these names ask for the id of a request?
    pub fn wants_request_id(&self) -> bool {
        self.request_id.get()
    }

    pub(super) fn want_request_id(&self) {
        self.request_id.set(true);
    }

    /// The place of a map in the list.
    pub fn map(&self, name: &str) -> Option<usize> {
        self.maps.iter().position(|known| known == name)
    }

    /// The names of all maps.
    pub fn maps(&self) -> &[String] {
        &self.maps
    }
}
