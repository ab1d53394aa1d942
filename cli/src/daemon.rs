//! The process that was started: composes the proxy and the speaker.

pub mod speaker_link;
