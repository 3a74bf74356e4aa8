use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The counts of the webhook's listener.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    /// Clients that were refused for their certificate.
    pub certificates_refused: Counter,
    /// Connections that were ended because others needed their place.
    pub evicted: Counter,
    /// Connections that ended before a TLS session stood.
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

/// Holds a gauge one higher until it is dropped, also when its task panics or is cancelled.
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
