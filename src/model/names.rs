//! The names that things go by: services, trust domains and SPIFFE ids.
//!
//! All are cheap to clone and checked when they are made, so that a held value is a valid one.

use std::fmt;
use std::sync::Arc;

/// Why a name was refused; `Display` says what a right one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{0:?} is not a service: write name.namespace:port, for example db.default:5432")]
    Service(String),
    #[error(
        "{0:?} is not a trust domain: use lower-case letters, digits, dots, dashes and underscores, for example cluster.local"
    )]
    TrustDomain(String),
    #[error(
        "{0:?} is not a workload's SPIFFE id: expected spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>"
    )]
    SpiffeId(String),
    #[error("{0:?} begins no serial number: expected up to 16 hexadecimal digits")]
    Enrollment(String),
}

/// A service port: `name.namespace:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub port: u16,
}

impl ServiceName {
    /// Of parts that were apart all along: as text they might mean another service.
    ///
    /// # Errors
    /// [`NameError::Service`] when a part is no DNS label, or the port is 0.
    pub fn new(name: &str, namespace: &str, port: u16) -> Result<Self, NameError> {
        Self::of_labels(name, namespace, port)
            .filter(|name| name.port > 0)
            .ok_or_else(|| NameError::Service(format!("{name}.{namespace}:{port}")))
    }

    /// Reads `name:port`, `name.namespace:port`, `name.namespace.svc:port` or the full
    /// `name.namespace.svc.cluster.local:port`, in any letter case.
    ///
    /// # Errors
    /// [`NameError::Service`] when the text has another shape, or no port.
    pub fn parse(text: &str, default_namespace: &str) -> Result<Self, NameError> {
        let refuse = || NameError::Service(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(refuse)?;
        Self::from_host(host, port, default_namespace).ok_or_else(refuse)
    }

    /// The service that a bare host name means; `None` where it can't be one. `web.svc` is `web` of
    /// the namespace `svc`, as the cluster's DNS has it.
    pub fn from_host(host: &str, port: u16, default_namespace: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let full = host.strip_suffix(".svc.cluster.local").or(host.strip_suffix(".svc"));
        let host = full.filter(|both| both.contains('.')).unwrap_or(&host);
        let (name, namespace) = host.split_once('.').unwrap_or((host, default_namespace));
        Self::of_labels(name, namespace, port)
    }

    fn of_labels(name: &str, namespace: &str, port: u16) -> Option<Self> {
        (is_label(name) && is_label(namespace)).then(|| ServiceName {
            name: name.into(),
            namespace: namespace.into(),
            port,
        })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.name, self.namespace, self.port)
    }
}

