//! A checked view of one record of a ring.
//!
//! In: bytes that the kernel half wrote. Out: [`Record`], [`ProcessRecord`]. The only
//! place where bytes become types.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use llmtap_common::conn::Socket;
use llmtap_common::record::{Closing, Header, Joining, Opening, ProcessRecord, kind};
use zerocopy::FromBytes;

/// A record of the ring `EVENTS`.
#[derive(Debug)]
pub enum Record<'a> {
    Open(Opening),
    Data(&'a [u8]),
    Close(Closing),
    ServerName(&'a [u8]),
    Join(Joining),
}

/// `None` where the record is shorter than it says, or of no known kind.
pub fn parse(bytes: &[u8]) -> Option<(Header, Record<'_>)> {
    let (header, body) = Header::read_from_prefix(bytes).ok()?;
    let payload = || body.get(..usize::try_from(header.length).ok()?);
    let record = match header.kind {
        kind::OPEN => Record::Open(Opening::read_from_prefix(body).ok()?.0),
        kind::DATA => Record::Data(payload()?),
        kind::CLOSE => Record::Close(Closing::read_from_prefix(body).ok()?.0),
        kind::SERVER_NAME => Record::ServerName(payload()?),
        kind::JOIN => Record::Join(Joining::read_from_prefix(body).ok()?.0),
        _ => return None,
    };
    Some((header, record))
}

/// A record without what its kernel-side size class has beyond its payload.
pub fn valid(bytes: &[u8]) -> &[u8] {
    let Ok((header, body)) = Header::read_from_prefix(bytes) else {
        return bytes;
    };
    let spare = match usize::try_from(header.length) {
        Ok(length) if header.kind == kind::DATA => body.len().saturating_sub(length),
        _ => 0,
    };
    bytes
        .get(..bytes.len().saturating_sub(spare))
        .unwrap_or(bytes)
}

pub fn parse_process(bytes: &[u8]) -> Option<ProcessRecord> {
    Some(ProcessRecord::read_from_prefix(bytes).ok()?.0)
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Local and peer address; `None` for a socket that has none, as a Unix one.
pub fn addresses(socket: &Socket) -> Option<(SocketAddr, SocketAddr)> {
    let ip = |bytes: [u8; 16]| match socket.family {
        AF_INET => bytes
            .first_chunk::<4>()
            .map(|b| IpAddr::from(Ipv4Addr::from(*b))),
        // IPv4 over an IPv6 socket is shown as what it is.
        AF_INET6 => Some(Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    };
    Some((
        SocketAddr::new(ip(socket.local)?, socket.local_port),
        SocketAddr::new(ip(socket.peer)?, socket.peer_port),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn header(kind: u8, length: u32) -> Header {
        Header {
            connection: 7,
            at: 1,
            position: 0,
            cut: 0,
            opposite: 0,
            opposite_cut: 0,
            length,
            kind,
            direction: 0,
            reserved: 0,
            tid: 7,
            goroutine: 0,
        }
    }

    #[test]
    fn payload_ends_at_its_length() {
        let mut bytes = header(kind::DATA, 3).as_bytes().to_vec();
        bytes.extend_from_slice(b"abcdef");
        let Some((_, Record::Data(data))) = parse(&bytes) else {
            panic!("not a data record")
        };
        assert_eq!(data, b"abc");
        assert_eq!(valid(&bytes), &bytes[..bytes.len() - 3]);
        assert_eq!(valid(&bytes[..7]), &bytes[..7]);
    }

    #[test]
    fn short_records_are_refused() {
        let bytes = header(kind::DATA, 3).as_bytes().to_vec();
        assert!(parse(&bytes).is_none());
        assert!(parse(bytes.get(..20).unwrap_or_default()).is_none());
        assert!(parse(header(kind::CLOSE, 0).as_bytes()).is_none());
        assert!(parse(header(99, 0).as_bytes()).is_none());
    }

    #[test]
    fn addresses_by_family() {
        let mut socket = Socket {
            local_port: 80,
            peer_port: 4000,
            ..Socket::default()
        };
        assert_eq!(addresses(&socket), None);
        socket.family = AF_INET;
        socket.peer[..4].copy_from_slice(&[10, 0, 0, 1]);
        let (local, peer) = addresses(&socket).expect("IPv4");
        assert_eq!(local.to_string(), "0.0.0.0:80");
        assert_eq!(peer.to_string(), "10.0.0.1:4000");
        socket.family = AF_INET6;
        socket.peer = "::ffff:10.0.0.2"
            .parse::<Ipv6Addr>()
            .expect("valid")
            .octets();
        let (_, peer) = addresses(&socket).expect("IPv6");
        assert_eq!(peer.to_string(), "10.0.0.2:4000");
    }
}
