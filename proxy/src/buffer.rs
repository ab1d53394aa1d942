//! Buffers of a worker: borrowed while there are bytes to hold, never by a connection that waits.
//!
//! A [`Buffer`] goes back to its pool when it is dropped. The pool keeps what was needed lately; the rest is given back to
//! the allocator, so a peak does not stay.

use std::{io, rc::Rc};

use crate::{stream::Stream, unused::Unused};

/// Bytes in one buffer.
pub const BUFFER_SIZE: usize = 16 * 1024;

/// Bytes of most heads; longer ones get more.
const HEAD_SIZE: usize = 2 * 1024;

/// The unused buffers of one worker.
#[derive(Debug)]
pub struct BufferPool {
    /// Bytes of each.
    size: usize,
    unused: Unused<Box<[u8]>>,
    /// Where a buffer that gets too small finds a larger one.
    larger: Option<Rc<BufferPool>>,
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::of(BUFFER_SIZE)
    }
}

impl BufferPool {
    /// One whose buffers have another size than [`BUFFER_SIZE`].
    pub(crate) fn of(size: usize) -> Self {
        Self { size, unused: Unused::default(), larger: None }
    }

    /// One for heads, which are kept as long as a request waits for its response: small, so that a thousand that wait stay in
    /// the processor's cache and take little memory. A head that needs more goes on in a buffer of `larger`.
    pub(crate) fn for_heads(larger: Rc<Self>) -> Self {
        Self { larger: Some(larger), ..Self::of(HEAD_SIZE) }
    }

    /// Borrows an empty buffer of the pool's size.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.unused.take().unwrap_or_else(|| vec![0; self.size].into_boxed_slice());
        Buffer { bytes, start: 0, end: 0, pool: Rc::clone(self) }
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        if bytes.len() == self.size {
            self.unused.give_back(bytes);
        }
    }

    /// Gives back what was not needed since the last time; how many bytes. Due once a second.
    pub(crate) fn sweep(&self) -> usize {
        self.unused.sweep() * self.size
    }
}

/// A borrowed buffer: bytes are appended behind and consumed from the front.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    pool: Rc<BufferPool>,
}

impl Buffer {
    /// The bytes in it.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Nothing in it?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Bytes that it has room for.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// No room behind, nor in front ([`Self::unfilled`] moves the bytes to the front when it has to)?
    pub fn is_full(&self) -> bool {
        self.len() == self.bytes.len()
    }

    /// Has what was read last filled it, so that there may be more?
    pub(crate) fn was_filled(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// The room behind the bytes; after writing into it call [`Self::advance`]. Moves the bytes to the front first if
    /// the room there is the only one left.
    pub fn unfilled(&mut self) -> &mut [u8] {
        self.room_for(1)
    }

    /// The same. Moves the bytes to the front first if there is room for fewer than `n` bytes behind them.
    pub(crate) fn room_for(&mut self, n: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// `n` bytes were written into [`Self::unfilled`].
    pub fn advance(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.bytes.len());
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Takes `n` bytes off the front.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Takes all bytes off.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Appends as much of `bytes` as fits; returns how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.unfilled();
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.advance(n);
        n
    }

    /// Appends all of `bytes`, in a larger buffer if need be.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        match self.bytes.get_mut(self.end..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.end = end;
            }
            None => self.push_slowly(bytes),
        }
    }

    fn push_slowly(&mut self, bytes: &[u8]) {
        while self.room_for(bytes.len()).len() < bytes.len() {
            self.enlarge();
        }
        self.append(bytes);
    }

    /// More room: a buffer of the pool that has larger ones, if there is one, otherwise twice as much. Who calls it bounds what
    /// is larger than [`BUFFER_SIZE`]; memory of no pool's size goes back to the allocator.
    pub fn enlarge(&mut self) {
        let mut larger = match &self.pool.larger {
            Some(pool) => pool.take(),
            None => {
                let bytes = vec![0; self.bytes.len() * 2].into_boxed_slice();
                Self { bytes, start: 0, end: 0, pool: Rc::clone(&self.pool) }
            }
        };
        larger.append(self.filled());
        *self = larger;
    }

    /// Reads once from `stream` behind the bytes. `Ok(0)` is the end of the stream (or a full buffer: check
    /// [`Self::is_full`] before); `WouldBlock` means wait for the stream.
    pub fn read_from<S: Stream>(&mut self, stream: &S) -> io::Result<usize> {
        let n = stream.try_read(self.unfilled())?;
        self.advance(n);
        Ok(n)
    }

    /// Writes once to `stream` and consumes what it took.
    pub fn write_to<S: Stream>(&mut self, stream: &S) -> io::Result<usize> {
        let n = stream.try_write(self.filled())?;
        self.consume(n);
        Ok(n)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_buffer_is_lent_again_empty() {
        let pool = Rc::new(BufferPool::default());
        let mut first = pool.take();
        assert_eq!(first.append(b"abc"), 3);
        let address = first.filled().as_ptr();
        drop(first);
        let mut second = pool.take();
        assert!(second.is_empty());
        assert_eq!(second.unfilled().as_ptr(), address);
    }

    #[test]
    fn bytes_move_to_the_front_only_when_the_back_is_full() {
        let pool = Rc::new(BufferPool::default());
        let mut buffer = pool.take();
        assert_eq!(buffer.append(&[7; BUFFER_SIZE]), BUFFER_SIZE);
        assert!(buffer.is_full());
        buffer.consume(BUFFER_SIZE - 2);
        assert_eq!(buffer.filled(), [7, 7]);
        assert_eq!(buffer.unfilled().len(), BUFFER_SIZE - 2);
        assert_eq!(buffer.filled(), [7, 7]);
    }

    #[test]
    fn head_that_grows_goes_on_in_a_larger_buffer_and_each_goes_back_to_its_own_pool() {
        let buffers: Rc<BufferPool> = Rc::default();
        let heads = Rc::new(BufferPool::for_heads(Rc::clone(&buffers)));
        let mut head = heads.take();
        head.push(&[1; HEAD_SIZE]);
        assert_eq!((head.size(), heads.unused.len()), (HEAD_SIZE, 0));
        head.consume(1);
        head.push(&[2; HEAD_SIZE]);
        assert_eq!((head.size(), heads.unused.len()), (BUFFER_SIZE, 1));
        assert_eq!(head.filled(), [&[1; HEAD_SIZE - 1][..], &[2; HEAD_SIZE][..]].concat());
        head.push(&[3; BUFFER_SIZE]);
        assert_eq!((head.size(), buffers.unused.len()), (2 * BUFFER_SIZE, 1));
        drop(head);
        assert_eq!((heads.unused.len(), buffers.unused.len()), (1, 1), "the largest one is of no pool");
    }

    #[test]
    fn pool_keeps_what_is_of_its_size_and_was_needed_lately() {
        let pool = Rc::new(BufferPool::default());
        let mut buffers: Vec<_> = (0..500).map(|_| pool.take()).collect();
        buffers[0].enlarge();
        drop(buffers);
        assert_eq!(pool.unused.len(), 500, "the small one of the enlarged came back");
        pool.sweep();
        pool.sweep();
        assert_eq!(pool.unused.len(), 250);
    }
}
