//! Rules compiled for running: in order, and neighbours that are for some hosts alone as one lookup. The rules themselves are those of the
//! configuration, which a large file has once.

mod act;

use std::{sync::Arc, time::Duration};

use super::{
    Action, AmbiguousPath, Condition, RequireAuth, Rule, Subject, UsedFields,
    client_hello::looks_at_client_hello,
    copies::looks_at_path,
    host::{HostIndex, OfHosts, chooses_by_host, hosts_of},
    parameters::{Compared, without_parameters},
};
use crate::{
    auth::{Gate, Question},
    config::{BackendId, Config, Frontend, HeaderNames, Statistics},
    http::{head::Malformed, headers::is_protected, message::Message},
    sample::{Facts, RequestFacts, Scope, VariableId, VariableName, Variables, Wanted},
    table::Tables,
};

/// The rules of all frontends and backends.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(super) config: Arc<Config>,
    pub(super) frontends: Box<[Option<Program>]>,
    pub(super) backends: Box<[Option<Program>]>,
    frontend_responses: Box<[Option<Program>]>,
    backend_responses: Box<[Option<Program>]>,
    /// What those of each frontend name of the request, and those of each backend.
    frontend_wants: Box<[Wanted]>,
    backend_wants: Box<[Wanted]>,
    /// By frontend: some rule on a response to one of its requests names something of the request.
    wants_request: Box<[bool]>,
    /// By frontend: some rule that a request may meet looks at its path.
    path_matters: Box<[bool]>,
    /// By frontend: how a client begins TLS matters.
    wants_client_hello: Box<[bool]>,
    /// By frontend.
    header_names: Box<[HeaderNames]>,
    /// By frontend.
    statistics: Box<[Option<Page>]>,
    /// By frontend: some rule that a request may meet wants to know who sent it.
    asks_who: Box<[bool]>,
    used_fields: UsedFields,
    written_fields: UsedFields,
    /// What rules on responses look at and write, by frontend and by backend.
    frontend_response_fields: Box<[UsedFields]>,
    backend_response_fields: Box<[UsedFields]>,
    /// Those that live as long as a client's connection, which may outlive this configuration.
    session_variables: Box<[SessionVariable]>,
}

#[derive(Debug)]
struct SessionVariable {
    name: VariableName,
    id: VariableId,
    /// The conditions and texts of the rules that set it, as they are shown.
    set_by: String,
}

/// How one list of rules is gone through.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Box<[Step]>,
}

/// What rules are named by is their place in the list.
#[derive(Debug)]
pub(super) enum Step {
    Rule(usize),
    /// Rules that only choose by host: what each position of the index chooses.
    Hosts(HostIndex<usize>, Vec<BackendId>),
    /// Rules that are for some hosts alone, of which none but the last changes the host.
    OfHosts(OfHosts),
}

