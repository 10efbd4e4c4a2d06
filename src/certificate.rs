//! What a certificate says: whose it is, for which names, from when to when; and whether a key fits it.
//!
//! For people and for watching files. Trust is not decided here: that is the TLS library's work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's common name; empty where there is none.
    pub common_name: String,
    /// The issuer's common name.
    pub issuer: String,
    /// The host names it is for.
    pub names: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
}

/// Why a certificate or a pair cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("{}: {what}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// Certificate and key belong to different pairs; for a moment while they are renewed, longer by mistake.
    #[error("the key {} does not fit the certificate {}: {what}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        what: String,
    },
}

impl Certificate {
    /// Reads DER.
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, found) = X509Certificate::from_der(der).map_err(|error| format!("not a certificate: {error}"))?;
        let name = |name: &x509_parser::x509::X509Name<'_>| {
            let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
            common.unwrap_or_default().to_owned()
        };
        let alternative = found.subject_alternative_name().ok().flatten();
        let general = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let names = general.filter_map(|name| match name {
            GeneralName::DNSName(host) => Some((*host).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            _ => None,
        });
        Ok(Self {
            common_name: name(found.subject()),
            issuer: name(found.issuer()),
            names: names.collect(),
            not_before: found.validity().not_before.timestamp(),
            not_after: found.validity().not_after.timestamp(),
        })
    }

    /// Reads a certificate file and its key, and whether they belong together.
    pub fn of_pair(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let unreadable = |path: &Path, what: String| PairError::Unreadable { path: path.to_owned(), what };
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| unreadable(certificate, error.to_string()))?;
        let first = chain.first().ok_or_else(|| unreadable(certificate, "holds no PEM certificate".to_owned()))?;
        let read = Self::parse(first).map_err(|what| unreadable(certificate, what))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error.to_string()))?;
        let provider = Arc::new(rustls_graviola::default_provider());
        let fits = CertifiedKey::from_der(chain, private, &provider).and_then(|pair| pair.keys_match());
        fits.map_err(|error| PairError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            what: error.to_string(),
        })?;
        Ok(read)
    }

    /// Seconds left at a time, below zero when it is over.
    pub fn seconds_left(&self, now_s: i64) -> i64 {
        self.not_after.saturating_sub(now_s)
    }
}
