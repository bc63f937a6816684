//! A connection to the control plane: found by name or address, proved by certificate, and with
//! what shows who is calling. It carries calls; what they mean is `calls`'.

use std::fs;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::Authority;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};

use super::super::complain;
use super::error::Error;
use super::place::{Connection, Field, Place, Said, variable};
use crate::identity::{self, Svid, TrustBundle};
use crate::model::TrustDomain;
use crate::resources::Origin;
use crate::tls::ControlClient;
use crate::wire::{self, Channel};

const ADDRESS: &str = "127.0.0.1:15010";
/// For each address of the name: to connect, prove and greet. Arbitrary, beyond any healthy network.
const CONNECT: Duration = Duration::from_secs(3);
/// For each call but `Watch`. Arbitrary: a large `apply` takes well below a second.
const CALL: Duration = Duration::from_secs(10);

/// A control plane that can be connected to.
pub(super) struct Target {
    /// `host:port`.
    address: String,
    authority: Authority,
    security: Security,
    bearer: Option<MetadataValue<Ascii>>,
}

/// What a connection is wrapped in.
#[derive(Clone)]
enum Security {
    Tls(Arc<ControlClient>),
    /// For the tests of everything above.
    #[cfg(test)]
    None,
}

impl Target {
    /// The one that flags, environment and context name.
    ///
    /// # Errors
    /// What is missing, or can't be used, and where to say it.
    pub(super) fn of(connection: &Connection) -> Result<Target, Error> {
        Target::at(&connection.place(&variable)?)
    }

