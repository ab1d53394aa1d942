//! Orders of an operator that change what runs and not the file.

use std::{sync::Arc, time::Duration};

use lb_proxy::{
    Pause, config,
    health::orders::{self, Duty, ServerOrders},
};
use tokio::sync::oneshot;

use super::{Daemon, report};
use crate::{
    config::{Config, text},
    control::{
        FrontendOrder, FrontendReport, FrontendRequest, InForce, Ordered, Server, ServerOrder, ServerReport,
        ServerRequest, Status,
    },
};

/// Past the timeout of a check, for its name to be looked up and the loops to come round.
const CHECK_MARGIN: Duration = Duration::from_secs(5);

/// Why nothing has changed. The words are for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// There is nothing of that name.
    Missing(String),
    /// It can't be now.
    Now(String),
}

/// Where the answer to an order goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refused>>;

/// Why an order that came during an upgrade is not carried out here.
pub(super) fn taken_over_by(pid: u32) -> String {
    format!("process {pid} has just taken over, and serves: again")
}

impl Daemon {
    pub(super) fn order_server(&self, request: &ServerRequest, by: &str, reply: Reply<ServerReport>) {
        let found = self.no_order_now().and_then(|()| find_server(&self.config, &request.server));
        let (backend, server) = match found {
            Ok(found) => found,
            Err(refused) => {
                let _ = reply.send(Err(refused));
                return;
            }
        };
        let Some(before) = self.server(&backend, &server) else { return };
        let Some(order) = as_order(&request.order) else {
            return self.check_server(backend, server, before, reply);
        };
        let ordered = self.proxy.order(&backend, &server, order, by);
        let status = self.proxy.status();
        let now = report::server_of(&self.config, &status, &backend, &server).filter(|_| ordered.is_ok());
        let elsewhere =
            ordered.is_ok().then(|| self.earlier.order_server(&backend, &server, &request.order, by));
        let report = now.map(|now| {
            let is_usable = |one: &config::Server| {
                report::server_of(&self.config, &status, &backend, &one.name)
                    .is_some_and(|one| one.is_usable())
            };
            let of = self.config.proxy.backends.iter().find(|one| one.name == backend);
            let is_left = of.is_some_and(|of| of.servers.iter().any(is_usable));
            let notes = notes(&backend, &order, &before, &now, is_left);
            ServerReport { backend, before, now, notes }
        });
        let report = report.ok_or_else(|| Refused::Now("the server has just gone".to_owned()));
        tokio::spawn(async move {
            let before = match elsewhere {
                Some(elsewhere) => elsewhere.await,
                None => 0,
            };
            let _ = reply.send(report.map(|mut report| {
                report.notes.extend(in_flight_before(before));
                report
            }));
        });
    }

    /// What is ordered while another process takes over would be lost: that has been told what was in force before.
    pub(super) fn no_order_now(&self) -> Result<(), Refused> {
        if self.stop.is_some() {
            return Err(Refused::Now("lbctl is about to stop".to_owned()));
        }
        if self.upgrade.is_some() {
            return Err(Refused::Now("an upgrade is under way: try again".to_owned()));
        }
        Ok(())
    }

    fn check_server(&self, backend: String, server: String, before: Server, reply: Reply<ServerReport>) {
        let (proxy, config) = (Arc::clone(&self.proxy), self.config.clone());
        let check = config.proxy.backends.iter().find(|one| one.name == backend);
        let timeout = check.and_then(|one| one.check.as_ref()).map_or(Duration::ZERO, |check| check.timeout);
        tokio::spawn(async move {
            let outcome = match proxy.check_now(&backend, &server, timeout + CHECK_MARGIN).await {
                Ok(_) => {
                    let now = report::server_of(&config, &proxy.status(), &backend, &server);
                    now.map(|now| ServerReport { backend, before, now, notes: Vec::new() })
                        .ok_or_else(|| Refused::Now("the server has just gone".to_owned()))
                }
                Err(error) => Err(Refused::Now(format!("{backend}/{server}: {error}"))),
            };
            let _ = reply.send(outcome);
        });
    }

    fn server(&self, backend: &str, server: &str) -> Option<Server> {
        report::server_of(&self.config, &self.proxy.status(), backend, server)
    }

    pub(super) fn order_frontend(&self, request: &FrontendRequest, by: &str, reply: Reply<FrontendReport>) {
        let known = self.config.proxy.frontends.iter().map(|frontend| frontend.name.as_str());
        let known: Vec<_> = known.collect();
        let name = request.frontend.clone();
        if let Err(refused) = self.no_order_now() {
            let _ = reply.send(Err(refused));
        } else if known.contains(&name.as_str()) {
            let (proxy, by, order) = (Arc::clone(&self.proxy), by.to_owned(), request.order);
            // Not one of the tasks that a stop ends: it is not to be left half-way.
            tokio::spawn(async move {
                let was_paused =
                    report::frontend_of(&proxy.status(), &name).is_some_and(|one| one.paused.is_some());
                let outcome = match order {
                    FrontendOrder::Pause => proxy.pause(&name, &by).await,
                    FrontendOrder::Resume => proxy.resume(&name, &by).await,
                };
                let report = outcome.map_err(|error| error.to_string()).and_then(|()| {
                    let now = report::frontend_of(&proxy.status(), &name);
                    now.ok_or_else(|| "it has just gone".to_owned())
                });
                let refused = |why| Refused::Now(format!("frontend {name}: {why}"));
                let _ = reply.send(report.map(|now| FrontendReport { was_paused, now }).map_err(refused));
            });
        } else {
            let hint = text::suggestion(&name, &known, "frontend");
            let _ = reply.send(Err(Refused::Missing(format!("there is no frontend `{name}`{hint}"))));
        }
    }
}

