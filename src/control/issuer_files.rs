//! A root and an issuer that others write into files (cert-manager's Secret, Vault's agent), brought in
//! whenever they change.
//!
//! Polled: a mounted Secret is replaced by a rename of links, which no watch sees reliably. A pair that
//! is broken, or half written, changes nothing: the one before signs on, the log says once what is
//! wrong, and it is tried again. Where there are replicas the one that leads brings it in; the others
//! get it from the Secret that they share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use super::ca::{Change, Imported};
use super::desk::Desk;
use crate::http::respond::chain;
use crate::runtime::supervise::kept_anew;

/// Between two looks, as at all watched files.
const POLL: Duration = Duration::from_secs(2);
/// What was refused is tried again after so many looks, unchanged: another root may be on its way.
const AGAIN: u32 = 15;
/// Bytes of a file: certificates are a few thousand.
const LARGEST: u64 = 1 << 20;

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFiles {
    /// The issuer, then what is between it and the root: `tls.crt`.
    pub certificate: PathBuf,
    /// `tls.key`.
    pub key: PathBuf,
    /// The root: `ca.crt`.
    pub root: PathBuf,
}

/// Why they are not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{flag}: {} can't be read", .path.display())]
    Read {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl IssuerFiles {
    /// What a mesh is to begin with. Nothing, when they can't be read: a mesh that there is already
    /// goes on with what it has, and a new one does not begin with anything else.
    pub fn at_start(&self) -> Imported {
        self.read().unwrap_or_else(|error| {
            let why = chain(&error);
            error!("the issuer's files can't be used, and a new mesh waits for them: {why}");
            Imported::default()
        })
    }

    /// What is in them now.
    ///
    /// # Errors
    /// When one of them can't be read.
    pub fn read(&self) -> Result<Imported, Error> {
        Ok(Imported {
            root: text("--issuer-root", &self.root)?,
            issuer: text("--issuer-certificate", &self.certificate)?,
            key: text("--issuer-key", &self.key)?,
        })
    }
}

fn text(flag: &'static str, path: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { flag, path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST {
        let kind = io::ErrorKind::FileTooLarge;
        return Err(failed(io::Error::new(kind, format!("it has {size} bytes"))));
    }
    fs::read_to_string(path).map_err(failed)
}

/// Brings in what they hold, each time it is something else, while this process leads; never ends.
pub async fn follow(files: IssuerFiles, desk: Arc<Desk>, leads: Option<watch::Receiver<bool>>) {
    let begin = || look(files.clone(), Arc::clone(&desk), leads.clone());
    // To bring in once more what was brought in changes nothing.
    kept_anew("whoever watches the issuer's files", begin).await;
}

async fn look(files: IssuerFiles, desk: Arc<Desk>, leads: Option<watch::Receiver<bool>>) {
    let mut looks = interval(POLL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken: Option<Imported> = None;
    let (mut refused, mut pause, mut said) = (None, 0, String::new());
    loop {
        looks.tick().await;
        if leads.as_ref().is_some_and(|leads| !*leads.borrow()) {
            // Whoever led may have brought in another one meanwhile.
            (taken, refused) = (None, None);
            continue;
        }
        let found = match files.read() {
            Ok(found) if taken.as_ref() == Some(&found) => continue,
            Ok(found) if refused.as_ref() == Some(&found) && pause > 0 => {
                pause -= 1;
                continue;
            }
            Ok(found) => found,
            Err(error) => {
                complain(&desk, &mut said, chain(&error));
                continue;
            }
        };
        let before = desk.authority.view().issuer.fingerprint;
        match desk.custody.make(Change::Import(Box::new(found.clone()))).await {
            Ok(()) => {
                let issuer = desk.authority.view().issuer;
                if issuer.fingerprint != before {
                    let ends = issuer.not_after.duration_since(SystemTime::now());
                    let ends_in = ends.unwrap_or_default();
                    info!(
                        issuer = issuer.fingerprint,
                        ?ends_in,
                        "another issuer is in use, from its files"
                    );
                }
                desk.metrics.issuer_taken.inc();
                (taken, refused) = (Some(found), None);
                said.clear();
            }
            Err(error) => {
                complain(&desk, &mut said, chain(&error));
                (refused, pause) = (Some(found), AGAIN);
            }
        }
    }
}

/// Counts it, and says it when it is something else than before.
fn complain(desk: &Desk, said: &mut String, why: String) {
    desk.metrics.issuer_refused.inc();
    if *said != why {
        error!("the issuer's files can't be used, and the issuer before stays in use: {why}");
        *said = why;
    }
}
