//! One connection, from the handshake to the last answer.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::Router;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::graceful::Watcher};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{ConnectionState, Phase};
use crate::{
    server::{Shutdown, callers::client_auth::Refusals, limits::Limits},
    telemetry::ConnectionMetrics,
};

/// The largest head of a request, in bytes, which bounds the buffer of a connection.
///
/// The API server's heads are below 1 KiB. Longer ones are answered with 431.
pub const HEAD_LIMIT_BYTES: usize = 16 * 1024;

/// The most headers of a request; more are answered with 431.
pub const MOST_HEADERS: usize = 64;

/// The write buffer for a client that does not read, in bytes.
pub const UNREAD_LIMIT_BYTES: usize = 16 * 1024;

/// The parts that serve a connection.
pub(in crate::server) struct Connection {
    pub(in crate::server) tls: Option<TlsAcceptor>,
    pub(in crate::server) router: Router,
    pub(in crate::server) limits: Limits,
    pub(in crate::server) metrics: ConnectionMetrics,
    pub(in crate::server) refusals: Refusals,
    pub(in crate::server) shutdown: Shutdown,
    pub(in crate::server) state: ConnectionState,
    pub(in crate::server) watcher: Watcher,
}

impl Connection {
    pub(in crate::server) async fn run(mut self, stream: TcpStream) {
        let _open = self.metrics.open();
        // With Nagle's algorithm an answer waits for the client's delayed acknowledgement, 40 ms. An
        // error here means that the connection is gone, which the next read reports too.
        let _ = stream.set_nodelay(true);

        let Some(tls) = self.tls.take() else {
            return self.speak_http(stream).await;
        };
        let handshake = tls.accept_with(stream, |session| {
            session.set_buffer_limit(Some(UNREAD_LIMIT_BYTES));
        });
        match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(session)) => self.speak_http(session).await,
            Ok(Err(error)) => {
                self.metrics.handshake_errors.inc();
                self.refusals.look_at(&error);
                tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => {
                self.metrics.handshake_errors.inc();
                tracing::debug!("a TLS handshake took too long");
            }
        }
    }

    async fn speak_http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self {
            tls: _,
            router,
            limits: _,
            metrics: _,
            refusals: _,
            shutdown,
            state,
            watcher,
        } = self;
        state.enter(Phase::Idle);
        let heads = HeadWatch {
            stream,
            state: state.clone(),
        };
        let service = service_fn(move |request: Request<Incoming>| {
            let state = state.clone();
            let request = request.map(|body| BodyWatch::new(body, state.clone()));
            let answering = router.clone().oneshot(request);
            let shutdown = shutdown.clone();
            async move {
                let mut response = answering.await?;
                state.answered();
                // Checked after the answer, so a drain that begins meanwhile takes effect at once.
                if shutdown.is_draining() {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            // The listener closes idle connections itself: it tells a head in progress from a pause
            // between requests, which may last longer.
            .header_read_timeout(None)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(heads), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// A stream that reports the start of a head.
struct HeadWatch<S> {
    stream: S,
    state: ConnectionState,
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadWatch<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.state.phase() == Phase::Idle {
            self.state.enter(Phase::Head);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadWatch<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A body that reports its end.
struct BodyWatch {
    body: Incoming,
    state: ConnectionState,
}

impl BodyWatch {
    fn new(body: Incoming, state: ConnectionState) -> Self {
        let phase = if body.is_end_stream() {
            Phase::Answer
        } else {
            Phase::Body
        };
        state.enter(phase);
        Self { body, state }
    }
}

impl Body for BodyWatch {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.state.enter(Phase::Answer);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