/// Where statistics are, and who may see them.
#[derive(Debug)]
struct Page {
    statistics: Statistics,
    rules: Vec<Rule>,
    access: Option<Program>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict<'r> {
    /// It goes to this backend.
    Forward(Option<BackendId>),
    /// It is answered with the page of this status.
    Deny(u16),
    /// It waits, and is answered with the page of this status.
    Tarpit(u16),
    /// Its like comes too often: it is answered with the page of this status.
    Limited {
        status: u16,
        /// When another one may.
        retry_after: Duration,
    },
    /// It is for the statistics, and may be.
    Statistics,
    /// It is answered with a redirection.
    Redirect(&'r super::Redirect),
    /// It is answered with what a rule says.
    Respond(&'r super::Respond),
    /// It is answered with the challenge of a rule that asks for a password.
    Challenge(&'r RequireAuth),
    /// Nothing yet: this has to be found out first, then the rules run anew.
    Unknown(Box<Question>),
}

/// What the client gets instead of a server's response.
#[derive(Debug)]
pub(crate) enum Instead<'r> {
    /// The page of this status.
    Page(u16),
    /// What a rule says.
    Answer(&'r super::Respond),
}

/// The request that rules run on.
pub(crate) struct Run<'w, 'f, 'm> {
    pub(crate) message: &'w mut Message<'m>,
    /// Everything else that is known of it; `client` is corrected here by rules.
    pub(crate) facts: Facts<'f>,
    /// Those of the request.
    pub(crate) variables: &'w mut Variables,
    /// Those of the client's connection.
    pub(crate) session: &'w mut Variables,
    /// A path that a rule has rewritten is brought to its normal form, as the received one was; and rules look at it
    /// without parameters.
    pub(crate) settles: bool,
    /// The target without them; empty if it has none.
    pub(crate) compared: &'w mut Vec<u8>,
    /// Room to write a value in.
    pub(crate) work: &'w mut Vec<u8>,
    /// Who can say who sent the request; nobody can of a response.
    pub(crate) gate: Option<Gate<'w>>,
    /// A rule wants it: the request may go to any server, whichever its client had.
    pub(crate) ignores_persistence: bool,
    pub(crate) is_chosen: bool,
    /// The backend whose rules have run, if those of the frontend have not answered.
    pub(crate) entered: Option<BackendId>,
    /// What a rule says of its line in the log.
    pub(crate) is_logged: Option<bool>,
    /// The server that a rule has chosen, and of which backend it is.
    pub(crate) server: Option<(BackendId, usize)>,
    /// May a rule choose this server at this moment?
    pub(crate) is_usable: &'w dyn Fn(BackendId, usize) -> bool,
    /// How many servers of this backend can be used at this moment.
    pub(crate) count_usable: &'w dyn Fn(BackendId) -> usize,
    pub(crate) tables: &'w Tables,
    /// So many limits have counted the request already, in an earlier run of its rules.
    pub(crate) counted: usize,
    /// So many has it met in this one.
    pub(crate) limits: usize,
    /// The clock of the tables.
    pub(crate) now: &'w dyn Fn() -> Duration,
}

enum Flow<'r> {
    Next,
    Leave,
    Answer(Verdict<'r>),
}

impl Programs {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        let frontend_wants: Box<[_]> =
            config.frontends.iter().map(|frontend| wanted(&frontend.response_rules)).collect();
        let backend_wants: Box<[_]> =
            config.backends.iter().map(|backend| wanted(&backend.response_rules)).collect();
        let wants_request = config.frontends.iter().zip(&frontend_wants).map(|(frontend, own)| {
            !own.is_nothing() || frontend.backends().any(|backend| !backend_wants[backend.0].is_nothing())
        });
        let wants_request = wants_request.collect();
        let asks_who = |frontend: &Frontend| {
            let of_backends = frontend.backends().flat_map(|backend| &config.backends[backend.0].rules);
            let actions = frontend.rules.iter().chain(of_backends).flat_map(|rule| &rule.then);
            let asks = actions
                .into_iter()
                .any(|action| matches!(action, Action::RequireAuth(_) | Action::AskAuth(..)));
            asks || frontend.statistics.as_ref().is_some_and(|page| page.users.is_some())
        };
        Self {
            config: Arc::clone(config),
            frontends: config.frontends.iter().map(|frontend| Program::new(&frontend.rules)).collect(),
            backends: config.backends.iter().map(|backend| Program::new(&backend.rules)).collect(),
            frontend_responses: config
                .frontends
                .iter()
                .map(|frontend| Program::new(&frontend.response_rules))
                .collect(),
            backend_responses: config
                .backends
                .iter()
                .map(|backend| Program::new(&backend.response_rules))
                .collect(),
            frontend_wants,
            backend_wants,
            wants_request,
            path_matters: config
                .frontends
                .iter()
                .map(|frontend| looks_at_path(frontend, &config.backends))
                .collect(),
            wants_client_hello: config
                .frontends
                .iter()
                .map(|frontend| looks_at_client_hello(frontend, &config.backends))
                .collect(),
            header_names: config.frontends.iter().map(|frontend| frontend.options.header_names).collect(),
            statistics: config
                .frontends
                .iter()
                .map(|frontend| frontend.statistics.as_ref().map(Page::new))
                .collect(),
            asks_who: config.frontends.iter().map(asks_who).collect(),
            used_fields: UsedFields::new(&config.frontends, &config.backends),
            written_fields: UsedFields::written(&config.frontends, &config.backends),
            frontend_response_fields: config
                .frontends
                .iter()
                .map(|frontend| UsedFields::of_responses(&frontend.response_rules))
                .collect(),
            backend_response_fields: config
                .backends
                .iter()
                .map(|backend| UsedFields::of_responses(&backend.response_rules))
                .collect(),
            session_variables: session_variables(config),
        }
    }

    /// What a client can't have dropped from its requests.
    pub(crate) fn used_fields(&self) -> &UsedFields {
        &self.used_fields
    }

    /// May a request not have a trailer called `name`? Rules looked at the head, and would be got round; and a client would say
    /// who it is where only proxies do.
    pub(crate) fn bars_trailer(&self, name: &[u8]) -> bool {
        is_protected(name) || self.used_fields.has(name) || self.written_fields.has(name)
    }

    /// Does a rule on responses of `backend` that go out by `frontend` look at the field called `name`, or write it?
    pub(crate) fn rule_response_field(&self, frontend: usize, backend: BackendId, name: &[u8]) -> bool {
        self.frontend_response_fields[frontend].has(name) || self.backend_response_fields[backend.0].has(name)
    }

    /// What the variable `id` of scope `session` is under `other`, if the rules that set it are the same there: what other
    /// rules have set means something else.
    pub(crate) fn session_variable_under(&self, other: &Self, id: VariableId) -> Option<VariableId> {
        let own = self.session_variables.iter().find(|own| own.id == id)?;
        let others = &mut other.session_variables.iter();
        others.find(|other| other.name == own.name && other.set_by == own.set_by).map(|other| other.id)
    }

    /// Is the path of a request of the frontend `id` brought to one form, because a rule may look at it?
    pub(crate) fn settles(&self, id: usize, frontend: &Frontend) -> bool {
        self.path_matters[id] && frontend.ambiguous_path != AmbiguousPath::Pass
    }

    /// May the rules of a request of `frontend` want to know who sent it, and so run more than once?
    pub(crate) fn ask_who(&self, frontend: usize) -> bool {
        self.asks_who[frontend]
    }

    /// Is the ClientHello of connections to `frontend` waited for?
    pub(crate) fn wants_client_hello(&self, frontend: usize) -> bool {
        self.wants_client_hello[frontend]
    }

    /// Is there anything to run on a request of `frontend` that goes to its default backend? Rules of another backend
    /// run only if a rule has chosen it.
    pub(crate) fn concern(&self, frontend: usize, default: Option<BackendId>) -> bool {
        self.frontends[frontend].is_some()
            || self.header_names[frontend] != HeaderNames::Preserve
            || default.is_some_and(|backend| self.backends[backend.0].is_some())
    }

    /// Is there anything to run on a response of `backend` that goes out by `frontend`?
    pub(crate) fn concern_response(&self, frontend: usize, backend: BackendId) -> bool {
        self.frontend_responses[frontend].is_some() || self.backend_responses[backend.0].is_some()
    }

    /// May a rule on the response to a request of `frontend` name something of the request?
    pub(crate) fn wants_request(&self, frontend: usize) -> bool {
        self.wants_request[frontend]
    }

    /// What rules on responses of `backend` that go out by `frontend` name of the request.
    pub(crate) fn wanted(&self, frontend: usize, backend: BackendId) -> [&Wanted; 2] {
        [&self.backend_wants[backend.0], &self.frontend_wants[frontend]]
    }

    /// Runs the response rules of `backend`, then those of `frontend`: the way back. What is answered instead, if one of them
    /// refuses or replaces the response.
    pub(crate) fn run_response<'p: 'f, 'f>(
        &'p self,
        frontend: usize,
        backend: BackendId,
        run: &mut Run<'_, 'f, '_>,
    ) -> Result<Option<Instead<'p>>, Malformed> {
        run.compare();
        let (of_backend, of_frontend) = (&self.config.backends[backend.0], &self.config.frontends[frontend]);
        let programs = [
            (&self.backend_responses[backend.0], &of_backend.response_rules),
            (&self.frontend_responses[frontend], &of_frontend.response_rules),
        ];
        for (program, rules) in programs {
            let Some(program) = program else { continue };
            match program.run(rules, run, &mut None)? {
                Flow::Answer(Verdict::Deny(status)) => return Ok(Some(Instead::Page(status))),
                Flow::Answer(Verdict::Respond(respond)) => return Ok(Some(Instead::Answer(respond))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Runs the rules of `frontend`, then those of the backend that was chosen.
    pub(crate) fn run<'p: 'f, 'f>(
        &'p self,
        frontend: usize,
        default: Option<BackendId>,
        run: &mut Run<'_, 'f, '_>,
    ) -> Result<Verdict<'p>, Malformed> {
        run.compare();
        let mut chosen = None;
        if let Some(program) = &self.frontends[frontend]
            && let Flow::Answer(verdict) =
                program.run(&self.config.frontends[frontend].rules, run, &mut chosen)?
        {
            return Ok(verdict);
        }
        if run.message.has_odd_names() {
            match self.header_names[frontend] {
                HeaderNames::Preserve => {}
                HeaderNames::Delete => run.message.remove_odd_names(),
                HeaderNames::Reject => return Ok(Verdict::Deny(403)),
            }
        }
        if let Some(page) = &self.statistics[frontend]
            && page.statistics.takes(run.message.target())
        {
            let access = page.access.as_ref().map(|program| program.run(&page.rules, run, &mut None));
            let access = access.transpose()?;
            return Ok(match access {
                Some(Flow::Answer(verdict)) => verdict,
                None | Some(Flow::Next | Flow::Leave) => Verdict::Statistics,
            });
        }
        run.is_chosen = chosen.is_some();
        let backend = chosen.or(default);
        run.entered = backend;
        run.facts.backend = backend.map(|backend| self.config.backends[backend.0].name.as_str());
        if let Some(backend) = backend
            && let Some(program) = &self.backends[backend.0]
            && let Flow::Answer(verdict) =
                program.run(&self.config.backends[backend.0].rules, run, &mut chosen)?
        {
            return Ok(verdict);
        }
        Ok(Verdict::Forward(backend))
    }
}

impl Page {
    fn new(statistics: &Statistics) -> Self {
        let rules = statistics.rules();
        Self { statistics: statistics.clone(), access: Program::new(&rules), rules }
    }
}

impl Program {
    /// `None` without rules: then nothing is run at all.
    fn new(rules: &[Rule]) -> Option<Self> {
        let (mut steps, mut at) = (Vec::new(), 0);
        while at < rules.len() {
            let (neighbours, of_hosts) = Self::of_hosts(rules, at);
            let chosen: Vec<_> = rules[at..at + neighbours].iter().map_while(chooses_by_host).collect();
            steps.push(match neighbours {
                1.. if chosen.len() == neighbours => {
                    let (mut index, mut backends) = (HostIndex::default(), Vec::new());
                    for (hosts, backend) in chosen {
                        hosts.patterns().iter().for_each(|one| index.add(one, backends.len()));
                        backends.push(backend);
                    }
                    Step::Hosts(index, backends)
                }
                2.. => Step::OfHosts(of_hosts),
                _ => Step::Rule(at),
            });
            at += neighbours.max(1);
        }
        (!steps.is_empty()).then(|| Self { steps: steps.into() })
    }

