//! `lbctl top`.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    control::{
        Status,
        client::{Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::Paint,
    top::{Key, Top, draw},
};

/// How long a daemon may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Between two looks at whether there is a newer report.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `lbctl top`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keys: q quits, arrows scroll, s sorts, f freezes, ? says all of them.\nExit codes: 0 quit, 1 no answer or no terminal, 64 usage."
)]
pub struct TopArguments {
    /// Ask every SECONDS
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::status::seconds)]
    interval: Duration,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// What the thread beside the screen tells it.
enum News {
    Report(Box<Status>),
    NoAnswer(String),
    /// Somebody wants it to end.
    Signal,
}

/// Runs the verb.
pub fn run(arguments: &TopArguments) -> Exit {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        eprintln!("lbctl: top needs a terminal; into a pipe or a file there is: lbctl status --watch");
        return Exit::Failure;
    }
    let (told, news) = mpsc::channel();
    let (control, interval) = (arguments.control.clone(), arguments.interval);
    thread::spawn(move || ask(&control, interval, &told));
    let first = match news.recv() {
        Ok(News::Report(status)) => *status,
        Ok(News::NoAnswer(why)) => {
            eprintln!("lbctl: {why}");
            return Exit::Failure;
        }
        Ok(News::Signal) | Err(_) => return Exit::Failure,
    };
    let mut top = Top::new(first, super::status::paint() == Paint::Always);
    // It restores the terminal as well when something panics.
    let shown = ratatui::try_init().and_then(|mut terminal| show(&mut terminal, &mut top, &news));
    ratatui::restore();
    match shown {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("lbctl: can't use the terminal: {error}");
            Exit::Failure
        }
    }
}

/// Asks for ever, or until nobody listens or a signal comes.
fn ask(control: &Path, interval: Duration, told: &mpsc::Sender<News>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let listen = |kind: SignalKind| signal(kind).ok();
        let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(listen);
        let [Some(mut first), Some(mut second), Some(mut third)] = kinds else { return };
        let client = Client::new(control);
        loop {
            let asked = async {
                let answer: Result<_, ClientError> = client.get::<Status>("/v1/status", DEADLINE).await;
                let news = match answer {
                    Ok(answer) => News::Report(Box::new(answer.value)),
                    Err(error) => News::NoAnswer(error.to_string()),
                };
                let is_heard = told.send(news).is_ok();
                tokio::time::sleep(interval).await;
                is_heard
            };
            tokio::select! {
                true = asked => {}
                _ = ended(&mut first, &mut second, &mut third) => {
                    let _ = told.send(News::Signal);
                    return;
                }
                else => return,
            }
        }
    });
}

async fn ended(first: &mut Signal, second: &mut Signal, third: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
        _ = third.recv() => {}
    }
}

fn show(terminal: &mut DefaultTerminal, top: &mut Top, news: &mpsc::Receiver<News>) -> io::Result<()> {
    let mut answered = Instant::now();
    loop {
        terminal.draw(|frame| draw(top, frame))?;
        if event::poll(LOOK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match meaning(key) {
                    None => return Ok(()),
                    Some(key) => top.key(key),
                },
                // A new size is met by drawing again.
                _ => {}
            }
        }
        loop {
            match news.try_recv() {
                Ok(News::Report(status)) => {
                    answered = Instant::now();
                    top.report(*status);
                }
                Ok(News::NoAnswer(why)) => top.no_answer(answered.elapsed(), why),
                Ok(News::Signal) => return Ok(()),
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

/// `None` to quit.
fn meaning(key: KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return None,
        KeyCode::Char('c') if is_control => return None,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('f' | ' ') => Key::Freeze,
        KeyCode::Char('?' | 'h') => Key::Help,
        KeyCode::Up | KeyCode::Char('k') => Key::Scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => Key::Scroll(1),
        KeyCode::PageUp => Key::Page(-1),
        KeyCode::PageDown => Key::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Key::Home,
        KeyCode::End | KeyCode::Char('G') => Key::End,
        _ => Key::Other,
    })
}
