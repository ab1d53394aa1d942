//! The counters by name, for the process that comes after this one.

use super::{
    BackendCounters, BackendTotals, CLASSES, CompressionCounters, Counter, Event, FrontendCounters,
    Histogram, ServerCounters, StepCounters, TlsCounters,
};

/// The most at a time.
const PEAK: &str = "peak";

/// The longest of each step, in the order of [`crate::status::Steps::all`].
const LONGEST: [&str; 4] = ["longest_queue", "longest_connect", "longest_response", "longest_total"];

/// The steps added up, in milliseconds, in the same order.
const STEPS: [&str; 4] = ["queue_ms", "connect_ms", "response_ms", "total_ms"];

/// How many exchanges took so long in all, by the bound of their class.
const TOTALS: [&str; CLASSES] = [
    "total_1ms",
    "total_2ms",
    "total_5ms",
    "total_10ms",
    "total_25ms",
    "total_50ms",
    "total_100ms",
    "total_250ms",
    "total_500ms",
    "total_1s",
    "total_2.5s",
    "total_5s",
    "total_10s",
    "total_30s",
    "total_60s",
    "total_longer",
];

/// Of several, the largest counts and not the sum.
pub(crate) fn is_most(name: &str) -> bool {
    name == PEAK || LONGEST.contains(&name)
}

/// By the first digit of the status; others first.
const RESPONSES: [&str; 6] =
    ["responses_other", "responses_1xx", "responses_2xx", "responses_3xx", "responses_4xx", "responses_5xx"];

/// Counters and their names, which stay the same from one version to the next.
pub(crate) type Named<'c> = Vec<(&'static str, &'c Counter)>;

impl FrontendCounters {
    pub(crate) fn named(&self) -> Named<'_> {
        let Self {
            connections,
            peak,
            requests,
            request_errors,
            responses,
            bytes_in,
            bytes_out,
            compression,
            events,
        } = self;
        let own = [
            ("connections", connections),
            (PEAK, peak),
            ("requests", requests),
            ("request_errors", request_errors),
            ("bytes_in", bytes_in),
            ("bytes_out", bytes_out),
        ];
        let events = Event::ALL.iter().map(|event| event.name()).zip(events);
        own.into_iter()
            .chain(RESPONSES.into_iter().zip(responses))
            .chain(compression.named())
            .chain(events)
            .collect()
    }
}

impl BackendTotals {
    pub(crate) fn named(&self) -> Named<'_> {
        let Self { requests, peak, responses, compression, unserved: _, longest } = self;
        let own = [("requests", requests), (PEAK, peak)];
        let arrays = RESPONSES.into_iter().zip(responses).chain(LONGEST.into_iter().zip(longest));
        own.into_iter().chain(arrays).chain(compression.named()).collect()
    }
}

impl BackendCounters {
    /// What no server of today has to do with.
    pub(crate) fn named_of_others(&self) -> Named<'_> {
        self.others().flat_map(ServerCounters::named).collect()
    }
}

impl ServerCounters {
    /// All but the moment of the last request, which is a tick of a worker.
    pub(crate) fn named(&self) -> Named<'_> {
        let Self {
            requests,
            balanced,
            peak,
            last: _,
            connect_errors,
            connect_failures,
            retries,
            redispatches,
            bytes_in,
            bytes_out,
            responses,
            response_errors,
            server_aborts,
            denied_responses,
            denied_requests,
            client_aborts,
            tls: TlsCounters { handshakes, resumptions, failures },
            steps: StepCounters { count, sums, longest, totals: Histogram { counts: totals, microseconds } },
        } = self;
        let own = [
            ("requests", requests),
            ("balanced", balanced),
            (PEAK, peak),
            ("connect_errors", connect_errors),
            ("connect_failures", connect_failures),
            ("retries", retries),
            ("redispatches", redispatches),
            ("bytes_in", bytes_in),
            ("bytes_out", bytes_out),
            ("response_errors", response_errors),
            ("server_aborts", server_aborts),
            ("denied_responses", denied_responses),
            ("denied_requests", denied_requests),
            ("client_aborts", client_aborts),
            ("tls_handshakes", handshakes),
            ("tls_resumptions", resumptions),
            ("tls_handshake_failures", failures),
            ("steps", count),
            ("total_us", microseconds),
        ];
        let steps = STEPS.into_iter().zip(sums).chain(LONGEST.into_iter().zip(longest));
        let steps = steps.chain(TOTALS.into_iter().zip(totals));
        own.into_iter().chain(RESPONSES.into_iter().zip(responses)).chain(steps).collect()
    }
}

impl CompressionCounters {
    fn named(&self) -> [(&'static str, &Counter); 4] {
        let Self { responses, bytes_in, bytes_out, bytes_bypassed } = self;
        [
            ("compressed_responses", responses),
            ("compressed_bytes_in", bytes_in),
            ("compressed_bytes_out", bytes_out),
            ("compression_bytes_bypassed", bytes_bypassed),
        ]
    }
}
