//! What Prometheus sees of clients' connections.

use prometheus::{IntCounterVec, IntGauge};

use super::{Register, value};

/// The metrics of clients' connections.
#[derive(Debug)]
pub struct ConnectionMetrics {
    open: IntGauge,
    limit: IntGauge,
    turned_away: IntCounterVec,
}

/// Why a connection is closed before a request of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// As many as `connections.max` are open.
    Full,
    /// As many as `connections.max_per_address` are open from its address.
    AddressFull,
    /// Its address is in `deny` of its listener, or isn't in `allow`.
    Denied,
    /// It isn't from a proxy that the listener's `proxy_protocol` trusts.
    Untrusted,
    /// It is, and doesn't begin with a header of the PROXY protocol.
    ProxyHeader,
    /// Its TLS handshake has failed.
    Handshake,
    /// Its handshake, or a head, took longer than `connections.header_timeout`.
    Slow,
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenConnection(IntGauge);

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    pub(super) fn new(register: Register<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            open: register.gauge("swaigate_connections", "Connections of clients that are open.")?,
            limit: register.gauge("swaigate_connections_limit", "How many there may be.")?,
            turned_away: register.counters(
                "swaigate_connections_refused_total",
                "Connections of clients that were closed before a request of theirs was read, by cause.",
                &["cause"],
            )?,
        })
    }

    /// Tells how many connections there may be, and begins to count those that are turned away.
    pub fn expect(&self, limit: usize) {
        self.limit.set(value(limit));
        for cause in TurnedAway::ALL {
            self.turned_away.with_label_values(&[cause.as_str()]);
        }
    }

    /// Counts a connection as open until it is dropped.
    pub fn open(&self) -> OpenConnection {
        self.open.inc();
        OpenConnection(self.open.clone())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        usize::try_from(self.open.get()).unwrap_or_default()
    }

    /// Counts a connection that was closed before a request of it was read.
    pub fn turned_away(&self, cause: TurnedAway) {
        self.turned_away.with_label_values(&[cause.as_str()]).inc();
    }
}

// === impl TurnedAway ===

impl TurnedAway {
    const ALL: [TurnedAway; 7] = [
        TurnedAway::Full,
        TurnedAway::AddressFull,
        TurnedAway::Denied,
        TurnedAway::Untrusted,
        TurnedAway::ProxyHeader,
        TurnedAway::Handshake,
        TurnedAway::Slow,
    ];

    fn as_str(self) -> &'static str {
        match self {
            TurnedAway::Full => "full",
            TurnedAway::AddressFull => "address_full",
            TurnedAway::Denied => "denied",
            TurnedAway::Untrusted => "untrusted",
            TurnedAway::ProxyHeader => "proxy_header",
            TurnedAway::Handshake => "handshake",
            TurnedAway::Slow => "slow",
        }
    }
}

// === impl OpenConnection ===

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        Metrics,
        tests::{assert_lines, text},
    };

    #[test]
    fn a_connection_is_open_until_it_is_dropped_and_turned_away_by_its_cause() {
        let metrics = Metrics::new().unwrap();
        metrics.connections.expect(7);
        metrics.connections.turned_away(TurnedAway::Slow);
        let _open = metrics.connections.open();
        drop(metrics.connections.open());
        assert_eq!(metrics.connections.count(), 1);
        let lines = [
            "swaigate_connections 1",
            "swaigate_connections_limit 7",
            r#"swaigate_connections_refused_total{cause="slow"} 1"#,
            r#"swaigate_connections_refused_total{cause="full"} 0"#,
        ];
        assert_lines(&text(&metrics), &lines);
    }
}
