//! Groups in which the two sides of a handshake make their keys, by the names that OpenSSL and so HAProxy have for them.

use rustls::{NamedGroup, crypto::SupportedKxGroup};

use super::provider;

/// Those that are there, the preferred one first.
pub const CURVES: [&str; 4] = [NAMES[0].1, NAMES[1].1, NAMES[2].1, NAMES[3].1];

const NAMES: [(NamedGroup, &str); 4] = [
    (NamedGroup::X25519MLKEM768, "X25519MLKEM768"),
    (NamedGroup::X25519, "X25519"),
    (NamedGroup::secp256r1, "P-256"),
    (NamedGroup::secp384r1, "P-384"),
];

/// Of TLS 1.3 alone.
pub const CURVE_OF_TLS13: &str = CURVES[0];

/// What these names mean, in their order; all if there is none.
pub(super) fn groups(names: &[&str]) -> Vec<&'static dyn SupportedKxGroup> {
    let all = &provider().kx_groups;
    if names.is_empty() {
        return all.clone();
    }
    let meant = names.iter().filter_map(|name| NAMES.iter().find(|(_, known)| known == name));
    meant.filter_map(|(group, _)| all.iter().find(|known| known.name() == *group)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_name_and_stands_in_our_order() {
        let names =
            |groups: Vec<&dyn SupportedKxGroup>| groups.iter().map(|one| one.name()).collect::<Vec<_>>();
        assert_eq!(names(groups(&[])), NAMES.map(|(group, _)| group));
        assert_eq!(names(groups(&["P-384", "X25519"])), [NamedGroup::secp384r1, NamedGroup::X25519]);
    }
}
