//! Signed advertisements come in steps, on all nodes each: what goes wrong where one is ahead of the others.

use lb_vrrp::Step;

/// A node of the file that is heard, and how far it says it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Other {
    pub(crate) name: String,
    /// [`word`]; `None` of a program that knows of no signatures.
    pub(crate) signs: Option<String>,
}

/// How the file, the hello and the status call a step.
pub(crate) const fn word(step: Option<Step>) -> &'static str {
    match step {
        None => "off",
        Some(Step::Send) => "send",
        Some(Step::Accept) => "accept",
        Some(Step::Require) => "require",
    }
}

/// Why going over to `new` would make two owners: one node would drop what another sends.
pub(crate) fn conflicts(new: Option<Step>, others: &[Other]) -> Vec<String> {
    let off = word(None);
    let conflict = |other: &Other| {
        let name = &other.name;
        match (new, other.signs.as_deref()) {
            (Some(_), None) => Some(format!(
                "sign_advertisements: {name} runs an lbctl that drops signed advertisements; upgrade it first: lbctl upgrade"
            )),
            (None, Some("require")) => Some(format!(
                "sign_advertisements: {name} requires signed advertisements; let it go back first, to \"accept\""
            )),
            (Some(Step::Require), Some(signs)) if signs == off => Some(format!(
                "sign_advertisements: {name} does not sign its advertisements yet, and they would be dropped; take it to \"send\" first"
            )),
            (None | Some(_), None | Some(_)) => None,
        }
    };
    others.iter().filter_map(conflict).collect()
}

/// The step that a change from `old`, as [`word`] has it, would skip.
pub(crate) fn skipped(old: &str, new: Option<Step>) -> Option<&'static str> {
    let steps = [None, Some(Step::Send), Some(Step::Accept), Some(Step::Require)];
    let before = steps.iter().position(|step| word(*step) == old)?;
    let after = steps.iter().position(|step| *step == new)?;
    let between = if after > before { before + 1 } else { before.checked_sub(1)? };
    (before.abs_diff(after) > 1).then(|| steps.get(between).map(|step| word(*step)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Option<Step>; 4] = [None, Some(Step::Send), Some(Step::Accept), Some(Step::Require)];

    fn other(signs: Option<&str>) -> [Other; 1] {
        [Other { name: "lb2".to_owned(), signs: signs.map(str::to_owned) }]
    }

    #[test]
    fn node_that_would_drop_what_another_sends_is_in_conflict_with_it() {
        let wrong = |new, signs| !conflicts(new, &other(signs)).is_empty();
        let table = [
            (None, [false, false, false, false, true]),
            (Some(Step::Send), [true, false, false, false, false]),
            (Some(Step::Accept), [true, false, false, false, false]),
            (Some(Step::Require), [true, true, false, false, false]),
        ];
        for (new, expected) in table {
            let said = [None, Some("off"), Some("send"), Some("accept"), Some("require")];
            assert_eq!(said.map(|signs| wrong(new, signs)), expected, "{new:?}");
        }
        assert_eq!(
            conflicts(Some(Step::Require), &other(Some("off"))),
            [
                "sign_advertisements: lb2 does not sign its advertisements yet, and they would be dropped; take it to \"send\" first"
            ]
        );
        assert!(conflicts(Some(Step::Send), &other(Some("of a later version"))).is_empty());
    }

    #[test]
    fn step_that_is_skipped_is_the_next_one() {
        for (before, old) in STEPS.into_iter().enumerate() {
            for (after, new) in STEPS.into_iter().enumerate() {
                let expected = match (before, after) {
                    (0, 2 | 3) => Some("send"),
                    (1, 3) | (3, 0) if before == 1 || after == 0 => Some("accept"),
                    (3, 1) => Some("accept"),
                    (2, 0) => Some("send"),
                    _ => None,
                };
                assert_eq!(skipped(word(old), new), expected, "{old:?} {new:?}");
            }
        }
        assert_eq!(skipped("of a later version", Some(Step::Require)), None);
    }
}
