//! What no report shows: whatever stands behind a key of `[users.*]` may be a password, also where the file is broken.
//!
//! So this goes by lines and not by what was read. In doubt a line is taken for one of the section.

use super::Span;

/// What to hide of `text`.
pub(super) fn of_users(text: &str) -> Vec<Span> {
    let (mut among_users, mut in_table) = (false, false);
    let mut start = 0;
    let mut spans = Vec::new();
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end();
        if let Some(name) = line.trim_start().strip_prefix('[') {
            if names_users(name) {
                (among_users, in_table) = (true, true);
            } else if is_header(name) {
                (among_users, in_table) = (false, true);
            }
        } else if !in_table && names_users(line) {
            // `users.staff.user.anna = ..`, in front of all tables.
            among_users = true;
        }
        if among_users {
            spans.push(Span { start: start + shown(line).min(line.len()), end: start + line.len() });
        }
        start += whole.len();
    }
    spans
}

/// Bytes of a line that are shown: its key, the `=` and the spaces behind it, if it has a plain key.
fn shown(line: &str) -> usize {
    let trimmed = line.trim_start();
    if trimmed.starts_with('[') && trimmed[1..].trim_start().starts_with(|c: char| c.is_ascii_alphabetic()) {
        return line.find('=').unwrap_or(line.len());
    }
    let indent = line.len() - trimmed.len();
    match line.split_once('=') {
        Some((key, rest)) if !key.trim().contains(char::is_whitespace) => {
            key.len() + 1 + (rest.len() - rest.trim_start().len())
        }
        _ => indent,
    }
}

/// `users`, and what may be meant for it.
fn names_users(key: &str) -> bool {
    let key = key.trim_start_matches(['[', ' ', '\t', '"', '\'']);
    key.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("user"))
}

/// Is it plainly the name of a table, and not a list within a value?
fn is_header(name: &str) -> bool {
    let name = name.trim_start_matches(['[', ' ', '\t']);
    let Some((name, _)) = name.split_once(']') else { return false };
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-\"' ".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_key_of_users_is_hidden_also_in_broken_lines() {
        let hidden = |before: &str, line: &str| {
            let text = format!("{before}{line}\n[next]\n");
            let spans = of_users(&text);
            let is_hidden =
                |at: usize| spans.iter().any(|span| (span.start..span.end).contains(&(before.len() + at)));
            line.char_indices().map(|(at, c)| if is_hidden(at) { '*' } else { c }).collect::<String>()
        };
        for header in [
            "[users.staff]\n",
            "[users.staff\n",
            "[ \"users\".staff]\n",
            "[users]\n",
            "[user.staff]\na = [\n[1]\n",
        ] {
            for (line, shown) in [
                ("anna = \"pw\"", "anna = ****"),
                ("  user.anna=pw # pw", "  user.anna=*******"),
                ("user.anna = \"p=w", "user.anna = ****"),
                ("user.anna \"p=w\"", "***************"),
                ("user = [ \"anna:pw\" ]", "user = *************"),
                ("  [\"pw\"],", "  *******"),
                ("pw\"\"\"", "*****"),
            ] {
                assert_eq!(hidden(header, line), shown, "{header}");
            }
        }
        assert_eq!(hidden("users.staff.user.a = 1\n", "users.staff.user.b = 2"), "users.staff.user.b = *");
        for header in ["", "[users.staff]\n[listen.\"a b\"]\n", "[users.staff]\n[[vrrp]] # x\n"] {
            assert_eq!(hidden(header, "a = \"b\""), "a = \"b\"", "{header}");
        }
        assert_eq!(hidden("a = 1\n", "[users.staff] # x"), "[users.staff] # x");
    }
}
