//! Reads the body of a review, bounded in size, in time, and in the memory of all bodies together.

mod budget;
mod error;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::{
    budget::{BodyBudget, OWN_BYTES, ReviewBody, SHARED_BYTES},
    error::{BodyError, LIMIT_BYTES},
};

use super::Deadline;

/// The time limit of a body, if the request's own timeout is longer.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Reads the whole body of a review.
///
/// # Errors
///
/// Each error has its own status: 415 for a type other than JSON or a compressed body, 413 for a body
/// over [`LIMIT_BYTES`], 503 if the [`BodyBudget`] is used up, 408 if the body is incomplete at the
/// deadline or after [`TIME_LIMIT`], 400 if the connection breaks.
pub async fn read(
    request: Request<Body>,
    deadline: Deadline,
    budget: &BodyBudget,
) -> Result<ReviewBody, BodyError> {
    let (head, mut body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(BodyError::NotJson);
    }
    if is_encoded(&head.headers) {
        return Err(BodyError::Encoded);
    }
    let announced = content_length(&head.headers);
    let outcome = timeout_at(latest(deadline), async {
        if announced > Some(LIMIT_BYTES) {
            return Err(BodyError::TooLarge);
        }
        collect(&mut body, announced, budget).await
    })
    .await
    .unwrap_or(Err(BodyError::TooSlow));

    // A client that waits for `100 Continue` has sent nothing yet; the answer stops it.
    if matches!(outcome, Err(BodyError::NoRoom | BodyError::TooLarge))
        && !head
            .headers
            .contains_key(header::EXPECT)
    {
        discard(&mut body, deadline).await;
    }
    outcome
}

fn latest(deadline: Deadline) -> Instant {
    deadline
        .instant()
        .min(Instant::now() + TIME_LIMIT)
}

async fn collect(
    body: &mut Body,
    announced: Option<usize>,
    budget: &BodyBudget,
) -> Result<ReviewBody, BodyError> {
    let mut whole = budget.body(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Some(data) = frame.data_ref() {
            whole.append(data)?;
        }
    }
    Ok(whole)
}

