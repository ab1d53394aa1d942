//! Waits until it is known who sent a request.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{
    inbound::Departure,
    session::{Refusal, Session},
};
use crate::{
    auth::{Busy, Proof, Question},
    stream::Stream,
};

/// Who has to wait for longer is told to come again: a line that long is an attack, or the first minute after a start.
const LONGEST: Duration = Duration::from_secs(10);

/// How long one that has ended its side stays in line: few still read, most have left.
const GRACE: Duration = Duration::from_secs(2);

/// What came of the question; from now on the worker knows it. Gives up when the client goes away.
pub(super) async fn find<S: Stream>(
    session: &mut Session<'_, S>,
    question: Box<Question>,
) -> Result<Proof, Refusal> {
    let Session { connection, inbound, deadline, .. } = session;
    let worker = connection.worker();
    let key = question.key();
    let mut answer = pin!(worker.node().verifier.ask(*question).map_err(Refusal::AuthBusy)?);
    deadline.arm(LONGEST);
    if inbound.ended {
        inbound.deadline.arm(GRACE);
    }
    let outcome = poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer.unwrap_or(Err(Busy::All)).map_err(Refusal::AuthBusy));
        }
        match inbound.poll_departure(context) {
            Poll::Ready(Departure::Broken) => return Poll::Ready(Err(Refusal::Gone)),
            Poll::Ready(Departure::Ended) => inbound.deadline.arm(GRACE),
            Poll::Pending => {}
        }
        if inbound.ended && inbound.deadline.poll_expired(context).is_ready() {
            return Poll::Ready(Err(Refusal::Gone));
        }
        deadline.poll_expired(context).map(|()| Err(Refusal::AuthBusy(Busy::All)))
    })
    .await;
    deadline.disarm();
    let proof = Proof { key, outcome: outcome? };
    worker.known().borrow_mut().learn(proof);
    Ok(proof)
}
