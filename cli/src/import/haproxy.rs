//! haproxy.cfg into our file.
//!
//! Adding a word of HAProxy's is one row and one function, in the file of its topic: `global` for the process, `proxy/*` for
//! lines of sections, `proxy/{bind,server}` for what stands behind addresses, `rule/action` for what rules do,
//! `sample/*` for what they look at, `template` for formats. The book prints the rows ([`tables`]).

mod acl;
mod alerts;
mod arguments;
mod ciphers;
mod cond;
mod directive;
mod emit;
mod file;
mod files;
mod finish;
mod fits;
mod global;
mod keys;
mod lexer;
mod number;
mod predicate;
mod proxy;
mod regex;
mod rule;
mod sample;
mod section;
mod table;
mod template;
mod track;
mod users;
mod values;
mod variables;

use std::{net::Ipv4Addr, path::PathBuf};

pub use self::table::Known;

use self::{file::File, files::Maps, finish::World, users::Users, variables::Variables};
use super::{Bug, Imported, Refused, Vip, bytes, keepalived::Pair, notes::Notes};
use crate::config::{self, diagnostic::Report};

/// The number of the virtual router where nothing says another one.
pub const VRID: u8 = 51;

/// What is wanted beside the file.
#[derive(Clone, Debug)]
pub struct Options {
    /// What can't be converted is an error.
    pub strict: bool,
    /// Addresses that the nodes share; without one the file is for a proxy alone.
    pub vips: Vec<Vip>,
    /// The nodes of the pair and their own addresses.
    pub nodes: Vec<(String, Ipv4Addr)>,
    /// The number of the virtual router.
    pub vrid: u8,
    /// What it is made from, if that is more than the file.
    pub called: String,
    /// What is known of the pair from files of Keepalived's, in the place of these.
    pub pair: Option<Pair>,
    /// Environment variables that the file may use.
    pub environment: Vec<(String, String)>,
    /// Where the source is: lists of values are looked for there.
    pub folder: PathBuf,
    /// What our file will be called: pages are looked for beside it.
    pub output: String,
    /// Random: what passwords are salted with that stand in clear text.
    pub salt: [u8; 16],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            strict: false,
            vips: Vec::new(),
            nodes: Vec::new(),
            vrid: VRID,
            called: String::new(),
            pair: None,
            environment: Vec::new(),
            folder: PathBuf::new(),
            output: "lb.toml".into(),
            salt: [0; 16],
        }
    }
}

/// Converts the file `bytes`, which is called `name`.
pub fn import(bytes: &[u8], name: &str, options: &Options) -> Result<Imported, Refused> {
    let text = bytes::text(bytes, name, &['#']).map_err(Refused::Source)?;
    let notes = Notes::new(&text, options.strict);
    let variables = Variables::new(&options.environment, &text, name);
    let sections = section::read(&text, variables, &notes).map_err(|unreadable| {
        let report = Report::new(&text);
        report.error(unreadable.span, unreadable.message);
        Refused::Source(report.finish(name))
    })?;
    let file = File::read(&sections, &notes);
    let maps = Maps::new(&options.folder).for_output(&options.output);
    let users = Users::new(&file.userlists);
    let world = World {
        file: &file,
        options,
        maps: &maps,
        users: &users,
        notes: &notes,
        said: false.into(),
        said_of_host: false.into(),
        said_of: Default::default(),
    };
    let (mut sections, defaults) = finish::finish(&world);
    let log = finish::log_of_process(&world);
    let mails = alerts::tables(&world, &sections);
    let toml = loop {
        let parts = emit::Parts {
            file: &file,
            sections: &sections,
            defaults: &defaults,
            log: log.clone(),
            mails: &mails,
            options,
            maps: &maps,
            users: &users,
            notes: &notes,
        };
        let toml = emit::document(&parts, if options.called.is_empty() { name } else { &options.called })
            .to_string();
        match config::parse_alone(&toml, &options.output) {
            Err(report) => return Err(Refused::Bug(Box::new(Bug { report, toml }))),
            Ok(made) if finish::forget_idle_paths(&mut sections, &made.proxy) => {}
            Ok(made) => {
                finish::hidden_routes(&sections, &made.proxy, &world);
                break toml;
            }
        }
    };
    let opened = notes.opened();
    let (notes, lost) = notes.finish(name);
    Ok(Imported { toml, notes, lost, opened })
}

/// Every word that is known, by topic, for the book.
pub fn tables() -> Vec<(&'static str, Vec<Known>)> {
    let mut all: Vec<(&'static str, Vec<Known>)> = global::known().into();
    all.push(("userlist", users::ROWS.iter().map(|row| row.known).collect()));
    all.extend(proxy::known());
    let of = |rows: &'static [rule::ActionRow]| rows.iter().map(|row| row.known).collect();
    all.push(("Actions on requests", of(rule::REQUEST)));
    all.push(("Actions on responses", of(rule::RESPONSE)));
    all.push(("Samples", sample::FETCHES.iter().map(|row| row.known).collect()));
    all.push(("Converters", sample::CONVERTERS.iter().map(|row| row.known).collect()));
    all.push(("Formats", template::VARIABLES.iter().map(|row| row.known).collect()));
    all
}
