//! Socket addresses as the kernel has them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;
use std::path::Path;

/// Size of `struct sockaddr_storage`, which every address fits into.
const ROOM: usize = size_of::<libc::sockaddr_storage>();
/// Where the path of `struct sockaddr_un` begins.
const PATH: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// A `struct sockaddr` of any kind, and its length.
#[repr(C, align(8))]
#[derive(Debug, Clone)]
#[expect(unnameable_types, reason = "seals a public trait")]
pub struct Address {
    bytes: [u8; ROOM],
    /// Read and written by the kernel too, as a `socklen_t`.
    len: libc::socklen_t,
}

impl Address {
    /// Room for any address.
    pub(super) fn room() -> Self {
        Self { bytes: [0; ROOM], len: ROOM as libc::socklen_t }
    }

    /// Where the kernel reads or writes it, and where its length is.
    pub(super) fn pointers(&mut self) -> (usize, usize) {
        (self.bytes.as_mut_ptr() as usize, &raw mut self.len as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn family(&self) -> i32 {
        i32::from(u16::from_ne_bytes(self.take(0)))
    }

    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[at..at + N]);
        bytes
    }

    fn of(family: i32, parts: &[(usize, &[u8])], len: usize) -> Self {
        let mut address = Self { bytes: [0; ROOM], len: len as libc::socklen_t };
        address.bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        for (at, part) in parts {
            address.bytes[*at..at + part.len()].copy_from_slice(part);
        }
        address
    }
}

/// An address of std's.
#[expect(unnameable_types, reason = "seals a public trait")]
pub trait FromKernel: Sized {
    /// The address, if it is of this kind.
    fn from_kernel(address: &Address) -> io::Result<Self>;
}

/// An address of std's.
#[expect(unnameable_types, reason = "seals a public trait")]
pub trait ToKernel {
    /// The address as the kernel has it.
    fn to_kernel(&self) -> Address;
}

// The fields of `struct sockaddr_in` and `struct sockaddr_in6` (ip(7), ipv6(7)): the port at 2, then the
// IPv4 address at 4, or flow label at 4, IPv6 address at 8 and scope at 24.

impl ToKernel for SocketAddr {
    fn to_kernel(&self) -> Address {
        let port = self.port().to_be_bytes();
        match self {
            Self::V4(v4) => {
                let parts: [(usize, &[u8]); 2] = [(2, &port), (4, &v4.ip().octets())];
                Address::of(libc::AF_INET, &parts, size_of::<libc::sockaddr_in>())
            }
            Self::V6(v6) => {
                let (flow, scope) = (v6.flowinfo().to_ne_bytes(), v6.scope_id().to_ne_bytes());
                let parts: [(usize, &[u8]); 4] =
                    [(2, &port), (4, &flow), (8, &v6.ip().octets()), (24, &scope)];
                Address::of(libc::AF_INET6, &parts, size_of::<libc::sockaddr_in6>())
            }
        }
    }
}

impl FromKernel for SocketAddr {
    fn from_kernel(address: &Address) -> io::Result<Self> {
        let port = u16::from_be_bytes(address.take(2));
        match address.family() {
            libc::AF_INET => {
                Ok(SocketAddrV4::new(Ipv4Addr::from(address.take::<4>(4)), port).into())
            }
            libc::AF_INET6 => {
                let flow = u32::from_ne_bytes(address.take(4));
                let scope = u32::from_ne_bytes(address.take(24));
                let ip = Ipv6Addr::from(address.take::<16>(8));
                Ok(SocketAddrV6::new(ip, port, flow, scope).into())
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an internet address")),
        }
    }
}

impl ToKernel for net::SocketAddr {
    fn to_kernel(&self) -> Address {
        if let Some(path) = self.as_pathname() {
            let path = path.as_os_str().as_bytes();
            return Address::of(libc::AF_UNIX, &[(PATH, path)], PATH + path.len() + 1);
        }
        match self.as_abstract_name() {
            Some(name) => Address::of(libc::AF_UNIX, &[(PATH + 1, name)], PATH + 1 + name.len()),
            None => Address::of(libc::AF_UNIX, &[], PATH),
        }
    }
}

impl FromKernel for net::SocketAddr {
    fn from_kernel(address: &Address) -> io::Result<Self> {
        // A datagram of an unbound socket comes with no address at all.
        let name = address.bytes.get(PATH..address.len()).unwrap_or_default();
        match name.split_first() {
            None => Self::from_pathname(Path::new("")),
            Some((0, name)) => Self::from_abstract_name(name),
            Some(_) => {
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                Self::from_pathname(std::ffi::OsStr::from_bytes(&name[..end]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internet_addresses_go_there_and_back() {
        for text in ["1.2.3.4:56789", "0.0.0.0:0", "[::1]:80", "[fe80::1:2%7]:65535"] {
            let address: SocketAddr = text.parse().expect("an address");
            let there = address.to_kernel();
            assert_eq!(SocketAddr::from_kernel(&there).expect("the same"), address);
        }
        let flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0x0102_0304, 5).into();
        assert_eq!(SocketAddr::from_kernel(&SocketAddr::to_kernel(&flow)).expect("the same"), flow);
    }

    #[test]
    fn unix_addresses_go_there_and_back() {
        let longest = "x".repeat(107);
        for path in ["/a/b", "relative", &longest] {
            let address = net::SocketAddr::from_pathname(path).expect("short enough");
            let back = net::SocketAddr::from_kernel(&address.to_kernel()).expect("the same");
            assert_eq!(back.as_pathname(), Some(Path::new(path)));
        }
        let name = net::SocketAddr::from_abstract_name(b"a\0b").expect("short enough");
        let back = net::SocketAddr::from_kernel(&name.to_kernel()).expect("the same");
        assert_eq!(back.as_abstract_name(), Some(&b"a\0b"[..]));
        let none = net::SocketAddr::from_pathname("").expect("unnamed");
        assert!(none.is_unnamed());
        let back = net::SocketAddr::from_kernel(&none.to_kernel()).expect("the same");
        assert!(back.is_unnamed());
    }

    #[test]
    fn other_kinds_are_refused() {
        let unix = net::SocketAddr::from_pathname("/x").expect("short enough").to_kernel();
        assert!(SocketAddr::from_kernel(&unix).is_err());
    }
}
