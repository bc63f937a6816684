//! `x-request-id`: kept where the caller sent one, else made, a UUIDv7.
//! Both wings call this once per request, before anything is logged under the id.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Builder;
use uuid::fmt::Hyphenated;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id, which is in `headers` afterwards. An empty one counts as absent; of several
/// the first is taken and all are kept.
pub fn ensure(
    headers: &mut HeaderMap,
    now: SystemTime,
    random: &mut impl FnMut() -> u64,
) -> HeaderValue {
    if let Some(id) = headers.get(&REQUEST_ID).filter(|id| !id.is_empty()) {
        return id.clone();
    }
    let id = fresh(now, random);
    headers.insert(&REQUEST_ID, id.clone());
    id
}

/// Only the value itself is allocated.
fn fresh(now: SystemTime, random: &mut impl FnMut() -> u64) -> HeaderValue {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random().to_le_bytes());
    bytes[8..].copy_from_slice(&random().to_le_bytes()[..2]);
    let uuid = Builder::from_unix_timestamp_millis(since.as_millis() as u64, &bytes).into_uuid();
    let mut text = [0; Hyphenated::LENGTH];
    let text = uuid.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("hex digits and dashes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_or_made() {
        let made = "019aa87e-bc7b-7f0e-8d0c-0b0a09080f0e";
        let table: [(&[&'static str], &str, usize); 4] = [
            (&[], made, 1),
            (&[""], made, 1),
            (&["any thing"], "any thing", 1),
            (&["a", "b"], "a", 2),
        ];
        let now = UNIX_EPOCH + Duration::from_millis(0x019a_a87e_bc7b);
        for (sent, expected, count) in table {
            let mut headers = HeaderMap::new();
            for id in sent {
                headers.append("x-request-id", HeaderValue::from_static(id));
            }
            let id = ensure(&mut headers, now, &mut || 0x0809_0a0b_0c0d_0e0f);
            assert_eq!(id, expected);
            assert_eq!(headers["x-request-id"], expected);
            assert_eq!(headers.len(), count);
        }
    }
}
