//! Requests that nobody could serve, and why: a table that is there only if there were some in the last hour.

use super::super::{
    age::short_age,
    table::{Cell, Table},
    text::{Paint, Tone, thousands},
};
use crate::control::{Refused, Status};

pub(super) fn render(status: &Status, paint: Paint) -> String {
    let of_frontends = status.frontends.iter().map(|frontend| (&frontend.name, &frontend.refused));
    let of_backends = status.backends.iter().map(|backend| (&backend.name, &backend.refused));
    let mut table = Table::new(["REFUSED", "COUNT", "LAST", "WHY"], [16, 12, 10, 0]);
    let mut is_empty = true;
    for (name, refused) in of_frontends.chain(of_backends) {
        for Refused { count, last, reason, .. } in refused {
            is_empty = false;
            table.row([
                name.as_str().into(),
                Cell::toned(&thousands(*count), Tone::Warning),
                format!("{} ago", short_age(status.at.saturating_since(*last))).into(),
                reason.as_str().into(),
            ]);
        }
    }
    if is_empty { String::new() } else { table.render(paint) }
}
