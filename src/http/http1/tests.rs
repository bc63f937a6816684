//! Both ends over a pipe, against bytes that are written out.

mod client;
mod server;

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::http::Body;

/// All of a body, and its trailers in the order in which they came.
async fn read(body: Body) -> Result<(Vec<u8>, Vec<String>), String> {
    let whole = body.collect().await.map_err(|error| crate::http::respond::chain(&error))?;
    let trailers = whole.trailers().into_iter().flatten();
    let trailers =
        trailers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")));
    let trailers = trailers.collect();
    Ok((whole.to_bytes().to_vec(), trailers))
}

/// What comes until nothing does any more.
async fn come<R: AsyncRead + Unpin>(from: &mut R) -> String {
    let mut all = Vec::new();
    let mut buf = [0; 4096];
    while let Ok(Ok(read @ 1..)) =
        tokio::time::timeout(Duration::from_millis(100), from.read(&mut buf)).await
    {
        all.extend_from_slice(&buf[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
