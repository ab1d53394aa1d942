//! Removes what a speaker has left that was killed together with its daemon.

use std::{io, path::Path, time::Duration};

use super::{
    lock::{LockError, RouterLock},
    netlink::{
        KernelAddress,
        requests::{Removal, left_once, remove_once},
    },
};
use crate::{MemberConfig, VirtualAddress};

/// Removes the addresses of `members` that a speaker has installed and that none holds, on whatever interface they are;
/// returns them with the index of that. `lock_folder` as in [`super::Settings`].
///
/// # Errors
/// The kernel does not say which addresses there are, or does not remove one.
pub async fn release<'m>(
    members: impl Iterator<Item = &'m MemberConfig> + Clone,
    lock_folder: &Path,
) -> io::Result<Vec<(u32, VirtualAddress)>> {
    let mut released = Vec::new();
    let addresses: Vec<_> =
        members.clone().flat_map(|member| &member.addresses).map(|one| one.address).collect();
    for known in left_once(&addresses).await? {
        let address = known.place.address;
        let is_its = |member: &&MemberConfig| {
            member.addresses.iter().any(|virtual_address| virtual_address.address == address.address)
        };
        let Some(member) = members.clone().find(is_its) else { continue };
        // Held until the address is gone: a speaker that starts meanwhile waits for it.
        let Some(_lock) = lock(&known, member, lock_folder)? else { continue };
        match remove_once(known.place).await? {
            Removal::Done => released.push((known.place.index, address)),
            Removal::Absent => {}
            Removal::Failed(why) => return Err(io::Error::other(why)),
        }
    }
    Ok(released)
}

/// `None`: a speaker holds it.
fn lock(known: &KernelAddress, member: &MemberConfig, folder: &Path) -> io::Result<Option<RouterLock>> {
    let index = known.place.index;
    match RouterLock::take(folder, "", index, (member.vrid, member.family()), Duration::ZERO) {
        Ok((lock, _)) => Ok(Some(lock)),
        Err(LockError::Taken { .. }) => Ok(None),
        Err(error @ LockError::File { .. }) => Err(io::Error::other(error.to_string())),
    }
}
