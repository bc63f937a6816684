//! What kind of request this is, and how its answer counts.

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::headers::GRPC_STATUS;

/// True for `application/grpc` and its variants, but not gRPC-Web, whose clients are not gRPC's.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';'))
    })
}

/// Methods that may be sent twice without a second effect (RFC 9110 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// gRPC's own codes end here, at `unauthenticated`.
const LAST_GRPC: u8 = 16;
const UNKNOWN: u8 = 2;

/// The gRPC status in headers or trailers; what is none of gRPC's own codes is `unknown` (2), as
/// its clients read it, so that an app can't make metric series of its own.
pub fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    let value = headers.get(GRPC_STATUS)?;
    let code = value.to_str().ok().and_then(|text| text.parse().ok());
    Some(code.filter(|&code| code <= LAST_GRPC).unwrap_or(UNKNOWN))
}

/// Answers by which a gateway says that what is behind it did not serve.
pub fn is_gateway_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// An answer that says the endpoint has too much to do, not that it is broken.
pub fn is_overload(status: StatusCode, grpc: Option<u8>) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || grpc == Some(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_grpc_status_is_one_of_its_codes() {
        for (value, code) in
            [("0", 0), ("16", 16), ("17", 2), ("255", 2), ("256", 2), ("-1", 2), ("x", 2)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_STATUS, HeaderValue::from_static(value));
            assert_eq!(grpc_status(&headers), Some(code), "{value}");
        }
        assert_eq!(grpc_status(&HeaderMap::new()), None);
    }

    #[test]
    fn grpc_is_told_from_its_neighbours() {
        for (value, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_grpc(&headers), grpc, "{value}");
        }
    }
}
