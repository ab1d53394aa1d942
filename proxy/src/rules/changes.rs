//! Which actions change what a condition looks at.

use super::{Action, Condition, OverLimit, RateLimit};

impl Condition {
    /// May it hold after this action where it did not before, or no longer? True if that can't be told.
    pub fn may_change_by(&self, action: &Action) -> bool {
        match self {
            Self::All(list) | Self::Any(list) => list.iter().any(|each| each.may_change_by(action)),
            Self::Not(condition) => condition.may_change_by(action),
            Self::Host(_) => action.may_change_host(),
            Self::Cookie(..) => edits_field(action, "cookie"),
            Self::Header(name, _) => edits_field(action, name),
            Self::Path(_) => edits_path(action),
            Self::Query(..) => edits_path(action) || matches!(action, Action::SetQuery(_)),
            Self::Source(_) => matches!(action, Action::SetSource(_)),
            Self::Value(..) => {
                edits_path(action)
                    || action.edited_header().is_some()
                    || matches!(
                        action,
                        Action::SetQuery(_)
                            | Action::SetSource(_)
                            | Action::SetVariable(..)
                            | Action::RateLimit(RateLimit { over: OverLimit::Set(..), .. })
                            | Action::RequireAuth(_)
                            | Action::AskAuth(..)
                            | Action::SetMethod(_)
                            | Action::SetStatus(_)
                    )
            }
            Self::Method(_) => matches!(action, Action::SetMethod(_)),
            Self::Status(_) => matches!(action, Action::SetStatus(_)),
            Self::Sni(_) | Self::Port(_) | Self::Scheme(_) | Self::UsableBelow(_) => false,
        }
    }
}

impl Action {
    /// May a condition on the host hold after it where it did not before?
    pub(super) fn may_change_host(&self) -> bool {
        edits_field(self, "host")
    }
}

fn edits_path(action: &Action) -> bool {
    matches!(action, Action::SetPath(_) | Action::ReplacePath(_))
}

fn edits_field(action: &Action, name: &str) -> bool {
    action.edited_header().is_some_and(|edited| edited.eq_ignore_ascii_case(name))
}
