//! Asks issuers about tokens that say nothing by themselves (RFC 7662).
//!
//! A few at a time; who comes while all are asked waits in the queue, which is short. The client's
//! secret is read anew each time, so that a new one counts at once.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

use super::Metrics;
use super::fetch::Client;
use crate::access::tokens::{Asker, Question};
use crate::jwt;
use crate::resources::access_policy::Introspection;

/// Questions under way to one issuer. Arbitrary.
const AT_ONCE: usize = 16;

/// Asks what is to be asked; runs until its issuer counts no longer.
pub async fn answer(asker: &Asker, questions: &mut Receiver<Question>, metrics: &Metrics) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(question) = questions.recv().await {
        let turn = Arc::clone(&turns).acquire_owned().await;
        let (written, metrics) = (asker.written.clone(), metrics.clone());
        tokio::task::spawn_local(async move {
            let answered = ask(&written, &question).await;
            let result = if answered.is_ok() { "success" } else { "failure" };
            metrics.asked.with(&[written.url.as_str(), result]).inc();
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            question.answer(answered, now.map_or(0, |now| now.as_secs()));
            drop(turn);
        });
    }
}

/// A token's claims; `None`: it is not in force.
async fn ask(
    written: &Introspection,
    question: &Question,
) -> Result<Option<Map<String, Value>>, String> {
    let Introspection { url, client_id, client_secret_file, ca_file, cache_for: _ } = written;
    let file = client_secret_file.display();
    let secret = std::fs::read_to_string(client_secret_file)
        .map_err(|error| format!("the client's secret, {file}, can't be read: {error}"))?;
    let pair = format!("{}:{}", escaped(client_id), escaped(secret.trim_end()));
    let mut authorization = HeaderValue::try_from(format!("Basic {}", base64(pair.as_bytes())))
        .map_err(|_| "the client's secret is no text".to_owned())?;
    authorization.set_sensitive(true);
    let body = format!("token={}&token_type_hint=access_token", escaped(&question.token));
    let request = Request::post(url.target.as_str())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = Client::new(url, ca_file.as_deref()).send(request).await?;
    let mut claims = jwt::object(&answer.body)
        .ok_or_else(|| format!("{url}: its answer is no JSON object with names that stand once"))?;
    match claims.shift_remove("active") {
        Some(Value::Bool(is_active)) => Ok(is_active.then_some(claims)),
        _ => Err(format!("{url}: its answer does not say whether the token is active")),
    }
}

/// As forms write it: everything but what stands for itself everywhere.
fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                all.push(char::from(byte));
            }
            _ => all.push_str(&format!("%{byte:02X}")),
        }
    }
    all
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for nth in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * nth) & 63) as usize];
            text.push(if nth <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_written_as_servers_read_them() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo?>", "Zm9vPz4=")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(escaped("a b+ü&=/%"), "a%20b%2B%C3%BC%26%3D%2F%25");
    }
}
