//! Frames about the connection, and about streams as a whole (RFC 9113 §6.3-§6.8).

use super::{
    FAREWELL, Failure, Kind, Leave, Machine, PRICE_OF_FRAME, PRICE_OF_RESET, PRICE_OF_SETTINGS, Role,
    STREAM_WINDOW, STREAMS, fit,
};
use crate::{
    http::head::MAX_HEAD,
    http2::{
        frame::{ACK, ErrorCode, Header},
        settings,
        stream::{Remote, Sending},
    },
};

impl Machine {
    pub(super) fn priority(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if header.stream == 0 {
            return Err(Failure::new(ErrorCode::Protocol, "PRIORITY of no stream"));
        }
        let Some(dependency) = payload.first_chunk().filter(|_| payload.len() == 5) else {
            let wrong = Failure::new(ErrorCode::FrameSize, "PRIORITY of a wrong length");
            return if header.stream > self.last {
                Err(wrong)
            } else {
                self.stream_error(header.stream, wrong.code, wrong.why)
            };
        };
        self.depends(header.stream, *dependency)?;
        self.spend(PRICE_OF_FRAME, "PRIORITY")
    }

    /// RFC 7540 §5.3.1: no stream depends on itself.
    pub(super) fn depends(&mut self, stream: u32, dependency: [u8; 4]) -> Result<(), Failure> {
        if u32::from_be_bytes(dependency) & (u32::MAX >> 1) != stream {
            return Ok(());
        }
        if stream > self.last {
            return Err(Failure::new(ErrorCode::Protocol, "a stream that depends on itself"));
        }
        self.stream_error(stream, ErrorCode::Protocol, "a stream that depends on itself")
    }

    pub(super) fn reset_stream(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if payload.len() != 4 {
            return Err(Failure::new(ErrorCode::FrameSize, "RST_STREAM of a wrong length"));
        }
        if header.stream == 0 || self.is_idle(header.stream) {
            return Err(Failure::new(ErrorCode::Protocol, "RST_STREAM of a stream that is not open"));
        }
        let Some(key) = self.find(header.stream) else {
            return self.spend(PRICE_OF_FRAME, "RST_STREAM of closed streams");
        };
        let stream = &mut self.streams[key];
        let is_early = stream.sending != Sending::Over;
        if self.role == Role::Client {
            stream.is_refused = *payload == ErrorCode::RefusedStream.bytes();
            // RFC 9113 §8.1: it has answered, and wants no more of the request.
            if stream.remote == Remote::Ended {
                stream.is_deaf = true;
                stream.wake();
                return Ok(());
            }
        }
        self.give_up(key);
        self.spend(if is_early { PRICE_OF_RESET } else { PRICE_OF_FRAME }, "streams that are given up")
    }

    pub(super) fn settings(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if header.stream != 0 {
            return Err(Failure::new(ErrorCode::Protocol, "SETTINGS of a stream"));
        }
        let is_answer = header.has(ACK);
        if !payload.len().is_multiple_of(6) || (is_answer && !payload.is_empty()) {
            return Err(Failure::new(ErrorCode::FrameSize, "SETTINGS of a wrong length"));
        }
        if is_answer {
            return self.spend(PRICE_OF_FRAME, "SETTINGS");
        }
        self.has_settings = true;
        let before = self.settings.initial_window;
        self.settings.take(payload, self.role == Role::Client)?;
        self.owes_table_size |= self.settings.has_small_table;
        let crumbs = self.shift_windows(self.settings.initial_window - before)?;
        self.put(Kind::Settings, ACK, 0, b"");
        self.spend(PRICE_OF_SETTINGS + crumbs * PRICE_OF_FRAME, "SETTINGS")
    }

    /// From now on a client may have so many streams open at a time.
    pub(in crate::http2) fn allow_streams(&mut self, most: usize) {
        let most = most.clamp(1, STREAMS);
        if most != self.most {
            self.most = most;
            self.put_settings();
        }
    }

    /// What we want of a client.
    pub(super) fn put_settings(&mut self) {
        let streams = fit(self.most as i64);
        let settings = settings::of_server(streams, fit(STREAM_WINDOW), fit(MAX_HEAD as i64), self.websocket);
        self.put(Kind::Settings, 0, 0, &settings);
    }

    pub(super) fn ping(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if header.stream != 0 {
            return Err(Failure::new(ErrorCode::Protocol, "PING of a stream"));
        }
        if payload.len() != 8 {
            return Err(Failure::new(ErrorCode::FrameSize, "PING of a wrong length"));
        }
        if !header.has(ACK) {
            self.put(Kind::Ping, ACK, 0, payload);
        } else if self.leave == Leave::Announced && payload == FAREWELL {
            self.leave = Leave::Heard;
        }
        self.spend(PRICE_OF_FRAME, "PING")
    }

    pub(super) fn go_away(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if header.stream != 0 {
            return Err(Failure::new(ErrorCode::Protocol, "GOAWAY of a stream"));
        }
        if payload.len() < 8 {
            return Err(Failure::new(ErrorCode::FrameSize, "GOAWAY of a wrong length"));
        }
        self.is_peer_leaving = true;
        let is_fault = payload[4..8] != ErrorCode::NoError.bytes();
        self.is_at_fault |= is_fault;
        if let Some(last) = payload.first_chunk().filter(|_| self.role == Role::Client) {
            self.refuse_beyond(u32::from_be_bytes(*last) & (u32::MAX >> 1), is_fault);
        }
        self.spend(PRICE_OF_FRAME, "GOAWAY")
    }
}
