//! The plan by the programs of iptables, where the kernel does not take it over netlink.
//!
//! iptables comes in two kinds that don't see each other's rules. We use the one whose rules are in
//! this namespace already, so that the two are never mixed, and otherwise whichever is installed as
//! `iptables`.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use super::nft;
use super::plan::Plan;

mod restore;
#[cfg(test)]
mod tests;

pub use restore::restore;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0} is not installed here: use an image that has the package iptables, or a kernel with \
         nf_tables"
    )]
    Missing(String),
    #[error(
        "rules of both kinds of iptables, legacy and nft, are in this network namespace already: \
         remove those of one kind, or use --backend nft"
    )]
    Mixed,
    #[error("{program} can't be run: {error}")]
    Run { program: String, error: io::Error },
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    #[error("{0}")]
    Differs(String),
}

/// The two kinds of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nft,
    Legacy,
}

/// The programs of one kind, for one family.
#[derive(Clone, Debug)]
struct Tool {
    /// What their names begin with.
    name: String,
    kind: Kind,
    is_v4: bool,
}

/// Puts the plan in place of what an earlier run made; IPv6's first, so that a failure there
/// leaves IPv4 as it was.
///
/// # Errors
/// A program is missing or refuses. What was done before that stays: call [`remove`].
pub(super) fn install(plan: &Plan, has_v6: bool) -> Result<(), Error> {
    for tool in tools(has_v6)? {
        tool.restore(&restore(Some(plan), tool.is_v4, &tool.save()?))?;
    }
    Ok(())
}

/// The same for IPv6 alone, where it is known and not spoken yet: an address may still come.
///
/// # Errors
/// As for [`install`].
pub(super) fn install_v6(plan: &Plan) -> Result<(), Error> {
    let tool = Tool::choose(false)?;
    tool.restore(&restore(Some(plan), false, &tool.save()?))
}

/// What an earlier run made, for [`put_back`].
pub(super) struct Kept(Vec<(Tool, String)>);

impl Kept {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads what an earlier run made, by programs of both kinds.
///
/// # Errors
/// A program refuses.
pub(super) fn kept() -> Result<Kept, Error> {
    let mut kept = Vec::new();
    for is_v4 in [false, true] {
        for kind in [Kind::Nft, Kind::Legacy] {
            match Tool::find(kind, is_v4) {
                Err(Error::Missing(_)) => {}
                Err(error) => return Err(error),
                Ok(tool) => {
                    let saved = tool.kept()?;
                    if restore::has_ours(&saved) {
                        kept.push((tool, saved));
                    }
                }
            }
        }
    }
    Ok(Kept(kept))
}

/// Puts that in place of what came after it.
///
/// # Errors
/// A program refuses.
pub(super) fn put_back(kept: &Kept) -> Result<(), Error> {
    kept.0
        .iter()
        .try_for_each(|(tool, saved)| tool.restore(&restore::put_back(saved, &tool.kept()?)))
}

/// Takes away what any earlier run made, by programs of both kinds. Where a program is missing it
/// made nothing.
///
/// # Errors
/// A program refuses.
pub(super) fn remove() -> Result<(), Error> {
    for is_v4 in [false, true] {
        for kind in [Kind::Nft, Kind::Legacy] {
            match Tool::find(kind, is_v4) {
                Err(Error::Missing(_)) => {}
                Err(error) => return Err(error),
                Ok(tool) => tool.restore(&restore(None, is_v4, &tool.kept()?))?,
            }
        }
    }
    Ok(())
}

/// Reads back whether each chain is there with as many rules as it was given.
///
/// # Errors
/// It is not so.
pub(super) fn compare(plan: &Plan, has_v6: bool) -> Result<(), Error> {
    for tool in tools(has_v6)? {
        restore::compare(plan, tool.is_v4, &tool.save()?).map_err(Error::Differs)?;
    }
    Ok(())
}

/// The programs to use.
fn tools(has_v6: bool) -> Result<Vec<Tool>, Error> {
    let families = if has_v6 { &[false, true][..] } else { &[true] };
    families.iter().map(|&is_v4| Tool::choose(is_v4)).collect()
}

impl Tool {
    /// The programs of a kind: those named so, or those without a surname where they are it.
    fn find(kind: Kind, is_v4: bool) -> Result<Tool, Error> {
        let plain = Tool::plain(is_v4);
        if let Ok(plain) = &plain
            && plain.kind == kind
        {
            return Ok(plain.clone());
        }
        let surname = match kind {
            Kind::Nft => "nft",
            Kind::Legacy => "legacy",
        };
        Tool::named(format!("{}-{surname}", family(is_v4)), is_v4)
    }

