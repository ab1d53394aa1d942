//! capabilities(7): which thread has which.

use std::io;

use nix::sys::resource::{Resource, getrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_keep_capabilities,
};

/// For ports below 1024, at any time: a reload may bring one.
const PORTS: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;

/// Root's sockets in the file system belong to whom the file says. Whoever is not root gives nothing away.
const OWNERS: CapabilitySet = CapabilitySet::CHOWN;

/// Of whoever takes the addresses of a dead speaker away.
const ADDRESSES: CapabilitySet = CapabilitySet::NET_ADMIN;

/// Addresses, raw sockets.
const SPEAKER: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// To become another user, with its groups.
const OTHERS: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// What the kernel may know beyond what this program does.
const NUMBERS: u32 = 64;

/// What the threads of this process may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Plan {
    /// All threads.
    pub(super) daemon: CapabilitySet,
    /// What a speaker is started with.
    pub(super) speaker: CapabilitySet,
}

impl Plan {
    /// Out of what this process `has`. `stays_root`: the file names no other user.
    pub(super) fn new(has: CapabilitySet, speaks: bool, stays_root: bool) -> Self {
        let daemon = if stays_root { PORTS | OWNERS } else { PORTS };
        let speaker = if speaks { of_a_starting_speaker() } else { CapabilitySet::empty() };
        Self { daemon: has & daemon, speaker: has & speaker }
    }

    /// What the thread has that starts programs.
    pub(super) fn launcher(self) -> CapabilitySet {
        self.daemon | self.speaker
    }
}

/// What this thread could have.
pub(super) fn permitted() -> io::Result<CapabilitySet> {
    Ok(capabilities(None)?.permitted)
}

/// May this thread become another user?
pub(super) fn may_become_others() -> bool {
    permitted().is_ok_and(|has| has.contains(OTHERS))
}

/// This thread never becomes another user, nor does what it starts.
pub(super) fn stay() -> io::Result<()> {
    restrict(permitted()? - OTHERS)
}

/// Whatever is started from here on never gets more than `most`, nor anything by being root. Left out without a right to
/// that (CAP_SETPCAP): no_new_privs says the same then.
pub(super) fn bound(most: CapabilitySet) -> io::Result<()> {
    if !capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for number in 0..NUMBERS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        // An error means that the kernel has no such capability.
        if !most.contains(one) && remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    Ok(set_capabilities_secure_bits(bits)?)
}

/// A change of the user takes no capability away, for as long as `change` lasts.
pub(super) fn kept_while<E: From<io::Error>>(change: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    set_keep_capabilities(true).map_err(io::Error::from)?;
    let changed = change();
    set_keep_capabilities(false).map_err(io::Error::from)?;
    changed
}

/// This thread has these and no others, and passes none on.
pub(super) fn restrict(to: CapabilitySet) -> io::Result<()> {
    clear_ambient_capability_set()?;
    set(to, CapabilitySet::empty())
}

/// This thread has these and no others, and may pass them on.
pub(super) fn restrict_launcher(to: CapabilitySet) -> io::Result<()> {
    clear_ambient_capability_set()?;
    set(to, to)
}

/// What a program gets that this thread starts from here on.
pub(super) fn pass_on(given: CapabilitySet) -> io::Result<()> {
    clear_ambient_capability_set()?;
    for number in 0..NUMBERS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if given.contains(one) {
            configure_capability_in_ambient_set(one, true)?;
        }
    }
    Ok(())
}

/// What a speaker needs while it starts: the capability to be run before others, too.
pub(super) fn of_a_starting_speaker() -> CapabilitySet {
    of_a_speaker() | CapabilitySet::SYS_NICE
}

/// What a speaker needs. With a limit of locked memory, whatever it allocates later would fail without CAP_IPC_LOCK.
pub(super) fn of_a_speaker() -> CapabilitySet {
    if memory_has_a_limit() { SPEAKER | CapabilitySet::IPC_LOCK } else { SPEAKER }
}

/// What the daemon's guard of addresses needs.
pub(super) fn of_a_guard() -> CapabilitySet {
    ADDRESSES
}

/// May all memory be locked, and what comes later?
pub(crate) fn may_lock_memory() -> bool {
    !memory_has_a_limit() || permitted().is_ok_and(|has| has.contains(CapabilitySet::IPC_LOCK))
}

fn memory_has_a_limit() -> bool {
    getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft != libc::RLIM_INFINITY)
}

fn set(to: CapabilitySet, inheritable: CapabilitySet) -> io::Result<()> {
    Ok(set_capabilities(None, CapabilitySets { effective: to, permitted: to, inheritable })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_has_ports_and_only_who_starts_a_speaker_has_its_capabilities() {
        let all = CapabilitySet::all();
        let plan = Plan::new(all, true, false);
        assert_eq!(plan.daemon, CapabilitySet::NET_BIND_SERVICE);
        let speaker = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW | CapabilitySet::SYS_NICE;
        assert_eq!(plan.speaker - CapabilitySet::IPC_LOCK, speaker);
        assert_eq!(plan.launcher(), plan.daemon | plan.speaker);
    }

    #[test]
    fn proxy_alone_has_nothing_of_a_speaker() {
        let plan = Plan::new(CapabilitySet::all(), false, false);
        assert_eq!(plan.launcher(), CapabilitySet::NET_BIND_SERVICE);
    }

    #[test]
    fn root_that_stays_root_may_give_its_sockets_away() {
        let plan = Plan::new(CapabilitySet::all(), false, true);
        assert_eq!(plan.daemon, CapabilitySet::NET_BIND_SERVICE | CapabilitySet::CHOWN);
    }

    #[test]
    fn thread_that_stays_keeps_all_but_the_right_to_become_others() {
        let before = permitted().unwrap();
        let after = std::thread::spawn(|| {
            stay().unwrap();
            (capabilities(None).unwrap(), may_become_others())
        });
        let (after, may) = after.join().unwrap();
        let left = before - (CapabilitySet::SETUID | CapabilitySet::SETGID);
        assert_eq!((after.permitted, after.effective), (left, left));
        assert_eq!((after.inheritable, may), (CapabilitySet::empty(), false));
    }

    #[test]
    fn nobody_gets_what_he_has_not() {
        let plan = Plan::new(CapabilitySet::NET_RAW, true, true);
        assert_eq!((plan.daemon, plan.speaker), (CapabilitySet::empty(), CapabilitySet::NET_RAW));
    }

    #[test]
    fn thread_that_gave_everything_away_has_nothing_and_others_keep_theirs() {
        let before = capabilities(None).unwrap();
        let after = std::thread::spawn(|| {
            restrict(CapabilitySet::empty()).unwrap();
            capabilities(None).unwrap()
        });
        let nothing = CapabilitySet::empty();
        assert_eq!(
            after.join().unwrap(),
            CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing }
        );
        assert_eq!(capabilities(None).unwrap(), before);
    }
}
