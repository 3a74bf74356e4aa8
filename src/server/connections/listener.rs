//! From a bound port to answered requests: one task a connection, a cap on how many, room for who
//! has waited least in vain, and a drain at the end.

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
use crate::server::{Shutdown, callers::client_auth::Refusals, limits::Limits};
use crate::telemetry::ConnectionMetrics;

/// How many connections wait in the kernel's queue, as far as it allows: what comes beyond that is
/// dropped, and tried again by its client only after a second
const BACKLOG: u32 = 4096;

/// Binds a port
///
/// # Errors
///
/// The text names the address and what to do; `flag` is the option that chooses another port, for
/// instance `--webhook-port`.
pub fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A replica that starts again need not wait for the connections of the one before.
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

/// Why a port could not be bound
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another program listens there
    #[error(
        "address {address} is in use (hint: stop the other program, or choose another port with {flag})"
    )]
    InUse {
        /// What was to be bound
        address: SocketAddr,
        /// The option that chooses another port
        flag: &'static str,
    },
    /// This machine has no such address
    #[error(
        "address {address} does not belong to this machine (hint: use 0.0.0.0 for all of its addresses)"
    )]
    NotOurs {
        /// What was to be bound
        address: SocketAddr,
    },
    /// The system forbids it, as it does for ports below 1024
    #[error(
        "address {address} may not be bound by this user (hint: choose a port above 1023 with {flag})"
    )]
    NotPermitted {
        /// What was to be bound
        address: SocketAddr,
        /// The option that chooses another port
        flag: &'static str,
    },
    /// Anything else
    #[error("address {address} cannot be bound: {source}")]
    Other {
        /// What was to be bound
        address: SocketAddr,
        /// The system's own words
        source: io::Error,
    },
}

/// Serves until the end of the drain, then finishes what is in flight and returns
///
/// Without `tls` in plain HTTP. While draining, new connections are still accepted and each answer
/// carries `Connection: close`: clients move to another replica by themselves, before this one is
/// gone. A panic ends its own connection only.
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
                // Taken before the task starts: the drain then waits for handshakes too.
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
            // While one waits for a place, the others wait in the kernel's queue.
            accepted = listener.accept(), if newcomer.is_none() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failing = false;
                newcomer = Some(stream);
            }
            Err(error) if is_the_connections_own(&error) => {}
            Err(error) => {
                // Too many open files, as a rule: it lasts, and asking again at once would only
                // burn the processor.
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

/// How often connections are ended that are overdue, and how long all of them may be busy before
/// the listener looks again
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

/// Errors of a connection that was gone before it was accepted; the listener is well
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Which task has ended, and a word if that was not as it should be
fn report_panic(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => {
            if error.is_panic() {
                tracing::error!(
                    "a request ended in a panic, and its connection with it (hint: please report this, with the lines above)"
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