    fn plain(is_v4: bool) -> Result<Tool, Error> {
        Tool::named(family(is_v4).into(), is_v4)
    }

    fn named(name: String, is_v4: bool) -> Result<Tool, Error> {
        let program = format!("{name}-save");
        let output = run(Command::new(&program).arg("--version"), &program, "")?;
        // Versions before the kinds parted say nothing.
        let is_nft = String::from_utf8_lossy(&output.stdout).contains("nf_tables");
        let kind = if is_nft { Kind::Nft } else { Kind::Legacy };
        Ok(Tool { name, kind, is_v4 })
    }

    /// The kind whose rules are there, or else the one without a surname, if the kernel has its
    /// tables.
    fn choose(is_v4: bool) -> Result<Tool, Error> {
        let [nft, legacy] = [Kind::Nft, Kind::Legacy].map(|kind| Tool::find(kind, is_v4));
        let has_rules = |tool: &Tool| tool.kept().map(|saved| restore::has_rules(&saved));
        let uses_nft = nft.as_ref().map_or(Ok(false), has_rules)?;
        // Without the program there is no telling whether the tables are empty.
        let unknown = Ok(has_legacy_tables(is_v4));
        let uses_legacy = legacy.as_ref().map_or(unknown, has_rules)?;
        match (uses_nft, uses_legacy) {
            (true, true) => Err(Error::Mixed),
            (true, false) => nft,
            (false, true) => legacy,
            (false, false) => match Tool::plain(is_v4) {
                Ok(Tool { kind: Kind::Nft, .. }) if !nft::is_there() => legacy,
                plain => plain,
            },
        }
    }

    /// The rules there are. The legacy kind would make the tables by being asked for them, and the
    /// other fails where the kernel can have none.
    fn kept(&self) -> Result<String, Error> {
        let may_have_rules = match self.kind {
            Kind::Legacy => has_legacy_tables(self.is_v4),
            Kind::Nft => nft::is_there(),
        };
        if may_have_rules { self.save() } else { Ok(String::new()) }
    }

    fn save(&self) -> Result<String, Error> {
        let program = format!("{}-save", self.name);
        let output = run(&mut Command::new(&program), &program, "")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn restore(&self, input: &str) -> Result<(), Error> {
        if input.is_empty() {
            return Ok(());
        }
        let program = format!("{}-restore", self.name);
        // Somebody else may be writing rules: wait for their lock, for seconds.
        let mut command = Command::new(&program);
        command.args(["--noflush", "-w", "5"]);
        run(&mut command, &program, input).map(drop)
    }
}

fn family(is_v4: bool) -> &'static str {
    if is_v4 { "iptables" } else { "ip6tables" }
}

/// Whether the legacy kind has tables here that we write to.
fn has_legacy_tables(is_v4: bool) -> bool {
    let family = if is_v4 { "ip" } else { "ip6" };
    let names = fs::read_to_string(format!("/proc/self/net/{family}_tables_names"));
    names.is_ok_and(|names| names.lines().any(|name| matches!(name, "nat" | "mangle")))
}

fn run(command: &mut Command, program: &str, input: &str) -> Result<Output, Error> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing(program.to_owned()),
        _ => Error::Run { program: program.to_owned(), error },
    };
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that leaves early says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::Failed { program: program.to_owned(), said })
}
