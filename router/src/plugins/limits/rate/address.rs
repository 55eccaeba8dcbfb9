//! Which address a request came from, as the ingress in front of the router says it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tower::BoxError;

use super::config::AddressConfig;

/// Who has an IPv6 address has all of its network.
const NETWORK_BITS: u32 = 64;

pub(super) struct Addresses {
    header: HeaderName,
    proxies: usize,
}

impl Addresses {
    pub(super) fn new(config: &AddressConfig) -> Result<Self, BoxError> {
        let proxies = usize::try_from(config.proxies.get())?;
        Ok(Self { header: HeaderName::from_bytes(config.header.as_bytes())?, proxies })
    }

    /// Nothing when the header is not there or says nothing.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let values: Vec<&str> = headers.get_all(&self.header).iter().filter_map(|value| value.to_str().ok()).collect();
        let told = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        let told: Vec<&str> = told.collect();
        let text = *told.len().checked_sub(self.proxies).and_then(|index| told.get(index))?;
        let address = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?;
        Some(network(address).into())
    }
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS);
            format!("{}/{NETWORK_BITS}", Ipv6Addr::from_bits(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use http::HeaderValue;

    use super::*;

    fn address(proxies: u64, values: &[&'static str]) -> Option<String> {
        let proxies = NonZeroU64::new(proxies).unwrap();
        let config = AddressConfig { header: "x-forwarded-for".to_owned(), proxies, requests: None, cost: None };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        Addresses::new(&config).unwrap().of(&headers).map(|address| address.to_string())
    }

    #[test]
    fn the_clients_address_is_the_one_that_the_outermost_trusted_proxy_saw() {
        assert_eq!(address(1, &["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(address(1, &["10.0.0.1, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(address(2, &["10.0.0.1, 198.51.100.7", "192.0.2.1"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(address(1, &["198.51.100.7:4711"]).as_deref(), Some("198.51.100.7"));
        for (proxies, values) in [(2, &["198.51.100.7"][..]), (1, &[]), (1, &["unknown"]), (1, &[""])] {
            assert_eq!(address(proxies, values), None, "{values:?}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let one = address(1, &["2001:db8:1:2:3:4:5:6"]);
        assert_eq!(one.as_deref(), Some("2001:db8:1:2::/64"));
        assert_eq!(one, address(1, &["[2001:db8:1:2::9]:443"]));
        assert_eq!(address(1, &["::ffff:198.51.100.7"]).as_deref(), Some("198.51.100.7"));
    }
}
