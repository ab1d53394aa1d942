//! What a connection remembers of its requests.

use super::message::Remembered;
use crate::{Endpoint, rules::Answer, sample::Variables};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Those of scope `session`.
    pub(super) session: Variables,
    /// None while nobody wants to know.
    pub(super) exchange: Option<Box<Remembrance>>,
}

/// What is kept of a request until its response is over.
#[derive(Debug)]
pub(super) struct Remembrance {
    /// The client, as rules have corrected it.
    pub(super) client: Endpoint,
    /// Those of the request and its response.
    pub(super) variables: Variables,
    /// What rules on responses name of it, as the last rule on requests has left it.
    pub(super) request: Remembered,
    /// What its client gets instead of the response.
    pub(super) answer: Option<Answer>,
}

impl Memory {
    /// A request of `client` begins: nothing is known of the one before it. The place for what is kept of it.
    pub(super) fn begin(&mut self, client: Endpoint) -> (&mut Remembrance, &mut Variables) {
        let remembered = self.exchange.get_or_insert_default();
        remembered.begin(client);
        (remembered, &mut self.session)
    }

    /// A request begins of which nobody wants to know anything.
    pub(super) fn forget(&mut self, client: Endpoint) {
        if let Some(remembered) = &mut self.exchange {
            remembered.begin(client);
        }
    }

    /// What is kept of the request of `client` whose response is here.
    pub(super) fn of_response(&mut self, client: Endpoint) -> (&mut Remembrance, &mut Variables) {
        let remembered =
            self.exchange.get_or_insert_with(|| Box::new(Remembrance { client, ..Remembrance::default() }));
        (remembered, &mut self.session)
    }
}

impl Memory {
    /// What a rule has put in the place of the response, if one has.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        self.exchange.as_mut()?.answer.take()
    }
}

impl Remembrance {
    /// Only its room is left.
    pub(super) fn forget(&mut self) {
        self.begin(Endpoint::Unix);
    }

    fn begin(&mut self, client: Endpoint) {
        self.client = client;
        self.variables.clear();
        self.request.clear();
        self.answer = None;
    }
}

impl Default for Remembrance {
    fn default() -> Self {
        // Overwritten by whoever makes one.
        Self {
            client: Endpoint::Unix,
            variables: Variables::default(),
            request: Remembered::default(),
            answer: None,
        }
    }
}
