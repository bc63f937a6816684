//! `outrigger delete`: removes resources by name, or those that files name; all of them or none.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::output::Output;
use super::calls::Doomed;
use super::convert::Key;
use super::error::Error;
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, colour, conclude, documents, kinds, shown};

/// What goes, and whether really.
#[derive(Args, Debug)]
pub(in crate::cli) struct Delete {
    /// The kind of what goes, such as service
    #[arg(value_parser = kinds::one_kind, required_unless_present = "files", requires = "names")]
    kind: Option<&'static str>,
    /// The names of what goes
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Remove what a file, a folder or - (standard input) names
    #[arg(
        short = 'f',
        long = "file",
        alias = "filename",
        value_name = "PATH",
        num_args = 1..,
        conflicts_with_all = ["kind", "names"]
    )]
    files: Vec<PathBuf>,
    /// Its namespace; with -f, that of resources that name none
    #[arg(long, short = 'n', default_value = "default")]
    namespace: String,
    /// What is not there is no fault
    #[arg(long)]
    ignore_missing: bool,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Delete {
    /// Removes, and says what came of it.
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
        let doomed = self.doomed(input)?;
        let session = Session::open(target).await?;
        let changes = session.delete(doomed, self.ignore_missing, self.dry_run).await?;
        if changes.is_empty() {
            return Ok(Answer { data: String::new(), remark: "nothing of it is there".into() });
        }
        Ok(shown::changes(&changes, self.dry_run, self.output.format, colour).into())
    }

    fn doomed(&self, input: impl Read) -> Result<Doomed, Error> {
        let namespace = || self.namespace.clone();
        let Some(kind) = self.kind else {
            let documents = documents::read(&self.files, input)?;
            return Ok(Doomed::Documents { documents, default_namespace: namespace() });
        };
        let key =
            |name: &String| Key { namespace: namespace(), kind: kind.into(), name: name.clone() };
        Ok(Doomed::Keys(self.names.iter().map(key).collect()))
    }
}
