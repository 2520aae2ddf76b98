//! Looking names up.

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _,
};

use crate::unblock::launch;

/// Looks a name up: `tokio::net::lookup_host`. What is an address already is answered at once.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
/// # runtime.block_on(runtime.spawn(async {
/// let addresses = syslet_tokio::net::lookup_host("localhost:80").await?;
/// assert!(addresses.into_iter().all(|address| address.port() == 80));
/// # std::io::Result::Ok(())
/// # })).expect("no panic")?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// As [`std::net::ToSocketAddrs::to_socket_addrs`].
pub async fn lookup_host<T: ToSocketAddrs>(
    host: T,
) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let addresses = match host.lookup() {
        Lookup::Known(addresses) => addresses,
        Lookup::Name(name, port) => {
            launch(move || (&*name, port).to_socket_addrs().map(Iterator::collect)).await??
        }
        Lookup::NameAndPort(text) => {
            launch(move || text.to_socket_addrs().map(Iterator::collect)).await??
        }
    };
    Ok(addresses.into_iter())
}

/// What [`lookup_host`] takes: what `tokio::net::ToSocketAddrs` is implemented for. Sealed.
pub trait ToSocketAddrs: Sealed {}

/// What is to be looked up.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing.
    Known(Vec<SocketAddr>),
    /// A name, which may be an address in text, and a port.
    Name(String, u16),
    /// `name:port`.
    NameAndPort(String),
}

/// Seals [`ToSocketAddrs`].
pub trait Sealed {
    /// What is to be looked up.
    fn lookup(&self) -> Lookup;
}

macro_rules! sources {
    ($($type:ty => $lookup:expr;)*) => {$(
        impl ToSocketAddrs for $type {}
        impl Sealed for $type {
            fn lookup(&self) -> Lookup {
                let lookup: fn(&Self) -> Lookup = $lookup;
                lookup(self)
            }
        }
    )*};
}

/// An address that is known.
fn known(address: impl Into<SocketAddr>) -> Lookup {
    Lookup::Known(vec![address.into()])
}

/// A name and a port.
fn name(name: &str, port: u16) -> Lookup {
    match name.parse::<IpAddr>() {
        Ok(address) => known((address, port)),
        Err(_) => Lookup::Name(name.to_owned(), port),
    }
}

/// Both in one text.
fn name_and_port(text: &str) -> Lookup {
    match text.parse::<SocketAddr>() {
        Ok(address) => known(address),
        Err(_) => Lookup::NameAndPort(text.to_owned()),
    }
}

sources! {
    SocketAddr => |&address| known(address);
    SocketAddrV4 => |&address| known(address);
    SocketAddrV6 => |&address| known(address);
    (IpAddr, u16) => |&address| known(address);
    (Ipv4Addr, u16) => |&address| known(address);
    (Ipv6Addr, u16) => |&address| known(address);
    &[SocketAddr] => |addresses| Lookup::Known(addresses.to_vec());
    (&str, u16) => |&(host, port)| name(host, port);
    (String, u16) => |(host, port)| name(host, *port);
    str => name_and_port;
    String => |text| name_and_port(text);
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: Sealed + ?Sized> Sealed for &T {
    fn lookup(&self) -> Lookup {
        (**self).lookup()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address_is_not_looked_up() {
        for known in ["127.0.0.1:80", "[::1]:80"] {
            assert!(matches!(known.lookup(), Lookup::Known(one) if one[0].port() == 80));
        }
        assert!(matches!(("::1", 80).lookup(), Lookup::Known(_)));
        assert!(
            matches!(("localhost", 80).lookup(), Lookup::Name(host, 80) if host == "localhost")
        );
        assert!(matches!("localhost:80".lookup(), Lookup::NameAndPort(_)));
        let both = [SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2))];
        assert!(matches!((&both[..]).lookup(), Lookup::Known(addresses) if addresses == both));
    }
}
