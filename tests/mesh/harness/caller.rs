//! Somebody who calls the control plane by its protocol: nobody, a sidecar or an operator.
//!
//! Each call has a connection of its own, and blocks. What a sidecar would never send can be sent
//! too.

use std::net::SocketAddr;

use outrigger::identity::issue::Issued;
use outrigger::identity::{Svid, TrustBundle};
use outrigger::model::TrustDomain;
use outrigger::tls::ControlClient;
use outrigger::wire::Channel;
use outrigger::wire::v1::configuration_client::ConfigurationClient;
use outrigger::wire::v1::identity_client::IdentityClient;
use outrigger::wire::v1::mesh_client::MeshClient;
use outrigger::wire::v1::{self, from_sidecar::Message as Say, to_sidecar::Message as Heard};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType, SigningKey};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{ControlPlane, SOON, spiffe};

#[derive(Clone)]
pub struct Caller {
    address: SocketAddr,
    roots: TrustBundle,
    svid: Option<Svid>,
    bearer: Option<String>,
}

impl ControlPlane {
    /// Somebody without any proof of who it is.
    #[track_caller]
    pub fn nobody(&self) -> Caller {
        let roots = TrustBundle::from_pem(self.anchors_pem().as_bytes(), 1).expect("its roots");
        Caller { address: self.address, roots, svid: None, bearer: None }
    }

    /// Whoever has the operators' token.
    #[track_caller]
    pub fn operator(&self) -> Caller {
        self.nobody().bearing(&self.operator_token())
    }

    /// Joins as a service account of `default`, with a new token and a new key.
    #[track_caller]
    pub fn joined(&self, account: &str) -> Svid {
        self.joined_with(account, &[])
    }

    /// The same; the token is made with further arguments.
    #[track_caller]
    pub fn joined_with(&self, account: &str, arguments: &[&str]) -> Svid {
        let applicant = Applicant::new(account);
        let joined = self.nobody().enroll(&applicant.request, &self.token(account, arguments));
        applicant.certified(joined.unwrap_or_else(|status| panic!("{account}: {status}")))
    }

    /// The certificate of a service account of `default`, and its key, as files hold them.
    #[track_caller]
    pub fn joined_in_pem(&self, account: &str) -> Issued {
        let applicant = Applicant::new(account);
        let joined = self.nobody().enroll(&applicant.request, &self.token(account, &[]));
        let chain = joined.expect("joined").certificate.expect("a certificate").chain;
        let chain = chain.into_iter().map(|der| pem::Pem::new("CERTIFICATE", der));
        Issued {
            cert_pem: pem::encode_many(&chain.collect::<Vec<_>>()),
            key_pem: applicant.key.serialize_pem(),
        }
    }
}

impl Caller {
    /// The same with a certificate.
    pub fn showing(mut self, svid: &Svid) -> Self {
        self.svid = Some(svid.clone());
        self
    }

    /// The same with a token for operators.
    pub fn bearing(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// Makes a call on a connection of its own.
    ///
    /// # Errors
    /// What it is refused with; `Unknown` when the connection is.
    pub fn call<T>(
        &self,
        call: impl AsyncFnOnce(Channel) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let called = async { Ok(call(self.connect().await?).await?.into_inner()) };
        let called = LocalSet::new().block_on(&runtime, async { timeout(SOON, called).await });
        called.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
    }

    async fn connect(&self) -> Result<Channel, Status> {
        let unknown = |error: &dyn std::error::Error| Status::unknown(error.to_string());
        let stream = TcpStream::connect(self.address).await.map_err(|e| unknown(&e))?;
        stream.set_nodelay(true).map_err(|e| unknown(&e))?;
        let client = ControlClient::new(&TrustDomain::default(), &self.roots, self.svid.as_ref());
        let stream = client.connect(stream).await.map_err(|e| unknown(&e))?;
        let authority = http::uri::Authority::from_static("control-plane");
        Channel::over(stream, authority).await.map_err(|e| unknown(&e))
    }

    /// A message with what this caller bears.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.bearer {
            let value = format!("Bearer {token}").parse().expect("a token in ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    /// Asks for a first certificate.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn enroll(&self, request: &[u8], token: &str) -> Result<v1::EnrollResponse, Status> {
        let message =
            v1::EnrollRequest { signing_request: request.to_vec(), token: token.to_owned() };
        self.call(async |channel| IdentityClient::new(channel).enroll(self.request(message)).await)
    }

    /// Begins a session as this workload.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn welcome(&self, workload: &str) -> Result<v1::Welcome, Status> {
        self.converse(workload, Vec::new(), |heard| match heard {
            Heard::Welcome(welcome) => Some(welcome),
            _ => None,
        })
    }

    /// Applies documents that are right.
    ///
    /// # Errors
    /// What the call is refused with, or the control plane is away.
    #[track_caller]
    pub fn apply(&self, yaml: &str) -> Result<(), Status> {
        let request = v1::ApplyRequest { documents: documents(yaml), ..Default::default() };
        let call =
            async |channel| ConfigurationClient::new(channel).apply(self.request(request)).await;
        let answer = self.call(call)?;
        assert!(answer.faults.is_empty(), "{:?}", answer.faults);
        Ok(())
    }