    pub(super) fn at(place: &Place) -> Result<Target, Error> {
        let default = Said { text: ADDRESS.into(), at: Origin::Default };
        let said = place.said(Field::ControlPlane).unwrap_or(&default);
        let authority = authority(said)?;
        let trust_domain = trust_domain(place)?;
        let anchors = place.said(Field::TrustAnchors).ok_or(Error::Missing(Field::TrustAnchors))?;
        let roots =
            TrustBundle::from_pem(&read(anchors)?, 0).map_err(|error| unusable(anchors, error))?;
        let own = certificate(place)?;
        let bearer = bearer(place)?;
        if own.is_none() && bearer.is_none() {
            return Err(Error::Missing(Field::TokenFile));
        }
        let client = ControlClient::new(&trust_domain, &roots, own.as_ref());
        let security = Security::Tls(Arc::new(client));
        Ok(Target { address: said.text.clone(), authority, security, bearer })
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What shows who is calling, as a header of HTTP; `None`: the certificate alone does.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let bearer = self.bearer.as_ref()?;
        let mut value = HeaderValue::from_bytes(bearer.as_encoded_bytes()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A connection to the control plane's pages at `admin` (`host:port`).
    ///
    /// # Errors
    /// When nobody is there, or somebody else.
    pub(super) async fn pages(&self, admin: &str) -> Result<TlsStream<TcpStream>, Error> {
        let address = || admin.to_owned();
        let open = async {
            let stream = TcpStream::connect(admin).await;
            let stream = stream.map_err(|source| Error::NoPages { address: address(), source })?;
            match &self.security {
                Security::Tls(client) => client
                    .for_pages()
                    .connect(stream)
                    .await
                    .map_err(|source| Error::Stranger { address: address(), source }),
                #[cfg(test)]
                Security::None => Err(Error::Missing(Field::TrustAnchors)),
            }
        };
        timeout(CONNECT, open).await.unwrap_or_else(|_| {
            Err(Error::NoPages { address: address(), source: ErrorKind::TimedOut.into() })
        })
    }

    #[cfg(test)]
    pub(super) fn plain(address: SocketAddr, token: &'static str) -> Target {
        Target {
            address: address.to_string(),
            authority: Authority::from_static("test"),
            security: Security::None,
            bearer: Some(MetadataValue::from_static(token)),
        }
    }
}

/// What can be told of a place before it is needed.
///
/// # Errors
/// When the address or the trust domain can't be one.
pub(super) fn check(place: &Place) -> Result<(), Error> {
    place.said(Field::ControlPlane).map(authority).transpose()?;
    trust_domain(place).map(drop)
}

fn authority(said: &Said) -> Result<Authority, Error> {
    let authority = said.text.parse::<Authority>().ok();
    let legal = |authority: &Authority| {
        authority.port_u16().is_some_and(|port| port > 0)
            && !authority.host().is_empty()
            && !said.text.contains('@')
    };
    let error = || Error::Address { at: said.at.clone(), text: said.text.clone() };
    authority.filter(legal).ok_or_else(error)
}

fn trust_domain(place: &Place) -> Result<TrustDomain, Error> {
    let Some(said) = place.said(Field::TrustDomain) else { return Ok(TrustDomain::default()) };
    TrustDomain::parse(&said.text)
        .map_err(|source| Error::TrustDomain { at: said.at.clone(), source })
}

fn certificate(place: &Place) -> Result<Option<Svid>, Error> {
    let Some(certificate) = place.said(Field::Certificate) else { return Ok(None) };
    let key = place.said(Field::Key).ok_or(Error::Missing(Field::Key))?;
    let svid = Svid::from_pem(&read(certificate)?, &read(key)?);
    let blamed = |error: &identity::Error| if error.is_about_key() { key } else { certificate };
    svid.map(Some).map_err(|error| unusable(blamed(&error), error))
}

fn bearer(place: &Place) -> Result<Option<MetadataValue<Ascii>>, Error> {
    let Some(said) = place.said(Field::TokenFile) else { return Ok(None) };
    let token = String::from_utf8(read(said)?).unwrap_or_default();
    let value = wire::bearer(&token).ok_or_else(|| {
        let (at, path) = (said.at.clone(), said.text.clone());
        Error::NoToken { at, path }
    })?;
    if is_open(&said.text) {
        let path = &said.text;
        complain(&format!("warning: everybody on this machine can read {path}: chmod 600 {path}"));
    }
    Ok(Some(value))
}

/// Whether others than owner and group may read it.
pub(super) fn is_open(path: &str) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn read(said: &Said) -> Result<Vec<u8>, Error> {
    fs::read(&said.text).map_err(|source| Error::Unreadable {
        at: said.at.clone(),
        path: said.text.clone(),
        source,
    })
}

fn unusable(said: &Said, source: identity::Error) -> Error {
    Error::Unusable { at: said.at.clone(), path: said.text.clone(), source }
}

/// A connection that calls go over.
pub(super) struct Session {
    pub(super) channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Session {
    /// Tries each address of the name in turn.
    ///
    /// # Errors
    /// Why the last of them was no use.
    pub(super) async fn open(target: &Target) -> Result<Session, Error> {
        let unreachable = |source| Error::Unreachable { address: target.address.clone(), source };
        let resolved = timeout(CONNECT, lookup_host(target.address.as_str())).await;
        let addresses = resolved.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        let nowhere = io::Error::new(ErrorKind::NotFound, "the name has no address");
        let mut last = unreachable(nowhere);
        for address in addresses.map_err(unreachable)? {
            let channel = timeout(CONNECT, channel(target, address)).await;
            match channel.unwrap_or_else(|_| Err(unreachable(ErrorKind::TimedOut.into()))) {
                Ok(channel) => return Ok(Session { channel, bearer: target.bearer.clone() }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A message with what shows who sends it.
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }
}

/// The one place that knows what a connection is wrapped in.
async fn channel(target: &Target, at: SocketAddr) -> Result<Channel, Error> {
    let address = || target.address.clone();
    let stream = TcpStream::connect(at).await;
    let stream = stream.map_err(|source| Error::Unreachable { address: address(), source })?;
    let authority = target.authority.clone();
    let channel = match &target.security {
        Security::Tls(client) => {
            let stream = client.connect(stream).await;
            let stream = stream.map_err(|source| Error::Stranger { address: address(), source })?;
            Channel::over(stream, authority).await
        }
        #[cfg(test)]
        Security::None => Channel::over(stream, authority).await,
    };
    channel.map_err(|source| Error::Broken { address: address(), source })
}

/// The answer to a call, unless it takes too long.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match timeout(CALL, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::Silent(CALL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(Field, &'a str)];

    fn refusal(place: &Place) -> String {
        match Target::at(place) {
            Err(error) => super::super::super::chain(&error),
            Ok(_) => panic!("it was taken: {place:?}"),
        }
    }

    #[test]
    fn what_is_missing_or_wrong_says_where_to_mend_it() {
        let folder = super::super::tests::Folder::new();
        let authority = identity::issue::Authority::new(&TrustDomain::default()).expect("a root");
        let path = |name: &str, text: &str| {
            fs::write(folder.path(name), text).expect("written");
            folder.path(name).display().to_string()
        };
        let (roots, empty) = (path("roots.pem", authority.root_pem()), path("empty", " \n"));
        let absent = folder.path("absent").display().to_string();
        let anchors = (Field::TrustAnchors, roots.as_str());
        let rows: &[(Fields<'_>, &[&str])] = &[
            (&[], &["no trust anchors", "--trust-anchors, OUTRIGGER_TRUST_ANCHORS or `trustAn"]),
            (&[anchors], &["no token", "operator.token", "OUTRIGGER_TOKEN_FILE"]),
            (&[(Field::ControlPlane, "localhost")], &["--control-plane: \"localhost\"", "15010"]),
            (&[(Field::ControlPlane, ":15010")], &["--control-plane: \":15010\""]),
            (&[(Field::ControlPlane, "a@b:15010")], &["is not an address"]),
            (&[(Field::TrustDomain, "A B")], &["--trust-domain", "not a trust domain"]),
            (&[(Field::TrustAnchors, &absent)], &["--trust-anchors: ", &absent, "No such file"]),
            (&[(Field::TrustAnchors, &empty)], &["can't be used: it holds no certificate"]),
            (&[anchors, (Field::TokenFile, &empty)], &["--token-file: ", "holds no token"]),
            (&[anchors, (Field::TokenFile, &absent)], &["--token-file: ", "can't be read"]),
            (&[anchors, (Field::Certificate, &roots)], &["no key of the certificate"]),
            (
                &[anchors, (Field::Certificate, &roots), (Field::Key, &empty)],
                &["--key: ", "no private key"],
            ),
        ];
        for (fields, parts) in rows {
            let text = refusal(&Place::with(fields));
            for part in *parts {
                assert!(text.contains(part), "{fields:?}: {text:?} lacks {part:?}");
            }
        }
        let token = path("token", "abc\n");
        let target =
            Target::at(&Place::with(&[anchors, (Field::TokenFile, &token)])).expect("complete");
        assert_eq!(target.address, ADDRESS);
        let value = target.bearer.expect("a token");
        assert!(value.is_sensitive());
        assert_eq!(value.to_str().ok(), Some("Bearer abc"));
    }

    #[test]
    fn a_token_that_others_can_read_is_noticed() {
        let folder = super::super::tests::Folder::new();
        let path = folder.path("token");
        fs::write(&path, "abc").expect("written");
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            assert_eq!(is_open(&path.display().to_string()), open, "{mode:o}");
        }
    }
}
