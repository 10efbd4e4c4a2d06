//! TLS: rustls with graviola's cryptography, the public web's authorities and those of a file.
//!
//! Promised: no C; a processor that graviola cannot use is an error with a sentence and not a panic; the files are
//! read again when they change, and a file that turned bad keeps what was loaded before; each kind of refusal is typed.
//! Absent: session tickets across restarts, revocation lists, a way to switch verification off.

mod stream;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::client::config::{ClientIdentity, TlsSettings};

pub(crate) use stream::TlsStream;

/// Why there is no TLS session, or no way to have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// graviola needs more of the processor.
    #[error(
        "this processor lacks {missing}, which the TLS implementation needs; use a machine type from 2015 or later"
    )]
    Processor {
        /// Names of the missing features.
        missing: String,
    },
    /// A file cannot be read or holds no usable PEM.
    #[error("{}: {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The host is no name that a certificate could carry.
    #[error("`{0}` cannot be the name in a certificate")]
    ServerName(String),
    /// The certificate comes from nobody we trust.
    #[error(
        "the certificate of `{0}` is issued by an unknown authority; if it is a private one, give its certificate as ssl.ca.location"
    )]
    UnknownAuthority(String),
    /// A signature in the certificate's chain, or of the handshake, was made with another key than ours of that name.
    #[error(
        "a signature of `{0}` does not fit its authority's key; if the authority was made anew under its old name, give \
         the new certificate as ssl.ca.location"
    )]
    WrongSignature(String),
    /// The certificate's time is over, or not yet come (or this machine's clock is wrong).
    #[error("the certificate of `{host}` is not valid now: {what}; check the certificate and this machine's clock")]
    NotValidNow {
        /// The host.
        host: String,
        /// Expired or not yet valid.
        what: String,
    },
    /// The certificate is for other names.
    #[error("the certificate of `{host}` is for other names: {what}")]
    WrongName {
        /// The host.
        host: String,
        /// Which names.
        what: String,
    },
    /// The certificate is refused for another reason.
    #[error("the certificate of `{host}` is refused: {what}")]
    Certificate {
        /// The host.
        host: String,
        /// Why.
        what: String,
    },
    /// The peer closed the connection during the handshake.
    #[error("`{0}` closed the connection during the TLS handshake (is it a TLS port?)")]
    Eof(String),
    /// The peer talks something else, or an alert came.
    #[error("the TLS handshake with `{host}` failed: {what}")]
    Handshake {
        /// The host.
        host: String,
        /// Why.
        what: String,
    },
    /// No end of the handshake.
    #[error("the TLS handshake with `{host}` did not finish within {} ms", after.as_millis())]
    Timeout {
        /// The host.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The configuration does not fit together.
    #[error("TLS cannot be configured: {0}")]
    Configuration(String),
}

/// A TLS client whose trust follows its files.
pub(crate) struct Tls {
    settings: TlsSettings,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
}

/// By which a changed file is recognised.
type Stamp = Option<(SystemTime, u64)>;

impl Tls {
    /// Errs where TLS cannot work here at all: the processor, an unreadable file.
    pub(crate) fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        check_processor()?;
        let stamps = stamps(&settings);
        let config = Arc::new(build(&settings)?);
        Ok(Self { settings, loaded: Mutex::new(Loaded { config, stamps }) })
    }

    /// rustls' configuration as the files are now: for connections, and for HTTP.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.settings);
        if now != loaded.stamps {
            match build(&self.settings) {
                Ok(config) => {
                    tracing::info!("certificates were read again");
                    loaded.config = Arc::new(config);
                }
                Err(error) => tracing::warn!(%error, "certificates changed but cannot be used; the previous ones stay"),
            }
            loaded.stamps = now;
        }
        Arc::clone(&loaded.config)
    }

    /// Shakes hands with `host`, whose certificate must carry that name.
    pub(crate) async fn connect(&self, tcp: TcpStream, host: &str, deadline: Duration) -> Result<TlsStream, TlsError> {
        let name = server_name(host)?;
        let handshake = TlsStream::connect(self.config(), name, tcp);
        match tokio::time::timeout(deadline, handshake).await {
            Ok(result) => result.map_err(|error| handshake_error(host, &error)),
            Err(_) => Err(TlsError::Timeout { host: host.to_owned(), after: deadline }),
        }
    }
}

/// A trailing dot belongs to DNS; certificates and SNI are without.
fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}

fn handshake_error(host: &str, error: &std::io::Error) -> TlsError {
    let host = host.to_owned();
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(refusal)) => certificate_error(host, refusal),
        Some(other) => TlsError::Handshake { host, what: other.to_string() },
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => TlsError::Eof(host),
        None => TlsError::Handshake { host, what: error.to_string() },
    }
}

fn certificate_error(host: String, refusal: &CertificateError) -> TlsError {
    let what = refusal.to_string();
    match refusal {
        CertificateError::UnknownIssuer => TlsError::UnknownAuthority(host),
        CertificateError::BadSignature => TlsError::WrongSignature(host),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsError::NotValidNow { host, what },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsError::WrongName { host, what }
        }
        _ => TlsError::Certificate { host, what },
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let identity = settings.client_identity.iter();
    let files = identity.flat_map(|identity| [&identity.certificate_location, &identity.key_location]);
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    settings.ca_location.iter().chain(files).map(stamp).collect()
}

fn build(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &settings.ca_location {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| file_error(path, error))?;
        }
    }
    for certificate in settings.ca_pem.as_deref().map_or(Ok(Vec::new()), inline_certificates)? {
        roots.add(certificate).map_err(|error| TlsError::Configuration(format!("ssl.ca.pem: {error}")))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Configuration(error.to_string()))?
        .with_root_certificates(roots);
    match &settings.client_identity {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientIdentity { certificate_location, key_location }) => {
            let chain = certificates(certificate_location)?;
            let key = PrivateKeyDer::from_pem_file(key_location).map_err(|error| file_error(key_location, error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| file_error(certificate_location, error))
        }
    }
}

/// All certificates of a PEM file; a file without any is a mistake.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| file_error(path, error))?;
    if certificates.is_empty() { Err(file_error(path, "holds no PEM certificate")) } else { Ok(certificates) }
}

/// The same of a text.
fn inline_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |what: String| TlsError::Configuration(format!("ssl.ca.pem: {what}"));
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|cause| error(cause.to_string()))?;
    if certificates.is_empty() { Err(error("holds no PEM certificate".to_owned())) } else { Ok(certificates) }
}

fn file_error(path: &Path, what: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), what: what.to_string() }
}

/// graviola asserts these on first use; asked here first, to say it in a sentence.
fn check_processor() -> Result<(), TlsError> {
    let missing: Vec<_> = processor_features().into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
    if missing.is_empty() { Ok(()) } else { Err(TlsError::Processor { missing: missing.join(", ") }) }
}

#[cfg(target_arch = "x86_64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    use std::arch::is_x86_feature_detected as has;
    vec![
        ("AES", has!("aes")),
        ("PCLMULQDQ", has!("pclmulqdq")),
        ("AVX", has!("avx")),
        ("AVX2", has!("avx2")),
        ("ADX", has!("adx")),
        ("BMI1", has!("bmi1")),
        ("BMI2", has!("bmi2")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn processor_features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected as has;
    vec![("NEON", has!("neon")), ("AES", has!("aes")), ("PMULL", has!("pmull")), ("SHA2", has!("sha2"))]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn processor_features() -> Vec<(&'static str, bool)> {
    vec![("x86-64 or AArch64", false)]
}

#[cfg(test)]
mod tests;
