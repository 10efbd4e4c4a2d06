//! What a connection to a cluster needs: typed settings under Kafka's names, with Kafka's defaults unless said.
//!
//! Promised: [`ClientConfig::validate`] reports every mistake at once. Nothing here touches the network, so a wrong
//! name passes and a wrong spelling does not (KIP-909: fail fast for bad settings, retry for resolution).

mod secret;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use secret::{PasswordError, PasswordSource, Secret};

/// Everything that one client shares among its connections. Start from [`ClientConfig::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// `bootstrap.servers`: `host:port` each.
    pub bootstrap_servers: Vec<String>,
    /// `client.id`: names this client in the brokers' logs and quotas.
    pub client_id: String,
    /// `security.protocol`, with what belongs to it.
    pub security: Security,
    /// `request.timeout.ms`, 30 s: after this an unanswered request ends its connection.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`, 10 s: for each address of a name.
    pub socket_connection_setup_timeout: Duration,
    /// 10 s for the TLS handshake, apart from the TCP connect.
    pub tls_handshake_timeout: Duration,
    /// `reconnect.backoff.ms`, 50 ms: before the second attempt to reach a broker.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`, 1 s.
    pub reconnect_backoff_max: Duration,
    /// 10 s: before the second attempt after a failed authentication; each further one waits longer.
    pub authentication_backoff: Duration,
    /// 60 s.
    pub authentication_backoff_max: Duration,
    /// `retry.backoff.ms`, 100 ms: between refreshes of the metadata that were asked for.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`, 1 s.
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`, 5 min.
    pub metadata_max_age: Duration,
    /// `connections.max.idle.ms`, 240 s: below the 350 s after which some networks forget a silent connection.
    pub connections_max_idle: Duration,
    /// `metadata.recovery.rebootstrap.trigger.ms` (KIP-1102), 5 min: with no metadata for so long, forget all brokers
    /// and start from `bootstrap_servers`.
    pub metadata_recovery_rebootstrap_trigger: Duration,
    /// 100 MB: a larger response ends its connection (KIP-498). Must exceed what one fetch may return.
    pub receive_message_max_bytes: usize,
    /// 5 s: for one question to one name server.
    pub dns_timeout: Duration,
    /// Name servers to ask in place of those in `/etc/resolv.conf`.
    pub name_servers: Option<Vec<SocketAddr>>,
}

/// `security.protocol`. `broker.address.family` is always `v4`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// Encrypted.
    Ssl(TlsSettings),
    /// Authenticated in clear text: for test clusters.
    SaslPlaintext(SaslSettings),
    /// Encrypted and authenticated.
    SaslSsl(SaslSettings, TlsSettings),
}

impl Security {
    /// The TLS settings, where TLS is used.
    pub fn tls(&self) -> Option<&TlsSettings> {
        match self {
            Self::Ssl(tls) | Self::SaslSsl(_, tls) => Some(tls),
            Self::Plaintext | Self::SaslPlaintext(_) => None,
        }
    }

    /// The SASL settings, where SASL is used.
    pub fn sasl(&self) -> Option<&SaslSettings> {
        match self {
            Self::SaslPlaintext(sasl) | Self::SaslSsl(sasl, _) => Some(sasl),
            Self::Plaintext | Self::Ssl(_) => None,
        }
    }

    /// Kafka's name of the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl(_) => "SSL",
            Self::SaslPlaintext(_) => "SASL_PLAINTEXT",
            Self::SaslSsl(..) => "SASL_SSL",
        }
    }
}

/// Whom to trust, and as whom to appear.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsSettings {
    /// `ssl.ca.location`: a PEM file of certificates to trust beside the public web's. Read again when it changes.
    pub ca_location: Option<PathBuf>,
    /// `ssl.ca.pem`: the same as text. Both may be given.
    pub ca_pem: Option<String>,
    /// `ssl.certificate.location` and `ssl.key.location`: PEM files, for brokers that ask for a client certificate.
    pub client_identity: Option<ClientIdentity>,
}

impl TlsSettings {
    /// Trusts the public web's authorities and those in `ca_location`.
    pub fn with_ca(ca_location: impl Into<PathBuf>) -> Self {
        Self { ca_location: Some(ca_location.into()), ..Self::default() }
    }
}

/// A client certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// PEM: the certificate first, then those between it and the authority.
    pub certificate_location: PathBuf,
    /// PEM: the private key.
    pub key_location: PathBuf,
}

/// `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The password itself; only over TLS.
    Plain,
    /// Challenge and response (RFC 5802); the broker proves that it knows the password too.
    ScramSha512,
}

