//! The way to the control plane: whom to trust, and a connection that proved to lead there.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Settings;
use crate::identity::{self, Svid, TrustBundle, certificates};
use crate::model::TrustDomain;
use crate::runtime::socket;
use crate::tls::{ControlClient, PeerError};
use crate::wire::{Channel, ChannelError};

/// For the name, the connection and the handshake together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("controlPlane.trustAnchors: {} can't be read", .0.display())]
    TrustAnchors(PathBuf, #[source] io::Error),
    #[error("controlPlane.trustAnchors: {} can't be used", .0.display())]
    Unusable(PathBuf, #[source] identity::Error),
    #[error(
        "there is no certificate and no token to get one with: set controlPlane.tokenFile to a \
         file with a join token (outrigger token create)"
    )]
    NoToken,
    #[error("controlPlane.tokenFile: {} can't be read", .0.display())]
    Token(PathBuf, #[source] io::Error),
    #[error("no key can be made")]
    Key(#[source] rcgen::Error),
    #[error("{0} is not reachable")]
    Connect(String, #[source] io::Error),
    #[error("{0} did not answer within {PATIENCE:?}")]
    Silent(String),
    #[error(
        "{address} did not prove to be the control plane of {trust_domain}: check \
         controlPlane.address and controlPlane.trustAnchors"
    )]
    Stranger {
        address: String,
        trust_domain: TrustDomain,
        #[source]
        source: PeerError,
    },
    #[error("the control plane can't be spoken to")]
    Channel(#[source] ChannelError),
    #[error("the control plane gave no certificate: {}", .0.message())]
    Refused(Box<tonic::Status>),
    #[error("the control plane sent a certificate that can't be used")]
    Certificate(#[source] identity::Error),
    #[error("the control plane's answer lacks {0}")]
    Lacks(&'static str),
}

/// Begins a connection; the roots are read now.
///
/// # Errors
/// When there is no root to trust; the future's concern the way itself.
pub fn dial(
    settings: &Settings,
    trust_domain: &TrustDomain,
    own: Option<&Svid>,
    newest: &Option<TrustBundle>,
) -> Result<impl Future<Output = Result<Channel, LinkError>> + use<>, LinkError> {
    let roots = roots(settings, newest)?;
    let client = ControlClient::new(trust_domain, &roots, own);
    let (address, trust_domain) = (settings.address.clone(), trust_domain.clone());
    Ok(async move {
        let connecting = connect(&address, &trust_domain, &client);
        let connected = timeout(PATIENCE, connecting).await;
        connected.unwrap_or_else(|_| Err(LinkError::Silent(address)))
    })
}

async fn connect(
    address: &str,
    trust_domain: &TrustDomain,
    client: &ControlClient,
) -> Result<Channel, LinkError> {
    let failed = |error| LinkError::Connect(address.to_owned(), error);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for found in lookup_host(address).await.map_err(failed)? {
        match TcpStream::connect(found).await {
            Ok(stream) => {
                let _ = socket::tune((&stream).into());
                let stream = client.connect(stream).await.map_err(|source| match source {
                    PeerError::Closed => failed(io::ErrorKind::UnexpectedEof.into()),
                    PeerError::Io(kind) => failed(kind.into()),
                    source => {
                        let (address, trust_domain) = (address.to_owned(), trust_domain.clone());
                        LinkError::Stranger { address, trust_domain, source }
                    }
                })?;
                let authority = Authority::try_from(address)
                    .unwrap_or_else(|_| Authority::from_static("control-plane"));
                return Channel::over(stream, authority).await.map_err(LinkError::Channel);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// The roots of the file, those that are kept, and the newest that were sent. A control plane whose
/// root was replaced while this machine was off is found by the kept ones; one that was set up anew
/// by the file.
fn roots(settings: &Settings, newest: &Option<TrustBundle>) -> Result<TrustBundle, LinkError> {
    let file = &*settings.trust_anchors;
    let text = std::fs::read(file).map_err(|e| LinkError::TrustAnchors(file.to_owned(), e))?;
    let unusable = |error| LinkError::Unusable(file.to_owned(), error);
    let mut all = certificates(&text).map_err(unusable)?;
    let kept = std::fs::read(place(settings)).ok();
    if let Some(kept) = kept.and_then(|text| certificates(&text).ok()) {
        all.extend(kept);
    }
    if let Some(newest) = newest {
        all.extend(newest.roots().iter().map(|root| root.certificate.clone()));
    }
    TrustBundle::new(all, newest.as_ref().map_or(0, TrustBundle::generation)).map_err(unusable)
}

/// Where the newest roots are kept.
fn place(settings: &Settings) -> PathBuf {
    settings.newest_anchors.clone().unwrap_or_else(|| {
        let mut name = settings.trust_anchors.as_os_str().to_owned();
        name.push(".newest");
        name.into()
    })
}

/// Keeps roots for the next start, whole or not at all.
pub fn keep(settings: &Settings, bundle: &TrustBundle) {
    let text = bundle.to_pem();
    let place = place(settings);
    if std::fs::read_to_string(&place).is_ok_and(|kept| kept == text) {
        return;
    }
    let mut draft = place.clone().into_os_string();
    draft.push(format!(".{}", std::process::id()));
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &place));
    match written {
        Ok(()) => debug!(path = %place.display(), "the newest trust bundle is kept"),
        // Beside a mounted file nothing can be written; whoever mounts it keeps it current.
        Err(error) => {
            warn!(path = %place.display(), %error, "the newest trust bundle can't be kept; if the roots change while this sidecar is off, controlPlane.trustAnchors has to be replaced, unless controlPlane.newestAnchors names a place that can be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::issue::Authority;

    #[test]
    fn the_newest_roots_are_kept_where_it_is_said() {
        let domain = TrustDomain::default();
        let [old, new] = [(); 2].map(|()| Authority::new(&domain).expect("a root"));
        let folder = std::env::temp_dir().join(format!("outrigger-link-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).expect("a folder");
        let (file, elsewhere) = (folder.join("ca.pem"), folder.join("newest.pem"));
        std::fs::write(&file, old.root_pem()).expect("written");
        let roots_of = |pem: &str| certificates(pem.as_bytes()).expect("a certificate");
        let bundle = TrustBundle::new(roots_of(new.root_pem()), 2).expect("a bundle");
        for newest_anchors in [None, Some(elsewhere.clone())] {
            let kept = newest_anchors.clone().unwrap_or(folder.join("ca.pem.newest"));
            let trust_anchors = file.clone();
            let address = "127.0.0.1:1".into();
            let settings = Settings { address, trust_anchors, newest_anchors, token_file: None };
            assert_eq!(roots(&settings, &None).expect("one").roots().len(), 1);
            keep(&settings, &bundle);
            assert_eq!(std::fs::read_to_string(&kept).expect("kept"), bundle.to_pem());
            assert_eq!(roots(&settings, &None).expect("both").roots().len(), 2);
            std::fs::remove_file(kept).expect("there");
        }
        let _ = std::fs::remove_dir_all(folder);
    }
}