/// The name of a mesh's authority over identities, such as `cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// # Errors
    /// [`NameError::TrustDomain`] when the text is empty, longer than 255 bytes or has characters
    /// outside the SPIFFE grammar.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 255 || !text.bytes().all(legal) {
            return Err(NameError::TrustDomain(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A workload's identity: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain_end: u16,
    namespace_end: u16,
}

const SCHEME: &str = "spiffe://";

/// The namespace that the control plane's own identity is in.
pub const CONTROL_PLANE_NAMESPACE: &str = "outrigger-system";

/// Labels that say what the instances of an app have in common, the first that is there: its own name
/// differs from one to the next.
pub const APP_LABELS: [&str; 2] = ["app.kubernetes.io/name", "app"];

/// The service account of the control plane's own identity.
pub const CONTROL_PLANE_ACCOUNT: &str = "outrigger-control-plane";

impl SpiffeId {
    /// # Errors
    /// [`NameError::SpiffeId`] when the text has another shape; ids are at most 2,048 bytes (SPIFFE-ID 2.3).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Self::split(text).ok_or_else(|| NameError::SpiffeId(text.chars().take(200).collect()))
    }

    /// The id of a service account; `None` when a part breaks the grammar of path segments.
    pub fn new(trust_domain: &TrustDomain, namespace: &str, service_account: &str) -> Option<Self> {
        Self::split(&format!("{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}"))
    }

    /// The id that the control plane of a mesh proves, and that sidecars expect of it.
    pub fn control_plane(trust_domain: &TrustDomain) -> Self {
        Self::new(trust_domain, CONTROL_PLANE_NAMESPACE, CONTROL_PLANE_ACCOUNT)
            .expect("a checked trust domain and two right segments, far below 2,048 bytes")
    }

    /// Whether it is that of its trust domain's control plane.
    pub fn is_control_plane(&self) -> bool {
        self.namespace() == CONTROL_PLANE_NAMESPACE
            && self.service_account() == CONTROL_PLANE_ACCOUNT
    }

    fn split(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= 2048)?;
        let (domain, path) = rest.split_once('/')?;
        TrustDomain::parse(domain).ok()?;
        let (namespace, account) = path.strip_prefix("ns/")?.split_once("/sa/")?;
        if !is_segment(namespace) || !is_segment(account) {
            return None;
        }
        let trust_domain_end = SCHEME.len() + domain.len();
        let namespace_end = trust_domain_end + "/ns/".len() + namespace.len();
        Some(Self {
            text: text.into(),
            trust_domain_end: u16::try_from(trust_domain_end).ok()?,
            namespace_end: u16::try_from(namespace_end).ok()?,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..usize::from(self.trust_domain_end)]
    }

    pub fn namespace(&self) -> &str {
        &self.text
            [usize::from(self.trust_domain_end) + "/ns/".len()..usize::from(self.namespace_end)]
    }

    pub fn service_account(&self) -> &str {
        &self.text[usize::from(self.namespace_end) + "/sa/".len()..]
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A path segment of a SPIFFE id (SPIFFE-ID 2.2): dots alone would be a relative path.
fn is_segment(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(legal) && text != "." && text != ".."
}

/// A DNS label (RFC 1123), as Kubernetes names services and namespaces.
fn is_label(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_in_all_their_forms() {
        for (text, expected) in [
            ("db.shop:5432", Some("db.shop:5432")),
            ("db:5432", Some("db.default:5432")),
            ("DB.Shop:5432", Some("db.shop:5432")),
            ("db.shop.svc:1", Some("db.shop:1")),
            ("db.shop.svc.cluster.local:80", Some("db.shop:80")),
            ("db.shop.svc.cluster.local.:80", Some("db.shop:80")),
            ("db.shop", None),
            ("db.svc:80", Some("db.svc:80")),
            ("db.svc.svc:80", Some("db.svc:80")),
            ("svc.svc.svc.cluster.local:80", Some("svc.svc:80")),
            ("db.svc.cluster.local:80", None),
            ("db.shop:0", None),
            ("db.shop:65536", None),
            ("db.shop.example.com:80", None),
            ("-db:80", None),
            (":80", None),
            ("10.0.0.1:80", None),
            ("", None),
        ] {
            let read = ServiceName::parse(text, "default").map(|name| name.to_string()).ok();
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same_service() {
        for (name, namespace) in [("web", "shop"), ("web", "svc"), ("svc", "svc"), ("a-1", "local")]
        {
            let service = ServiceName::new(name, namespace, 80).expect("two labels");
            assert_eq!(ServiceName::parse(&service.to_string(), "").as_ref(), Ok(&service));
            assert_eq!(
                ServiceName::from_host(&format!("{name}.{namespace}"), 80, ""),
                Some(service)
            );
        }
        for (name, namespace, port) in
            [("web", "shop", 0), ("web.a", "shop", 80), ("", "shop", 80), ("web", "", 80)]
        {
            assert!(ServiceName::new(name, namespace, port).is_err(), "{name}.{namespace}:{port}");
        }
    }

    #[test]
    fn spiffe_ids_are_taken_apart() {
        let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("a valid id");
        assert_eq!(
            (id.trust_domain(), id.namespace(), id.service_account()),
            ("cluster.local", "shop", "web")
        );
        assert_eq!(SpiffeId::new(&TrustDomain::default(), "shop", "web"), Some(id));
    }

    #[test]
    fn the_control_plane_has_an_id_in_every_trust_domain() {
        let id = SpiffeId::control_plane(&TrustDomain::default());
        let expected = "spiffe://cluster.local/ns/outrigger-system/sa/outrigger-control-plane";
        assert_eq!(id.as_str(), expected);
        assert!(id.is_control_plane());
        let other = SpiffeId::new(&TrustDomain::default(), "shop", CONTROL_PLANE_ACCOUNT);
        assert!(!other.expect("a legal id").is_control_plane());
        let longest = TrustDomain::parse(&"d".repeat(255)).expect("255 bytes are allowed");
        assert_eq!(SpiffeId::control_plane(&longest).trust_domain(), longest.as_str());
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://cluster.local/ns//sa/web",
            "spiffe://cluster.local/ns/shop/sa/web/x",
            "spiffe://cluster.local/ns/shop/sa/..",
            "spiffe://Cluster.local/ns/shop/sa/web",
            "spiffe:///ns/shop/sa/web",
            "https://cluster.local/ns/shop/sa/web",
            "spiffe://cluster.local/ns/shop/sa/we b",
            "spiffe://cluster.local/ns/shop/sa/web?x",
            "spiffe://cluster.local/web",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
    }
}
