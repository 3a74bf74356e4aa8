//! Reading a review's body: bounded in size and in time.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::timeout_at;

use crate::server::Deadline;

/// The longest body that is read, in bytes
///
/// The API server takes objects of up to 3 MiB, an UPDATE carries two of them, and the review adds
/// its own fields: controller-runtime derives the same figure.
pub const LIMIT_BYTES: usize = 7 * 1024 * 1024;

/// Reads the whole body of a review
///
/// # Errors
///
/// Each error is an answer of its own: 415 for another type than JSON, 413 for a body over
/// [`LIMIT_BYTES`], 408 when the body is not there at the deadline, 400 when the connection breaks.
pub async fn read(request: Request<Body>, deadline: Deadline) -> Result<Bytes, BodyError> {
    let (head, mut body) = request.into_parts();
    if !is_json(&head.headers) {
        return Err(BodyError::NotJson);
    }
    let announced = content_length(&head.headers).unwrap_or(0);
    let outcome = timeout_at(deadline.instant(), async {
        if announced > LIMIT_BYTES {
            return Err(BodyError::TooLarge);
        }
        collect(&mut body, announced).await
    })
    .await
    .unwrap_or(Err(BodyError::TooSlow));

    // A client that waits for `100 Continue` has sent nothing yet: the answer stops it.
    if matches!(outcome, Err(BodyError::TooLarge))
        && !head
            .headers
            .contains_key(header::EXPECT)
    {
        discard(&mut body, deadline).await;
    }
    outcome
}

/// Why a body was not read
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection ended, or its framing is wrong: the client's fault
    #[error("body ended early (hint: send as many bytes as `Content-Length` announces)")]
    Broken,
    /// Another `Content-Type`: the client's fault
    #[error(
        "`Content-Type` must be `application/json` (hint: this path takes an AdmissionReview as JSON)"
    )]
    NotJson,
    /// Over [`LIMIT_BYTES`]: the object's author has to make it smaller
    #[error(
        "body is larger than {LIMIT_BYTES} bytes (hint: make the object smaller, for instance by moving long text into a ConfigMap)"
    )]
    TooLarge,
    /// Not there at the deadline: the client's or the network's fault
    #[error(
        "body did not arrive within the request's timeout (hint: check the network between the API server and the manager)"
    )]
    TooSlow,
}

impl BodyError {
    /// The HTTP status of the answer
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}

async fn collect(body: &mut Body, announced: usize) -> Result<Bytes, BodyError> {
    // What is announced is not yet there: no more than a usual review is reserved before its bytes
    // arrive.
    let mut bytes = BytesMut::with_capacity(announced.min(64 * 1024));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if bytes.len() + data.len() > LIMIT_BYTES {
            return Err(BodyError::TooLarge);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

/// Reads on for a while without keeping anything
///
/// An answer that closes a connection while the client still writes is often lost: Go's client
/// reports `broken pipe` instead of the 413. As much again as the limit, for at most two seconds,
/// is read so that the sentence reaches whoever sent a body that is only somewhat too large.
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
    let _ = tokio::time::timeout(patience, reading).await;
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
    use futures::stream;
    use tokio::time::Instant;

    use super::*;

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
            assert_eq!(bytes.unwrap(), "{}", "{content_type}");
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
        assert_eq!(bytes.unwrap().len(), LIMIT_BYTES);
    }

    #[tokio::test]
    async fn refuses_one_byte_more_when_the_length_is_not_announced() {
        let chunk = Bytes::from(vec![b' '; LIMIT_BYTES]);
        let chunks = stream::iter([Ok::<_, std::io::Error>(chunk), Ok(Bytes::from_static(b" "))]);
        let outcome = read(
            request(Some("application/json"), Body::from_stream(chunks)),
            deadline("5s"),
        )
        .await;
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

    #[test]
    fn answers_name_the_limit_and_the_remedy() {
        insta::assert_snapshot!(BodyError::TooLarge, @"body is larger than 7340032 bytes (hint: make the object smaller, for instance by moving long text into a ConfigMap)");
        assert_eq!(BodyError::TooLarge.status(), 413);
        assert_eq!(BodyError::TooSlow.status(), 408);
        assert_eq!(BodyError::NotJson.status(), 415);
        assert_eq!(BodyError::Broken.status(), 400);
    }
}
