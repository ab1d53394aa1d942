//! The ways in which a server may read a request that has something several times.

use crate::{
    http::{message::Message, query},
    sample::{Repeated, RequestFacts},
};

/// Readings of one request that are looked at.
pub(super) const MOST: usize = 16;

/// How many there are: one for each choice among what is `repeated`. `None` if they are more than [`MOST`].
pub(super) fn count(repeated: &[Repeated], message: &Message<'_>) -> Option<usize> {
    let counts = repeated.iter().map(|one| times(one, message));
    counts.into_iter().try_fold(1_usize, usize::checked_mul).filter(|count| *count <= MOST)
}

/// How often it is there, 1 if it is not.
fn times(one: &Repeated, message: &Message<'_>) -> usize {
    let times = match one {
        Repeated::Field(name) => message.all(name).count(),
        Repeated::Parameter(name) => {
            let parameters = query::parameters(message.query().unwrap_or_default());
            parameters.filter(|(key, _)| query::is_decoded(key, name)).count()
        }
        Repeated::Cookie(name) => message.cookies().filter(|(key, _)| *key == &**name).count(),
    };
    times.max(1)
}

/// A request as a server may read it: of what is repeated it has one.
pub(super) struct Reading<'r> {
    /// What there is one of.
    pub(super) request: &'r dyn RequestFacts,
    pub(super) message: &'r Message<'r>,
    pub(super) repeated: &'r [Repeated],
    /// Below [`count`].
    pub(super) index: usize,
}

impl Reading<'_> {
    /// Which of several counts.
    fn choice(&self, is_meant: impl Fn(&Repeated) -> bool) -> usize {
        let mut index = self.index;
        for one in self.repeated {
            let times = times(one, self.message);
            if is_meant(one) {
                return index % times;
            }
            index /= times;
        }
        0
    }
}

impl RequestFacts for Reading<'_> {
    fn method(&self) -> &[u8] {
        self.request.method()
    }

    fn path(&self) -> &[u8] {
        self.request.path()
    }

    fn query(&self) -> &[u8] {
        self.request.query()
    }

    fn target(&self) -> &[u8] {
        self.request.target()
    }

    fn authority(&self) -> Option<&[u8]> {
        self.request.authority()
    }

    fn version(&self) -> &'static str {
        self.request.version()
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        let is_meant =
            |one: &Repeated| matches!(one, Repeated::Field(known) if known.eq_ignore_ascii_case(name));
        let mut named = self.message.fields().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.nth(self.choice(is_meant)).map(|field| field.value)
    }

    fn parameter(&self, name: &[u8]) -> Option<&[u8]> {
        let is_meant = |one: &Repeated| matches!(one, Repeated::Parameter(known) if **known == *name);
        let mut named = query::parameters(self.query()).filter(|(key, _)| query::is_decoded(key, name));
        named.nth(self.choice(is_meant)).map(|(_, value)| value)
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        let is_meant = |one: &Repeated| matches!(one, Repeated::Cookie(known) if **known == *name);
        let mut named = self.message.cookies().filter(|(key, _)| *key == name);
        named.nth(self.choice(is_meant)).map(|(_, value)| value)
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        self.request.any_cookie(name, test)
    }
}
