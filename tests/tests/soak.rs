//! One minute of `tests/bench/soak`.

use lb_tests::{scene::Scene, soak};

#[test]
fn every_request_that_fails_in_a_minute_of_reloads_and_faults_is_explained_by_a_fault() {
    Scene::unless_starved(&soak::options(), |scene| {
        let report = soak::run(scene, 1, |text| println!("{text}"));
        println!("{report}");
        assert!(report.wrong().is_empty(), "{report}");
        assert!(report.windows.len() >= 2 && report.reloads >= 3, "{report}");
        // How many is a matter of the machine.
        let answered = &report.answered;
        assert!(answered.len() == 6 && answered.values().all(|&count| count > 0), "{answered:?} {report}");
    });
}
