//! A connection's way through its stages: hearing what it speaks, a handshake, HTTP, a tunnel.
//!
//! Each is a future of its own on the heap that ends with the one after it, so an idle connection holds
//! none of what came before: a handshake takes three kilobytes.

use std::future::Future;
use std::io;
use std::pin::Pin;

/// A stage that has not begun.
pub struct Stage<'a>(Pin<Box<dyn Future<Output = Next<'a>> + 'a>>);

/// What comes after a stage; nothing does where the connection has ended.
pub type Next<'a> = io::Result<Option<Stage<'a>>>;

/// A stage, which says what comes after it.
///
/// # Errors
/// None.
pub fn then<'a>(stage: impl Future<Output = Next<'a>> + 'a) -> Next<'a> {
    Ok(Some(Stage(Box::pin(stage))))
}

/// A stage that ends with the connection.
///
/// # Errors
/// None.
pub fn last<'a>(stage: impl Future<Output = io::Result<()>> + 'a) -> Next<'a> {
    then(async { stage.await.map(|()| None) })
}

/// A stage, and all that come after it.
///
/// # Errors
/// What broke the connection.
pub async fn run(first: Next<'_>) -> io::Result<()> {
    let mut next = first?;
    while let Some(Stage(stage)) = next {
        next = stage.await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts itself for as long as it is there.
    struct Held<'a>(&'a Cell<u32>);

    impl Drop for Held<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    fn hold(count: &Cell<u32>) -> Held<'_> {
        count.set(count.get() + 1);
        Held(count)
    }

    #[tokio::test]
    async fn one_is_gone_when_the_next_begins() {
        let (held, ended) = (Cell::new(0), Cell::new(false));
        let first = then(async {
            let _held = hold(&held);
            last(async {
                assert_eq!(held.get(), 0);
                let _held = hold(&held);
                tokio::task::yield_now().await;
                assert_eq!(held.get(), 1);
                ended.set(true);
                Ok(())
            })
        });
        run(first).await.expect("it ends");
        assert!(ended.get() && held.get() == 0);
    }

    #[tokio::test]
    async fn none_follows_one_that_breaks() {
        let broken = then(async { Err(io::ErrorKind::BrokenPipe.into()) });
        let error = run(broken).await.expect_err("it broke");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
