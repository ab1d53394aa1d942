//! `hsts` of a frontend.

use std::{ops::RangeInclusive, time::Duration};

use lb_proxy::config::Hsts;

use crate::config::reader::{At, Value};

/// Of a browser's memory; more than browsers take.
const AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3650 * 24 * 3600);

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const EXPECTED: &str =
    "true, false or a table, as in hsts = { max_age = \"365d\", include_subdomains = true }";

/// `None` inside is `false`.
pub(super) fn read(value: &Value<'_>) -> Option<At<Option<Hsts>>> {
    let hsts = match value.as_bool() {
        Some(false) => None,
        Some(true) => Some(Hsts::new(YEAR, false, false)),
        None => {
            let fields = value.fields("`hsts`".into(), EXPECTED)?;
            let max_age = fields.duration("max_age", AGE).map_or(YEAR, |at| at.value);
            let include_subdomains = fields.boolean("include_subdomains").is_some_and(|at| at.value);
            let preload = fields.boolean("preload");
            if let Some(preload) = preload.as_ref().filter(|at| at.value)
                && (max_age < YEAR || !include_subdomains)
            {
                let message = "preload has no effect: browsers put a site on their list that says include_subdomains = true and a max_age of 365d or more";
                fields.report.warning(preload.span, message);
            }
            fields.finish(|key| match key {
                "includeSubDomains" | "subdomains" => Some("write include_subdomains".into()),
                "max-age" => Some("write max_age".into()),
                _ => None,
            });
            Some(Hsts::new(max_age, include_subdomains, preload.is_some_and(|at| at.value)))
        }
    };
    Some(At::new(hsts, value.span))
}