    /// How many rules from `at` on can be found by their hosts, all of them before one of them acts.
    fn of_hosts(rules: &[Rule], at: usize) -> (usize, OfHosts) {
        let (mut number, mut index) = (0, OfHosts::default());
        for (rule, place) in rules[at..].iter().zip(at..) {
            let (Some(hosts), Ok(place)) = (hosts_of(&rule.when), u32::try_from(place)) else { break };
            if !index.add(hosts, place) {
                break;
            }
            number += 1;
            if rule.then.iter().any(Action::may_change_host) {
                break;
            }
        }
        (number, index)
    }

    fn run<'r>(
        &'r self,
        rules: &'r [Rule],
        run: &mut Run<'_, '_, '_>,
        chosen: &mut Option<BackendId>,
    ) -> Result<Flow<'r>, Malformed> {
        for step in &self.steps {
            match step {
                Step::Hosts(index, backends) => {
                    if chosen.is_none() {
                        let found = run.message.host().and_then(|host| index.find(host));
                        *chosen = found.and_then(|position| backends.get(position).copied());
                    }
                }
                Step::Rule(place) => match run.follow(&rules[*place], chosen)? {
                    Flow::Next => {}
                    end @ (Flow::Leave | Flow::Answer(_)) => return Ok(end),
                },
                Step::OfHosts(index) => {
                    let facts = run.facts();
                    let host = facts.request.and_then(RequestFacts::authority);
                    for place in host.map(|host| index.of(host)).into_iter().flatten() {
                        match run.follow(&rules[place], chosen)? {
                            Flow::Next => {}
                            end @ (Flow::Leave | Flow::Answer(_)) => return Ok(end),
                        }
                    }
                }
            }
        }
        Ok(Flow::Next)
    }
}

