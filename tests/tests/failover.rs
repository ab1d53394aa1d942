//! Each way to fail: the other node serves, one owner afterwards, and what clients that keep requesting saw.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in what its functions share")]

use std::{thread, time::Duration};

use lb_tests::{
    attempts::{in_time, within},
    order::{self, other},
    scene::{Scene, slower},
    wait,
};
use lb_vrrp::Moment;
use lbctl::lab::{How, Load, LoadOptions, Options, Report};

/// Three intervals of 100 ms, and the Skew_Time of priority 253.
const DOWN_INTERVAL: Duration = Duration::from_millis(302);
const SECOND: Duration = Duration::from_secs(1);
/// For what comes in its own time.
const LONG: Duration = Duration::from_secs(60);
/// After this a request has failed.
const PATIENCE: Duration = Duration::from_millis(900);

/// What a way to fail promises.
struct Promise {
    how: How,
    /// From the harm to the moment at which the address has to move: Down_Interval where the node can say nothing.
    noticed: Duration,
    /// The old node's address is gone before the new one has it.
    in_order: bool,
}

fn clients(scene: &Scene) -> Load {
    let options = LoadOptions {
        connections: 10,
        rate: 200,
        patience: u64::try_from(PATIENCE.as_millis()).unwrap(),
        ..LoadOptions::default()
    };
    let load = scene.load(&options).unwrap();
    wait::until("both servers answer", Duration::from_secs(30), || {
        (load.report_of_last(Duration::from_millis(500)).per_server().len() == 2).then_some(())
    });
    load
}

/// Waits until requests that began after `moment` were answered for a while.
fn watch_until(load: &Load, moment: Moment) {
    wait::until("the clients go on for long enough", Duration::from_secs(30), || {
        load.report().samples().last().is_some_and(|sample| sample.at > moment).then_some(())
    });
}

/// Every way of `lbctl lab fail` promises something: a new one does not compile without.
fn promise(how: How) -> Promise {
    let (noticed, in_order) = match how {
        How::Kill | How::Stop | How::Cable => (DOWN_INTERVAL, true),
        // Below intervals of 1 s the frozen node's address outlives the peer's claim by its lease.
        How::Freeze => (DOWN_INTERVAL, false),
        // A worker that does not answer for a second is stalled.
        How::Worker => (SECOND + DOWN_INTERVAL, true),
        // Two checks fail (each up to 500 ms after an interval of 500 ms), then the hold of 1.5 s.
        How::Backends => (Duration::from_millis(2 * (500 + 500) + 1500), true),
    };
    Promise { how, noticed, in_order }
}

/// `Err` is what took too long.
fn fail_and_heal(how: How) -> Result<(), String> {
    let Promise { how, noticed, in_order } = promise(how);
    let scene = Scene::ready(&Options::default());
    let victim = scene.holder();
    let heir = other(&victim);
    let load = clients(&scene);
    let read = scene.record().unwrap().len();

    let at = scene.fail(&victim, how).unwrap();
    // A frozen node keeps the address until its lease ends.
    scene.wait_until_held_by(heir, Duration::from_secs(30)).unwrap();
    let moved = order::first_move(&scene, &victim, read);
    watch_until(&load, moved.added + SECOND * 2);

    let report = load.report();
    let gap = report.gap_around(at);
    let around = report.between(at, moved.added + SECOND * 2);
    println!(
        "{how} {victim}: {heir} holds it after {:?}; {} of {} requests failed, gap {gap:?}; address gone after {:?}",
        moved.added.saturating_since(at),
        around.failed(),
        around.total(),
        moved.removed.map(|removed| removed.saturating_since(at)),
    );
    if around.failed() > 0 {
        println!("{how} {victim}: {:?}", around.failures());
    }
    if in_order {
        assert!(moved.in_order, "{how}: {heir} had the address before {victim} had lost it: {moved:?}");
    }
    within(noticed, gap, &format!("{how}: no answer"))?;
    calm(&report, moved.added + SECOND)?;

    let before_heal = scene.record().unwrap().len();
    let healed = scene.heal(&victim).unwrap();
    watch_until(&load, healed + SECOND);
    scene.wait_until_all_ready().unwrap();
    assert_eq!(scene.holders().unwrap(), [heir], "{how}: healing moves nothing");
    assert_eq!(order::claims(&scene, before_heal), 0, "{how}: healing moves nothing");
    assert!(scene.has_vip(heir) && !scene.has_vip(&victim), "{how}: one owner");
    let whole = load.stop().unwrap();
    calm(&whole, moved.added + SECOND)?;
    assert_eq!(whole.between(healed, healed + SECOND).per_server().len(), 2, "both servers answer");
    Ok(())
}

/// The cable of the Backup is pulled and plugged in again, and then the Active stops: in the moment in which the Backup
/// hears its link, or once it is ready.
fn stop_after_a_healed_cable(wait_until_ready: bool) -> Result<(), String> {
    let scene = Scene::ready(&Options::default());
    let active = scene.holder();
    let healed = other(&active);
    scene.fail(healed, How::Cable).unwrap();
    wait::until("the Backup hears that its cable is out", Duration::from_secs(30), || {
        scene.log(healed, "lbctl").ok()?.contains("has no carrier").then_some(())
    });
    let read = scene.record().unwrap().len();

    thread::scope(|scope| {
        let heal = scope.spawn(|| scene.heal(healed).unwrap());
        if wait_until_ready {
            heal.join().unwrap();
        }
        scene.fail(&active, How::Stop).unwrap();
    });
    scene.wait_until_held_by(healed, Duration::from_secs(30)).unwrap();

    let moved = order::first_move(&scene, &active, read);
    assert!(moved.in_order, "{healed} had the address before {active} had lost it: {moved:?}");
    let gap = moved.removed.map(|removed| moved.added.saturating_since(removed)).unwrap();
    println!("{active} stops, {healed} was healed: nobody has the address for {gap:?}");
    within(DOWN_INTERVAL, gap, "nobody had the address")
}

