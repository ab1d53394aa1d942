//! The shared page.
#![allow(unsafe_code, reason = "memory that another process maps as well")]

use std::{
    cell::UnsafeCell,
    hash::{BuildHasher, RandomState},
    io,
    mem::{MaybeUninit, size_of},
    num::NonZeroUsize,
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use lb_vrrp::Moment;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
    },
};

/// So many groups have a place for the moment of their last advertisement; more start over when a speaker is replaced.
pub const GROUPS: usize = 256;

/// Says that a file is such a page, of this layout.
const MAGIC: u32 = 0x4c42_0001;

/// Its length stays what it is.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// In the word of a group: it says nothing any more, since its speaker writes to another page.
const HANDED_ON: u64 = 1 << 62;

/// The same: the daemon takes its addresses away. No clock gets so far.
const WITHDRAWN: u64 = 1 << 63;

const FLAGS: u64 = HANDED_ON | WITHDRAWN;

/// One of the two processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The process that was started.
    Daemon,
    /// The second process.
    Speaker,
}

/// The layout. Zero is a valid value of every field but the mutexes.
#[repr(C)]
struct Layout {
    magic: AtomicU32,
    /// How many speakers were started with this page.
    speakers: AtomicU32,
    /// When the speaker was last awake.
    heartbeat: AtomicU64,
    /// The last advertisement of each group as Active, and what has become of it since; 0: it is not Active.
    advertised: [AtomicU64; GROUPS],
    daemon: UnsafeCell<libc::pthread_mutex_t>,
    speaker: UnsafeCell<libc::pthread_mutex_t>,
    /// Under which advertisements are signed, and the last number that was used.
    boot: AtomicU64,
    signed: AtomicU64,
}

/// A mapping of the page.
#[derive(Debug)]
pub struct Page {
    layout: NonNull<Layout>,
    file: OwnedFd,
}

