//! A network of one's own: a test that runs once more inside a network namespace, where it may drop packets.
//!
//! It takes a Linux that lets users make namespaces, `unshare`, `ip` and `iptables`, and a minute beside everything else; so it is
//! done where `NAMESPACE_TESTS=required` asks for it.

use std::process::Command;

use super::kafka;

const INSIDE: &str = "IN_A_NETWORK_NAMESPACE";

/// Where a test stands that is to run in a network of its own.
pub(crate) enum Network {
    /// In it.
    Own,
    /// Outside. The test has run inside, and passed, if that was asked for.
    Shared,
}

/// Runs the test `name` (its whole path) once more in a network namespace, unless it stands in one.
#[expect(clippy::disallowed_methods, reason = "how a test is told where it runs, and that this is asked for")]
pub(crate) fn enter(name: &str) -> Network {
    if std::env::var_os(INSIDE).is_some() {
        return Network::Own;
    }
    if std::env::var("NAMESPACE_TESTS").is_ok_and(|value| value == "required") {
        // Inside nothing can be downloaded.
        kafka::cluster().expect("a real Kafka");
        let test = std::env::current_exe().expect("this program");
        let ended = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-c"])
            .arg("ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture")
            .arg(test)
            .arg(name)
            .env(INSIDE, "1")
            .status();
        assert!(ended.expect("unshare starts").success(), "{name} fails in a network namespace");
    }
    Network::Shared
}

/// Drops every packet from and to an address of this namespace from now on.
pub(crate) fn drop_packets(address: &str) {
    change("--insert", address);
}

/// Lets them through again. Connections that nobody has given up go on with what was held back.
pub(crate) fn let_packets_through(address: &str) {
    change("--delete", address);
}

fn change(how: &str, address: &str) {
    for end in ["--source", "--destination"] {
        let done = Command::new("iptables").args([how, "INPUT", end, address, "--jump", "DROP"]).status();
        assert!(done.expect("iptables starts").success(), "iptables {how} {end} {address}");
    }
}
