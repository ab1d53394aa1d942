//! The body of an answer: all of it, one that many have in common, or lines that come as they are made.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// Of a shared body, what one connection has a copy of at a time.
const PIECE: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// What others are sent as well, from this byte on.
    Shared(Shared, usize),
    /// Until whoever makes them is done. Dropped when the client is gone.
    Lines(mpsc::Receiver<Bytes>),
}

/// A body that many are sent, each at his own pace. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    length: usize,
    bytes: Mutex<Option<Bytes>>,
}

/// It was taken back: whoever has read no further by then gets no more.
#[derive(Debug, thiserror::Error)]
#[error("it was not read in time")]
pub(super) struct TakenBack;

impl Shared {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(Arc::new(Inner { length: bytes.len(), bytes: Mutex::new(Some(bytes)) }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.length
    }

    fn bytes(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there was something left to take.
    pub(super) fn take_back(&self) -> bool {
        self.bytes().take().is_some()
    }

    /// Whether anybody but the caller has it.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn piece(&self, from: usize) -> Result<Bytes, TakenBack> {
        let bytes = self.bytes();
        let all = bytes.as_ref().ok_or(TakenBack)?;
        let until = all.len().min(from.saturating_add(PIECE));
        Ok(Bytes::copy_from_slice(all.get(from..until).unwrap_or_default()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = TakenBack;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TakenBack>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Shared(body, at) if *at >= body.len() => Poll::Ready(None),
            Self::Shared(body, at) => Poll::Ready(Some(body.piece(*at).map(|piece| {
                *at += piece.len();
                Frame::data(piece)
            }))),
            Self::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Shared(body, at) => *at >= body.len(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Shared(body, at) => SizeHint::with_exact(body.len().saturating_sub(*at) as u64),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}
