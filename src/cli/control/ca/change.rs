//! `outrigger ca rotate` and `outrigger ca import`: what certificates hang below, replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::super::super::output::Format;
use super::super::Answer;
use super::super::error::Error;
use super::super::place::Connection;
use super::super::session::Session;
use super::status;
use crate::resources::Origin;

#[derive(Args, Debug)]
pub(in crate::cli) struct Rotate {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Another issuer below the same root, at once
    #[command(after_help = "Example:\n  outrigger ca rotate issuer")]
    Issuer {
        #[command(flatten)]
        connection: Connection,
    },
    /// Another root: given to everybody, then used, and the old one leaves at last
    #[command(
        after_help = "Examples:\n  outrigger ca rotate root\n  outrigger ca rotate root --force"
    )]
    Root {
        /// Go on from the phase that is under way, whatever it waits for: who is not ready is refused by
        /// others until it is
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The root's certificate, in PEM; of several, the one that the issuer is below
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// The issuer's certificate, then what is between it and the root, in PEM
    #[arg(long, value_name = "FILE")]
    issuer: PathBuf,
    /// The issuer's private key, in PEM (`--key` is that of one's own certificate)
    #[arg(long, value_name = "FILE")]
    issuer_key: PathBuf,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Rotate {
    pub(super) fn connection(&self) -> &Connection {
        match &self.what {
            What::Issuer { connection } | What::Root { connection, .. } => connection,
        }
    }

    pub(super) async fn ask(&self, session: &Session, now: SystemTime) -> Result<Answer, Error> {
        let standing = match &self.what {
            What::Issuer { .. } => session.rotate_issuer().await?,
            What::Root { force: false, .. } => session.rotate_root(None).await?,
            What::Root { force: true, .. } => {
                let before = session.authority_status().await?;
                let phase = before.rotation.map(|rotation| rotation.phase);
                session.rotate_root(Some(phase.unwrap_or_default())).await?
            }
        };
        Ok(status::shown(&standing, now, Format::Table).into())
    }
}

impl Import {
    pub(super) async fn ask(&self, session: &Session, now: SystemTime) -> Result<Answer, Error> {
        let root = text("--root", &self.root)?;
        let issuer = text("--issuer", &self.issuer)?;
        let key = text("--issuer-key", &self.issuer_key)?;
        let standing = session.import_authority(root, issuer, key).await?;
        Ok(status::shown(&standing, now, Format::Table).into())
    }
}

fn text(flag: &'static str, path: &Path) -> Result<String, Error> {
    let path_shown = || path.display().to_string();
    let at = Origin::Flag(flag.into());
    fs::read_to_string(path).map_err(|source| Error::Unreadable { at, path: path_shown(), source })
}
