//! Strict-Transport-Security (RFC 6797): browsers are told to come over TLS alone.

use std::time::Duration;

/// What a frontend's clients over TLS are told with each response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hsts {
    max_age: Duration,
    include_subdomains: bool,
    preload: bool,
    value: Box<str>,
}

impl Hsts {
    /// Name of the field.
    pub(crate) const NAME: &str = "Strict-Transport-Security";

    /// For `max_age`, in whole seconds; zero makes a browser forget it. With `include_subdomains` for all names below that of
    /// the site as well. With `preload` those who make browsers may put the site on their list.
    #[must_use]
    pub fn new(max_age: Duration, include_subdomains: bool, preload: bool) -> Self {
        // RFC 6797 §6.1.
        let of_subdomains = if include_subdomains { "; includeSubDomains" } else { "" };
        let of_list = if preload { "; preload" } else { "" };
        let value = format!("max-age={}{of_subdomains}{of_list}", max_age.as_secs()).into();
        Self { max_age, include_subdomains, preload, value }
    }

    /// For how long.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// Is it for all names below as well?
    #[must_use]
    pub fn include_subdomains(&self) -> bool {
        self.include_subdomains
    }

    /// May the site be put on the list of browsers?
    #[must_use]
    pub fn preload(&self) -> bool {
        self.preload
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_that_of_rfc_6797() {
        let year = Duration::from_secs(31_536_000);
        assert_eq!(Hsts::new(year, false, false).value(), "max-age=31536000");
        let all = Hsts::new(Duration::ZERO, true, true);
        assert_eq!(all.value(), "max-age=0; includeSubDomains; preload");
    }
}
