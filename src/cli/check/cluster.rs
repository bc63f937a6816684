//! Questions to the API server, in its own JSON.
//!
//! What is not there is no error. What is refused is one, with the server's own sentence: a check
//! that may not look says so rather than that all is well.

use std::path::Path;
use std::time::{Duration, SystemTime};

use http::Request;
use http::header::DATE;
use jiff::Timestamp;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::cli::chain;

/// A connection to an API server.
pub(super) struct Cluster {
    client: Client,
    /// Where it is.
    pub(super) url: String,
}

/// A time of the server's, and ours when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) server: Timestamp,
    pub(super) ours: Timestamp,
}

/// Objects of a list at a time.
const PAGE: usize = 500;

/// An API server that doesn't answer for so long is none; arbitrary.
const PATIENCE: Duration = Duration::from_secs(20);

impl Cluster {
    /// # Errors
    /// Why no configuration was found, or it can't be used.
    pub(super) async fn reach(
        file: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Cluster, String> {
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
        let config = match (file, context) {
            (Some(file), _) => {
                let read = Kubeconfig::read_from(file).map_err(|error| chain(&error))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| chain(&error))
            }
            (None, Some(_)) => {
                Config::from_kubeconfig(&options).await.map_err(|error| chain(&error))
            }
            (None, None) => Config::infer().await.map_err(|error| chain(&error)),
        };
        let mut config = config?;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| chain(&error))?;
        Ok(Cluster { client, url })
    }

    /// An object; `None` when there is none, or no such kind.
    ///
    /// # Errors
    /// What the server or the way to it said.
    pub(super) async fn object(&self, path: &str) -> Result<Option<Value>, String> {
        match self.client.request(request("GET", path, Vec::new())?).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(sentence(&error)),
        }
    }

    /// All objects of a list; `path` may have a query.
    ///
    /// # Errors
    /// As [`Cluster::object`].
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let (mut all, mut from) = (Vec::new(), String::new());
        let query = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = format!("{path}{query}limit={PAGE}{from}");
            let Some(mut list) = self.object(&page).await? else { return Ok(all) };
            if let Value::Array(items) = list["items"].take() {
                all.extend(items);
            }
            match list["metadata"]["continue"].as_str() {
                Some(next) if !next.is_empty() => from = format!("&continue={}", escaped(next)),
                _ => return Ok(all),
            }
        }
    }

    /// What came back for a new object.
    ///
    /// # Errors
    /// As [`Cluster::object`].
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Value, String> {
        let request = request("POST", path, object.to_string().into_bytes())?;
        self.client.request(request).await.map_err(|error| sentence(&error))
    }

    /// The server's clock beside ours.
    pub(super) async fn clocks(&self) -> Option<Clocks> {
        let request = request("GET", "/version", Vec::new()).ok()?;
        let answer = self.client.send(request.map(Body::from)).await.ok()?;
        let date = answer.headers().get(DATE)?.to_str().ok()?;
        let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        Some(Clocks { server, ours: Timestamp::try_from(SystemTime::now()).ok()? })
    }
}

fn request(method: &str, path: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>, String> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    request.body(body).map_err(|error| format!("{path}: {error}"))
}

/// Without the name of the library's type, and without saying it twice.
fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// For a query: tokens of lists are of base64.
fn escaped(text: &str) -> String {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| if legal(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
