//! A backend that is chosen by a name that is computed (HAProxy `use_backend %[..]`).

use super::Text;
use crate::{config::BackendId, sample::Facts};

/// A name, and whose it can be.
#[derive(Clone, Debug)]
pub struct NamedBackend {
    name: Text,
    /// By their names, in the order of these.
    known: Box<[(Box<str>, BackendId)]>,
    otherwise: Option<BackendId>,
}

impl NamedBackend {
    /// `name` is that of one of `backends`, each there once; any other one is `otherwise`.
    pub fn new(
        name: Text,
        backends: impl IntoIterator<Item = (String, BackendId)>,
        otherwise: Option<BackendId>,
    ) -> Self {
        let mut known: Vec<_> =
            backends.into_iter().map(|(name, backend)| (name.into_boxed_str(), backend)).collect();
        known.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self { name, known: known.into(), otherwise }
    }

    /// How the name is made.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// All that it may choose.
    pub fn backends(&self) -> impl Iterator<Item = BackendId> {
        self.known.iter().map(|(_, backend)| *backend).chain(self.otherwise)
    }

    /// The one that is meant; `work` is room for the name.
    pub(super) fn choose(&self, facts: &Facts<'_>, work: &mut Vec<u8>) -> Option<BackendId> {
        work.clear();
        self.name.render(facts, work);
        let found = self.known.binary_search_by(|(name, _)| name.as_bytes().cmp(work));
        found.ok().and_then(|at| self.known.get(at)).map(|(_, backend)| *backend).or(self.otherwise)
    }
}