/// What it is for the proxy; `None` for a check.
pub(super) fn as_order(order: &ServerOrder) -> Option<orders::ServerOrder> {
    Some(match order {
        ServerOrder::Ready => orders::ServerOrder::Duty(Duty::Ready),
        ServerOrder::Drain => orders::ServerOrder::Duty(Duty::Drain),
        ServerOrder::Maint => orders::ServerOrder::Duty(Duty::Maintenance),
        ServerOrder::Weight(weight) => orders::ServerOrder::Weight(weight.0),
        ServerOrder::Check => return None,
    })
}

/// What the report has no other place for.
fn in_flight_before(count: u64) -> Option<String> {
    let verb = if count == 1 { "was" } else { "were" };
    (count > 0).then(|| {
        format!("{count} more {verb} in flight in processes before an upgrade; the order holds there as well")
    })
}

/// What the operator may not have meant. `is_left`: a server of the backend is usable still.
fn notes(
    backend: &str,
    order: &orders::ServerOrder,
    before: &Server,
    now: &Server,
    is_left: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if let orders::ServerOrder::Weight(orders::Weight::Percent(share)) = order
        && *share != 100
        && *share > 0
        && before.weight == now.weight
    {
        notes.push(format!(
            "{share}% make no difference: its weight is still {}; where all servers of {backend} have a weight of 100 in \
             the file, shares count",
            now.weight
        ));
    }
    if before.is_usable() && !is_left {
        notes.push(format!("no server of {backend} is usable any more: new clients get 503"));
    }
    notes
}

/// Names of a backend and of a server in it.
fn find_server(config: &Config, wanted: &str) -> Result<(String, String), Refused> {
    let backends = config.proxy.backends.iter();
    let all = backends
        .flat_map(|backend| backend.servers.iter().map(|server| (backend.name.clone(), server.name.clone())));
    let all: Vec<_> = all.map(|(backend, server)| (format!("{backend}/{server}"), backend, server)).collect();
    if let Some((_, backend, server)) = all.iter().find(|(name, _, _)| name == wanted) {
        return Ok((backend.clone(), server.clone()));
    }
    let names: Vec<_> = all.iter().map(|(name, _, _)| name.as_str()).collect();
    let hint = if wanted.contains('/') { "" } else { "; a server is named BACKEND/SERVER" };
    let hint = format!("{hint}{}", text::suggestion(wanted, &names, "server"));
    Err(Refused::Missing(format!("there is no server `{wanted}`{hint}")))
}

/// Those that are in force, as `lbctl server` takes them.
pub(super) fn ordered(orders: &ServerOrders) -> Vec<Ordered> {
    let duty = orders.duty.as_ref().map(|ordered| Ordered {
        what: match ordered.what {
            Duty::Ready => "ready",
            Duty::Drain => "drain",
            Duty::Maintenance => "maint",
        }
        .to_owned(),
        by: ordered.by.clone(),
        at: ordered.at.into(),
    });
    let weight = orders.weight.as_ref().map(|ordered| Ordered {
        what: format!("weight {}", crate::control::Weight(ordered.what)),
        by: ordered.by.clone(),
        at: ordered.at.into(),
    });
    duty.into_iter().chain(weight).collect()
}

/// As `lbctl frontend` takes it.
pub(super) fn paused(pause: &Pause) -> Ordered {
    Ordered { what: "pause".to_owned(), by: pause.by.clone(), at: pause.at.into() }
}

/// What is not as the file says.
pub(super) fn in_force(status: &Status) -> Vec<InForce> {
    let frontends = status.frontends.iter().filter_map(|frontend| {
        let ordered = frontend.paused.clone()?;
        let name = &frontend.name;
        Some(InForce {
            of: format!("frontend {name}"),
            ordered,
            back: format!("lbctl frontend {name} resume"),
        })
    });
    let servers = status.backends.iter().flat_map(|backend| {
        let in_force = |server: &Server, ordered: &Ordered| {
            let of = format!("{}/{}", backend.name, server.name);
            let back = match ordered.what.as_str() {
                "drain" | "maint" => "ready",
                // Of one that is disabled in the file.
                "ready" => "maint",
                _ => "weight 100%",
            };
            let back = format!("lbctl server {of} {back}");
            InForce { of, ordered: ordered.clone(), back }
        };
        let servers = backend.servers.iter();
        let differ = |ordered: &&Ordered| ordered.by != orders::FILE;
        servers
            .flat_map(|server| {
                server.ordered.iter().filter(differ).map(|one| in_force(server, one)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    });
    let node = status.drained.iter().map(|ordered| InForce {
        of: format!("node {}", status.node),
        ordered: ordered.clone(),
        back: "lbctl resume".to_owned(),
    });
    node.chain(frontends).chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[listen.web]\nbind = \"127.0.0.1:8000\"\nservers = [\"127.0.0.1:1\"]\n\
                        [backend.app]\nserver.web1 = { address = \"127.0.0.1:2\" }\nserver.web2 = { address = \"127.0.0.1:3\" }\n";

    #[test]
    fn a_name_that_is_wrong_is_answered_with_the_nearest_one() {
        let config = crate::config::parse(FILE, "lb.toml").expect("a good file");
        assert_eq!(find_server(&config, "app/web2"), Ok(("app".to_owned(), "web2".to_owned())));
        let missing = |name| match find_server(&config, name) {
            Err(Refused::Missing(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing("app/wbe1"), "there is no server `app/wbe1`; did you mean `app/web1`?");
        assert!(missing("nothing").contains("BACKEND/SERVER; servers are `"), "{}", missing("nothing"));
    }
}
