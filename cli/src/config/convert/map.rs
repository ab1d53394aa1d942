//! `[map.NAME]`. The files themselves are read by `check`, `run` and `reload`, after the file is fine.

use std::path::PathBuf;

use lb_proxy::config::MapFile;

use crate::config::{diagnostic::Report, raw};

/// In the order of the file.
pub(super) fn convert(file: &raw::File, report: &Report<'_>) -> Vec<MapFile> {
    let maps = file.maps.iter().map(|map| {
        let path = map.value.file.as_ref();
        if let Some(path) = path.filter(|path| path.value.is_empty()) {
            report.error(path.span, "file is empty; write the path of a file, as in \"hosts.map\"");
        }
        MapFile {
            name: map.name.value.clone(),
            file: path.map_or_else(PathBuf::new, |path| PathBuf::from(&path.value)),
            kind: map.value.kind.as_ref().map_or_else(Default::default, |kind| kind.value),
            place: path.map(|path| super::place(&file.name, path.span, report)).unwrap_or_default(),
        }
    });
    maps.collect()
}
