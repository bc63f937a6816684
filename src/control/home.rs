//! Where the control plane keeps what it must not forget, opened: a folder of its own, or two Secrets
//! of the cluster, which all replicas share.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tracing::{error, warn};

use super::OperatorToken;
use super::ca::{self, Authority, Imported, Lifetimes};
use super::custody::{self, Custody};
use super::files::{FileError, open_folder, read_private, write_private, write_public};
use super::kube::Watch;
use super::kube::authority::{self, Keys};
use super::kube::state::{self, State};
use super::store::{Embedded, OpenError, Store};
use super::tokens::{self, Signer};
use crate::http::respond::chain;
use crate::model::TrustDomain;
use crate::runtime::supervise::kept_anew;

/// Beside the folder's other files; a copy in a cluster.
pub const OPERATOR_TOKEN: &str = "operator.token";
/// The roots, for whoever has to know the control plane.
pub const ANCHORS: &str = "ca.pem";

/// Between two tries to reach the cluster at the start.
const AGAIN: Duration = Duration::from_secs(2);

/// Why it can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the data folder can't be used")]
    File(#[from] FileError),
    #[error("the certificate authority can't be opened")]
    Authority(#[from] ca::Error),
    #[error("the key of the join tokens can't be opened")]
    Tokens(#[from] tokens::Error),
    #[error("the store can't be opened")]
    Store(#[from] OpenError),
    #[error("{0} is empty: write a long random text into it, or remove it to get a new one")]
    NoOperatorToken(String),
    #[error("the machine gives no random numbers")]
    Random,
    #[error("the control plane's Secret can't be used")]
    Keys(#[from] authority::OpenError),
    #[error("the Secret of what joined can't be used")]
    State(#[from] state::OpenError),
}

impl Error {
    /// Whether it may work in a while, with nothing else changed.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Keys(authority::OpenError::Secret { source, .. })
            | Error::State(state::OpenError::Secret { source, .. }) => !source.is_settled(),
            _ => false,
        }
    }
}

/// What it needs of it.
pub struct Home {
    pub store: Arc<dyn Store>,
    pub authority: Arc<Authority>,
    pub custody: Custody,
    pub signer: Arc<Signer>,
    pub operator: OperatorToken,
    /// To be kept in order, where they are a Secret's.
    pub keys: Option<Keys>,
    /// How old the store is, where others write it too.
    pub watch: Option<Arc<Watch>>,
}

impl Home {
    /// A folder; a new one where there is none, which begins `with` what was made elsewhere, if that
    /// is given. To be called on a runtime.
    ///
    /// # Errors
    /// When it can't be used as it is; nothing in it is replaced.
    pub fn in_folder(
        data: &Path,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        with: Option<&Imported>,
    ) -> Result<Self, Error> {
        open_folder(data)?;
        // First of all: it also keeps a second control plane out of the folder.
        let store: Arc<dyn Store> = Arc::new(Embedded::open(data)?);
        let now = SystemTime::now();
        let folder = data.join("ca");
        let authority = Authority::founded(&folder, trust_domain, lifetimes, with, now)?;
        let authority = Arc::new(authority);
        let custody = custody::in_folder(Arc::clone(&authority));
        let signer = Arc::new(Signer::open(data, trust_domain)?);
        let operator = operator_token(data)?;
        write_public(&data.join(ANCHORS), authority.roots().to_pem().as_bytes())?;
        Ok(Self { store, authority, custody, signer, operator, keys: None, watch: None })
    }

    /// Secrets of the control plane's namespace; made where there are none. Waits for an API server
    /// that is away.
    ///
    /// # Errors
    /// When they may not be read or written, or can't be used as they are.
    pub async fn in_cluster(
        client: &kube::Client,
        namespace: &str,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        with: Option<&Imported>,
    ) -> Result<Self, Error> {
        loop {
            match Self::try_in_cluster(client, namespace, trust_domain, lifetimes, with).await {
                Err(error) if error.may_pass() => {
                    warn!("what is kept in the cluster can't be read yet: {}", chain(&error));
                    sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }

    async fn try_in_cluster(
        client: &kube::Client,
        namespace: &str,
        trust_domain: &TrustDomain,
        lifetimes: Lifetimes,
        with: Option<&Imported>,
    ) -> Result<Self, Error> {
        let client = client.clone();
        let opened = authority::open(client.clone(), namespace, trust_domain, lifetimes, with);
        let authority::Opened { authority, custody, signer, operator, keys } = opened.await?;
        let state = State::open(client, namespace).await?;
        let watch = Some(state.watch());
        let store: Arc<dyn Store> = Arc::new(state);
        Ok(Self { store, authority, custody, signer, operator, keys: Some(keys), watch })
    }

    /// Puts what people need to reach it into a folder.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn copy_into(&self, folder: &Path) -> Result<(), FileError> {
        open_folder(folder)?;
        write_public(&folder.join(ANCHORS), self.authority.roots().to_pem().as_bytes())?;
        let token = format!("{}\n", self.operator.text());
        write_private(&folder.join(OPERATOR_TOKEN), token.as_bytes())
    }
}

/// Keeps the roots in these files what they are in the bundle; never ends.
pub async fn keep_anchors(authority: Arc<Authority>, files: Vec<PathBuf>) {
    let begin = || write_anchors(Arc::clone(&authority), files.clone());
    kept_anew("the file of the roots", begin).await;
}

async fn write_anchors(authority: Arc<Authority>, files: Vec<PathBuf>) {
    let mut news = authority.news();
    loop {
        let pem = authority.roots().to_pem();
        let failed = files.iter().filter_map(|file| write_public(file, pem.as_bytes()).err());
        let failed: Vec<FileError> = failed.collect();
        for error in &failed {
            error!("the roots' file is not the newest: {}", chain(error));
        }
        let again = async {
            match failed.is_empty() {
                true => pending().await,
                false => sleep(AGAIN).await,
            }
        };
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = again => {}
        }
    }
}

/// The operators' token; a new one at the first start.
fn operator_token(data: &Path) -> Result<OperatorToken, Error> {
    let path = data.join(OPERATOR_TOKEN);
    if read_private(&path)?.is_none() {
        let text = OperatorToken::invent().ok_or(Error::Random)?;
        write_private(&path, format!("{text}\n").as_bytes())?;
    }
    let text = read_private(&path)?.unwrap_or_default();
    OperatorToken::new(&String::from_utf8_lossy(&text))
        .ok_or_else(|| Error::NoOperatorToken(path.display().to_string()))
}
