//! How a daemon begins: everything that can be wrong is found first, then it is composed, then the loop runs until it ends.

use std::{os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use lb_proxy::{Proxy, StartError, drop_newcomers, inquiry::Desk, newcomers_are_dropped_by};
use lb_vrrp::GroupConfig;
use nix::unistd::geteuid;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Daemon, Identity, RunOptions,
    certificates::Certificates,
    clock,
    clock::Instants,
    control,
    control::ControlSocket,
    detach,
    detach::Waiting,
    options::whole,
    panic, pausing,
    pid_file::PidFile,
    reload::Reloads,
    statistics, supervisor,
    surroundings::Surroundings,
    systemd,
    upgrade::{
        before::{Before, Estate},
        earlier::Earlier,
        program::Program,
    },
    wake::{Harmless, Signals},
    watchdog::Watchdog,
};
use crate::{
    config::{self, Config, self_signed},
    exit::Exit,
    interfaces::local_addresses,
    log,
    privileges::{self, Launcher, Purpose, Start},
    runner::Runner,
};

/// Runs until it is stopped. Everything that can be wrong with the file or the arguments is said before a port is
/// bound.
pub fn run(options: &RunOptions) -> Exit {
    if options.daemon {
        return detach::start(options);
    }
    let program = Program::find();
    lb_proxy::note_passed_descriptors();
    pausing::hold_back();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let begun = runtime.and_then(|runtime| {
        let inside = runtime.enter();
        let harmless = Harmless::await_all()?;
        drop(inside);
        Ok((runtime, harmless))
    });
    let (runtime, harmless) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            eprintln!("lbctl: can't start the control thread's runtime: {error}");
            return Exit::Failure;
        }
    };
    let mut waiting = match (options.detached && !options.take_over).then(Waiting::find).transpose() {
        Ok(waiting) => waiting,
        Err(error) => {
            eprintln!("lbctl: can't leave the terminal: {error}");
            return Exit::Failure;
        }
    };
    let before = match options.take_over.then(Before::find).transpose() {
        Ok(before) => before,
        Err(error) => {
            eprintln!("lbctl: {error:#}");
            return Exit::Usage;
        }
    };
    let refuse = |why: &str, is_file| before.iter().for_each(|before| before.refuse(why, is_file));
    // Its maps are the same ones in a reload, which knows the file by its whole path.
    let file = whole(&options.file);
    let load = || {
        config::load(&file).map_err(|diagnostics| {
            refuse(&format!("{diagnostics}{}. Nothing was changed.", diagnostics.summary()), true);
            eprint!("{diagnostics}");
            eprintln!("{}. Nothing was started.", diagnostics.summary());
            Exit::Configuration
        })
    };
    let mut config = match load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    lb_proxy::close_unnamed_descriptors(
        config.proxy.frontends.iter().flat_map(|one| one.inherited.iter().map(|bind| &bind.socket)),
    );
    let identity = match Identity::find(&config, options.node.as_deref(), &local_addresses()) {
        Ok(identity) => identity,
        Err(error) => {
            refuse(&error.to_string(), false);
            eprintln!("lbctl: {error}");
            return Exit::Usage;
        }
    };
    let start = Start {
        program: program.started_by(),
        file: &options.file,
        runtime_dir: &options.runtime_dir(),
        control: &options.control(),
        pid_file: options.pid_file.as_deref(),
        takes_over: options.take_over,
        is_unconfined: options.unconfined,
    };
    let obstacle = supervisor::obstacle(options);
    let entered = match privileges::enter(&config, start) {
        Ok(entered) => entered,
        Err(error) => {
            refuse(&error.to_string(), false);
            eprintln!("lbctl: {error}");
            return Exit::Failure;
        }
    };
    if (entered.user.is_some() || geteuid().is_root()) && options.file != Path::new("-") {
        // Who could not read it, nor what it names, could not reload it. Root has given the right to read everything away.
        config = match load() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
    }
    if let Some(why) = options.detached.then(|| detach::complaint(&config)).flatten() {
        refuse(&why, false);
        eprintln!("lbctl: {why}");
        return Exit::Configuration;
    }
    waiting.iter_mut().for_each(Waiting::leave_terminal);
    let launcher = entered.launcher.clone();
    newcomers_are_dropped_by(move |socket| launcher.run(Purpose::Here, move || drop_newcomers(socket))?);
    log::set(config.global.log_event_format, identity.name());
    let _flush = log::start(options.detached && !detach::keeps_stderr());
    panic::abort_outside_workers();
    for warning in config.warnings.headlines().chain(entered.remarks) {
        tracing::warn!("{warning}");
    }
    let (launcher, runner) = (entered.launcher, entered.runner);
    let started = Started { options, program, launcher, runner, before: before.clone(), obstacle, harmless };
    let result = runtime.block_on(compose(started, config, identity, &mut waiting));
    if let Err(error) = &result {
        refuse(&format!("{error:#}"), matches!(error.downcast_ref(), Some(StartError::Maps(_))));
        waiting.iter().for_each(|waiting| waiting.complain(&format!("{error:#}")));
    }
    match result {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!("{error:#}");
            match error.downcast_ref() {
                Some(StartError::Maps(_)) => Exit::Configuration,
                Some(StartError::Bind(_) | StartError::Thread { .. }) | None => Exit::Failure,
            }
        }
    }
}

