//! Waiting for a condition, with a deadline.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks again and again until `look` finds something, and returns what it found.
///
/// `what` finishes the sentence "timed out after 30 s waiting for …".
///
/// # Errors
///
/// The first error of `look`, which should keep quiet about what may still change; or that
/// `limit` has passed, also while a look is still under way.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let late = || format!("timed out after {} s waiting for {what}", limit.as_secs());
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        let found = timeout_at(deadline, look())
            .await
            .ok()
            .with_context(late)??;
        if let Some(found) = found {
            return Ok(found);
        }
        sleep(PAUSE).await;
    }
    bail!(late())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_was_found() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn gives_up_on_a_look_that_hangs() {
        let limit = Duration::from_millis(50);
        let error = until::<()>("a word", limit, async || std::future::pending().await)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "timed out after 0 s waiting for a word");
    }
}