/// Reads and discards the rest of a body for a while.
///
/// An answer that closes a connection while the client still writes is often lost: Go's client reports
/// `broken pipe` instead of the 413. Up to the limit again is read, for at most two seconds, so that the
/// message reaches the sender of a body that is only somewhat too large.
async fn discard(body: &mut Body, deadline: Deadline) {
    let reading = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > LIMIT_BYTES {
                break;
            }
        }
    };
    let patience = deadline
        .remaining()
        .min(Duration::from_secs(2));
    let _ = timeout(patience, reading).await;
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| {
            media
                .trim()
                .eq_ignore_ascii_case("application/json")
        })
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| {
            !value
                .as_bytes()
                .eq_ignore_ascii_case(b"identity")
        })
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::HeaderValue;

    use futures::stream;

    use super::*;

    async fn read(request: Request<Body>, deadline: Deadline) -> Result<usize, BodyError> {
        let whole = super::read(request, deadline, &BodyBudget::new(SHARED_BYTES)).await?;
        Ok(whole.len())
    }

    /// A body that comes in these pieces.
    fn pieces(sizes: &[usize]) -> Body {
        let pieces: Vec<_> = sizes
            .iter()
            .map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; *size])))
            .collect();
        Body::from_stream(stream::iter(pieces))
    }

    fn request(content_type: Option<&str>, body: Body) -> Request<Body> {
        let mut builder = Request::builder();
        if let Some(content_type) = content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        builder.body(body).unwrap()
    }

    fn deadline(timeout: &str) -> Deadline {
        Deadline::from_query(Instant::now(), Some(&format!("timeout={timeout}")))
    }

    #[tokio::test]
    async fn reads_json_of_any_spelling() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            " application/json ;a=b",
        ] {
            let bytes = read(
                request(Some(content_type), Body::from("{}")),
                deadline("5s"),
            )
            .await;
            assert_eq!(bytes, Ok(2), "{content_type}");
        }
    }

    #[tokio::test]
    async fn refuses_another_type() {
        for content_type in [
            None,
            Some("application/yaml"),
            Some("application/json-patch+json"),
            Some(""),
        ] {
            let outcome = read(request(content_type, Body::from("{}")), deadline("5s")).await;
            assert_eq!(outcome, Err(BodyError::NotJson), "{content_type:?}");
        }
    }

    #[tokio::test]
    async fn takes_a_body_of_exactly_the_limit() {
        let bytes = read(
            request(
                Some("application/json"),
                Body::from(vec![b' '; LIMIT_BYTES]),
            ),
            deadline("5s"),
        )
        .await;
        assert_eq!(bytes, Ok(LIMIT_BYTES));
    }

    #[tokio::test]
    async fn refuses_one_byte_more_when_the_length_is_not_announced() {
        let body = pieces(&[LIMIT_BYTES, 1]);
        let outcome = read(request(Some("application/json"), body), deadline("5s")).await;
        assert_eq!(outcome, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn refuses_by_the_announced_length_alone() {
        let mut request = request(Some("application/json"), Body::empty());
        let length = (LIMIT_BYTES + 1).into();
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
        assert_eq!(
            read(request, deadline("5s")).await,
            Err(BodyError::TooLarge)
        );
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline() {
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let outcome = read(
            request(Some("application/json"), Body::from_stream(never)),
            deadline("200ms"),
        )
        .await;
        assert_eq!(outcome, Err(BodyError::TooSlow));
    }

    #[tokio::test]
    async fn a_broken_body_is_the_clients_fault() {
        let broken = stream::iter([
            Ok(Bytes::from_static(b"{")),
            Err(std::io::Error::other("reset")),
        ]);
        let outcome = read(
            request(Some("application/json"), Body::from_stream(broken)),
            deadline("5s"),
        )
        .await;
        assert_eq!(outcome, Err(BodyError::Broken));
    }

    #[tokio::test]
    async fn compression_is_not_understood() {
        for (encoding, expected) in [
            ("gzip", Err(BodyError::Encoded)),
            ("identity", Ok(2)),
            ("Identity", Ok(2)),
        ] {
            let mut request = request(Some("application/json"), Body::from("{}"));
            request
                .headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            assert_eq!(read(request, deadline("5s")).await, expected, "{encoding}");
        }
    }

    #[test]
    fn a_long_timeout_is_no_invitation() {
        let left = |timeout| latest(deadline(timeout)) - Instant::now();
        assert!(left("30s") <= TIME_LIMIT, "{:?}", left("30s"));
        assert!(left("1s") < Duration::from_secs(1), "{:?}", left("1s"));
    }

    #[tokio::test]
    async fn large_bodies_share_their_room_and_usual_ones_need_none() {
        let budget = BodyBudget::new(64 * 1024);
        let read = async |body| {
            super::read(
                request(Some("application/json"), body),
                deadline("5s"),
                &budget,
            )
            .await
        };

        let large = read(pieces(&[OWN_BYTES, 40 * 1024]))
            .await
            .unwrap();
        let full = read(pieces(&[OWN_BYTES, 40 * 1024])).await;
        assert_eq!(full.err(), Some(BodyError::NoRoom));
        let usual = read(pieces(&[OWN_BYTES])).await;
        assert_eq!(usual.unwrap().len(), OWN_BYTES);

        drop(large);
        for _ in 0..3 {
            let again = read(pieces(&[1, 40 * 1024, OWN_BYTES - 1])).await;
            assert_eq!(again.unwrap().len(), OWN_BYTES + 40 * 1024);
        }
        assert_eq!(budget.left(), 64 * 1024, "all is given back");
    }

    #[tokio::test]
    async fn no_more_is_taken_than_was_announced() {
        let budget = BodyBudget::new(LIMIT_BYTES);
        let mut request = request(Some("application/json"), pieces(&[3_000_000, 3_000_000]));
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, 6_000_000.into());
        let whole = super::read(request, deadline("5s"), &budget)
            .await
            .unwrap();
        assert_eq!(LIMIT_BYTES - budget.left(), whole.len() - OWN_BYTES);
    }

    #[test]
    fn answers_name_the_limit_and_the_remedy() {
        insta::assert_snapshot!(BodyError::TooLarge, @"body is larger than 7340032 bytes (hint: make the object smaller, for instance by moving long text into a ConfigMap)");
        let crowded = BodyError::NoRoom.into_response();
        assert_eq!(crowded.status(), 503);
        assert_eq!(crowded.headers()[header::RETRY_AFTER], "1");
        assert_eq!(BodyError::Encoded.status(), 415);
        assert_eq!(BodyError::TooLarge.status(), 413);
        assert_eq!(BodyError::TooSlow.status(), 408);
        assert_eq!(BodyError::NotJson.status(), 415);
        assert_eq!(BodyError::Broken.status(), 400);
    }
}
