//! The way to one other replica: a connection that lasts, under this control plane's own identity, to
//! whoever proves to be the control plane of the same mesh.
//!
//! One that did not answer is left alone for a moment, so that not everybody who looks at the mesh
//! waits for it; meanwhile the same is said of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::uri::Authority as Address;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::control::api::recalled;
use crate::control::ca::Authority;
use crate::control::memory::part::{Part, Question};
use crate::http::respond::chain;
use crate::model::TrustDomain;
use crate::runtime::socket;
use crate::tls::ControlClient;
use crate::wire::Channel;
use crate::wire::v1::replicas_client::ReplicasClient;

/// For an answer, the connection included. Arbitrary: it takes some milliseconds, and people wait.
pub const ANSWER: Duration = Duration::from_secs(1);
/// How long one that did not answer is left alone.
const ALONE: Duration = Duration::from_secs(3);

/// To one replica at one address.
pub struct Link {
    pub name: String,
    pub address: SocketAddr,
    made: Mutex<Option<Made>>,
    silent: RefCell<Option<(Instant, String)>>,
}

pub struct Made {
    pub channel: Channel,
    /// Until when our certificate is good for it.
    until: SystemTime,
}

/// As whom we come.
pub struct Own {
    pub trust_domain: TrustDomain,
    pub authority: Arc<Authority>,
}

/// Why there was no answer, and whether the connection may be to blame.
struct Silence {
    why: String,
    may_be_old: bool,
}

impl Link {
    pub fn new(name: String, address: SocketAddr) -> Self {
        Self { name, address, made: Mutex::default(), silent: RefCell::default() }
    }

    /// Its part of a question.
    ///
    /// # Errors
    /// Why there is none, within a second.
    pub async fn ask(&self, own: &Own, question: &Question) -> Result<Arc<Part>, String> {
        let now = Instant::now();
        if let Some((until, why)) = &*self.silent.borrow()
            && now < *until
        {
            return Err(why.clone());
        }
        let asked = timeout(ANSWER, self.asked(own, question)).await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(_) => {
                // Whatever it waits for: the next goes another way.
                if let Ok(mut made) = self.made.try_lock() {
                    *made = None;
                }
                Err(format!("it did not answer within {} s", ANSWER.as_secs()))
            }
        };
        *self.silent.borrow_mut() =
            answer.as_ref().err().map(|why| (Instant::now() + ALONE, why.clone()));
        answer
    }

    async fn asked(&self, own: &Own, question: &Question) -> Result<Arc<Part>, String> {
        match self.once(own, question).await {
            // It may have been started again since.
            Err(Silence { may_be_old: true, .. }) => self.once(own, question).await,
            answered => answered,
        }
        .map_err(|silence| silence.why)
    }

    async fn once(&self, own: &Own, question: &Question) -> Result<Arc<Part>, Silence> {
        let (channel, may_be_old) = self.channel(own).await?;
        let mut client = ReplicasClient::new(channel).max_decoding_message_size(recalled::LARGEST);
        let answer = client.recall(Request::new(recalled::asking(question))).await;
        let new = |why| Silence { why, may_be_old: false };
        let part = match answer {
            Ok(answer) => Part::try_from(answer.into_inner()).map_err(new)?,
            Err(status) => {
                *self.made.lock().await = None;
                return Err(Silence { why: said(&status), may_be_old });
            }
        };
        if *part.replica != *self.name {
            *self.made.lock().await = None;
            return Err(new(format!("{:?} answers there", part.replica)));
        }
        Ok(Arc::new(part))
    }

    /// The connection, and whether it was there before.
    async fn channel(&self, own: &Own) -> Result<(Channel, bool), Silence> {
        let mut made = self.made.lock().await;
        let now = SystemTime::now();
        if let Some(of) = made.as_ref().filter(|of| of.until > now && !of.channel.is_closed()) {
            return Ok((of.channel.clone(), true));
        }
        let of = connect(self.address, own).await;
        let of = of.map_err(|why| Silence { why, may_be_old: false })?;
        let channel = of.channel.clone();
        *made = Some(of);
        Ok((channel, false))
    }
}

/// A new connection, under a certificate of our own.
///
/// # Errors
/// Why there is none.
pub async fn connect(address: SocketAddr, own: &Own) -> Result<Made, String> {
    let Own { trust_domain, authority } = own;
    let now = SystemTime::now();
    let svid = authority.own(now).map_err(|error| chain(&error))?;
    let half = svid.not_after().duration_since(now).unwrap_or_default() / 2;
    let client = ControlClient::new(trust_domain, &authority.roots(), Some(&svid));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    // One that is gone already says so when it is used.
    let _ = socket::tune((&stream).into());
    let stream = client.connect(stream).await.map_err(|error| chain(&error))?;
    let named: Result<Address, _> = address.to_string().parse();
    let named = named.map_err(|error| error.to_string())?;
    let channel = Channel::over(stream, named).await.map_err(|error| chain(&error))?;
    Ok(Made { channel, until: now + half })
}

/// Why it did not answer.
pub fn said(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "it is of a release that can't be asked".to_owned(),
        _ => match status.message() {
            "" => chain(status),
            message => message.to_owned(),
        },
    }
}