    /// Removes what documents name, as far as it is there.
    ///
    /// # Errors
    /// See [`Caller::apply`].
    #[track_caller]
    pub fn delete(&self, yaml: &str) -> Result<(), Status> {
        let documents = documents(yaml);
        let request = v1::DeleteRequest { documents, ignore_missing: true, ..Default::default() };
        let call =
            async |channel| ConfigurationClient::new(channel).delete(self.request(request)).await;
        let answer = self.call(call)?;
        assert!(answer.faults.is_empty(), "{:?}", answer.faults);
        Ok(())
    }

    /// Registers a workload with the label `app`, and leaves without a word.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn register(&self, workload: &str, app: &str) -> Result<Vec<String>, Status> {
        let offer = v1::Registration {
            labels: [("app".to_owned(), app.to_owned())].into(),
            ports: vec![v1::Port { name: "app".into(), port: 80, ..v1::Port::default() }],
            ..v1::Registration::default()
        };
        self.converse(workload, vec![Say::Register(offer)], |heard| match heard {
            Heard::Registration(v1::RegistrationAnswer { errors }) => Some(errors),
            _ => None,
        })
    }

    /// Asks for the next certificate in a session.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn renew(&self, workload: &str, request: &[u8]) -> Result<v1::CertificateAnswer, Status> {
        let request = v1::CertificateRequest { signing_request: request.to_vec() };
        self.converse(workload, vec![Say::Certificate(request)], |heard| match heard {
            Heard::Certificate(answer) => Some(answer),
            _ => None,
        })
    }

    /// Asks for services and addresses; the first answer.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn discover(&self, subscription: v1::Subscription) -> Result<v1::Update, Status> {
        let full = |heard| match heard {
            Heard::Update(update) if !update.addresses.is_empty() => Some(update),
            _ => None,
        };
        self.converse("asker-1", vec![Say::Subscribe(subscription)], full)
    }

    /// Says what became of a workload's traffic, and waits until it was heard.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn report(&self, workload: &str, traffic: v1::Traffic) -> Result<(), Status> {
        let more = vec![Say::Traffic(traffic), Say::Heartbeat(v1::Heartbeat {})];
        self.converse(workload, more, |heard| match heard {
            Heard::Heartbeat(v1::Heartbeat {}) => Some(()),
            _ => None,
        })
    }

    /// Says what it saw of requests, asked or not, and waits until it was heard.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn tell_tapped(&self, workload: &str, tapped: v1::Tapped) -> Result<(), Status> {
        let more = vec![Say::Tapped(tapped), Say::Heartbeat(v1::Heartbeat {})];
        self.converse(workload, more, |heard| match heard {
            Heard::Heartbeat(v1::Heartbeat {}) => Some(()),
            _ => None,
        })
    }

    /// How many access policies a sidecar is told that says of none that it can keep its rules.
    ///
    /// # Errors
    /// What the session is refused with.
    pub fn governed(&self, workload: &str) -> Result<usize, Status> {
        self.converse(workload, Vec::new(), |heard| match heard {
            Heard::Inbound(v1::Inbound { policies, limits }) => Some(policies.len() + limits.len()),
            _ => None,
        })
    }

    /// Stays in a session until it is ended, and never renews.
    pub fn outstay(&self, workload: &str) -> Status {
        let never = |_| None::<()>;
        self.converse(workload, Vec::new(), never).expect_err("nothing is waited for")
    }

    /// A session: says these after hello, and hears until `wanted` is there.
    fn converse<T>(
        &self,
        workload: &str,
        more: Vec<Say>,
        wanted: impl Fn(Heard) -> Option<T>,
    ) -> Result<T, Status> {
        let hello = v1::Hello { workload: workload.to_owned(), ..v1::Hello::default() };
        self.call(async |channel| {
            let (say, said) = tokio::sync::mpsc::channel(1 + more.len());
            for message in std::iter::once(Say::Hello(hello)).chain(more) {
                let sent = say.try_send(v1::FromSidecar { message: Some(message) });
                sent.expect("there is room for all");
            }
            let session = self.request(ReceiverStream::new(said));
            let mut heard = MeshClient::new(channel).session(session).await?.into_inner();
            while let Some(message) = heard.message().await? {
                if let Some(found) = message.message.and_then(&wanted) {
                    return Ok(Response::new(found));
                }
            }
            Err(Status::unavailable("the session ended"))
        })
    }
}

fn documents(yaml: &str) -> Vec<v1::Document> {
    vec![v1::Document { source: "a scenario".to_owned(), text: yaml.to_owned() }]
}

/// Who asks for a certificate: a key, and the signing request for it in DER.
pub struct Applicant {
    pub key: KeyPair,
    pub request: Vec<u8>,
}

impl Applicant {
    /// One who asks for what a service account of `default` may have.
    pub fn new(account: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let request = signing_request(account, &key, |_| {});
        Self { key, request }
    }

    /// With the certificate that was given for it.
    pub fn certified(&self, answer: v1::EnrollResponse) -> Svid {
        let chain = answer.certificate.expect("a certificate").chain;
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Svid::new(chain, key.into()).expect("a certificate for this key")
    }
}

/// A request for a service account of `default`, bent.
pub fn signing_request(
    account: &str,
    key: &impl SigningKey,
    bend: impl FnOnce(&mut CertificateParams),
) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(&spiffe(account))];
    bend(&mut params);
    params.serialize_request(key).expect("a request").der().to_vec()
}

/// A URI as a name.
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}
