//! Disturbing logins and certificates.

use std::time::{Duration, Instant};

use super::Cluster;
use crate::tls::{Authority, Certificate};

impl Cluster {
    /// Adds a user or changes the password.
    pub fn set_user(&self, user: &str, password: &str) {
        self.shared().lock().logins.users.insert(user.to_owned(), password.to_owned());
    }

    /// Removes a user.
    pub fn remove_user(&self, user: &str) {
        self.shared().lock().logins.users.remove(user);
    }

    /// Changes the lifetime that the next logins get; `None` is without end.
    pub fn session_lifetime(&self, lifetime: Option<Duration>) {
        self.shared().lock().logins.lifetime = lifetime;
    }

    /// Ends the lifetime of every session: the next request other than a handshake closes its connection.
    pub fn expire_logins(&self) {
        self.shared().lock().logins.expired_before = Some(Instant::now());
    }

    /// Shows a new leaf of the same authority on the next connections. Panics on a cluster without TLS.
    pub fn rotate_certificate(&self, certificate: Certificate) {
        let (authority, _, names) = self.inner.authority.as_ref().expect("a cluster with TLS");
        let identity = authority.identity(names, certificate);
        self.shared().lock().identity = Some(identity);
    }

    /// Shows a leaf of another authority on the next connections; clients are to trust what is returned in PEM. Panics on a
    /// cluster without TLS.
    pub fn rotate_authority(&self) -> String {
        let (_, _, names) = self.inner.authority.as_ref().expect("a cluster with TLS");
        let authority = Authority::new();
        let identity = authority.identity(names, Certificate::Valid);
        self.shared().lock().identity = Some(identity);
        authority.pem().to_owned()
    }
}
