//! The control side's way to a worker.

use std::{io, rc::Rc, sync::Arc, thread};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
};

use super::{Worker, core::Core, turns};
use crate::{
    listener::{binding::Sockets, watch},
    node::Node,
};

/// Closures on their way to a worker; more than that wait with their senders.
const COMMANDS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
}

/// It is given the worker under the configuration in force.
pub(super) type Command = Box<dyn FnOnce(&Rc<Worker>) + Send>;

/// Tasks that are run before the kernel is asked again although more of them wait. Tasks run in the order in which they become
/// ready, so to ask earlier (tokio: after 61) makes nobody's turn come earlier, and costs system calls.
const TASKS_OF_A_TURN: u32 = 1024;

impl WorkerHandle {
    /// Starts the thread `lbctl-worker-INDEX`, which accepts from `sockets`, but for those that are
    /// `paused` (numbers of their listeners), and runs until `ended` resolves.
    pub(crate) fn start(
        index: usize,
        node: Arc<Node>,
        sockets: Sockets,
        paused: Arc<[u64]>,
        ended: oneshot::Receiver<()>,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (started, result) = std::sync::mpsc::channel();
        let body = move || {
            let mut builder = Builder::new_current_thread();
            builder.enable_all().event_interval(TASKS_OF_A_TURN).on_thread_unpark(turns::count);
            let runtime = match builder.build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async {
                let (core, worker) = Core::new(index, node);
                // Nothing is here yet that could fail.
                let _ = worker.accept_loops().set_paused(&worker, paused);
                let accepting = sockets.into_iter().try_for_each(|(assignment, socket)| {
                    worker.accept_loops().start(&worker, &assignment, watch(socket)?);
                    Ok(())
                });
                drop(worker);
                let _ = started.send(accepting);
                core.run(received, ended).await;
            });
        };
        let thread = thread::Builder::new().name(format!("lbctl-worker-{index}")).spawn(body)?;
        match result.recv() {
            Ok(Ok(())) => Ok((Self { commands }, thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the thread ended")),
        }
    }

    /// Runs `command` on the worker; `None` if the worker has ended. Waits as long as the worker is busy: give the
    /// wait a limit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        command: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let command = Box::new(move |worker: &Rc<Worker>| {
            // Who asked may have given up.
            let _ = answer.send(command(worker));
        });
        self.commands.send(command).await.ok()?;
        answered.await.ok()
    }

    /// Sends `command` without waiting; false if the worker's queue is full or the worker has ended.
    pub(crate) fn try_run(&self, command: impl FnOnce(&Rc<Worker>) + Send + 'static) -> bool {
        self.commands.try_send(Box::new(command)).is_ok()
    }
}
