//! `outrigger ca`: what the mesh trusts and no longer trusts, and what its certificates hang below.

mod calls;
mod change;
mod status;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::output::{Format, Output, render};
use super::calls::Revocation;
use super::error::Error;
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, conclude, shown};
use change::{Import, Rotate};

/// What is done about trust.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Ca {
    /// Roots, issuer, and how far a replacement has come
    #[command(after_help = "Examples:
  outrigger ca status
  outrigger ca status -o json

While a root is being replaced it says what that waits for, and what to do.")]
    Status(CaStatus),
    /// Replace the issuer at once, or the root step by step
    #[command(after_help = "Examples:
  outrigger ca rotate issuer
  outrigger ca rotate root
  outrigger ca rotate root --force

A new root is first given to everybody, then used, and the old one leaves when nothing hangs below it
any more: with certificates of a day, after a day. Nothing restarts and no request is lost. Watch it
with `outrigger ca status`; --force goes on from where it stands, without waiting.")]
    Rotate(Rotate),
    /// Use a root and an issuer that were made elsewhere
    #[command(after_help = "Example:
  outrigger ca import --root root.pem --issuer issuer.pem --issuer-key issuer.key

They are checked whole before anything changes. Below the root that is in use the issuer is used at
once; another root comes in as `ca rotate root` brings in one. The root's private key is not needed,
and the issuer is not renewed by the control plane.")]
    Import(Import),
    /// Take the trust in an identity, or in one certificate, away at once
    #[command(after_help = "Examples:
  outrigger ca revoke spiffe://cluster.local/ns/shop/sa/web
  outrigger ca revoke 5e849899d691c70d47759756bc391f8e

Its sessions end, nothing of it is renewed, and no peer takes it in new connections. A revoked
identity may join again, with a new token, when the revocation has ended.")]
    Revoke(Revoke),
    /// What is revoked, and until when
    #[command(after_help = "Example:\n  outrigger ca revocations")]
    Revocations(Revocations),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CaStatus {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Revoke {
    /// A SPIFFE id, or a certificate's serial number as `outrigger proxy certs` shows it
    #[arg(value_name = "ID|SERIAL")]
    what: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Revocations {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Ca {
    /// Asks, and says what came of it.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        let connection = match self {
            Ca::Status(status) => &status.connection,
            Ca::Rotate(rotate) => rotate.connection(),
            Ca::Import(import) => &import.connection,
            Ca::Revoke(revoke) => &revoke.connection,
            Ca::Revocations(revocations) => &revocations.connection,
        };
        conclude(async { self.ask(&Target::of(connection)?, SystemTime::now()).await })
    }

    async fn ask(&self, target: &Target, now: SystemTime) -> Result<Answer, Error> {
        let session = Session::open(target).await?;
        match self {
            Ca::Status(CaStatus { output, .. }) => {
                Ok(status::shown(&session.authority_status().await?, now, output.format).into())
            }
            Ca::Rotate(rotate) => rotate.ask(&session, now).await,
            Ca::Import(import) => import.ask(&session, now).await,
            Ca::Revoke(Revoke { what, .. }) => {
                let revoked = session.revoke(what).await?;
                Ok(format!(
                    "{what} revoked for {}: {} enrolments ended, {} join tokens are useless\n",
                    shown::span(revoked.until.duration_since(now).unwrap_or_default()),
                    revoked.enrollments,
                    revoked.tokens,
                )
                .into())
            }
            Ca::Revocations(Revocations { output, .. }) => {
                Ok(list(&session.revocations().await?, now, output.format).into())
            }
        }
    }
}

fn list(revocations: &[Revocation], now: SystemTime, format: Format) -> String {
    let row = |revocation: &Revocation| {
        let left = revocation.until.duration_since(now).unwrap_or_default();
        let ends_in = match revocation.is_there {
            true if left.is_zero() => "when it is gone".to_owned(),
            _ => shown::span(left),
        };
        json!({"what": revocation.what, "endsIn": ends_in, "isThere": revocation.is_there})
    };
    let rows: Vec<Value> = revocations.iter().map(row).collect();
    render(&json!({ "revocations": rows }), Some("revocations"), format)
}
