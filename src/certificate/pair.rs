//! A certificate and its key that belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::read::Certificate;

/// Where certificate and key lie, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate first, then those between it and its authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate or a pair cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read, or what it holds is no PEM of its kind (or half of one).
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
    /// The certificate's time is over, or has not come (or this machine's clock is wrong).
    #[error("{}: the certificate of {common_name} {what}", path.display())]
    NotValidNow {
        /// The certificate's file.
        path: PathBuf,
        /// Whose it is.
        common_name: String,
        /// Over since when, or not before when.
        what: String,
    },
    /// It is somebody else's certificate.
    #[error("{}: the certificate is of `{found}` and not of `{expected}`", path.display())]
    WrongName {
        /// The certificate's file.
        path: PathBuf,
        /// Whose it should be.
        expected: String,
        /// Whose it is.
        found: String,
    },
}

/// A pair that fits.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What the certificate says.
    pub certificate: Certificate,
    /// What a TLS client shows and signs with.
    pub certified: Arc<CertifiedKey>,
    /// Of the content of both files: a pair is a new one when this differs, whatever the files' dates say.
    pub(super) digest: [u8; 32],
}

impl Pair {
    /// Reads both files; whether the certificate is valid now is asked by [`Pair::usable`].
    pub fn read(files: &PairFiles) -> Result<Self, PairError> {
        // The key first, as it is renewed first: a pair that is renewed between the two reads does not fit, and is read again.
        let key = Zeroizing::new(content(&files.key)?);
        let certificate = content(&files.certificate)?;
        Self::of(files, &certificate, &key)
    }

    /// The same of what the files hold.
    pub fn of(files: &PairFiles, certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, PairError> {
        let of_certificate = |what: String| PairError::Unreadable { path: files.certificate.clone(), what };
        let chain = CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| of_certificate(error.to_string()))?;
        let first = chain.first().ok_or_else(|| of_certificate("holds no PEM certificate".to_owned()))?;
        let certificate = Certificate::parse(first).map_err(of_certificate)?;
        let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| {
            // The text of a PEM error may quote the line it stumbled over, which is a piece of the key.
            let what = match error {
                tokio_rustls::rustls::pki_types::pem::Error::NoItemsFound => "holds no PEM private key",
                _ => "is not a whole PEM private key",
            };
            PairError::Unreadable { path: files.key.clone(), what: what.to_owned() }
        })?;
        let provider = rustls_graviola::default_provider();
        let fits = CertifiedKey::from_der(chain, private, &provider).and_then(|certified| {
            certified.keys_match()?;
            Ok(certified)
        });
        let certified = fits.map_err(|error| PairError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            what: error.to_string(),
        })?;
        let digest = Sha256::new().chain_update(certificate_pem).chain_update(key_pem).finalize().into();
        Ok(Self { certificate, certified: Arc::new(certified), digest })
    }

    /// Whether it can be shown now: valid at this time, and of the name that is expected, if one is.
    pub fn usable(&self, files: &PairFiles, expected: Option<&str>, now_s: i64) -> Result<(), PairError> {
        let Certificate { common_name, not_before, .. } = &self.certificate;
        let path = || files.certificate.clone();
        if let Some(expected) = expected.filter(|expected| expected != common_name) {
            let (expected, found) = (expected.to_owned(), common_name.clone());
            return Err(PairError::WrongName { path: path(), expected, found });
        }
        let what = if self.certificate.seconds_left(now_s) <= 0 {
            format!("has expired at {}", self.certificate.ends_at())
        } else if *not_before > now_s {
            format!("is valid only in {} s: is this machine's clock right?", not_before.saturating_sub(now_s))
        } else {
            return Ok(());
        };
        Err(PairError::NotValidNow { path: path(), common_name: common_name.clone(), what })
    }
}

fn content(path: &Path) -> Result<Vec<u8>, PairError> {
    std::fs::read(path).map_err(|error| PairError::Unreadable { path: path.to_owned(), what: error.to_string() })
}

#[cfg(test)]
mod tests {
    use kafka_broker_double::Authority;

    use super::*;

    const NAME: &str = "sre.kafka-consumer-nonprod-k8s.kafka-consumer-development";

    fn files() -> PairFiles {
        PairFiles { certificate: "c.pem".into(), key: "k.pem".into() }
    }

    #[test]
    fn a_pair_that_fits_says_whose_it_is_and_can_be_used_within_its_time() {
        let made = Authority::new().client(NAME, 1_000, 2_000);
        let pair = Pair::of(&files(), made.certificate.as_bytes(), made.key.as_bytes()).unwrap();
        assert_eq!(pair.certificate.common_name, NAME);
        assert_eq!((pair.certificate.not_before, pair.certificate.not_after), (1_000, 2_000));
        assert_eq!(pair.usable(&files(), Some(NAME), 1_500), Ok(()));
        let over = pair.usable(&files(), None, 2_000).unwrap_err().to_string();
        assert_eq!(over, format!("c.pem: the certificate of {NAME} has expired at 1970-01-01T00:33:20Z"));
        assert!(pair.usable(&files(), None, 900).unwrap_err().to_string().contains("valid only in 100 s"));
        let other = pair.usable(&files(), Some("a.b"), 1_500).unwrap_err().to_string();
        assert_eq!(other, format!("c.pem: the certificate is of `{NAME}` and not of `a.b`"));
    }

    #[test]
    fn a_key_of_another_pair_a_torn_file_and_an_empty_one_are_told_apart_and_nothing_of_the_key_is_quoted() {
        let authority = Authority::new();
        let (one, two) = (authority.client(NAME, 0, 9), authority.client(NAME, 0, 9));
        let of = |certificate: &str, key: &str| Pair::of(&files(), certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(of(&one.certificate, &two.key), PairError::Mismatch { .. }));
        for torn in [&one.key[..one.key.len() / 2], "", "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n"] {
            let error = of(&one.certificate, torn);
            assert!(matches!(&error, PairError::Unreadable { path, .. } if path == Path::new("k.pem")), "{error}");
            assert!(!error.to_string().contains("MIG"), "{error}");
        }
        for torn in [&one.certificate[..one.certificate.len() / 2], "", "nonsense"] {
            let error = of(torn, &one.key);
            assert!(matches!(&error, PairError::Unreadable { path, .. } if path == Path::new("c.pem")), "{error}");
        }
    }
}
