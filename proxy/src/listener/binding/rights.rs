//! Owners and groups of Unix sockets, looked up before they are bound.

use super::Binding;
use crate::{config::UnixBind, listener::unix::Rights};

pub(super) fn look_up(wanted: &UnixBind) -> Result<Rights, String> {
    Rights::of(wanted).map_err(|error| error.to_string())
}

/// The machine may ask others who its users and groups are (nsswitch.conf(5)); nothing else waits for that.
pub(super) async fn look_up_apart(wanted: Vec<(u64, UnixBind)>) -> Vec<(u64, Result<Rights, String>)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let look_up_all =
        move || wanted.iter().map(|(number, wanted)| (*number, look_up(wanted))).collect::<Vec<_>>();
    tokio::task::spawn_blocking(look_up_all).await.unwrap_or_default()
}

pub(super) fn take_rights(bindings: &mut [Binding], looked_up: Vec<(u64, Result<Rights, String>)>) {
    for (number, rights) in looked_up {
        if let Some(binding) = bindings.iter_mut().find(|binding| binding.number() == number) {
            binding.rights = Some(rights);
        }
    }
}
