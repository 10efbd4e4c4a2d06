//! SASL over a fresh connection: handshake, then tokens until the broker is satisfied, and we with the broker.
//!
//! Promised: the password is read at every attempt; a refusal is told apart from a broken connection, because it is
//! retried slowly; key stretching runs off the runtime's threads and is done once per password, salt and iteration
//! count; the session's lifetime (KIP-368) is turned into the moment at which the connection is to be replaced.
//! Absent: re-authentication on a living connection. A new one is opened before the old session ends, so that no
//! request can come between the tokens.

mod scram;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_proto::error_code::ErrorCode;
use sasl::client::mechanisms::Plain;
use sasl::client::{Mechanism, MechanismError};
use tokio::time::Instant;

use crate::client::config::{PasswordError, SaslMechanism, SaslSettings, Secret};
use crate::client::connection::{Connection, RequestError};
use crate::client::request::sasl_authenticate::{SaslAuthenticate, SaslAuthenticateAnswer};
use crate::client::request::sasl_handshake::SaslHandshake;
use scram::{SaltedPasswords, ScramSha512};

/// `UNSUPPORTED_SASL_MECHANISM`.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// `SASL_AUTHENTICATION_FAILED`.
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// Why a connection is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// The password could not be read.
    #[error("the password of `{username}` cannot be read: {source}")]
    Password {
        /// The user.
        username: String,
        /// From where and why.
        source: PasswordError,
    },
    /// The broker does not offer the mechanism.
    #[error("the broker does not offer {mechanism}; it offers {}", if enabled.is_empty() { "none".to_owned() } else { enabled.join(", ") })]
    MechanismDisabled {
        /// The one configured.
        mechanism: &'static str,
        /// Those the broker names.
        enabled: Vec<String>,
    },
    /// The broker refuses user and password.
    #[error("{mechanism}: the broker refuses user `{username}`: {message}")]
    Refused {
        /// The mechanism.
        mechanism: &'static str,
        /// The user.
        username: String,
        /// The broker's words.
        message: String,
    },
    /// The broker fails the mechanism's own checks: it may not know the password, or somebody stands between.
    #[error("{mechanism}: the broker's answer is not acceptable: {what}")]
    Untrusted {
        /// The mechanism.
        mechanism: &'static str,
        /// Which check failed.
        what: String,
    },
    /// Another error of the broker.
    #[error("the broker answers {}: {message}", code.name())]
    Broker {
        /// The code.
        code: ErrorCode,
        /// The broker's words.
        message: String,
    },
    /// The connection broke.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl SaslError {
    /// Whether trying again soon is pointless, and many tries may lock the account.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Password { .. } | Self::MechanismDisabled { .. } | Self::Refused { .. } | Self::Untrusted { .. } => {
                true
            }
            Self::Broker { .. } | Self::Request(_) => false,
        }
    }
}

/// What the broker granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// When to have replaced the connection; `None`: never.
    pub(crate) usable_until: Option<Instant>,
}

/// Authenticates connections.
pub(crate) struct Authenticator {
    settings: SaslSettings,
    salted: Arc<SaltedPasswords>,
}

impl Authenticator {
    pub(crate) fn new(settings: SaslSettings) -> Self {
        Self { settings, salted: Arc::default() }
    }

    /// The whole exchange; nothing else may be sent meanwhile. `deadline` is for each request.
    pub(crate) async fn authenticate(&self, connection: &Connection, deadline: Duration) -> Result<Session, SaslError> {
        let password = self.read_password().await?;
        self.handshake(connection, deadline).await?;
        let mut client = self.client(&password)?;
        drop(password);
        let mut token = client.mechanism().initial();
        for _ in 0..client.challenges() {
            let answer = self.exchange(connection, token, deadline).await?;
            (client, token) = self.respond(client, answer.token).await?;
        }
        // The broker counts from when it grants the session, which is no earlier than it is asked for; an answer may be late.
        let asked_at = Instant::now();
        let answer = self.exchange(connection, token, deadline).await?;
        let accepted = client.mechanism().success(&answer.token);
        accepted.map_err(|error| self.untrusted(&client, &error))?;
        let random = getrandom::u64().unwrap_or(0);
        let usable = answer.session_lifetime.map(|lifetime| usable_part(lifetime, random));
        Ok(Session { usable_until: usable.and_then(|usable| asked_at.checked_add(usable)) })
    }

    async fn read_password(&self) -> Result<Secret, SaslError> {
        let source = self.settings.password.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let read = read.unwrap_or_else(|_| Err(PasswordError("reading it failed unexpectedly".to_owned())));
        read.map_err(|source| SaslError::Password { username: self.settings.username.clone(), source })
    }

