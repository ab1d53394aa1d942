//! What to type next. It names the lab wherever that is not the one of a bare `lbctl lab`.

/// The lab of a bare `lbctl lab up`.
pub const DEFAULT_NAME: &str = "lab";

/// The command line of `verb` for the lab called `name`.
pub(crate) fn hint(name: &str, verb: &str) -> String {
    if name == DEFAULT_NAME { format!("lbctl lab {verb}") } else { format!("lbctl lab --name {name} {verb}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_typed_as_it_is() {
        assert_eq!(hint("lab", "heal lb1"), "lbctl lab heal lb1");
        assert_eq!(hint("other", "heal lb1"), "lbctl lab --name other heal lb1");
    }
}
