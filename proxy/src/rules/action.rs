//! What a rule does.

use super::{Redirect, Replacement, Text};
use crate::{
    config::BackendId,
    sample::{VariableId, VariableName},
};

/// One thing that a rule does. Names of fields are [editable](crate::http::message::is_editable).
#[derive(Clone, Debug)]
pub enum Action {
    /// Answers with the page of this status, 400..=599. Ends the list.
    Deny(u16),
    /// Ends the list.
    Allow,
    /// Answers with a redirection. Ends the list.
    Redirect(Redirect),
    /// Appends a field line.
    AddHeader(String, Text),
    /// Replaces all lines of that name with one.
    SetHeader(String, Text),
    /// Removes all lines of that name.
    DeleteHeader(String),
    /// Replaces what matches in the lines of that name.
    ReplaceHeader(String, Replacement),
    /// Keeps a text for later rules and templates.
    SetVariable(VariableName, VariableId, Text),
    /// Sends the request there, unless an earlier rule has chosen.
    Backend(BackendId),
}

impl Action {
    /// Does it change what later conditions see?
    pub fn is_edit(&self) -> bool {
        match self {
            Self::AddHeader(..)
            | Self::SetHeader(..)
            | Self::DeleteHeader(_)
            | Self::ReplaceHeader(..)
            | Self::SetVariable(..) => true,
            Self::Deny(_) | Self::Allow | Self::Redirect(_) | Self::Backend(_) => false,
        }
    }

    /// Does nothing after it happen in its list?
    pub fn is_final(&self) -> bool {
        match self {
            Self::Deny(_) | Self::Allow | Self::Redirect(_) => true,
            Self::AddHeader(..)
            | Self::SetHeader(..)
            | Self::DeleteHeader(_)
            | Self::ReplaceHeader(..)
            | Self::SetVariable(..)
            | Self::Backend(_) => false,
        }
    }
}