    async fn handshake(&self, connection: &Connection, deadline: Duration) -> Result<(), SaslError> {
        let mechanism = self.settings.mechanism.name();
        let answer = connection.request(SaslHandshake { mechanism }, deadline).await?;
        match answer.error.code() {
            0 => Ok(()),
            UNSUPPORTED_SASL_MECHANISM => Err(SaslError::MechanismDisabled { mechanism, enabled: answer.mechanisms }),
            _ => Err(SaslError::Broker { code: answer.error, message: "on SaslHandshake".to_owned() }),
        }
    }

    fn client(&self, password: &Secret) -> Result<Client, SaslError> {
        let username = &self.settings.username;
        match self.settings.mechanism {
            SaslMechanism::Plain => Ok(Client::Plain(Plain::new(username.as_str(), password.reveal()))),
            SaslMechanism::ScramSha512 => {
                let scram = ScramSha512::new(username, password.clone(), Arc::clone(&self.salted));
                let what = |what: String| SaslError::Untrusted { mechanism: SaslMechanism::ScramSha512.name(), what };
                scram.map(Client::Scram).map_err(what)
            }
        }
    }

    async fn exchange(
        &self,
        connection: &Connection,
        token: Vec<u8>,
        deadline: Duration,
    ) -> Result<SaslAuthenticateAnswer, SaslError> {
        let answer = connection.request(SaslAuthenticate { token: Bytes::from(token) }, deadline).await?;
        let message = answer.message.clone().unwrap_or_else(|| "no reason given".to_owned());
        match answer.error.code() {
            0 => Ok(answer),
            SASL_AUTHENTICATION_FAILED => {
                self.settings.password.refused();
                Err(SaslError::Refused {
                    mechanism: self.settings.mechanism.name(),
                    username: self.settings.username.clone(),
                    message,
                })
            }
            _ => Err(SaslError::Broker { code: answer.error, message }),
        }
    }

    /// Answers a challenge off the runtime's threads: thousands of hash rounds.
    async fn respond(&self, client: Client, challenge: Bytes) -> Result<(Client, Vec<u8>), SaslError> {
        let responded = tokio::task::spawn_blocking(move || {
            let mut client = client;
            let response = client.mechanism().response(&challenge);
            (client, response)
        });
        let Ok((client, response)) = responded.await else {
            let what = "computing the answer failed unexpectedly".to_owned();
            return Err(SaslError::Untrusted { mechanism: self.settings.mechanism.name(), what });
        };
        match response {
            Ok(token) => Ok((client, token)),
            Err(error) => Err(self.untrusted(&client, &error)),
        }
    }

    fn untrusted(&self, client: &Client, error: &MechanismError) -> SaslError {
        let what = match client {
            Client::Scram(scram) => scram.failure().unwrap_or_else(|| error.to_string()),
            Client::Plain(_) => error.to_string(),
        };
        SaslError::Untrusted { mechanism: self.settings.mechanism.name(), what }
    }
}

/// The mechanisms, behind the one trait that drives them.
enum Client {
    Plain(Plain),
    Scram(ScramSha512),
}

impl Client {
    fn mechanism(&mut self) -> &mut dyn Mechanism {
        match self {
            Self::Plain(plain) => plain,
            Self::Scram(scram) => scram,
        }
    }

    /// Challenges before the answer that ends the exchange. Kafka does not say which token is the last.
    fn challenges(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Scram(_) => 1,
        }
    }
}

/// 85 to 95 % of a session's lifetime, as Kafka's own client does, so that clients do not come all at once and what is
/// under way can finish.
fn usable_part(lifetime: Duration, random: u64) -> Duration {
    let permille = 850 + u32::try_from(random % 101).unwrap_or(0);
    lifetime.saturating_mul(permille) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_replaced_between_85_and_95_percent_of_the_lifetime() {
        let lifetime = Duration::from_secs(1000);
        for random in 0..1000 {
            let usable = usable_part(lifetime, random);
            assert!((850..=950).contains(&usable.as_secs()), "{usable:?}");
        }
        assert_eq!(usable_part(Duration::from_secs(1), 0), Duration::from_millis(850));
    }

    #[test]
    fn refusals_are_told_apart_from_broken_connections() {
        let refused =
            SaslError::Refused { mechanism: "PLAIN", username: "sre".into(), message: "wrong password".into() };
        assert!(refused.is_refusal());
        let broker = SaslError::Broker { code: ErrorCode::from(34), message: String::new() };
        assert!(!broker.is_refusal());
    }
}
