//! `lbctl lab`.

use super::asking::say;
use crate::{
    exit::Exit,
    lab::{
        DEFAULT_NAME, How, Lab, NODES, Options, demo, hold, init, load, outer,
        screen::{self, Interrupts},
        web,
    },
};

/// Arguments of `lbctl lab`.
#[derive(Debug, clap::Args)]
pub struct LabArguments {
    /// Which lab: several with different names can be up side by side [default: lab]
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    #[command(subcommand)]
    verb: LabVerb,
}

#[derive(Debug, clap::Subcommand)]
enum LabVerb {
    /// Watch the whole story: up, traffic, each fault and what the clients saw of it, down
    #[command(after_help = "Takes about a minute. Exit codes: 0 the pair did what it should, 1 it did not.")]
    Demo,
    /// Start a lab to play with; it ends with Ctrl-C
    #[command(
        after_help = "Exit codes: 0 ended as asked (with --detach: up and ready), 1 failed, 2 with --detach: up, \
                            but a node is not ready."
    )]
    Up(UpArguments),
    /// Show who holds the address and how the nodes are
    Status(StatusArguments),
    /// Run a command on a node; its exit code is this one's
    #[command(
        after_help = "Exit codes: the command's, 128 + N if signal N killed it, 127 if it does not exist."
    )]
    Exec(ExecArguments),
    /// Harm a node
    Fail(FailArguments),
    /// Undo the harm, start what is dead, wait until the node is back
    Heal(HealArguments),
    /// End the lab
    Down,
    #[command(hide = true)]
    Outer(outer::OuterArguments),
    #[command(hide = true)]
    Init,
    #[command(hide = true)]
    Web(web::WebArguments),
    #[command(hide = true)]
    Load(load::LoadOptions),
    #[command(hide = true)]
    Hold(hold::HoldArguments),
}

#[derive(Debug, clap::Args)]
struct UpArguments {
    /// Return when both nodes are ready, and leave the lab running
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArguments {
    /// Print the same as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ExecArguments {
    /// Where
    #[arg(value_parser = NODES)]
    node: String,
    /// What
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct FailArguments {
    /// Whom
    #[arg(value_parser = NODES)]
    node: String,
    /// In which way
    #[arg(long, value_enum, default_value_t = How::Kill)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct HealArguments {
    /// Whom
    #[arg(value_parser = NODES)]
    node: String,
}

/// Runs the verb.
pub fn run(arguments: LabArguments) -> Exit {
    match try_run(arguments) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("lbctl lab: {error:#}");
            Exit::Failure
        }
    }
}

fn try_run(arguments: LabArguments) -> anyhow::Result<Exit> {
    let wished = arguments.name.as_deref();
    let name = wished.unwrap_or(DEFAULT_NAME);
    let fine = |()| Exit::Fine;
    match arguments.verb {
        LabVerb::Demo => play_demo(wished),
        LabVerb::Up(arguments) => up(name, &arguments),
        LabVerb::Status(arguments) => status(name, &arguments),
        LabVerb::Exec(arguments) => exec(name, &arguments),
        LabVerb::Fail(arguments) => fail(name, &arguments),
        LabVerb::Heal(arguments) => heal(name, &arguments),
        LabVerb::Down => Lab::attach(name)?.down().map(fine),
        LabVerb::Outer(arguments) => outer::run(&arguments).map(fine),
        LabVerb::Init => init::run().map(fine),
        LabVerb::Web(arguments) => web::run(arguments).map(fine),
        LabVerb::Load(arguments) => load::run(&arguments).map(fine),
        LabVerb::Hold(arguments) => hold::run(&arguments).map(fine),
    }
}

/// Ctrl-C needs no care here: the kernel ends the lab with this process.
fn play_demo(name: Option<&str>) -> anyhow::Result<Exit> {
    // Unless told otherwise under a name of its own, so that it does not get in the way of a lab to play with.
    let options = Options::default();
    let lab = Lab::up(&name.map_or(options.clone(), |name| options.name(name)))?;
    let outcome = demo::play(&lab);
    if outcome.is_err() {
        demo::tell_why(&lab)?;
    }
    lab.down()?;
    let wrong = outcome?;
    for sentence in &wrong {
        eprintln!("! {sentence}");
    }
    Ok(if wrong.is_empty() { Exit::Fine } else { Exit::Failure })
}

fn up(name: &str, arguments: &UpArguments) -> anyhow::Result<Exit> {
    let options = Options::default().name(name);
    if arguments.detach {
        let lab = Lab::up(&options.detached())?;
        let ready = lab.wait_until_all_ready();
        let said = say(lab.status()?.to_string().trim_end());
        return Ok(match ready {
            Ok(()) => said,
            Err(error) => {
                eprintln!("lbctl lab: the lab is up, but not as it should be: {error:#}");
                Exit::Degraded
            }
        });
    }
    let interrupts = Interrupts::catch()?;
    let lab = Lab::up(&options)?;
    screen::follow(&lab, &interrupts)?;
    lab.down()?;
    Ok(Exit::Fine)
}

fn status(name: &str, arguments: &StatusArguments) -> anyhow::Result<Exit> {
    let status = Lab::attach(name)?.status()?;
    let text = if arguments.json { serde_json::to_string_pretty(&status)? } else { status.to_string() };
    Ok(say(text.trim_end()))
}

fn exec(name: &str, arguments: &ExecArguments) -> anyhow::Result<Exit> {
    let ended = Lab::attach(name)?.exec_here(&arguments.node, &arguments.command, |text| {
        eprintln!("lbctl lab exec: {text}");
    })?;
    // A shell's rule: 128 and the signal.
    let code = ended.code.or(ended.signal.map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Exit::Of(u8::try_from(code).unwrap_or(1)))
}

fn fail(name: &str, arguments: &FailArguments) -> anyhow::Result<Exit> {
    let lab = Lab::attach(name)?;
    lab.fail_saying(&arguments.node, arguments.how, |text| {
        say(text);
    })?;
    Ok(say(&format!("{} has failed: {}", arguments.node, arguments.how)))
}

fn heal(name: &str, arguments: &HealArguments) -> anyhow::Result<Exit> {
    let lab = Lab::attach(name)?;
    lab.heal_saying(&arguments.node, |text| {
        say(text);
    })?;
    Ok(say(&format!("{} is back", arguments.node)))
}
