//! `security.protocol`, `sasl.*` and `ssl.*`: collected one by one, resolved together.
//!
//! Promised: a form that this client cannot read (JKS, PKCS#12, an encrypted key, GSSAPI) is an error here instead of a
//! failed handshake later; a setting that the protocol leaves unused is a warning.

use zeroize::Zeroizing;

use super::jaas::{self, Module};
use super::settings::{Effect, Outcome, note};
use super::value;
use super::{Entry, PropertyNote};
use crate::client::config::{
    ClientIdentity, PasswordSource, SaslMechanism, SaslSettings, Secret, Security, TlsSettings,
};

/// The four protocols, without what belongs to them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// What was said so far. The first setting of each kind is kept for notes that concern all of it.
#[derive(Default)]
pub(super) struct SecurityParts {
    protocol: Option<Protocol>,
    mechanism: Option<SaslMechanism>,
    module: Option<Module>,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    tls: TlsSettings,
    certificate: Option<String>,
    key: Option<String>,
    sasl_entry: Option<Entry>,
    tls_entry: Option<Entry>,
}

impl SecurityParts {
    /// Takes a setting that is about security.
    pub(super) fn take(&mut self, entry: &Entry) -> Outcome {
        let text = entry.value.trim();
        if entry.key == "security.protocol" {
            return Some(protocol(text).map(|protocol| self.protocol = Some(protocol)).map(|()| Effect::Taken));
        }
        if let Some(outcome) = self.take_sasl(entry, text) {
            self.sasl_entry.get_or_insert_with(|| entry.clone());
            return Some(outcome);
        }
        let outcome = self.take_trust(&entry.key, text).or_else(|| self.take_identity(&entry.key, text))?;
        self.tls_entry.get_or_insert_with(|| entry.clone());
        Some(outcome)
    }

    fn take_sasl(&mut self, entry: &Entry, text: &str) -> Outcome {
        match entry.key.as_str() {
            "sasl.mechanism" | "sasl.mechanisms" => match mechanism(text) {
                Ok(mechanism) => self.mechanism = Some(mechanism),
                Err(problem) => return Some(Err(problem)),
            },
            "sasl.username" => self.username = Some(text.to_owned()),
            // As it stands: blanks may be part of it.
            "sasl.password" => self.password = Some(Zeroizing::new(entry.value.clone())),
            "sasl.jaas.config" => match jaas::parse(&entry.value) {
                Ok(login) => {
                    self.module = Some(login.module);
                    self.username = Some(login.username);
                    self.password = Some(login.password);
                }
                Err(problem) => return Some(Err(problem.to_owned())),
            },
            _ => return None,
        }
        Some(Ok(Effect::Taken))
    }

    fn take_trust(&mut self, key: &str, text: &str) -> Outcome {
        match key {
            "ssl.truststore.location" | "ssl.ca.location" => self.tls.ca_location = Some(text.into()),
            "ssl.truststore.certificates" | "ssl.ca.pem" => self.tls.ca_pem = Some(pem_lines(text)),
            "ssl.truststore.type" | "ssl.keystore.type" if !text.eq_ignore_ascii_case("PEM") => {
                return Some(Err(format!("`{text}` cannot be read; give certificates as PEM")));
            }
            "ssl.truststore.type" | "ssl.keystore.type" => {}
            "ssl.truststore.password" => return Some(Ok(Effect::Warned("has no effect with PEM".to_owned()))),
            "ssl.endpoint.identification.algorithm" if text.eq_ignore_ascii_case("https") => {}
            "ssl.endpoint.identification.algorithm" => {
                return Some(Ok(Effect::Warned("the broker's name is always verified".to_owned())));
            }
            "enable.ssl.certificate.verification" => {
                return Some(value::boolean(text).map(|verify| {
                    if verify {
                        Effect::Taken
                    } else {
                        Effect::Warned("the broker's certificate is always verified".to_owned())
                    }
                }));
            }
            _ => return None,
        }
        Some(Ok(Effect::Taken))
    }

    fn take_identity(&mut self, key: &str, text: &str) -> Outcome {
        match key {
            // Java's PEM key store is one file with both.
            "ssl.keystore.location" => {
                self.certificate = Some(text.to_owned());
                self.key = Some(text.to_owned());
            }
            "ssl.certificate.location" => self.certificate = Some(text.to_owned()),
            "ssl.key.location" => self.key = Some(text.to_owned()),
            "ssl.key.password" | "ssl.keystore.password" => {
                return Some(Err("encrypted keys cannot be read; give the key without a password".to_owned()));
            }
            "ssl.keystore.key" | "ssl.keystore.certificate.chain" | "ssl.key.pem" | "ssl.certificate.pem" => {
                return Some(Err("is not possible here; give the certificate and its key as files".to_owned()));
            }
            _ => return None,
        }
        Some(Ok(Effect::Taken))
    }

