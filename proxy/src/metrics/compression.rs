//! What a worker counts of the responses that are compressed.

use super::Counter;

/// What was compressed of the responses of a frontend, or of a backend.
#[derive(Debug, Default)]
pub struct CompressionCounters {
    /// Responses.
    pub responses: Counter,
    /// Bytes of content that went in.
    pub bytes_in: Counter,
    /// Bytes that came out.
    pub bytes_out: Counter,
    /// Of those that went in, bytes that were passed on as they are: all compressors of the worker were in use, or had had their
    /// share of its time.
    pub bytes_bypassed: Counter,
}
