//! The init's side of the lab's socket: a thread per connection, one request each.

use std::{
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::Path,
    process::{self, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;
use nix::sys::signal::Signal;

use super::{
    clock, harm,
    protocol::{Reader, Request, Response, send},
    stage::Stage,
    topology::VIP,
};

/// Serves until the lab ends.
pub(crate) fn serve(stage: Stage, listener: &UnixListener) -> ! {
    let stage = Arc::new(stage);
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let stage = Arc::clone(&stage);
        let talk = move || {
            let Ok(copy) = stream.try_clone() else { return };
            if let Err(error) = answer(&stage, &stream, &mut Reader::new(copy)) {
                // Whoever is gone does not read it.
                let _ = send(&stream, &Response::Error { text: format!("{error:#}") }, &[]);
            }
        };
        let _ = thread::Builder::new().name("talk".to_owned()).spawn(talk);
    }
}

fn answer(stage: &Arc<Stage>, stream: &UnixStream, reader: &mut Reader) -> anyhow::Result<()> {
    let Some(request) = reader.next()? else { return Ok(()) };
    let progress = |text: &str| {
        let _ = send(stream, &Response::Progress { text: text.to_owned() }, &[]);
    };
    let response = match request {
        Request::Exec { node, command, folder, environment } => {
            let mut process = build(&command, &folder)?;
            process.envs(environment);
            return exec(stage, stream, reader, &node, process);
        }
        Request::Spawn { node, name, command } => {
            Response::Started { pid: stage.spawn(&node, &name, &command)? }
        }
        Request::Signal { pid, signal } => {
            let signal = Signal::try_from(signal).context("no such signal")?;
            if !stage.processes.signal(pid, signal, false) {
                bail!("process {pid} has ended");
            }
            Response::Done { at: clock::now() }
        }
        Request::Wait { pid } => {
            let ended = stage.processes.wait(pid, None).with_context(|| format!("no process {pid}"))?;
            Response::Ended { code: ended.code, signal: ended.signal }
        }
        Request::Fail { node, how } => done(harm::fail(stage, &node, how, progress)?),
        Request::Heal { node } => done(harm::heal(stage, &node, progress)?),
        Request::Start { node } => {
            stage.seat(&node)?.state().wanted = true;
            done(harm::heal(stage, &node, progress)?)
        }
        Request::Ready { node } => {
            let at = clock::now();
            harm::wait_until_back(stage, stage.seat(&node)?, progress)?;
            done(at)
        }
        Request::Multicast { passes } => {
            let at = clock::now();
            stage.set_multicast(passes)?;
            done(at)
        }
        Request::Holders => Response::Holders { names: stage.record.holders(VIP.into()) },
        Request::Status => Response::Status(Box::new(stage.status())),
        Request::Record { from } => {
            let (events, overruns) = stage.record.since(from);
            Response::Record { events, overruns }
        }
        Request::Down => {
            send(stream, &done(clock::now()), &[])?;
            process::exit(0);
        }
    };
    send(stream, &response, &[])
}

fn done(at: Moment) -> Response {
    Response::Done { at }
}

fn build(command: &[String], folder: &Path) -> anyhow::Result<Command> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    let mut process = Command::new(program);
    process.args(arguments).process_group(0);
    process.current_dir(if folder.is_dir() { folder } else { Path::new("/") });
    Ok(process)
}

/// Runs a command with the caller's files. It is killed when the caller goes.
fn exec(
    stage: &Arc<Stage>,
    stream: &UnixStream,
    reader: &mut Reader,
    node: &str,
    mut command: Command,
) -> anyhow::Result<()> {
    let seat = stage.seat(node)?;
    let files = std::mem::take(&mut reader.files);
    let Ok([stdin, stdout, stderr]) = <[_; 3]>::try_from(files) else {
        bail!("stdin, stdout and stderr must come with the request");
    };
    command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    let program = command.get_program().to_string_lossy().into_owned();
    let pid = match stage.processes.spawn(&seat.node, command) {
        Ok(pid) => pid,
        Err(error) => {
            // What a shell answers.
            let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
            let _ = send(stream, &Response::Progress { text: format!("{program}: {error}") }, &[]);
            return send(stream, &Response::Ended { code: Some(code), signal: None }, &[]);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            reader.wait_for_end();
            stage.processes.kill_group(pid);
        });
        let ended = stage.processes.wait(pid, None);
        stage.processes.forget(pid);
        let code = ended.and_then(|ended| ended.code);
        let signal = ended.and_then(|ended| ended.signal);
        let sent = send(stream, &Response::Ended { code, signal }, &[]);
        // Ends the reading thread; what is left of the group ends with the command.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        sent
    })
}
