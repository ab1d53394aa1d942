//! What the connections of a worker share, so that one that is idle keeps little of its own.

use std::{cell::RefCell, rc::Rc};

use super::{BUFFER_SIZE, hpack, outbound, request};
use crate::buffer::BufferPool;

/// See the module.
#[derive(Debug)]
pub struct Pools {
    /// For content.
    pub(super) buffers: Rc<BufferPool>,
    /// For heads, which a hundred streams at once have in their connection: small as a rule, so that all of them stay warm.
    pub(super) heads: Rc<BufferPool>,
    /// For frames: each holds two of the longest and some more.
    pub(super) frames: Rc<BufferPool>,
    pub(super) sections: RefCell<Sections>,
}

/// Room for one field section at a time.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) room: hpack::Room,
    pub(super) requests: request::Writer,
    pub(super) responses: outbound::response::Writer,
    /// One that is being put together.
    pub(super) encoded: Vec<u8>,
}

impl Pools {
    /// With pools of buffers that others use as well.
    #[must_use]
    pub fn new(buffers: Rc<BufferPool>, heads: Rc<BufferPool>) -> Self {
        let frames = Rc::new(BufferPool::of(BUFFER_SIZE));
        Self { buffers, heads, frames, sections: RefCell::default() }
    }

    /// Gives back what was not needed since the last time; how many bytes. Due once a second. `buffers` and `heads` are their owner's.
    pub(crate) fn sweep(&self) -> usize {
        self.frames.sweep()
    }
}

impl Default for Pools {
    fn default() -> Self {
        let buffers: Rc<BufferPool> = Rc::default();
        Self::new(Rc::clone(&buffers), Rc::new(BufferPool::for_heads(buffers)))
    }
}
