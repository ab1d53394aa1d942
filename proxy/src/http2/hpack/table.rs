//! The tables that a field section refers to (RFC 7541 §2.3).

use std::collections::VecDeque;

/// What each entry costs beside its bytes (RFC 7541 §4.1).
const OVERHEAD: usize = 32;

/// RFC 7541 Appendix A; the first has index 1.
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// A dynamic table: its entries one behind the other in one piece of memory, so that a new one allocates nothing once that is
/// large enough.
#[derive(Debug, Default)]
pub(super) struct Table {
    bytes: Vec<u8>,
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// As RFC 7541 §4.1 counts.
    size: usize,
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
}

impl Entry {
    fn size(self) -> usize {
        self.name + self.value + OVERHEAD
    }
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Of both tables: from 1.
    pub(super) fn field(&self, index: usize) -> Option<(&[u8], &[u8])> {
        if let Some(field) = STATIC.get(index.checked_sub(1)?) {
            return Some(*field);
        }
        let back = index - STATIC.len();
        let Entry { start, name, value } = *self.entries.get(self.entries.len().checked_sub(back)?)?;
        Some(self.bytes[start..start + name + value].split_at(name))
    }

    /// RFC 7541 §4.3
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.evict(0);
    }

    /// RFC 7541 §4.4: one that does not fit empties the table.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let entry = Entry { start: self.bytes.len(), name: name.len(), value: value.len() };
        self.evict(entry.size());
        if entry.size() > self.most {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry { start, ..entry });
        self.size += entry.size();
        debug_assert!(self.size <= self.most);
    }

    /// Makes room for so much.
    fn evict(&mut self, needed: usize) {
        while self.size + needed > self.most {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.size();
        }
        let first = self.entries.front().map_or(self.bytes.len(), |entry| entry.start);
        if self.entries.is_empty() {
            self.bytes.clear();
        } else if first > self.most {
            self.bytes.drain(..first);
            self.entries.iter_mut().for_each(|entry| entry.start -= first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_table_is_bounded_however_many_entries_come() {
        let mut table = Table::new(4096);
        for n in 0..10_000_u32 {
            table.insert(b"x-name", n.to_string().as_bytes());
            assert_eq!(table.field(62), Some((&b"x-name"[..], n.to_string().as_bytes())));
        }
        assert!(table.bytes.capacity() <= 16 * 1024 && table.entries.len() <= 128, "{table:?}");
        assert_eq!(table.field(62 + table.entries.len()), None);
        table.resize(0);
        assert_eq!((table.field(62), table.size, table.bytes.len()), (None, 0, 0));
    }
}