/// How this process was started.
struct Started<'a> {
    options: &'a RunOptions,
    program: Program,
    launcher: Launcher,
    /// To the process that runs commands.
    runner: Option<OwnedFd>,
    before: Option<Before>,
    /// Why no other one can take its place.
    obstacle: Option<String>,
    harmless: Harmless,
}

async fn compose(
    started: Started<'_>,
    mut config: Config,
    identity: Identity,
    waiting: &mut Option<Waiting>,
) -> anyhow::Result<Exit> {
    let Started { options, program, launcher, runner, before, obstacle, harmless } = started;
    let pid_file = options.pid_file.as_deref().map(|path| PidFile::prepare(path, options.take_over));
    let pid_file = pid_file.transpose()?;
    let (runtime_dir, socket_path) = (options.runtime_dir(), options.control());
    let estate = before.as_ref().map(Before::estate).transpose()?;
    let (control, handover, runner, earlier) = match estate {
        Some(estate) => {
            estate.order(&mut config.groups);
            if let Some(why) = estate.obstacle(&own_groups(&config, &identity)) {
                anyhow::bail!("{why}");
            }
            let Estate { handover, control, earlier, runner, self_signed, .. } = estate;
            self_signed::go_on(&config, self_signed);
            (Some(control), Some(handover), runner, earlier)
        }
        None => (None, None, runner, Earlier::default()),
    };
    let (socket, listening) = match control {
        Some(control) => ControlSocket::take_over(&socket_path, control)?,
        None => ControlSocket::bind(&socket_path)?,
    };
    let socket = Arc::new(socket);
    if before.is_some() {
        // Until this process is in charge.
        socket.leave();
    }
    std::fs::create_dir_all(&runtime_dir)
        .map_err(|error| anyhow::anyhow!("can't create {}: {error}", runtime_dir.display()))?;
    config.proxy.node = identity.name().to_owned();
    let (desk, inquiries) = Desk::new();
    config.proxy.desk = Some(desk);
    let data_plane = config.proxy_of(identity.index());
    let proxy = Arc::new(match handover {
        Some(handover) => Proxy::start_from(data_plane, handover)?,
        None => Proxy::start(data_plane)?,
    });
    let (commands_in, commands) = mpsc::channel(16);
    let statistics = tokio::spawn(statistics::serve(inquiries, commands_in.clone()));
    let (steps_in, steps) = mpsc::unbounded_channel();
    let file = whole(&options.file);
    let mut daemon = Daemon {
        path: file.display().to_string(),
        file,
        options: options.clone(),
        runtime_dir,
        program,
        pid_file,
        launcher,
        runner: runner.map(Runner::new).transpose()?.unwrap_or_default(),
        started: Instants::now(),
        up: None,
        health: proxy.health(),
        changes: proxy.transitions(),
        lost_changes: 0,
        journal: Arc::default(),
        notifiers: Default::default(),
        proxy,
        config,
        identity,
        groups: Vec::new(),
        speaker: None,
        from_speaker: None,
        losses: Default::default(),
        row_of_losses: Default::default(),
        neighbours: None,
        alarms: Default::default(),
        own_problems: Vec::new(),
        counters: Arc::default(),
        commands,
        steps_in,
        steps,
        signals: Signals::new(harmless)?,
        tasks: JoinSet::new(),
        drain: None,
        stop: None,
        resets: 0,
        pausing: pausing::InTurn::default(),
        giving: None,
        rehearsals: Vec::new(),
        drained: None,
        drained_since: None,
        reloads: Reloads::default(),
        certificates: Certificates::default(),
        probes: super::probes::Probes::default(),
        surroundings: Surroundings::default(),
        sources: Vec::new(),
        unreachable: None,
        socket: Arc::clone(&socket),
        charge: None,
        earlier,
        obstacle,
        upgrade: None,
        retirement: None,
        telling: super::group::Telling::default(),
        announcing: Default::default(),
        headline: Default::default(),
        watchdog: Watchdog::find(clock::now(), before.is_some()),
    };
    daemon.greet();
    if let Some(before) = &before {
        let has_speaker = !own_groups(&daemon.config, &daemon.identity).is_empty();
        let (mut charge, counters) = before.ready(&daemon.config.hash, has_speaker)?;
        // Before anything else is started that would have it.
        if options.detached {
            detach::leave_stderr()?;
        }
        daemon.counters.go_on(&counters);
        daemon.up = charge.up;
        daemon.journal.go_on(std::mem::take(&mut charge.journal));
        daemon.losses = std::mem::take(&mut charge.losses);
        daemon.row_of_losses = std::mem::take(&mut charge.row_of_losses);
        daemon.notifiers.go_on(std::mem::take(&mut charge.notified));
        daemon.charge = Some(charge);
    }
    daemon.follow_notifies();
    daemon.take_part()?;
    let succeeds = before.is_some();
    if let Some(before) = before {
        // Who asked for the upgrade finds this process there. What serves is not ended for it.
        if let Some(Err(error)) = daemon.pid_file.as_mut().map(PidFile::name) {
            tracing::error!("{error}");
        }
        before.taken()?;
        socket.keep();
        daemon.proxy.take_charge();
        before.join(&mut daemon.earlier);
        daemon.earlier.listen(&daemon.steps_in);
    }
    let api = tokio::spawn(control::serve(listening, commands_in, Arc::clone(&daemon.counters)));
    if !succeeds {
        daemon.pid_file.as_mut().map(PidFile::name).transpose()?;
        // The unit has been up since the first process was; until systemd knows it, it would not believe this one.
        systemd::insist("READY=1");
    }
    if let Some(waiting) = waiting.take() {
        for frontend in daemon.proxy.status().frontends {
            for (bind, why) in frontend.binds.iter().filter_map(|bind| Some((bind, bind.error.as_ref()?))) {
                waiting.complain(&format!(
                    "frontend {} does not listen on {}: {why}; lbctl runs, and tries again each second",
                    frontend.name, bind.label
                ));
            }
        }
        waiting.tell();
    }
    let exit = daemon.run().await;
    if daemon.retirement.is_some() {
        // The next process answers from now on.
        socket.give_up();
        daemon.pid_file.iter_mut().for_each(PidFile::leave);
        api.abort();
    }
    let pid_file = daemon.pid_file.take();
    daemon.finish().await;
    // Whoever asked for the stop reads its report before the socket goes.
    tokio::time::sleep(Duration::from_millis(20)).await;
    api.abort();
    statistics.abort();
    drop((socket, pid_file));
    exit
}

/// What the speaker is told of the groups of this node.
fn own_groups(config: &Config, identity: &Identity) -> Vec<GroupConfig> {
    let Identity::Node { index, .. } = identity else { return Vec::new() };
    config.groups.iter().filter_map(|group| group.by_node.get(*index)).cloned().collect()
}