    /// All of it together; `None` when nothing was said about the protocol and nothing needs one.
    pub(super) fn resolve(mut self) -> Result<(Option<Security>, Vec<PropertyNote>), PropertyNote> {
        let Some(protocol) = self.protocol else { return Ok((None, self.unused(true, true))) };
        let notes = match protocol {
            Protocol::Plaintext => self.unused(true, true),
            Protocol::Ssl => self.unused(true, false),
            Protocol::SaslPlaintext => self.unused(false, true),
            Protocol::SaslSsl => Vec::new(),
        };
        let security = match protocol {
            Protocol::Plaintext => Security::Plaintext,
            Protocol::Ssl => Security::Ssl(self.tls()?),
            Protocol::SaslPlaintext => Security::SaslPlaintext(self.sasl()?),
            Protocol::SaslSsl => Security::SaslSsl(self.sasl()?, self.tls()?),
        };
        Ok((Some(security), notes))
    }

    fn unused(&self, sasl: bool, tls: bool) -> Vec<PropertyNote> {
        let sasl = self.sasl_entry.iter().filter(|_| sasl);
        let tls = self.tls_entry.iter().filter(|_| tls);
        let text = || "has no effect, nor have others of its kind, with this security.protocol".to_owned();
        sasl.chain(tls).map(|entry| note(entry, text())).collect()
    }

    fn tls(&mut self) -> Result<TlsSettings, PropertyNote> {
        let mut tls = std::mem::take(&mut self.tls);
        tls.client_identity = match (self.certificate.take(), self.key.take()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some(ClientIdentity { certificate_location: certificate.into(), key_location: key.into() })
            }
            (Some(_), None) => return Err(absent("ssl.key.location", "is missing beside the certificate")),
            (None, Some(_)) => return Err(absent("ssl.certificate.location", "is missing beside the key")),
        };
        Ok(tls)
    }

    fn sasl(&mut self) -> Result<SaslSettings, PropertyNote> {
        let mechanism = match (self.mechanism, self.module) {
            (Some(SaslMechanism::Plain), Some(Module::Scram))
            | (Some(SaslMechanism::ScramSha512), Some(Module::Plain)) => {
                return Err(absent("sasl.jaas.config", "names a login module that does not fit sasl.mechanism"));
            }
            (Some(mechanism), _) => mechanism,
            (None, Some(Module::Plain)) => SaslMechanism::Plain,
            (None, Some(Module::Scram) | None) => {
                return Err(absent("sasl.mechanism", "is missing; SCRAM-SHA-512 and PLAIN are possible"));
            }
        };
        let username = self.username.take().ok_or_else(|| absent("sasl.username", "is missing"))?;
        let password = self.password.take().ok_or_else(|| absent("sasl.password", "is missing"))?;
        let password = PasswordSource::from(Secret::new(password.as_str()));
        Ok(SaslSettings { mechanism, username, password })
    }
}

/// PEM text as lines again: in a properties file it may have become a single one.
fn pem_lines(text: &str) -> String {
    const MARKS: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];
    let marked = MARKS.iter().fold(text.to_owned(), |text, mark| text.replace(mark, &format!("\n{mark}\n")));
    let line =
        |line: &str| if MARKS.contains(&line) { line.to_owned() } else { line.replace(char::is_whitespace, "\n") };
    marked.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn absent(key: &str, text: &str) -> PropertyNote {
    PropertyNote { line: None, key: key.to_owned(), text: text.to_owned() }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => Ok(Protocol::Plaintext),
        "SSL" => Ok(Protocol::Ssl),
        "SASL_PLAINTEXT" => Ok(Protocol::SaslPlaintext),
        "SASL_SSL" => Ok(Protocol::SaslSsl),
        _ => Err(format!("`{text}` is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")),
    }
}

fn mechanism(text: &str) -> Result<SaslMechanism, String> {
    [SaslMechanism::Plain, SaslMechanism::ScramSha512]
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("`{text}` is not possible; SCRAM-SHA-512 and PLAIN are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_in_one_line_gets_its_lines_back() {
        let text = pem_lines("-----BEGIN CERTIFICATE----- QUJD REVG -----END CERTIFICATE-----");
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["-----BEGIN CERTIFICATE-----", "QUJD", "REVG", "-----END CERTIFICATE-----"]);
    }
}
