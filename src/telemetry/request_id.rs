//! `x-request-id`: kept where the caller sent one, else made, a UUIDv7.
//! Both wings call this once per request, before anything is logged under the id.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Builder;
use uuid::fmt::Hyphenated;

use super::values::Values;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id that a request came with. An empty one counts as absent; of several the first is taken.
pub fn of(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(&REQUEST_ID).filter(|id| !id.is_empty())
}

/// Makes an id where there is none, and returns it.
pub fn ensure(
    headers: &mut HeaderMap,
    now: SystemTime,
    random: &mut impl FnMut() -> u64,
    values: &mut Values,
) -> Option<HeaderValue> {
    if of(headers).is_some() {
        return None;
    }
    let id = fresh(now, random, values);
    headers.insert(&REQUEST_ID, id.clone());
    Some(id)
}

fn fresh(now: SystemTime, random: &mut impl FnMut() -> u64, values: &mut Values) -> HeaderValue {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random().to_le_bytes());
    bytes[8..].copy_from_slice(&random().to_le_bytes()[..2]);
    let uuid = Builder::from_unix_timestamp_millis(since.as_millis() as u64, &bytes).into_uuid();
    let mut text = [0; Hyphenated::LENGTH];
    let text = uuid.hyphenated().encode_lower(&mut text);
    values.value(text.as_bytes())
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
            let random = &mut || 0x0809_0a0b_0c0d_0e0f;
            let id = ensure(&mut headers, now, random, &mut Values::default());
            assert_eq!(id.is_some(), expected == made);
            assert_eq!(of(&headers).expect("an id"), expected);
            assert_eq!(headers.len(), count);
        }
    }
}
