//! What placeholders read of a message.

use super::{Message, any_of, look_at_each};
use crate::sample::{RequestFacts, ResponseFacts};

impl RequestFacts for Message<'_> {
    fn method(&self) -> &[u8] {
        Self::method(self)
    }

    fn path(&self) -> &[u8] {
        Self::path(self)
    }

    fn query(&self) -> &[u8] {
        Self::query(self).unwrap_or_default()
    }

    fn target(&self) -> &[u8] {
        Self::target(self)
    }

    fn authority(&self) -> Option<&[u8]> {
        self.host()
    }

    fn version(&self) -> &'static str {
        Self::version(self)
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().filter(|field| field.name.eq_ignore_ascii_case(name)).last().map(|field| field.value)
    }

    fn lines(&self, name: &[u8], look: &mut dyn FnMut(&[u8])) {
        self.all(name).for_each(look);
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.cookies().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        look_at_each(self.cookies(), name, look)
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        any_of(self.cookies_for_all(), name, test)
    }
}

impl ResponseFacts for Message<'_> {
    fn status(&self) -> u16 {
        Self::status(self)
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        RequestFacts::field(self, name)
    }
}
