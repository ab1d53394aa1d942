//! Where a template stands: which facts exist there, and what its text becomes.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

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
    /// Nothing on a wire: a variable, the value of a condition. As it is.
    Plain,
    /// What tells requests apart. Parameters and cookies are decoded, so that another spelling is not another request.
    Key,
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
    /// A line in a log: what is not printable ASCII, `"` and `#` become `#` and two digits, as in HAProxy.
    Log,
}

/// The names that templates of a file may use.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Each with where it can be set first.
    variables: Vec<(VariableName, Stage)>,
    maps: Vec<String>,
    request_id: Cell<bool>,
    /// Variables and maps that a template has named, by their index.
    read: RefCell<BTreeSet<usize>>,
    asked: RefCell<BTreeSet<usize>>,
}

impl Names {
    /// Without variables; `maps` are the names of the maps in their order.
    pub fn new(maps: Vec<String>) -> Self {
        Self { maps, ..Self::default() }
    }

    /// A rule at `stage` sets this variable.
    pub fn declare(&mut self, variable: &VariableName, stage: Stage) -> VariableId {
        let known = self.variables.iter().position(|(known, _)| known == variable);
        let index = known.unwrap_or_else(|| {
            self.variables.push((variable.clone(), stage));
            self.variables.len() - 1
        });
        let first = &mut self.variables[index].1;
        *first = stage.min(*first);
        VariableId::new(variable.scope, index)
    }

    /// The variable, if any rule sets it.
    pub fn variable(&self, name: &VariableName) -> Option<VariableId> {
        let index = self.variables.iter().position(|(known, _)| known == name)?;
        Some(VariableId::new(name.scope, index))
    }

    /// Those that can have been set by a rule before they are read at `stage`, as placeholders name them.
    pub fn variables(&self, stage: Stage) -> impl Iterator<Item = String> {
        let readable = move |(name, first): &&(VariableName, Stage)| is_readable(name.scope, *first, stage);
        self.variables.iter().filter(readable).map(|(name, _)| format!("var.{name}"))
    }

    /// Can it have been set before it is read at `stage`?
    pub(super) fn is_readable(&self, name: &VariableName, stage: Stage) -> bool {
        let Some(index) = self.variables.iter().position(|(known, _)| known == name) else { return false };
        self.read.borrow_mut().insert(index);
        is_readable(name.scope, self.variables[index].1, stage)
    }

    /// Those that no template which was read with these names reads.
    pub fn unread_variables(&self) -> impl Iterator<Item = &VariableName> {
        let all = self.variables.iter().enumerate();
        all.filter(|(index, _)| !self.read.borrow().contains(index)).map(|(_, (name, _))| name)
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
        let index = self.maps.iter().position(|known| known == name)?;
        self.asked.borrow_mut().insert(index);
        Some(index)
    }

    /// Those that no template which was read with these names asks.
    pub fn unused_maps(&self) -> impl Iterator<Item = &String> {
        let all = self.maps.iter().enumerate();
        all.filter(|(index, _)| !self.asked.borrow().contains(index)).map(|(_, name)| name)
    }

    /// The names of all maps.
    pub fn maps(&self) -> &[String] {
        &self.maps
    }
}

/// What a request sets, its response sees; what a response sets, only a session carries to a later request.
fn is_readable(scope: Scope, first: Stage, stage: Stage) -> bool {
    match scope {
        Scope::Response => stage == Stage::Response,
        Scope::Request => first <= stage,
        Scope::Session => true,
    }
}
