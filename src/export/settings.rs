//! What the configuration says about collectors: where spans are sent, in which form, and what is
//! shown there. Filled by `config`.

use std::path::PathBuf;

use http::HeaderMap;
use http::uri::PathAndQuery;

use crate::model::Url;

/// Where spans go; nowhere unless it is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub collectors: Vec<Collector>,
    /// What the workload is called there; absent: as its labels or it are called.
    pub service: Option<String>,
}

/// One that takes spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    pub endpoint: Endpoint,
    pub format: Format,
    /// Goes with everything that is sent there; may hold secrets.
    pub headers: HeaderMap,
    /// Roots to verify it by, in PEM; absent: the system's.
    pub ca_file: Option<PathBuf>,
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP/1.1, as protobuf.
    OtlpHttp,
    /// Zipkin's JSON, version 2.
    Zipkin,
}

impl Format {
    /// The path where a collector takes it, unless the endpoint says another.
    fn path(self) -> &'static str {
        match self {
            Format::OtlpGrpc => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Format::OtlpHttp => "/v1/traces",
            Format::Zipkin => "/api/v2/spans",
        }
    }
}

/// Where a collector is, and maybe what is asked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub url: Url,
}

impl Endpoint {
    /// `http://collector.observability:4317`, `https://otlp.example/v1/traces`.
    pub fn parse(text: &str) -> Option<Self> {
        Url::parse(text).map(|url| Self { url })
    }

    /// Whether it names more than a host and a port.
    pub fn has_path(&self) -> bool {
        self.url.target != "/"
    }

    /// What is asked there. gRPC's own path stands for every endpoint.
    pub fn path(&self, format: Format) -> PathAndQuery {
        match self.has_path() && format != Format::OtlpGrpc {
            true => self.url.target.clone(),
            false => PathAndQuery::from_static(format.path()),
        }
    }

    /// OTLP over HTTP where port or path say so, else over gRPC.
    pub fn otlp_format(&self) -> Format {
        if self.url.port == 4318 || self.has_path() { Format::OtlpHttp } else { Format::OtlpGrpc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_of_two_schemes() {
        let grpc = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let table = [
            ("http://127.0.0.1:4317", Some((false, "127.0.0.1", 4317, grpc))),
            ("http://[::1]:4318", Some((false, "::1", 4318, "/v1/traces"))),
            ("http://c.obs:4318/", Some((false, "c.obs", 4318, "/v1/traces"))),
            ("https://otlp.example", Some((true, "otlp.example", 443, grpc))),
            ("http://c/in/v1/traces?t=1", Some((false, "c", 80, "/in/v1/traces?t=1"))),
            ("ftp://c", None),
            ("c:4317", None),
            ("http://", None),
            ("http://c:0", None),
            ("http://c:", None),
            ("http://user:secret@c:4317", None),
            ("", None),
        ];
        for (text, expected) in table {
            let found = Endpoint::parse(text);
            let path = found.as_ref().map(|found| found.path(found.otlp_format()));
            let facts = found.as_ref().zip(path.as_ref());
            let facts =
                facts.map(|(of, path)| (of.url.is_tls, &*of.url.host, of.url.port, path.as_str()));
            assert_eq!(facts, expected, "{text}");
        }
        let zipkin = Endpoint::parse("http://z:9411").expect("a URL");
        assert_eq!(zipkin.path(Format::Zipkin), "/api/v2/spans");
    }
}
