//! How brokers are reached: protocol, credentials, certificates.

use std::path::PathBuf;

use crate::secret::SecretText;
use crate::yaml::Reader;

/// `security.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Authenticated in the clear.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

/// How brokers are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// `security.protocol`; `SASL_SSL` when credentials are given, `PLAINTEXT` otherwise.
    pub protocol: SecurityProtocol,
    /// `msk_auth`, or `sasl.mechanism`, `sasl.username`, `sasl.password`.
    pub sasl: Option<Sasl>,
    /// `ssl.ca.location`: PEM, trusted beside the public authorities.
    pub ca_location: Option<PathBuf>,
    /// `ssl.certificate.location` and `ssl.key.location`: PEM.
    pub client_identity: Option<(PathBuf, PathBuf)>,
}

/// Credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: SecretText,
    /// The password.
    pub password: SecretText,
}

/// `sasl.mechanism`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// `SCRAM-SHA-512`.
    ScramSha512,
    /// `PLAIN`.
    Plain,
}

/// Reads protocol, credentials and certificates.
pub(super) fn read(r: &Reader<'_, '_>) -> Security {
    let protocols = [
        ("PLAINTEXT", SecurityProtocol::Plaintext),
        ("SSL", SecurityProtocol::Ssl),
        ("SASL_PLAINTEXT", SecurityProtocol::SaslPlaintext),
        ("SASL_SSL", SecurityProtocol::SaslSsl),
    ];
    let written = r.choice("security.protocol", &protocols);
    let sasl = sasl(r);
    let has_credentials = sasl.is_some() || r.node("msk_auth").is_some();
    let otherwise = if has_credentials { SecurityProtocol::SaslSsl } else { SecurityProtocol::Plaintext };
    let protocol = written.unwrap_or(otherwise);
    let wants = matches!(protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
    if wants && !has_credentials {
        r.wrong("security.protocol", "needs credentials: msk_auth, or sasl.mechanism, sasl.username and sasl.password");
    }
    if !wants && has_credentials {
        r.wrong("security.protocol", "sends no credentials, but some are given; use SASL_SSL or remove them");
    }
    let ca_location = r.string("ssl.ca.location").map(PathBuf::from);
    let client_identity = identity(r);
    let encrypted = matches!(protocol, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl);
    if !encrypted && (ca_location.is_some() || client_identity.is_some()) {
        let path = r.path_of("ssl.ca.location");
        r.mistakes().warn(path, r.at(), "has no effect: the connection is not encrypted (security.protocol)");
    }
    Security { protocol, sasl, ca_location, client_identity }
}

fn identity(r: &Reader<'_, '_>) -> Option<(PathBuf, PathBuf)> {
    match (r.string("ssl.certificate.location"), r.string("ssl.key.location")) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        (Some(_), None) => {
            r.wrong("ssl.certificate.location", "needs ssl.key.location beside it");
            None
        }
        (None, Some(_)) => {
            r.wrong("ssl.key.location", "needs ssl.certificate.location beside it");
            None
        }
    }
}

/// The predecessor's section, or Kafka's own names.
fn sasl(r: &Reader<'_, '_>) -> Option<Sasl> {
    let by_name = by_kafka_names(r);
    let Some(auth) = r.child("msk_auth") else { return by_name };
    if by_name.is_some() {
        r.wrong("msk_auth", "credentials are given as sasl.* as well; keep one");
    }
    match auth.string("auth_method").as_deref() {
        None | Some("scram" | "SCRAM" | "scram-sha-512" | "SCRAM-SHA-512") => {}
        Some("iam" | "IAM") => {
            auth.wrong("auth_method", "iam is not supported yet; use scram with a user name and a password");
            for key in ["username", "password", "region"] {
                auth.know(key);
            }
            auth.close();
            return None;
        }
        Some(other) => auth.wrong("auth_method", format!("expected scram, found `{other}`")),
    }
    let (username, password) = (auth.required_string("username"), auth.required_string("password"));
    auth.ignored("region", "only IAM needs it");
    auth.close();
    Some(Sasl {
        mechanism: SaslMechanism::ScramSha512,
        username: SecretText::new(username?),
        password: SecretText::new(password?),
    })
}

fn by_kafka_names(r: &Reader<'_, '_>) -> Option<Sasl> {
    let mechanisms = [("SCRAM-SHA-512", SaslMechanism::ScramSha512), ("PLAIN", SaslMechanism::Plain)];
    let (_, mechanism) = r
        .node_of(&["sasl.mechanism", "sasl.mechanisms"])
        .map_or((None, None), |(key, _)| (Some(()), r.choice(&key, &mechanisms)));
    let (username, password) = (r.string("sasl.username"), r.string("sasl.password"));
    match (username, password) {
        (Some(username), Some(password)) => Some(Sasl {
            mechanism: mechanism.unwrap_or(SaslMechanism::ScramSha512),
            username: SecretText::new(username),
            password: SecretText::new(password),
        }),
        (None, None) => None,
        (Some(_), None) => {
            r.wrong("sasl.username", "needs sasl.password beside it");
            None
        }
        (None, Some(_)) => {
            r.wrong("sasl.password", "needs sasl.username beside it");
            None
        }
    }
}
