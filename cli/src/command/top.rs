//! `lbctl top`.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::{SigSet, Signal, raise};
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
    layout::Rect,
};

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

/// What the threads beside the screen tell it.
enum News {
    Report(Box<Status>),
    NoAnswer(String),
    Signal(Signal),
}

/// Runs the verb.
pub fn run(arguments: &TopArguments) -> Exit {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        eprintln!("lbctl: top needs a terminal; into a pipe or a file there is: lbctl status --watch");
        return Exit::Failure;
    }
    let (told, news) = mpsc::channel();
    if let Err(error) = listen(told.clone()) {
        eprintln!("lbctl: can't take signals: {error}");
        return Exit::Failure;
    }
    let (control, interval) = (arguments.control.clone(), arguments.interval);
    let asking = thread::spawn(move || ask(&control, interval, &told));
    let first = match news.recv() {
        Ok(News::Report(status)) => *status,
        Ok(News::NoAnswer(why)) => {
            eprintln!("lbctl: {why}");
            return Exit::Failure;
        }
        Ok(News::Signal(_)) | Err(_) => return Exit::Failure,
    };
    let mut top = Top::new(first, super::status::paint() == Paint::Always);
    match on_terminal(|terminal| show(terminal, &mut top, &news, &asking)) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("lbctl: can't use the terminal: {error}");
            Exit::Failure
        }
    }
}

/// Gives `show` the terminal, and puts it back as it was; also when something panics, in whatever thread.
fn on_terminal(show: impl FnOnce(&mut DefaultTerminal) -> io::Result<()>) -> io::Result<()> {
    let shown = ratatui::try_init().and_then(|mut terminal| show(&mut terminal));
    ratatui::restore();
    shown
}

/// Asks for ever, or until nobody listens.
fn ask(control: &Path, interval: Duration, told: &mpsc::Sender<News>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let client = Client::new(control);
    runtime.block_on(async {
        loop {
            let answer: Result<_, ClientError> = client.get::<Status>("/v1/status", DEADLINE).await;
            let news = match answer {
                Ok(answer) => News::Report(Box::new(answer.value)),
                Err(error) => News::NoAnswer(error.to_string()),
            };
            if told.send(news).is_err() {
                return;
            }
            tokio::time::sleep(interval).await;
        }
    });
}

/// Signals come as news from now on: to this thread and those that it starts they are blocked.
fn listen(told: mpsc::Sender<News>) -> nix::Result<()> {
    let signals =
        [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTSTP, Signal::SIGCONT].into_iter();
    let signals: SigSet = signals.collect();
    signals.thread_block()?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if told.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Gives the terminal back and stops, as the shell's user expects of Ctrl-Z. Returns when it goes on; at once where no shell
/// could let it go on: the kernel drops the signal then.
fn suspend(terminal: &mut DefaultTerminal) -> io::Result<()> {
    terminal.show_cursor()?;
    ratatui::try_restore()?;
    let stop = SigSet::from(Signal::SIGTSTP);
    stop.thread_unblock()?;
    raise(Signal::SIGTSTP)?;
    stop.thread_block()?;
    resume(terminal)
}

/// Takes the terminal again: whoever had it meanwhile has drawn on it and set it as it likes.
fn resume(terminal: &mut DefaultTerminal) -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    // It clears as well, and asks no terminal where its cursor is: it might not answer.
    let size = terminal.size()?;
    terminal.resize(Rect::new(0, 0, size.width, size.height))
}

fn show(
    terminal: &mut DefaultTerminal,
    top: &mut Top,
    news: &mpsc::Receiver<News>,
    asking: &thread::JoinHandle<()>,
) -> io::Result<()> {
    let mut answered = Instant::now();
    loop {
        terminal.draw(|frame| draw(top, frame))?;
        if event::poll(LOOK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match meaning(key) {
                    Wish::Quit => return Ok(()),
                    Wish::Suspend => suspend(terminal)?,
                    Wish::Key(key) => top.key(key),
                },
                // A new size is met by drawing again.
                _ => {}
            }
        }
        while let Ok(news) = news.try_recv() {
            match news {
                News::Report(status) => {
                    answered = Instant::now();
                    top.report(*status);
                }
                News::NoAnswer(why) => top.no_answer(answered.elapsed(), why),
                News::Signal(Signal::SIGTSTP) => suspend(terminal)?,
                News::Signal(Signal::SIGCONT) => resume(terminal)?,
                News::Signal(_) => return Ok(()),
            }
        }
        if asking.is_finished() {
            return Err(io::Error::other("nobody asks the daemon any more"));
        }
    }
}

/// What somebody at the keys wants.
enum Wish {
    Quit,
    Suspend,
    Key(Key),
}

fn meaning(key: KeyEvent) -> Wish {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Wish::Key(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
        KeyCode::Char('c') if is_control => return Wish::Quit,
        KeyCode::Char('z') if is_control => return Wish::Suspend,
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

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command};

    use super::*;

    const INNER: &str = "LBCTL_TEST_TOP";

    #[test]
    fn panic_is_shown_on_a_terminal_that_is_as_it_was() {
        if env::var_os(INNER).is_some() {
            let _ = on_terminal(|terminal| {
                terminal.draw(|frame| frame.render_widget("all is well", frame.area()))?;
                panic!("something is broken")
            });
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let line = format!(
            "stty rows 24 cols 80; stty -g >before; {} --exact {}::panic_is_shown_on_a_terminal_that_is_as_it_was --nocapture; stty -g >after",
            env::current_exe().unwrap().display(),
            module_path!().split_once("::").unwrap().1,
        );
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env(INNER, "1").env("TERM", "xterm").current_dir(&folder);
        let output = script.output().unwrap();
        let drawn = String::from_utf8_lossy(&output.stdout).into_owned();
        let (before, after) = drawn.split_once("\x1b[?1049l").unwrap();
        assert!(before.contains("\x1b[?1049h") && before.contains("well"), "{drawn:?}");
        assert!(!before.contains("broken") && after.contains("something is broken"), "{drawn:?}");
        assert!(after.contains("\x1b[?25h"), "the cursor is shown again: {drawn:?}");
        let modes = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(modes("after"), modes("before"));
    }
}
