//! A field as it is kept in the tables: parsed once, however often it comes.

use std::sync::LazyLock;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, StatusCode};

/// A field, or why it is none.
#[derive(Clone, Debug)]
pub enum Field {
    Header(HeaderName, HeaderValue),
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
    Protocol(HeaderValue),
    Status(StatusCode),
    /// A name or value that HTTP does not know: its message is malformed, its connection is not.
    Malformed,
}

/// The name of a field.
#[derive(Clone, Debug)]
pub enum Name {
    Header(HeaderName),
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    Malformed,
}

impl Name {
    pub fn parse(name: &[u8]) -> Self {
        match name {
            [b':', pseudo @ ..] => match pseudo {
                b"method" => Name::Method,
                b"scheme" => Name::Scheme,
                b"authority" => Name::Authority,
                b"path" => Name::Path,
                b"protocol" => Name::Protocol,
                b"status" => Name::Status,
                _ => Name::Malformed,
            },
            name => HeaderName::from_lowercase(name).map_or(Name::Malformed, Name::Header),
        }
    }

    /// The field of that name. `value` may be kept as long as the field.
    pub fn field(self, value: Bytes) -> Field {
        fn field<T, E>(parsed: Result<T, E>, field: impl FnOnce(T) -> Field) -> Field {
            parsed.map_or(Field::Malformed, field)
        }
        match self {
            Name::Header(name) => match is_trimmed(&value) {
                true => field(HeaderValue::from_maybe_shared(value), |v| Field::Header(name, v)),
                false => Field::Malformed,
            },
            Name::Method => field(Method::from_bytes(&value), Field::Method),
            Name::Scheme => field(Scheme::try_from(&*value), Field::Scheme),
            Name::Authority => field(Authority::from_maybe_shared(value), Field::Authority),
            Name::Path if value.is_empty() => Field::Malformed,
            Name::Path => field(PathAndQuery::from_maybe_shared(value), Field::Path),
            Name::Protocol => field(HeaderValue::from_maybe_shared(value), Field::Protocol),
            Name::Status => field(StatusCode::from_bytes(&value), Field::Status),
            Name::Malformed => Field::Malformed,
        }
    }
}

/// RFC 9113, 8.2.1: no value begins or ends with a space or a tab.
fn is_trimmed(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    !is_space(value.first()) && !is_space(value.last())
}

impl Field {
    pub fn name(&self) -> Name {
        match self {
            Field::Header(name, _) => Name::Header(name.clone()),
            Field::Method(_) => Name::Method,
            Field::Scheme(_) => Name::Scheme,
            Field::Authority(_) => Name::Authority,
            Field::Path(_) => Name::Path,
            Field::Protocol(_) => Name::Protocol,
            Field::Status(_) => Name::Status,
            Field::Malformed => Name::Malformed,
        }
    }
}

/// A field of the static table.
pub struct Static {
    pub name: &'static str,
    pub value: &'static str,
    pub field: Field,
    /// An entry may stand for its name alone.
    pub only: Name,
}

impl Static {
    /// As HPACK counts it.
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// What HPACK adds to each field's size.
pub const OVERHEAD: usize = 32;

/// The static table of RFC 7541, Appendix A; index 1 is its first.
pub static STATIC: LazyLock<Vec<Static>> = LazyLock::new(|| {
    TABLE
        .iter()
        .map(|&(name, value)| {
            let only = Name::parse(name.as_bytes());
            Static {
                name,
                value,
                field: only.clone().field(Bytes::from_static(value.as_bytes())),
                only,
            }
        })
        .collect()
});

#[rustfmt::skip]
const TABLE: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
    ("via", ""), ("www-authenticate", ""),
];
