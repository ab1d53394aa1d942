//! HAProxy's lists of rules as one: what ends one of them is a condition of the rules behind it.

use super::{AUTH, Made, Rule};
use crate::{
    config::diagnostic::Span,
    import::{document::Value, haproxy::cond::Cond},
};

/// One line, read.
pub(super) struct Step {
    pub(super) list: u8,
    pub(super) cond: Cond,
    pub(super) made: Made,
    pub(super) span: Span,
}

/// One list of ours. What `allow` spares is spared by conditions, since the lists behind it go on; `goes_on` says that
/// something of ours stands behind the last of them.
pub(super) fn settle(steps: Vec<Step>, goes_on: bool) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    // The current list, and the conditions of its `allow`.
    let mut spared: (u8, Vec<Cond>) = (0, Vec::new());
    let last = steps.last().map(|step| step.list).filter(|_| !goes_on);
    let mut variables = 0;
    let outline: Vec<(u8, bool)> = steps.iter().map(|step| (step.list, step.made.is_edit())).collect();
    for (at, step) in steps.into_iter().enumerate() {
        if spared.0 != step.list {
            spared = (step.list, Vec::new());
        }
        let own = Cond::all(spared.1.iter().cloned().map(Cond::not).chain([step.cond]));
        match step.made {
            Made::Accept => {
                let behind: Vec<bool> = outline[at + 1..]
                    .iter()
                    .filter(|(list, _)| *list == step.list)
                    .map(|(_, edit)| *edit)
                    .collect();
                let Some((_, between)) = behind.split_last() else { continue };
                if own == Cond::Never {
                    continue;
                }
                // A password is asked for by the rule behind it, and by no `allow`.
                if Some(step.list) == last && !own.mentions(&[AUTH]) {
                    rules.push(Rule {
                        cond: own,
                        does: vec![("allow".into(), Value::Flag(true))],
                        span: step.span,
                        note: None,
                    });
                } else if between.contains(&true) {
                    // What it asks may be changed before it would be asked again, so the answer is kept.
                    variables += 1;
                    let name = format!("import_allowed_{variables}");
                    let does = vec![("set_var".into(), Value::table([(&name, Value::text("1"))]))];
                    rules.push(Rule { cond: own, does, span: step.span, note: None });
                    spared.1.push(Cond::named("value", format!("{{var.{name}}}"), vec![Value::text("1")]));
                } else {
                    spared.1.push(own);
                }
            }
            Made::Rule { does, note } => {
                if own != Cond::Never {
                    rules.push(Rule { cond: own, does, span: step.span, note });
                }
            }
            // Its condition is that of the step.
            Made::Where(..)
            | Made::Key(..)
            | Made::Capture(_)
            | Made::ExpectProxy
            | Made::Metrics
            | Made::Track(_)
            | Made::Nothing => {}
        }
    }
    rules
}
