//! The ways in which a server may read a request that has something several times.

use crate::{
    http::{message::Message, query},
    sample::{Repeated, RequestFacts},
};

/// Readings of one request that are looked at.
pub(super) const MOST: usize = 16;

/// The values that a request has of what is repeated. They are searched for once and not for each reading: how long a
/// head is to be searched is up to its client.
pub(super) struct Found<'m> {
    /// One for each choice among them.
    pub(super) readings: usize,
    /// Of each that is repeated, in that order. Empty, so that nothing is allocated, where nothing is there twice.
    values: Vec<Vec<&'m [u8]>>,
}

impl<'m> Found<'m> {
    /// Those that `values` tells of; `None` if they make more than [`MOST`] readings.
    pub(super) fn of<'r, V: Iterator<Item = &'m [u8]>>(
        repeated: &'r [Repeated],
        values: impl Fn(&'r Repeated) -> V,
    ) -> Option<Self> {
        let mut readings = 1;
        for one in repeated {
            readings *= values(one).take(MOST + 1).count().max(1);
            if readings > MOST {
                return None;
            }
        }
        let values = match readings {
            1 => Vec::new(),
            _ => repeated.iter().map(|one| values(one).collect()).collect(),
        };
        Some(Self { readings, values })
    }

    /// The value that what is at `place` among the repeated has in the reading with this index.
    fn value(&self, place: usize, index: usize) -> Option<&'m [u8]> {
        let earlier = self.values[..place].iter().map(|values| values.len().max(1)).product::<usize>();
        let values = &self.values[place];
        values.get(index / earlier % values.len().max(1)).copied()
    }
}

/// The values that `message` has of `one`, for every way to read cookies.
pub(super) fn values<'r>(
    one: &'r Repeated,
    message: &'r Message<'r>,
) -> impl Iterator<Item = &'r [u8]> + use<'r> {
    let (field, parameter, cookie) = match one {
        Repeated::Field(name) => (Some(name), None, None),
        Repeated::Parameter(name) => (None, Some(name), None),
        Repeated::Cookie(name) => (None, None, Some(name)),
    };
    let fields = field.into_iter().flat_map(|name| message.all(name));
    let parameters = parameter.into_iter().flat_map(|name| {
        let all = query::parameters(message.query().unwrap_or_default());
        all.filter(move |(key, _)| query::is_decoded(key, name)).map(|(_, value)| value)
    });
    let cookies = cookie.into_iter().flat_map(|name| {
        message.cookies_for_all().filter(move |(key, _)| *key == &**name).map(|(_, value)| value)
    });
    fields.chain(parameters).chain(cookies)
}

/// A request as a server may read it: of what is repeated it has one.
pub(super) struct Reading<'r> {
    /// What there is one of.
    pub(super) request: &'r dyn RequestFacts,
    pub(super) message: &'r Message<'r>,
    /// All that is asked for and that there may be several of.
    pub(super) repeated: &'r [Repeated],
    pub(super) found: &'r Found<'r>,
    /// Below [`Found::readings`].
    pub(super) index: usize,
}

impl Reading<'_> {
    /// That of what `is_meant`.
    fn value(&self, is_meant: impl Fn(&Repeated) -> bool) -> Option<&[u8]> {
        let place = self.repeated.iter().position(is_meant)?;
        match self.found.readings {
            1 => values(&self.repeated[place], self.message).next(),
            _ => self.found.value(place, self.index),
        }
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
        self.value(|one| matches!(one, Repeated::Field(known) if known.eq_ignore_ascii_case(name)))
    }

    fn parameter(&self, name: &[u8]) -> Option<&[u8]> {
        self.value(|one| matches!(one, Repeated::Parameter(known) if **known == *name))
    }

    fn lines(&self, name: &[u8], look: &mut dyn FnMut(&[u8])) {
        self.request.lines(name, look);
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.value(|one| matches!(one, Repeated::Cookie(known) if **known == *name))
    }

    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.request.each_cookie(name, look)
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        self.request.any_cookie(name, test)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn values_are_searched_for_twice_at_most_however_many_readings_there_are() {
        let repeated = ["a", "b", "c", "d"].map(|name| Repeated::Cookie(Box::from(name.as_bytes())));
        let searches = Cell::new(0);
        let values = |one: &Repeated| {
            searches.set(searches.get() + 1);
            let values: &[&[u8]] = match one {
                Repeated::Cookie(name) if **name == *b"b" => &[b"b1"],
                Repeated::Cookie(name) if **name == *b"c" => &[],
                _ => &[b"1", b"2", b"3"],
            };
            values.iter().copied()
        };
        let found = Found::of(&repeated, values).unwrap();
        let read = |index| [0, 1, 2, 3].map(|place| found.value(place, index));
        let readings: Vec<_> = (0..found.readings).map(read).collect();
        let expected = ["11", "21", "31", "12", "22", "32", "13", "23", "33"].map(|pair| {
            let (a, d) = pair.as_bytes().split_at(1);
            [Some(a), Some(&b"b1"[..]), None, Some(d)]
        });
        assert_eq!(readings, expected);
        assert_eq!(searches.get(), 2 * repeated.len());
        searches.set(0);
        let many = |_: &Repeated| {
            searches.set(searches.get() + 1);
            std::iter::repeat(&b"1"[..])
        };
        assert!(Found::of(&repeated, many).is_none());
        assert_eq!(searches.get(), 1);
    }
}
