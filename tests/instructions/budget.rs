//! How many instructions each kind of request may need, and what a count says of that.

use std::{collections::BTreeMap, fmt};

use anyhow::Context as _;

use crate::kinds::Kind;

/// More than so many of a hundred above the budget is too many; so many below it, and the budget has to be lowered.
const TOLERANCE: u64 = 3;

/// `budget.txt`.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// That it was counted with.
    pub(crate) compiler: String,
    instructions: BTreeMap<String, u64>,
}

/// What a count says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// None was set.
    New,
    Held {
        budget: u64,
    },
    Over {
        budget: u64,
        by_tenths: u64,
    },
    /// The budget is no guard any more: what was won may be lost again, and nobody is told.
    Under {
        budget: u64,
        by_tenths: u64,
    },
}

impl Budget {
    /// # Errors
    /// A line is none of a budget.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut budget = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (name, value) = line
                .split_once(" = ")
                .with_context(|| format!("budget.txt:{}: expected NAME = VALUE", index + 1))?;
            if name == "compiler" {
                value.clone_into(&mut budget.compiler);
                continue;
            }
            let value = value.parse().with_context(|| format!("budget.txt:{}: {value}", index + 1))?;
            budget.instructions.insert(name.to_owned(), value);
        }
        Ok(budget)
    }

    pub(crate) fn verdict(&self, kind: Kind, counted: u64) -> Verdict {
        let Some(&budget) = self.instructions.get(kind.name()) else { return Verdict::New };
        let by_tenths = counted.abs_diff(budget) * 1000 / budget.max(1);
        let differs = counted.abs_diff(budget) * 100 > budget * TOLERANCE;
        match (differs, counted > budget) {
            (false, _) => Verdict::Held { budget },
            (true, true) => Verdict::Over { budget, by_tenths },
            (true, false) => Verdict::Under { budget, by_tenths },
        }
    }

    pub(crate) fn set(&mut self, kind: Kind, instructions: u64, compiler: &str) {
        compiler.clone_into(&mut self.compiler);
        self.instructions.insert(kind.name().to_owned(), instructions);
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions of the release build for one request, by kind, counted by callgrind; .ci/run compares.\n\
             # More than {TOLERANCE} % above or below is red. cargo run --locked -p lb-tests --bin instructions -- --write: in the commit that needs it."
        )?;
        writeln!(f, "compiler = {}", self.compiler)?;
        self.instructions.iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |tenths: &u64| format!("{}.{} %", tenths / 10, tenths % 10);
        match self {
            Self::New => f.write_str("it has no budget yet"),
            Self::Held { budget } => write!(f, "within the budget of {budget}"),
            Self::Over { budget, by_tenths } => {
                write!(f, "OVER the budget of {budget} by {}", percent(by_tenths))
            }
            Self::Under { budget, by_tenths } => {
                write!(f, "UNDER the budget of {budget} by {}: lower that", percent(by_tenths))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\ncompiler = rustc 1.0\nexchange = 10000\n";

    #[test]
    fn three_in_a_hundred_above_are_held_and_one_more_is_over() {
        let budget = Budget::parse(FILE).unwrap();
        let verdict = |counted| budget.verdict(Kind::Exchange, counted);
        assert_eq!(verdict(10_300), Verdict::Held { budget: 10_000 });
        assert_eq!(verdict(10_301), Verdict::Over { budget: 10_000, by_tenths: 30 });
        assert_eq!(verdict(9_700), Verdict::Held { budget: 10_000 });
        assert_eq!(verdict(9_699), Verdict::Under { budget: 10_000, by_tenths: 30 });
        assert_eq!(budget.verdict(Kind::Tcp, 1), Verdict::New);
    }

    #[test]
    fn what_is_said_names_budget_and_distance() {
        let over = Verdict::Over { budget: 10_000, by_tenths: 123 };
        assert_eq!(over.to_string(), "OVER the budget of 10000 by 12.3 %");
        let under = Verdict::Under { budget: 10_000, by_tenths: 40 };
        assert_eq!(under.to_string(), "UNDER the budget of 10000 by 4.0 %: lower that");
    }

    #[test]
    fn a_budget_is_read_as_it_was_written() {
        let mut budget = Budget::parse(FILE).unwrap();
        budget.set(Kind::Tcp, 4_000, "rustc 2.0");
        let text = budget.to_string();
        assert!(text.ends_with("compiler = rustc 2.0\nexchange = 10000\ntcp = 4000\n"), "{text}");
        let again = Budget::parse(&text).unwrap();
        assert_eq!(again.verdict(Kind::Tcp, 4_000), Verdict::Held { budget: 4_000 });
        assert_eq!(again.verdict(Kind::Exchange, 10_000), Verdict::Held { budget: 10_000 });
    }

    #[test]
    fn a_line_that_is_no_number_says_where_it_is() {
        let error = Budget::parse("compiler = a\ntcp = many\n").unwrap_err();
        assert!(format!("{error:#}").starts_with("budget.txt:2: many"), "{error:#}");
        assert!(Budget::parse("tcp\n").is_err());
    }
}
