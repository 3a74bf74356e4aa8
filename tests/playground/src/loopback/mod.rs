//! The loopback interface: free ports, and plain HTTP.

mod http;
mod ports;

pub(crate) use http::{http_get, http_post};
pub use ports::free_ports;
pub(crate) use ports::random;
