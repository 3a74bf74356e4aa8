use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The metrics of the webhook's listener.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    /// Clients that were rejected because of their certificate.
    pub certificates_refused: Counter,
    /// Connections that were closed because others needed their place.
    pub evicted: Counter,
    /// Connections that ended before their TLS session was established.
    pub handshake_errors: Counter,
    pub(super) open: Gauge,
}

impl ConnectionMetrics {
    /// Counts a connection as open until the guard is dropped.
    #[must_use]
    pub fn open(&self) -> GaugeGuard {
        GaugeGuard::new(&self.open)
    }
}

/// Raises a gauge by one until it is dropped, also if its task panics or is cancelled.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
