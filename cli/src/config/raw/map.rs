//! `[map.NAME]`: keys and values in a file of their own.

use lb_proxy::config::MapKind;

use crate::config::reader::{At, Fields};

#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) file: Option<At<String>>,
    pub(crate) kind: Option<At<MapKind>>,
}

pub(crate) const KINDS: [(&str, MapKind); 5] = [
    ("exact", MapKind::Exact),
    ("prefix", MapKind::Prefix),
    ("suffix", MapKind::Suffix),
    ("network", MapKind::Network),
    ("regex", MapKind::Regex),
];

impl Map {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        fields.require("file", "file = \"hosts.map\", the file with its lines");
        let map = Self {
            file: fields.string("file", "the path of a file, as in \"hosts.map\""),
            kind: fields.choice("match", &KINDS),
        };
        fields.finish(|_| None);
        map
    }
}
