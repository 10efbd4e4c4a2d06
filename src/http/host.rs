//! Which `Host` a request may name. A web page elsewhere could point its own name at this address; its requests carry that
//! name and are refused. Addresses cannot be stolen like that, so any address will do, and so will no name at all (probes).

use std::net::IpAddr;

/// Whether the host of a request is ours: an address, `localhost`, this machine's name, or a name that was configured.
pub(super) fn is_ours(host: Option<&str>, names: &[String]) -> bool {
    let Some(host) = host else { return true };
    let bare = without_port(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_configured_is_not_ours() {
        let names = ["pod-1".to_owned(), "consumer.example".to_owned()];
        for ours in ["localhost:4080", "127.0.0.1:4080", "10.0.0.7", "[::1]:4080", "pod-1:4080", "Consumer.Example"] {
            assert!(is_ours(Some(ours), &names), "{ours}");
        }
        assert!(is_ours(None, &names));
        for stolen in ["evil.example:4080", "localhost.evil.example", "pod-1.evil.example:4080", ""] {
            assert!(!is_ours(Some(stolen), &names), "{stolen}");
        }
    }
}
