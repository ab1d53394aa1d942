//! One page: what clap knows of a verb, in the sections that people look for.

use std::env;

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use time::{OffsetDateTime, macros::format_description};

use super::{super::Arguments, synopsis};

/// How a paragraph about exit codes begins.
const EXIT_CODES: &str = "Exit codes";

/// `lbctl-server-drain`
pub(super) fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a verb that is built.
pub(super) fn of(command: &Command) -> String {
    let version = format!("lbctl {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone().mut_args(with_values_in_help))
        .date(date())
        .source(version)
        .manual("lbctl")
        .section("1");
    let mut page = Vec::new();
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (codes, more): (Vec<_>, Vec<_>) = more.split("\n\n").partition(|text| text.starts_with(EXIT_CODES));
    let verbs = command.get_subcommands().any(|verb| !verb.is_hide_set());
    // A vector takes all that is written.
    let _ = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| usage(command).to_writer(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| paragraphs(&more).to_writer(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| if verbs { man.render_subcommands_section(&mut page) } else { Ok(()) })
        .and_then(|()| exit_status(&codes).to_writer(&mut page))
        .and_then(|()| see_also(command).to_writer(&mut page));
    String::from_utf8_lossy(&page).into_owned()
}

/// That of the sources, if whoever builds a package names it: two packages of one commit are the same.
fn date() -> String {
    let named = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let named = named.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let date = named.unwrap_or_else(OffsetDateTime::now_utc);
    date.format(format_description!("[year]-[month]-[day]")).unwrap_or_default()
}

/// The list that clap_mangen makes of them is one that mandoc(1) complains of.
fn with_values_in_help(argument: Arg) -> Arg {
    let values = argument.get_possible_values();
    // Those of a switch are true and false.
    if values.is_empty() || !argument.get_num_args().is_some_and(|values| values.takes_values()) {
        return argument;
    }
    let values = values.iter().map(|value| value.get_name()).collect::<Vec<_>>().join(", ");
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    argument.help(format!("{help} [one of: {values}]")).hide_possible_values(true)
}

fn usage(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    roff.text([bold(name), roman(format!(" {}", synopsis(command)))]);
    roff
}

/// What is indented is to be typed, and stays as it is.
fn paragraphs(texts: &[&str]) -> Roff {
    let mut roff = Roff::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        let mut begins = true;
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("  ") {
                roff.control("IP", []);
                roff.text([bold(typed.trim_start())]);
            } else {
                if begins {
                    roff.control("PP", []);
                }
                roff.text([roman(line)]);
            }
            begins = line.starts_with("  ");
        }
    }
    roff
}

fn exit_status(codes: &[&str]) -> Roff {
    let mut roff = Roff::new();
    if !codes.is_empty() {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman(codes.join("\n"))]);
    }
    roff
}

/// The first page; the verbs that this one speaks of, and its own.
fn see_also(command: &Command) -> Roff {
    let own = name(command);
    let mut pages: Vec<String> = Vec::new();
    if own != "lbctl" {
        pages.push("lbctl".to_owned());
        let text = format!(
            "{} {}",
            command.get_after_help().cloned().unwrap_or_default(),
            command.get_about().cloned().unwrap_or_default()
        );
        let words: Vec<_> =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let named = words.windows(2).filter(|pair| pair[0] == "lbctl").map(|pair| pair[1]);
        let all = Arguments::command();
        let has_page =
            |name: &str| all.get_subcommands().any(|verb| verb.get_name() == name && !verb.is_hide_set());
        let mut named: Vec<_> =
            named.filter(|name| has_page(name)).map(|name| format!("lbctl-{name}")).collect();
        named.sort();
        pages.extend(named);
    }
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    pages.extend(verbs.map(|verb| name(verb).to_owned()));
    pages.retain(|page| page != own);
    pages.dedup();
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let last = pages.len();
    for (index, page) in pages.iter().enumerate() {
        roff.text([bold(page.as_str()), roman(if index + 1 < last { "(1)," } else { "(1)" })]);
    }
    roff.control("PP", []);
    roff.text([roman("The book: /usr/share/doc/lbctl/docs/README.md, with the file's reference in configuration.md and all that lbctl says in operations.md.")]);
    roff
}