/// What rules on responses name of the request.
fn wanted(rules: &[Rule]) -> Wanted {
    let mut wanted = Wanted::default();
    for rule in rules {
        rule.when.want(&mut wanted);
        rule.then.iter().for_each(|action| action.want(&mut wanted));
    }
    wanted
}

fn session_variables(config: &Config) -> Box<[SessionVariable]> {
    let of_frontends = config.frontends.iter().flat_map(|one| one.rules.iter().chain(&one.response_rules));
    let of_backends = config.backends.iter().flat_map(|one| one.rules.iter().chain(&one.response_rules));
    let mut variables: Vec<SessionVariable> = Vec::new();
    for rule in of_frontends.chain(of_backends) {
        for action in &rule.then {
            let Action::SetVariable(name, id, text) = action else { continue };
            if id.scope() != Scope::Session {
                continue;
            }
            let set_by = format!("{:?} {text:?}\n", rule.when);
            match variables.iter_mut().find(|known| known.id == *id) {
                Some(known) => known.set_by += &set_by,
                None => variables.push(SessionVariable { name: name.clone(), id: *id, set_by }),
            }
        }
    }
    variables.into()
}

impl Run<'_, '_, '_> {
    /// Does what the rule says, if its condition holds.
    fn follow<'r>(&mut self, rule: &'r Rule, chosen: &mut Option<BackendId>) -> Result<Flow<'r>, Malformed> {
        if !self.holds(&rule.when) {
            return Ok(Flow::Next);
        }
        for action in &rule.then {
            match self.act(action, chosen)? {
                Flow::Next => {}
                end @ (Flow::Leave | Flow::Answer(_)) => return Ok(end),
            }
        }
        Ok(Flow::Next)
    }

    fn holds(&self, condition: &Condition) -> bool {
        let message = Some(&*self.message);
        let count_usable = self.count_usable;
        self.with_compared(|facts| condition.holds(&Subject { facts, message, count_usable }))
    }

    /// With what is known now as conditions and limits see it.
    pub(super) fn with_compared<R>(&self, then: impl FnOnce(&Facts<'_>) -> R) -> R {
        let facts = self.facts();
        match facts.request {
            Some(request) if !self.compared.is_empty() => {
                let request = Compared { request, target: self.compared };
                then(&Facts { request: Some(&request), ..facts })
            }
            _ => then(&facts),
        }
    }

    /// Looks at the target anew.
    fn compare(&mut self) {
        self.compared.clear();
        if !self.settles {
            return;
        }
        match self.facts.request {
            // In a response.
            Some(request) => without_parameters(request.target(), self.compared),
            None => without_parameters(self.message.target(), self.compared),
        }
    }

    /// What is known now, with the message in it.
    pub(crate) fn facts(&self) -> Facts<'_> {
        let message = &*self.message;
        let known = Facts { variables: self.variables, session: self.session, ..self.facts };
        if message.status() == 0 {
            Facts { request: Some(message), ..known }
        } else {
            Facts { response: Some(message), ..known }
        }
    }
}