// SAFETY: the page is only reached through atomics and through mutexes that are made for several processes.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A new page with free mutexes.
    ///
    /// # Errors
    /// The kernel refused the memory.
    pub fn create() -> io::Result<Self> {
        let file = memfd_create("lbctl-keeper", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        nix::unistd::ftruncate(&file, libc::off_t::try_from(size_of::<Layout>()).map_err(io::Error::other)?)?;
        // Whoever got into one of the processes ends no other one by making it shorter.
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::from_bits_retain(SEALS)))?;
        let page = Self::map(file)?;
        for side in [Side::Daemon, Side::Speaker] {
            page.init_mutex(side)?;
        }
        page.layout().boot.store(RandomState::new().hash_one(std::process::id()), Ordering::Relaxed);
        page.layout().magic.store(MAGIC, Ordering::Release);
        Ok(page)
    }

    /// Maps the page that another process made.
    ///
    /// # Errors
    /// It is not such a page.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        // Else it would be another length after the next line. What is no such memory has no seals.
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap_or_default();
        if seals & SEALS != SEALS {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let length = nix::sys::stat::fstat(&file)?.st_size;
        if usize::try_from(length).is_ok_and(|length| length < size_of::<Layout>()) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let page = Self::map(file)?;
        if page.layout().magic.load(Ordering::Acquire) != MAGIC {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(page)
    }

    /// The file, to be handed to the other process.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Counts one more speaker; returns how many there were.
    pub fn count_speaker(&self) -> u32 {
        self.layout().speakers.fetch_add(1, Ordering::AcqRel)
    }

    /// How many speakers were started.
    pub fn speakers(&self) -> u32 {
        self.layout().speakers.load(Ordering::Acquire)
    }

    /// The speaker is awake.
    pub fn beat(&self, now: Moment) {
        self.layout().heartbeat.store(now.as_nanos(), Ordering::Release);
    }

    /// When the speaker was last awake.
    pub fn last_beat(&self) -> Moment {
        Moment::from_nanos(self.layout().heartbeat.load(Ordering::Acquire))
    }

    /// The last advertisement of a group as Active left at `last`; `None`: it is not Active.
    pub fn set_advertised(&self, group: usize, last: Option<Moment>) {
        if let Some(word) = self.layout().advertised.get(group) {
            word.store(last.map_or(0, Moment::as_nanos), Ordering::Release);
        }
    }

    /// What the last speaker said of a group.
    pub fn advertised(&self, group: usize) -> Option<Moment> {
        let word = self.layout().advertised.get(group)?.load(Ordering::Acquire);
        (word & !FLAGS != 0).then_some(Moment::from_nanos(word & !FLAGS))
    }

    /// The daemon takes the addresses of a group away, if `last` is still its last advertisement: true from then on, until a speaker
    /// advertises again.
    pub fn withdraw(&self, group: usize, last: Moment) -> bool {
        let Some(word) = self.layout().advertised.get(group).filter(|_| last.as_nanos() != 0) else {
            return false;
        };
        let (known, withdrawn) = (last.as_nanos(), last.as_nanos() | WITHDRAWN);
        match word.compare_exchange(known, withdrawn, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == withdrawn,
        }
    }

    /// Whether a speaker may go on with a group: the daemon has not withdrawn its addresses. A speaker that beats before it asks and
    /// reads the clock after that can't go on with what is being withdrawn: by then it is too late by the clock as well.
    pub fn is_left(&self, group: usize) -> bool {
        let word = self.layout().advertised.get(group);
        // Or the beat is seen after this has looked.
        fence(Ordering::SeqCst);
        word.is_none_or(|word| word.load(Ordering::Acquire) & WITHDRAWN == 0)
    }

    /// The last advertisement of a group whose addresses the daemon may take away.
    pub fn open_advertisement(&self, group: usize) -> Option<Moment> {
        let word = self.layout().advertised.get(group)?.load(Ordering::Acquire);
        (word != 0 && word & HANDED_ON == 0).then_some(Moment::from_nanos(word & !FLAGS))
    }

    /// The speaker is gone, and whoever it was writing for: the next one writes to this page again.
    pub fn leave_open(&self) {
        for word in &self.layout().advertised {
            word.fetch_and(!HANDED_ON, Ordering::AcqRel);
        }
    }

    /// The speaker writes to another page from here on: whoever reads this one leaves its addresses alone, also those that it was
    /// just taking away.
    pub fn hand_on(&self) {
        for word in &self.layout().advertised {
            word.fetch_or(HANDED_ON, Ordering::AcqRel);
        }
    }

    /// Under which speakers sign, one after the other.
    pub fn boot(&self) -> u64 {
        self.layout().boot.load(Ordering::Acquire)
    }

    /// An advertisement was signed with this number.
    pub fn set_signed(&self, counter: u64) {
        self.layout().signed.store(counter, Ordering::Release);
    }

    /// The last one.
    pub fn signed(&self) -> u64 {
        self.layout().signed.load(Ordering::Acquire)
    }

    /// Takes over what the speaker has said on another page.
    pub fn go_on(&self, before: &Self) {
        self.beat(before.last_beat());
        self.layout().boot.store(before.boot(), Ordering::Release);
        self.set_signed(before.signed());
        for group in 0..GROUPS {
            self.set_advertised(group, before.advertised(group));
        }
    }

    /// The mutex of a side.
    pub(super) fn mutex(&self, side: Side) -> *mut libc::pthread_mutex_t {
        match side {
            Side::Daemon => self.layout().daemon.get(),
            Side::Speaker => self.layout().speaker.get(),
        }
    }

    fn layout(&self) -> &Layout {
        // SAFETY: `map` made the mapping, at least as long as the layout and page-aligned; it lives as long as `self`.
        unsafe { self.layout.as_ref() }
    }

    fn map(file: OwnedFd) -> io::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Layout>()).expect("the layout is not empty");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps with nothing of ours.
        let mapped = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file.as_fd(), 0) }?;
        Ok(Self { layout: mapped.cast(), file })
    }

    fn init_mutex(&self, side: Side) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised by the first call and destroyed by the last; nobody else knows the mutex
        // yet, because the file was not handed out.
        let results = unsafe {
            [
                libc::pthread_mutexattr_init(attributes.as_mut_ptr()),
                libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED),
                libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST),
                libc::pthread_mutex_init(self.mutex(side), attributes.as_ptr()),
                libc::pthread_mutexattr_destroy(attributes.as_mut_ptr()),
            ]
        };
        match results.into_iter().find(|result| *result != 0) {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.layout.cast(), size_of::<Layout>()) };
    }
}
