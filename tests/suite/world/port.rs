//! Ports nobody else has, below the range of outgoing connections.

use std::net::TcpListener;

/// The first of `count` neighbouring ports that are free now.
pub(crate) fn free_block(count: u16) -> u16 {
    // Processes of one test run start at different places, so that they rarely meet.
    let start = 20_000 + u16::try_from(std::process::id() % 500).expect("below 500") * 20;
    (start..32_000)
        .step_by(usize::from(count))
        .find(|first| (*first..*first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()))
        .expect("a block of free ports")
}

/// A port that is free now.
pub(crate) fn free() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}
