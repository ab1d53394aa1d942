//! What each side wants of the other (RFC 9113 §6.5).

use super::frame::{ErrorCode, Failure, LONGEST};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 §3
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// The largest window (RFC 9113 §6.9.1).
pub(super) const LARGEST_WINDOW: i64 = (1 << 31) - 1;

/// What a peer wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    /// Bytes of content of a stream that it takes before it says that it takes more.
    pub(super) initial_window: i64,
    /// The longest payload of a frame that it takes.
    pub(super) longest_frame: usize,
    /// Streams that it serves at a time.
    pub(super) streams: usize,
    /// It has made the table smaller than it is by default: to be told that nothing is in it.
    pub(super) has_small_table: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { initial_window: 65_535, longest_frame: LONGEST, streams: usize::MAX, has_small_table: false }
    }
}

impl Settings {
    /// Takes over what one frame of a peer in this role says.
    pub(super) fn take(&mut self, payload: &[u8], is_server: bool) -> Result<(), Failure> {
        for entry in payload.as_chunks::<6>().0 {
            let [a, b, c, d, e, f] = *entry;
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                HEADER_TABLE_SIZE => self.has_small_table = value < 4096,
                // RFC 9113 §6.5.2: a server has nobody who could push to it.
                ENABLE_PUSH if value > u32::from(!is_server) => {
                    return Err(Failure::new(ErrorCode::Protocol, "ENABLE_PUSH is not what it may be"));
                }
                MAX_CONCURRENT_STREAMS => self.streams = usize::try_from(value).unwrap_or(usize::MAX),
                INITIAL_WINDOW_SIZE => {
                    let window = i64::from(value);
                    if window > LARGEST_WINDOW {
                        return Err(Failure::new(ErrorCode::FlowControl, "INITIAL_WINDOW_SIZE is too large"));
                    }
                    self.initial_window = window;
                }
                MAX_FRAME_SIZE => {
                    if !(16_384..=16_777_215).contains(&value) {
                        return Err(Failure::new(ErrorCode::Protocol, "MAX_FRAME_SIZE is out of its range"));
                    }
                    self.longest_frame = usize::try_from(value).unwrap_or(LONGEST);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What we want of a client: the payload of our first frame.
pub(super) fn of_server(streams: u32, window: u32, head: u32, websocket: bool) -> [u8; 24] {
    entries([
        (MAX_CONCURRENT_STREAMS, streams),
        (INITIAL_WINDOW_SIZE, window),
        (MAX_HEADER_LIST_SIZE, head),
        (ENABLE_CONNECT_PROTOCOL, websocket.into()),
    ])
}

/// The same of a server.
pub(super) fn of_client(window: u32, head: u32) -> [u8; 18] {
    entries([(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, window), (MAX_HEADER_LIST_SIZE, head)])
}

fn entries<const COUNT: usize, const LENGTH: usize>(entries: [(u16, u32); COUNT]) -> [u8; LENGTH] {
    const { assert!(LENGTH == 6 * COUNT) };
    let mut payload = [0; LENGTH];
    for (entry, (name, value)) in payload.as_chunks_mut::<6>().0.iter_mut().zip(entries) {
        entry[..2].copy_from_slice(&name.to_be_bytes());
        entry[2..].copy_from_slice(&value.to_be_bytes());
    }
    payload
}