#[test]
fn backup_whose_cable_was_plugged_in_takes_over_from_an_active_that_stops() {
    in_time(|| stop_after_a_healed_cable(true));
}

#[test]
fn backup_takes_over_from_an_active_that_stops_while_the_cable_is_plugged_in() {
    in_time(|| stop_after_a_healed_cable(false));
}

/// No request fails after `from`.
fn calm(report: &Report, from: Moment) -> Result<(), String> {
    let late: Vec<_> =
        report.samples().iter().filter(|sample| !sample.is_ok() && sample.end() > from).take(5).collect();
    if late.is_empty() {
        Ok(())
    } else {
        Err(format!("requests fail more than 1 s after the move: {late:?}"))
    }
}

#[test]
fn kill_of_the_daemon_removes_the_address_before_the_peer_claims_it() {
    in_time(|| fail_and_heal(How::Kill));
}

#[test]
fn orderly_stop_removes_the_address_before_the_peer_claims_it() {
    in_time(|| fail_and_heal(How::Stop));
}

#[test]
fn pulled_cable_removes_the_address_before_the_peer_claims_it() {
    in_time(|| fail_and_heal(How::Cable));
}

#[test]
fn frozen_node_is_replaced_and_its_address_ends_with_its_lease() {
    in_time(|| fail_and_heal(How::Freeze));
}

#[test]
fn stalled_worker_moves_the_address_in_order() {
    in_time(|| fail_and_heal(How::Worker));
}

#[test]
fn lost_servers_move_the_address_in_order() {
    in_time(|| fail_and_heal(How::Backends));
}

fn speaker_of(scene: &Scene, node: &str) -> Option<i32> {
    let daemon = scene.status().unwrap().node(node).unwrap().pid.unwrap();
    let found = scene.exec(node, ["pgrep", "-x", "-P", &daemon.to_string(), "lbctl-speaker"]).unwrap().stdout;
    found.trim().parse().ok()
}

/// The speaker holds no client's byte: when it dies alone, the daemon starts another one, which goes on as Active.
#[test]
fn kill_of_the_speaker_alone_moves_nothing() {
    // Slow enough that a busy machine starts a process within one and a half intervals.
    Scene::unless_starved(&Options::default().configuration(&slower("1s")), |scene| {
        let holder = scene.holder();
        let load = clients(scene);
        let read = scene.record().unwrap().len();
        let speaker = || speaker_of(scene, &holder);
        let first = speaker().unwrap();

        scene.shell(&holder, &format!("kill -9 {first}"));
        let second = wait::until("another speaker", LONG, || speaker().filter(|found| *found != first));
        scene.wait_until_ready(&holder).unwrap();
        let now = lbctl::lab::now();
        watch_until(&load, now + SECOND);

        assert_eq!(scene.holders().unwrap(), [holder.as_str()]);
        assert_eq!(order::claims(scene, read), 0, "the address was never away");
        assert_eq!(load.stop().unwrap().failed(), 0, "no client noticed; speaker {first}, then {second}");
    });
}

/// Its node sees more servers than the other one and would take the address back each time that it starts.
#[test]
fn speaker_that_keeps_dying_leaves_the_address_to_the_other_node_until_it_lives_on() {
    Scene::unless_starved(&Options::default(), |scene| {
        let holder = scene.holder();
        let heir = other(&holder);
        scene.wait_until_other_is_ready(&holder);
        scene.fail(heir, How::Backends).unwrap();
        let ready_of = |node: &str| scene.status_of(node)["groups"][0]["nodes"][0]["ready"].clone();
        wait::until("the other one is degraded", LONG, || ready_of(heir).get("degraded").map(drop));

        let leaving = || {
            let ready = ready_of(&holder);
            let why = ready["leaving"]["reason"].as_str()?;
            why.strip_prefix("its speaker has died ")?.strip_suffix(" times in a row")?.parse::<u32>().ok()
        };
        // Four deaths that count are enough. That of the first one, which has got up, counts for nothing, nor does that of one which lives
        // for a second before it is killed, as it may on a busy machine.
        let (mut kills, mut last) = (0, None);
        let (times, killed) = loop {
            let next = wait::until("another speaker", LONG, || {
                speaker_of(scene, &holder).filter(|found| last != Some(*found))
            });
            let killed = lbctl::lab::now();
            scene.shell(&holder, &format!("kill -9 {next}"));
            (kills, last) = (kills + 1, Some(next));
            // Shown once the next one says it. Where it does so too late to be seen, one more is killed.
            let told = kills > 4;
            let seen = told.then(|| {
                wait::until("another speaker", LONG, || {
                    speaker_of(scene, &holder).filter(|found| last != Some(*found))
                });
                wait::at_most(Duration::from_millis(500), leaving)
            });
            if let Some(times) = seen.flatten() {
                break (times, killed);
            }
            assert!(kills < 20, "it is not leaving");
        };
        assert!((4..kills).contains(&times), "{times} of {kills} deaths count");
        scene.wait_until_held_by(heir, LONG).unwrap();
        let taken = scene.record().unwrap().len();
        scene.wait_until_held_by(&holder, LONG).unwrap();

        let back = order::first_move(scene, heir, taken);
        assert!(back.added.saturating_since(killed) > 10 * SECOND, "at once: {killed:?}, {back:?}");
        assert_eq!(ready_of(&holder), "yes");
    });
}
