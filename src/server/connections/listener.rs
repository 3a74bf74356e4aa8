//! From a bound port to answered requests: one task per connection, a cap on connections (the one owed
//! least is closed for a new one), and a graceful drain.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{Id, JoinError, JoinSet},
    time::{Instant, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{ConnectionState, Connections, NewPlace, connection::Connection};
use crate::{
    server::{Shutdown, callers::client_auth::Refusals, limits::Limits},
    telemetry::ConnectionMetrics,
};

/// The length of the kernel's accept queue, if the kernel allows it. Further connections are dropped,
/// and clients retry only after a second.
const BACKLOG: u32 = 4096;

/// Binds a port.
///
/// # Errors
///
/// The message names the address and a solution; `flag` is the option that chooses another port, for
/// instance `--webhook-address`.
pub fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A restarted replica need not wait for the connections of its predecessor.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, flag },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address, flag },
        _ => BindError::Other { address, source },
    })
}

/// The reason why a port could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program listens there.
    #[error(
        "address {address} is in use (hint: stop the other program, or choose another port with {flag})"
    )]
    InUse {
        /// The address to bind.
        address: SocketAddr,
        /// The option that chooses another port.
        flag: &'static str,
    },
    /// This machine has no such address.
    #[error(
        "address {address} does not belong to this machine (hint: use 0.0.0.0 for all of its addresses)"
    )]
    NotOurs {
        /// The address to bind.
        address: SocketAddr,
    },
    /// The system forbids it, as for ports below 1024.
    #[error(
        "address {address} may not be bound by this user (hint: choose a port above 1023 with {flag})"
    )]
    NotPermitted {
        /// The address to bind.
        address: SocketAddr,
        /// The option that chooses another port.
        flag: &'static str,
    },
    /// Any other error.
    #[error("address {address} cannot be bound: {source}")]
    Other {
        /// The address to bind.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
}

/// Serves until the end of the drain, then finishes requests in flight and returns.
///
/// Without `tls`, it serves plain HTTP. While draining, new connections are still accepted and each
/// answer carries `Connection: close`, so clients move to another replica before this one is gone. A
/// panic only ends its own connection.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    metrics: ConnectionMetrics,
    shutdown: Shutdown,
) {
    let epoch = Instant::now();
    let graceful = GracefulShutdown::new();
    let tls = tls.map(TlsAcceptor::from);
    let refusals = Refusals::new(metrics.certificates_refused.clone());
    let mut tasks = JoinSet::new();
    let mut connections = Connections::new(limits);
    let mut sweep = interval(SWEEP);
    let mut end = std::pin::pin!(end_of_drain(&shutdown, limits.drain));
    let mut failing = false;
    let mut newcomer = None;

    loop {
        if newcomer.is_some()
            && let Some(place) = connections.place()
            && let Some(stream) = newcomer.take()
        {
            if place == NewPlace::Evicted {
                metrics.evicted.inc();
            }
            let state = ConnectionState::new(epoch);
            let connection = Connection {
                tls: tls.clone(),
                router: router.clone(),
                limits,
                metrics: metrics.clone(),
                refusals: refusals.clone(),
                shutdown: shutdown.clone(),
                state: state.clone(),
                // Taken before the task starts, so the drain waits for handshakes too.
                watcher: graceful.watcher(),
            };
            connections.admit(state, tasks.spawn(connection.run(stream)));
        }
        let accepted = tokio::select! {
            biased;
            () = &mut end => break,
            Some(ended) = tasks.join_next_with_id() => {
                connections.leave(report_panic(ended));
                continue;
            }
            _ = sweep.tick() => {
                connections.end_overdue();
                continue;
            }
            // While one connection waits for a place, the others wait in the kernel's queue.
            accepted = listener.accept(), if newcomer.is_none() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                newcomer = Some(stream);
            }
            Err(error) if is_the_connections_own(&error) => {}
            Err(error) => {
                // Usually too many open files, which lasts: an immediate retry would only burn CPU.
                if !failing {
                    tracing::error!(%error, "connections cannot be accepted (hint: raise the limit of open files)");
                }
                failing = true;
                tokio::select! {
                    () = sleep(ACCEPT_BACKOFF) => {}
                    () = &mut end => break,
                }
            }
        }
    }

    drop(listener);
    if timeout(limits.grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = tasks.len(),
            "requests were still in flight at the end of the grace period"
        );
    }
    while let Some(ended) = tasks.try_join_next_with_id() {
        report_panic(ended);
    }
}

const ACCEPT_BACKOFF: Duration = Duration::from_millis(500);

/// Interval at which overdue connections are closed, and at which the listener looks again if all are
/// busy.
const SWEEP: Duration = Duration::from_millis(500);

async fn end_of_drain(shutdown: &Shutdown, drain: Option<Duration>) {
    let drained = async {
        match drain {
            Some(drain) => {
                shutdown.draining().await;
                sleep(drain).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = drained => {}
        () = shutdown.finished() => {}
    }
}

/// True for errors of a connection that was gone before it was accepted; the listener is fine.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// The task that has ended. A panic is logged.
fn report_panic(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => {
            if error.is_panic() {
                tracing::error!(
                    "a request panicked, and its connection was closed (hint: please report this with the lines above)"
                );
            }
            error.id()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let taken = bind(([127, 0, 0, 1], 0).into(), "--webhook-port").unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, "--webhook-port").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "address {address} is in use (hint: stop the other program, or choose another port with --webhook-port)"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_named() {
        // TEST-NET-1, which no machine has.
        let error = bind(([192, 0, 2, 1], 9443).into(), "--webhook-port").unwrap_err();
        insta::assert_snapshot!(error, @"address 192.0.2.1:9443 does not belong to this machine (hint: use 0.0.0.0 for all of its addresses)");
    }
}
