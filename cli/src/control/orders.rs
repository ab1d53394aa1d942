//! Orders of an operator that change what runs and not the file: `POST /v1/server`, `POST /v1/frontend`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Frontend, Server, Timestamp};
use crate::output::age::age;

/// Body of `POST /v1/server`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerRequest {
    /// `BACKEND/SERVER`
    pub server: String,
    /// What is wanted of it.
    pub order: ServerOrder,
}

/// What a server is to do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerOrder {
    /// Serve as the file says: takes `drain` and `maint` back.
    Ready,
    /// Serve only clients that had it before.
    Drain,
    /// Serve nobody.
    Maint,
    /// Have this weight.
    Weight(Weight),
    /// Be checked now.
    Check,
}

/// A weight: `7` (0..=256), or `50%` of that of the file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Weight(pub lb_proxy::health::orders::Weight);

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use lb_proxy::health::orders::Weight::{Absolute, Percent};
        let wrong = || format!("a weight is 0..256, or a share of that of the file like 50%; found `{text}`");
        let (digits, is_share) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        match u16::try_from(number) {
            _ if is_share => Ok(Self(Percent(number))),
            Ok(weight) if weight <= 256 => Ok(Self(Absolute(weight))),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Weight {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Weight> for String {
    fn from(weight: Weight) -> Self {
        weight.to_string()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use lb_proxy::health::orders::Weight::{Absolute, Percent};
        match self.0 {
            Absolute(weight) => weight.fmt(f),
            Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Answer of `POST /v1/server`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerReport {
    /// Its backend.
    pub backend: String,
    /// As it was.
    pub before: Server,
    /// As it is now.
    pub now: Server,
    /// What whoever ordered it may not have meant, one sentence each without a full stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Body of `POST /v1/frontend`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FrontendRequest {
    /// Its name.
    pub frontend: String,
    /// What is wanted of it.
    pub order: FrontendOrder,
}

/// What a frontend is to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrontendOrder {
    /// Refuse new connections.
    Pause,
    /// Take new connections again.
    Resume,
}

/// Answer of `POST /v1/frontend`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FrontendReport {
    /// It was paused before.
    pub was_paused: bool,
    /// As it is now.
    pub now: Frontend,
}

/// An order that is in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ordered {
    /// As the verb takes it: `drain`, `weight 50%`, `pause`.
    pub what: String,
    /// A user, or a signal.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An order that is in force, and whom it was given.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InForce {
    /// `app/web1`, `frontend web`
    pub of: String,
    /// What, by whom.
    #[serde(flatten)]
    pub ordered: Ordered,
    /// The command that takes it back.
    pub back: String,
}

impl InForce {
    /// For a person, at that time.
    pub fn sentence(&self, at: Timestamp) -> String {
        let Self { of, ordered: Ordered { what, by, at: since }, back } = self;
        format!("{of} has `{what}` by {by} for {}; to take it back: {back}", age(at.saturating_since(*since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_or_a_share_and_nothing_else() {
        for text in ["0", "7", "256", "0%", "50%", "300%"] {
            assert_eq!(text.parse::<Weight>().map(|weight| weight.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "%", "257", "-1", "+1", "1.5", "50 %", "99999999999%", "50%%"] {
            assert!(text.parse::<Weight>().is_err(), "{text}");
        }
    }

    #[test]
    fn requests_are_read_as_they_are_documented() {
        let read = |order: &str| {
            serde_json::from_str::<ServerRequest>(&format!(r#"{{"server": "app/web1", "order": {order}}}"#))
                .map(|request| request.order)
        };
        assert_eq!(read(r#""drain""#).unwrap(), ServerOrder::Drain);
        assert_eq!(read(r#"{"weight": "50%"}"#).unwrap(), ServerOrder::Weight("50%".parse().unwrap()));
        assert!(read(r#"{"weight": "x"}"#).unwrap_err().to_string().contains("a weight is 0..256"));
        assert!(read(r#""stop""#).is_err());
    }
}
