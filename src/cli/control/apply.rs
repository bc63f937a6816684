//! `outrigger apply`: makes the mesh as files say, all of them or none.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::output::Output;
use super::error::Error;
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, colour, conclude, documents, shown};

/// What is applied, and whether really.
#[derive(Args, Debug)]
pub(in crate::cli) struct Apply {
    /// The same as a path without -f; may be repeated
    #[arg(short = 'f', long = "file", alias = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// A file, a folder (its *.yaml, *.yml and *.json files), or - for standard input
    #[arg(value_name = "PATH", required_unless_present = "files")]
    paths: Vec<PathBuf>,
    /// The namespace of resources that name none
    #[arg(long, short = 'n', default_value = "default")]
    namespace: String,
    /// Say what would change, line by line, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Apply {
    /// Applies, and says what came of it.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        conclude(async {
            let target = Target::of(&self.connection)?;
            self.ask(&target, io::stdin().lock(), colour(&io::stdout())).await
        })
    }

    pub(super) async fn ask(
        &self,
        target: &Target,
        input: impl Read,
        colour: bool,
    ) -> Result<Answer, Error> {
        let paths: Vec<PathBuf> = self.files.iter().chain(&self.paths).cloned().collect();
        let documents = documents::read(&paths, input)?;
        let session = Session::open(target).await?;
        let changes = session.apply(documents, &self.namespace, self.dry_run).await?;
        let data = shown::changes(&changes, self.dry_run, self.output.format, colour);
        if changes.is_empty() {
            return Ok(Answer {
                data: String::new(),
                remark: "the files hold no resources".into(),
            });
        }
        Ok(data.into())
    }
}
