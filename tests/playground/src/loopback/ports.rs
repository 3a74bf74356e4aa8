//! Free ports on the loopback interface.

use std::{
    fs::File,
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
};

/// Ports are taken from below the range that Linux and macOS give to outgoing connections
/// (from 32768 and 49152). A port of that range can be lost to anybody's connection between being found and
/// being used, and a client that keeps calling a server that is down may end up connected to itself there.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Finds `N` different ports that nobody listens on at the moment.
///
/// Somebody else may still take one before it is used: callers start over on a clash.
///
/// # Errors
///
/// There are not that many.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let start = u16::from_be_bytes(random()?) % COUNT;
    let mut candidates = (0..COUNT).map(|step| {
        let offset = (u32::from(start) + u32::from(step)) % u32::from(COUNT);
        FIRST + u16::try_from(offset).unwrap_or_default()
    });
    // Held until all are found, or the same port could be found twice by two threads at once.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let (free, listener) = candidates
            .find_map(|port| {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
                Some((port, listener))
            })
            .ok_or_else(|| io::Error::other("no free port on 127.0.0.1"))?;
        *port = free;
        held.push(listener);
    }
    Ok(ports)
}

/// Random bytes from the system, good enough for a token.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = free_ports::<4>().unwrap();
        let listeners: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap())
            .collect();
        assert_eq!(listeners.len(), 4);
    }
}
