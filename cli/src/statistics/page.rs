//! The page: what `lbctl status` says of the node at the top, then a table for each frontend and backend.
//!
//! Nothing comes from outside: style and script stand in the page and are let in by their hashes. The script asks for the page again and
//! puts the new `<main>` in the place of the old one, so there is one renderer. Everything that is not written here passes
//! [`Escaped`].

mod head;
mod proxies;

use std::{
    collections::HashMap,
    fmt::{self, Display, Write},
};

use lb_proxy::{is_hidden, sample::base64};
use sha2::{Digest, Sha256};

use super::{Row, View};
use crate::control::{Server, Status};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The page, and the policy that it has to be sent with.
#[derive(Clone, Debug)]
pub struct Page {
    /// HTML.
    pub text: String,
    /// For `Content-Security-Policy`.
    pub policy: String,
}

/// Text that means nothing to HTML, in content and in quoted attributes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                // What a server said may have anything in it.
                hidden if is_hidden(hidden) => self.0.write_str("\u{fffd}")?,
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Of `rows`, which are those of `status` as far as `view` shows them; `uri` is where the page is.
pub fn page(status: &Status, rows: &[Row], uri: &str, view: View) -> Page {
    let mut text = String::with_capacity(8 << 10);
    // Writing to a String can't fail.
    let _ = write_page(&mut text, status, rows, uri, view);
    // By their hashes and not by a nonce: the script reads the next page under the policy of the first.
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    Page { text, policy }
}

/// What may stand in a page and is this text, in the words of the policy.
fn source(text: &str) -> String {
    let mut encoded = Vec::new();
    base64::encode(&Sha256::digest(text), &mut encoded);
    format!("'sha256-{}'", String::from_utf8_lossy(&encoded))
}

fn write_page(out: &mut String, status: &Status, rows: &[Row], uri: &str, view: View) -> fmt::Result {
    let problems = match status.problems.len() {
        0 => String::new(),
        1 => ", 1 problem".to_owned(),
        n => format!(", {n} problems"),
    };
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}{problems} · lbctl statistics</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n",
        Escaped(&status.node)
    )?;
    if !view.no_refresh {
        out.push_str("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n");
    }
    out.push_str(
        "</head>\n<body>\n<p class=\"stale-note\" role=\"alert\">This node does not answer. What is shown is old.</p>\n<main>\n",
    );
    head::write(out, status)?;
    let servers = status.backends.iter().flat_map(|backend| {
        backend.servers.iter().map(|server| ((backend.name.as_str(), server.name.as_str()), server))
    });
    let servers: HashMap<(&str, &str), &Server> = servers.collect();
    proxies::write(out, status, rows, &servers)?;
    out.push_str("</main>\n");
    links(out, uri, view)?;
    if !view.no_refresh {
        writeln!(out, "<script>{SCRIPT}</script>")?;
    }
    out.push_str("</body>\n</html>\n");
    Ok(())
}

fn links(out: &mut String, uri: &str, view: View) -> fmt::Result {
    let link = |down: bool, no_refresh: bool| {
        let hidden = if down { ";up" } else { "" };
        format!("{uri}{hidden}{}", if no_refresh { ";norefresh" } else { "" })
    };
    let (other, word) = match view.hide_down {
        true => (link(false, view.no_refresh), "Show all servers"),
        false => (link(true, view.no_refresh), "Hide servers that are down"),
    };
    write!(out, "<nav><a href=\"{}\">{word}</a>", Escaped(other))?;
    let (other, word) = match view.no_refresh {
        true => (link(view.hide_down, false), "Refresh every 2 s"),
        false => (link(view.hide_down, true), "Stop refreshing"),
    };
    write!(out, "<a href=\"{}\">{word}</a>", Escaped(other))?;
    let (csv, json) = (format!("{uri};csv"), format!("{uri};json"));
    writeln!(out, "<a href=\"{}\">CSV</a><a href=\"{}\">JSON</a></nav>", Escaped(csv), Escaped(json))
}