impl SaslMechanism {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// `sasl.*`: mechanism, user name and where the password comes from.
#[derive(Clone, Debug)]
pub struct SaslSettings {
    /// `sasl.mechanism`.
    pub mechanism: SaslMechanism,
    /// `sasl.username`.
    pub username: String,
    /// `sasl.password`, read at every attempt.
    pub password: PasswordSource,
}

/// One mistake in the settings, by the setting's name in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigMistake {
    /// For example `bootstrap.servers`.
    pub setting: &'static str,
    /// What is wrong, with the value.
    pub problem: String,
}

impl ConfigMistake {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

/// Host and port of a broker as configured or advertised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an IPv4 literal.
    pub host: Arc<str>,
    /// 1 to 65535.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl HostPort {
    /// Reads `host:port`; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains(',') {
            return Err(format!("`{text}` is a list; give each server by itself"));
        }
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(format!("`{text}` is an IPv6 address; this client dials IPv4 only"));
        }
        let (host, port) = text.split_once(':').ok_or_else(|| format!("`{text}` has no port; write host:port"))?;
        let port: u16 = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("`{port}` in `{text}` is not a port; a port is a number from 1 to 65535"))?;
        if !plausible_host(host) {
            return Err(format!("`{host}` in `{text}` is not a host name"));
        }
        Ok(Self { host: Arc::from(host), port })
    }
}

/// Letters, digits, `-`, `_` and `.`, no empty label: what a resolver would take.
fn plausible_host(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.len() <= 253
        && labels.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// `bootstrap.servers` as Kafka's setting is written, one server each.
pub(crate) fn split_at_commas<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut all = Vec::new();
    for servers in servers {
        all.extend(servers.into().split(',').map(|server| server.trim().to_owned()));
    }
    all
}

