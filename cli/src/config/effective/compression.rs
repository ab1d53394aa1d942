//! Which responses are compressed, as TOML.

use lb_proxy::config::{Backend, BackendCompression, Compression, Frontend, Mode};

use super::{line, list, quoted};

pub(super) fn frontend(out: &mut String, frontend: &Frontend) {
    if frontend.mode == Mode::Http {
        write(out, frontend.compression.as_ref());
    }
}

pub(super) fn backend(out: &mut String, backend: &Backend) {
    match &backend.compression {
        BackendCompression::AsFrontend => {}
        BackendCompression::Off => write(out, None),
        BackendCompression::Own(compression) => write(out, Some(compression)),
    }
}

fn write(out: &mut String, compression: Option<&Compression>) {
    let Some(compression) = compression else {
        line(out, "compression", false);
        return;
    };
    let algorithms = compression.algorithms.iter().map(|algorithm| quoted(algorithm.name()));
    line(out, "compression.algorithms", list(algorithms));
    line(out, "compression.types", list(compression.types.iter().map(|range| quoted(&range.to_string()))));
    line(out, "compression.minimum_size", compression.minimum_size);
    line(out, "compression.level", compression.level);
    line(out, "compression.offload", compression.offload);
}
