//! `outrigger context`: control planes by name, and which of them is used.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::output::{Format, Output, render};
use super::error::Error;
use super::file::{self, Book, Entry};
use super::place::{Flags, Said, variable};
use super::{Answer, conclude, session};
use crate::resources::Origin;

/// What is done about contexts.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Contexts {
    /// Make a context, or change what the flags say of it
    #[command(after_help = "Example:
  outrigger context set local --control-plane 127.0.0.1:15010 --trust-anchors ca.pem --token-file operator.token

The first one is put in use. Paths are kept as absolute ones.")]
    Set(Set),
    /// Put a context in use
    #[command(after_help = "Example:\n  outrigger context use local")]
    Use(Use),
    /// All contexts
    #[command(after_help = "Example:\n  outrigger context list")]
    List(Output),
    /// The context in use, or the one that is named
    #[command(
        after_help = "Examples:\n  outrigger context show\n  outrigger context show local -o yaml"
    )]
    Show(Show),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Set {
    /// What it is called
    name: String,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Use {
    /// What it is called
    name: String,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Show {
    /// What it is called
    name: Option<String>,
    #[command(flatten)]
    output: Output,
}

type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

impl Contexts {
    /// Does it, and says what came of it.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        conclude(async { self.act(&variable) })
    }

    pub(super) fn act(&self, variable: Variable<'_>) -> Result<Answer, Error> {
        match self {
            Contexts::Set(set) => set.act(variable),
            Contexts::Use(Use { name }) => put_in_use(name, variable),
            Contexts::List(output) => list(output.format, variable),
            Contexts::Show(show) => show.act(variable),
        }
    }
}

impl Set {
    fn act(&self, variable: Variable<'_>) -> Result<Answer, Error> {
        let path = file::path(variable)?;
        let mut book = Book::read(&path)?;
        let said = self.flags.place().rooted();
        session::check(&said)?;
        match book.entries.iter_mut().find(|entry| entry.name == self.name) {
            Some(entry) => entry.place = said.over(std::mem::take(&mut entry.place)),
            None => book.entries.push(Entry { name: self.name.clone(), place: said }),
        }
        let in_use = book.current.get_or_insert_with(|| self.name.clone()) == &self.name;
        book.write(&path)?;
        let (name, path) = (&self.name, path.display());
        let cure = if in_use { "in use".into() } else { format!("`outrigger context use {name}`") };
        let remark = format!("context {name} is set in {path} ({cure})");
        Ok(Answer { data: String::new(), remark })
    }
}

fn put_in_use(name: &str, variable: Variable<'_>) -> Result<Answer, Error> {
    let path = file::path(variable)?;
    let mut book = Book::read(&path)?;
    if book.named(name).is_none() {
        return Err(Error::NoContext {
            at: Origin::Flag("context use".into()),
            name: name.to_owned(),
            file: path.display().to_string(),
            known: book.known(),
        });
    }
    book.current = Some(name.to_owned());
    book.write(&path)?;
    Ok(Answer { data: String::new(), remark: format!("context {name} is in use") })
}

fn list(format: Format, variable: Variable<'_>) -> Result<Answer, Error> {
    let used = file::entry_in_use(None, variable)?.map(|entry| entry.name);
    let book = Book::read(&file::path(variable)?)?;
    let row = |entry: &Entry| {
        let mut row = entry.json();
        row["inUse"] = (used.as_ref() == Some(&entry.name)).into();
        row
    };
    let rows: Vec<Value> = book.entries.iter().map(row).collect();
    Ok(render(&json!({ "contexts": rows }), Some("contexts"), format).into())
}

impl Show {
    fn act(&self, variable: Variable<'_>) -> Result<Answer, Error> {
        let at = Origin::Flag("context show".into());
        let named = self.name.clone().map(|text| Said { text, at });
        let Some(entry) = file::entry_in_use(named, variable)? else {
            let remark = "no context is in use: make one with `outrigger context set`".into();
            return Ok(Answer { data: String::new(), remark });
        };
        Ok(render(&entry.json(), None, self.output.format).into())
    }
}
