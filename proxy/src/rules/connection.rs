//! Rules on a connection of a tcp frontend.

use super::{
    Action, Rule, Subject,
    program::{Program, Programs, Step},
};
use crate::{config::BackendId, sample::Facts};

/// What becomes of a connection of a tcp frontend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) backend: Option<BackendId>,
    /// The server that a rule has chosen, and of which backend it is.
    server: Option<(BackendId, usize)>,
    /// It may go to any server, whichever its client had.
    pub(crate) ignores_persistence: bool,
    /// A rule has chosen the backend.
    pub(crate) is_chosen: bool,
    /// A rule refuses it.
    pub(crate) is_refused: bool,
    /// A rule wants no line of it in the log.
    pub(crate) is_silent: bool,
}

impl Judgement {
    /// It goes where no rule sends it.
    pub(crate) fn of_default(backend: Option<BackendId>) -> Self {
        Self { backend, ..Self::default() }
    }

    /// The server of its backend that a rule has chosen, by its index.
    pub(crate) fn server(&self) -> Option<usize> {
        self.server.filter(|(of, _)| Some(*of) == self.backend).map(|(_, server)| server)
    }
}

impl Programs {
    /// Runs the rules of `frontend` on a connection, then those of the backend that was chosen. `is_usable` says if a rule may choose a server at this moment, `count_usable` how many of a backend can be used.
    pub(crate) fn run_connection(
        &self,
        frontend: usize,
        default: Option<BackendId>,
        facts: &Facts<'_>,
        is_usable: &dyn Fn(BackendId, usize) -> bool,
        count_usable: &dyn Fn(BackendId) -> usize,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let run =
            |program: &Option<Program>, rules: &[Rule], facts: &Facts<'_>, judgement: &mut Judgement| {
                if let Some(program) = program {
                    program.judge(rules, facts, is_usable, count_usable, judgement);
                }
            };
        run(&self.frontends[frontend], &self.config.frontends[frontend].rules, facts, &mut judgement);
        if judgement.is_refused {
            return judgement;
        }
        judgement.is_chosen = judgement.backend.is_some();
        judgement.backend = judgement.backend.or(default);
        if let Some(backend) = judgement.backend {
            let config = &self.config.backends[backend.0];
            let facts = Facts { backend: Some(&config.name), ..*facts };
            run(&self.backends[backend.0], &config.rules, &facts, &mut judgement);
        }
        judgement
    }
}

impl Program {
    /// Completes `judgement`.
    fn judge(
        &self,
        rules: &[Rule],
        facts: &Facts<'_>,
        is_usable: &dyn Fn(BackendId, usize) -> bool,
        count_usable: &dyn Fn(BackendId) -> usize,
        judgement: &mut Judgement,
    ) {
        let rules = self.steps.iter().filter_map(|step| match step {
            Step::Rule(place) => rules.get(*place),
            // Only requests have hosts.
            Step::Hosts(..) | Step::OfHosts(_) => None,
        });
        let subject = Subject { facts, message: None, count_usable };
        for rule in rules.filter(|rule| rule.when.holds(&subject)) {
            for action in &rule.then {
                match action {
                    Action::Reject => {
                        judgement.is_refused = true;
                        return;
                    }
                    Action::Allow => return,
                    Action::Log(wanted) => judgement.is_silent = !wanted,
                    Action::Backend(backend) => judgement.backend = judgement.backend.or(Some(*backend)),
                    Action::BackendNamed(named) if judgement.backend.is_none() => {
                        judgement.backend = named.choose(facts, &mut Vec::new());
                    }
                    Action::Server { backend, server } => {
                        let is_chosen = judgement.server.is_some_and(|(of, _)| of == *backend);
                        if !is_chosen && is_usable(*backend, *server) {
                            judgement.server = Some((*backend, *server));
                        }
                    }
                    Action::IgnorePersistence => judgement.ignores_persistence = true,
                    // The others need a request: nothing of mode tcp has them.
                    _ => {}
                }
            }
        }
    }
}