impl ClientConfig {
    /// Kafka's defaults, no security. Each of `bootstrap_servers` is `host:port`, or several with commas between them.
    pub fn new<S: Into<String>>(bootstrap_servers: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap_servers: split_at_commas(bootstrap_servers),
            client_id: "kafka_consumer".to_owned(),
            security: Security::Plaintext,
            request_timeout: Duration::from_secs(30),
            socket_connection_setup_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            authentication_backoff: Duration::from_secs(10),
            authentication_backoff_max: Duration::from_mins(1),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_mins(5),
            connections_max_idle: Duration::from_mins(4),
            metadata_recovery_rebootstrap_trigger: Duration::from_mins(5),
            receive_message_max_bytes: 100_000_000,
            dns_timeout: Duration::from_secs(5),
            name_servers: None,
        }
    }

    /// Every mistake, in the order of the settings.
    pub fn validate(&self) -> Result<(), Vec<ConfigMistake>> {
        let mut mistakes = Vec::new();
        if self.bootstrap_servers.is_empty() {
            mistakes.push(ConfigMistake::new("bootstrap.servers", "is empty; name at least one broker as host:port"));
        }
        let wrong = self.bootstrap_servers.iter().filter_map(|server| HostPort::parse(server).err());
        mistakes.extend(wrong.map(|problem| ConfigMistake::new("bootstrap.servers", problem)));
        if let Some(sasl) = self.security.sasl()
            && sasl.username.is_empty()
        {
            mistakes.push(ConfigMistake::new("sasl.username", format!("is empty with {}", self.security.name())));
        }
        mistakes.extend(self.wrong_durations());
        if self.receive_message_max_bytes < RECEIVE_MIN || self.receive_message_max_bytes > RECEIVE_MAX {
            let problem = format!("{} is not between {RECEIVE_MIN} and {RECEIVE_MAX}", self.receive_message_max_bytes);
            mistakes.push(ConfigMistake::new("receive.message.max.bytes", problem));
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    fn wrong_durations(&self) -> Vec<ConfigMistake> {
        let positive = [
            ("request.timeout.ms", self.request_timeout),
            ("socket.connection.setup.timeout.ms", self.socket_connection_setup_timeout),
            ("reconnect.backoff.ms", self.reconnect_backoff),
            ("retry.backoff.ms", self.retry_backoff),
            ("metadata.max.age.ms", self.metadata_max_age),
            ("connections.max.idle.ms", self.connections_max_idle),
        ];
        let zero = positive.into_iter().filter(|(_, duration)| duration.is_zero());
        let mut mistakes: Vec<_> = zero.map(|(setting, _)| ConfigMistake::new(setting, "is 0")).collect();
        let pairs = [
            ("reconnect.backoff.max.ms", self.reconnect_backoff, self.reconnect_backoff_max),
            ("retry.backoff.max.ms", self.retry_backoff, self.retry_backoff_max),
        ];
        let swapped = pairs.into_iter().filter(|(_, base, max)| base > max);
        mistakes.extend(swapped.map(|(setting, base, max)| {
            ConfigMistake::new(
                setting,
                format!("{} ms is below the {} ms it starts from", max.as_millis(), base.as_millis()),
            )
        }));
        mistakes
    }

    /// The bootstrap servers; those that do not parse are left out, [`ClientConfig::validate`] names them.
    pub(crate) fn bootstrap(&self) -> Vec<HostPort> {
        self.bootstrap_servers.iter().filter_map(|server| HostPort::parse(server).ok()).collect()
    }
}

/// Below this not even metadata of a small cluster fits.
const RECEIVE_MIN: usize = 64 * 1024;
/// What the length field of the protocol can say.
const RECEIVE_MAX: usize = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(ClientConfig::new(["b1.example:9092"]).validate(), Ok(()));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mut config = ClientConfig::new(["b1", "b2:0", "[::1]:9092", "b 3:1", "ok:9092"]);
        config.security = Security::SaslPlaintext(SaslSettings {
            mechanism: SaslMechanism::Plain,
            username: String::new(),
            password: PasswordSource::from("x"),
        });
        config.request_timeout = Duration::ZERO;
        config.retry_backoff = Duration::from_secs(5);
        config.receive_message_max_bytes = 1;
        let mistakes = config.validate().unwrap_err();
        let settings: Vec<_> = mistakes.iter().map(|mistake| mistake.setting).collect();
        let expected = [
            "bootstrap.servers",
            "bootstrap.servers",
            "bootstrap.servers",
            "bootstrap.servers",
            "sasl.username",
            "request.timeout.ms",
            "retry.backoff.max.ms",
            "receive.message.max.bytes",
        ];
        assert_eq!(settings, expected);
        assert_eq!(mistakes[0].to_string(), "bootstrap.servers: `b1` has no port; write host:port");
        assert!(mistakes[2].to_string().contains("IPv4 only"));
    }

    #[test]
    fn a_password_is_never_printed_with_the_configuration() {
        let mut config = ClientConfig::new(["b1:1"]);
        config.security = Security::SaslPlaintext(SaslSettings {
            mechanism: SaslMechanism::ScramSha512,
            username: "sre".into(),
            password: PasswordSource::from("hunter2"),
        });
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn servers_with_commas_between_them_are_several() {
        let mut config = ClientConfig::new(["b1:9092, b2:9092", "b3:9092"]);
        assert_eq!(config.bootstrap_servers, ["b1:9092", "b2:9092", "b3:9092"]);
        config.bootstrap_servers = vec!["b1:9092,b2:9092".to_owned()];
        let mistakes = config.validate().unwrap_err();
        assert_eq!(
            mistakes[0].to_string(),
            "bootstrap.servers: `b1:9092,b2:9092` is a list; give each server by itself"
        );
    }

    #[test]
    fn hosts_may_end_in_a_dot_and_hold_underscores() {
        assert_eq!(HostPort::parse("b_1.example.:443").unwrap().to_string(), "b_1.example.:443");
        assert!(HostPort::parse("a..b:1").is_err());
    }
}
