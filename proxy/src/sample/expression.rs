//! One placeholder with its functions.

use super::{
    Facts, Place, TemplateError, Wanted,
    fetch::Fetch,
    function::{Function, Work},
    parse,
};

/// One placeholder with its functions, compiled.
#[derive(Clone, Debug)]
pub struct Expression {
    pub(super) source: Box<str>,
    pub(super) fetch: Fetch,
    pub(super) functions: Box<[Function]>,
}

impl Expression {
    /// Reads `{request.header.x|lower}`, with nothing around it.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str, place: &Place<'_>) -> Result<Self, TemplateError> {
        parse::expression(text, place)
    }

    /// Adds what it names of a request.
    pub(crate) fn want(&self, wanted: &mut Wanted) {
        wanted.add(&self.fetch);
    }

    /// Does it look at how the client begins TLS?
    pub(crate) fn looks_at_client_hello(&self) -> bool {
        self.fetch.is_of_client_hello()
    }

    /// The field of a response that it is about.
    pub(crate) fn response_field(&self) -> Option<&[u8]> {
        match &self.fetch {
            Fetch::ResponseHeader(name) => Some(name),
            _ => None,
        }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Calls `then` with the value, or with `None` if it has none: a header that is absent, a variable that was not
    /// set. Without functions nothing is copied.
    pub fn with<R>(&self, facts: &Facts<'_>, then: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let value = self.fetch.value(facts);
        if let (Fetch::RequestBase, Some(request)) = (&self.fetch, facts.request) {
            let parts = [request.authority().unwrap_or_default(), request.path()];
            return self.compute(Work::joined(parts, facts.maps, facts.scratch.take()), facts, then);
        }
        if self.functions.is_empty() {
            return then(value.as_deref());
        }
        self.compute(Work::new(value.as_deref(), facts.maps, facts.scratch.take()), facts, then)
    }

    /// Does `test` hold for its value? Of a parameter, a cookie and a value between commas a request may have several: they
    /// are looked at in their order until it holds for one, or the functions leave nothing of one. What is no address is
    /// passed over. (HAProxy compares them so.) `None` if there is no value.
    pub(crate) fn any(&self, facts: &Facts<'_>, test: &dyn Fn(&[u8]) -> bool) -> Option<bool> {
        let mut found = None;
        let is_one = self.fetch.each(facts, &mut |value| {
            let mut work = Work::new(Some(value), facts.maps, facts.scratch.take());
            let mut is_over = false;
            for function in &self.functions {
                let had_value = work.value().is_some();
                work.apply(function);
                if had_value && work.value().is_none() {
                    is_over = !function.wants_address();
                }
            }
            if let Some(value) = work.value() {
                is_over = test(value);
                found = Some(is_over);
            }
            facts.scratch.give_back(work.into_room());
            is_over
        });
        if is_one { found } else { self.with(facts, |value| value.map(test)) }
    }

    fn compute<'w, R>(
        &'w self,
        mut work: Work<'w>,
        facts: &Facts<'_>,
        then: impl FnOnce(Option<&[u8]>) -> R,
    ) -> R {
        for function in &self.functions {
            work.apply(function);
        }
        let result = then(work.value());
        facts.scratch.give_back(work.into_room());
        result
    }
}
