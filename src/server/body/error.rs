use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// The largest body that is read, in bytes.
///
/// The API server takes objects of up to 3 MiB, an UPDATE carries two of them, and the review adds
/// its own fields: controller-runtime derives the same figure.
pub const LIMIT_BYTES: usize = 7 * 1024 * 1024;

/// The reason why a body was not read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection ended, or its framing is wrong. The client is at fault.
    #[error("body ended early (hint: send as many bytes as `Content-Length` announces)")]
    Broken,
    /// The body is compressed or otherwise encoded. The client is at fault.
    #[error(
        "`Content-Encoding` must not be set (hint: send the AdmissionReview as it is, uncompressed)"
    )]
    Encoded,
    /// Other large bodies use up the budget. This is temporary and nobody's fault.
    #[error("too many large reviews at once (hint: try again, or add replicas of the manager)")]
    NoRoom,
    /// Another `Content-Type`. The client is at fault.
    #[error(
        "`Content-Type` must be `application/json` (hint: this path takes an AdmissionReview as JSON)"
    )]
    NotJson,
    /// The body exceeds [`LIMIT_BYTES`]. The object's author has to make it smaller.
    #[error(
        "body is larger than {LIMIT_BYTES} bytes (hint: make the object smaller, for instance by moving long text into a ConfigMap)"
    )]
    TooLarge,
    /// The body did not arrive in time. The client or the network is at fault.
    #[error(
        "body did not arrive in time (hint: check the network between the API server and the manager)"
    )]
    TooSlow,
}

impl BodyError {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Encoded | Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if self == Self::NoRoom {
            // With this header the API server's client retries within the webhook's timeout.
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
