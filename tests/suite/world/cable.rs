//! The way from one client to a broker, which can be cut: then bytes vanish both ways and nobody is told, as when packets are
//! dropped.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A cable; lies until the tests end.
pub(crate) struct Cable(Arc<AtomicBool>);

impl Cable {
    /// Whoever connects to `from` speaks with `to`.
    pub(crate) fn lay(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).expect("an address of this machine");
        let cut = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cut);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(to) else { continue };
                // A connection that has lost bytes is never whole again.
                let lost = Arc::new(AtomicBool::new(false));
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (from, into) = (from.try_clone().expect("a handle"), into.try_clone().expect("a handle"));
                    let (cut, lost) = (Arc::clone(&seen), Arc::clone(&lost));
                    std::thread::spawn(move || carry(from, into, &cut, &lost));
                }
            }
        });
        Self(cut)
    }

    /// Bytes vanish from now on.
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// New connections carry bytes again.
    pub(crate) fn mend(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut into: TcpStream, cut: &AtomicBool, lost: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        if cut.load(Ordering::SeqCst) {
            lost.store(true, Ordering::SeqCst);
        }
        let gone = lost.load(Ordering::SeqCst);
        if read == 0 {
            if !gone {
                // Already closed is as good.
                let _ = into.shutdown(std::net::Shutdown::Write);
            }
            return;
        }
        if !gone && into.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}
