//! Proxies that are believed: who asked them, and how.
//!
//! Anybody can send `X-Forwarded-For`, so it counts from the addresses of one's
//! own proxies only.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::HeaderMap;

/// The addresses of one's own proxies: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`,
/// with commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<(IpAddr, u8)>);

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("`{text}` is no address and no network, such as 10.0.0.7 or 10.0.0.0/8");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_| wrong()))?;
    (bits <= most).then_some((address, bits)).ok_or_else(wrong)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Proxies {
    /// Whether this is one of them.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(network, length)| {
            network.is_ipv4() == address.is_ipv4()
                && (bits(*network) ^ bits(address))
                    .checked_shr(128 - u32::from(*length))
                    .is_none_or(|differs| differs == 0)
        })
    }

    /// From where a request comes that came from this address: the last one
    /// that no proxy of ours is.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.has(peer) {
            return peer;
        }
        let all = headers.get_all("x-forwarded-for").into_iter();
        let hops: Vec<&str> = all
            .filter_map(|hops| hops.to_str().ok())
            .flat_map(|hops| hops.split(','))
            .collect();
        let mut origin = peer;
        for hop in hops.into_iter().rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            origin = address.to_canonical();
            if !self.has(origin) {
                break;
            }
        }
        origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_believed_from_our_own_proxies_only() {
        let proxies: Proxies = "10.0.0.0/8, 192.0.2.7, fd00::/8".parse().unwrap();
        let from = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            proxies.origin(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(from("198.51.100.1", "203.0.113.9"), "198.51.100.1");
        assert_eq!(from("10.1.2.3", "203.0.113.9"), "203.0.113.9");
        // What the client itself has sent comes first, and does not count.
        assert_eq!(
            from("10.1.2.3", "1.1.1.1, 203.0.113.9, 192.0.2.7"),
            "203.0.113.9"
        );
        assert_eq!(from("fd00::1", "2001:db8::1"), "2001:db8::1");
        assert_eq!(from("10.1.2.3", "nonsense"), "10.1.2.3");
        assert_eq!(from("::ffff:10.0.0.1", "203.0.113.9"), "203.0.113.9");
    }

    #[test]
    fn what_is_no_network_is_told() {
        for bad in ["proxy", "10.0.0.0/33", "10.0.0.0/x", "fd00::/129"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        let all: Proxies = "0.0.0.0/0".parse().unwrap();
        assert!(all.has("198.51.100.1".parse().unwrap()));
        assert!(!all.has("2001:db8::1".parse().unwrap()));
        assert!(!Proxies::default().has("10.0.0.1".parse().unwrap()));
    }
}
