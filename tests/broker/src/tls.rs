//! Certificates made at start, and the TLS that the brokers speak with them.
//!
//! Promised: a private authority and a leaf for localhost, 127.0.0.1 and chosen names; leaves that are expired, for another
//! name or from another authority, for the tests of refusal. Signed through rcgen's key trait with a P-256 key, so that no
//! C is linked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What is wrong with the leaf that the brokers show, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    /// Nothing.
    #[default]
    Valid,
    /// It ran out in 2001.
    Expired,
    /// It is for a name that nobody asks for.
    WrongName,
}

/// A certificate and its key as text, for a client.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PemPair(***)")
    }
}

struct Key {
    signing: SigningKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    fn fresh() -> Self {
        loop {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).expect("randomness");
            // Nearly every number of 32 bytes is a key.
            if let Ok(signing) = SigningKey::from_slice(&bytes) {
                let public = signing.verifying_key().to_sec1_point(false).as_bytes().to_vec();
                return Self { signing, public };
            }
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.signing.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

fn fresh_serial() -> SerialNumber {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("randomness");
    SerialNumber::from_slice(&bytes)
}

/// A private certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, Key>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    /// A new authority, valid from 2000 to 2100.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "broker double authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(fresh_serial());
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        let key = Key::fresh();
        let certificate = params.self_signed(&key).expect("our own parameters are good");
        Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// The authority's certificate, for the client to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a certificate for a client of this common name, valid between two times in seconds since 1970.
    pub fn client(&self, common_name: &str, from_s: u64, until_s: u64) -> PemPair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(fresh_serial());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from_s);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(until_s);
        let key = Key::fresh();
        let leaf = params.signed_by(&key, &self.issuer).expect("our own parameters are good");
        let private = key.signing.to_pkcs8_pem(LineEnding::LF).expect("a key is written");
        PemPair { certificate: leaf.pem(), key: private.to_string() }
    }

    /// Makes a leaf for localhost, 127.0.0.1 and these names.
    pub fn identity(&self, names: &[String], certificate: Certificate) -> Identity {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        all.extend_from_slice(names);
        if certificate == Certificate::WrongName {
            all = vec!["elsewhere.invalid".to_owned()];
        }
        let mut params = CertificateParams::new(all).expect("names are ASCII");
        params.distinguished_name.push(DnType::CommonName, "broker double");
        params.serial_number = Some(fresh_serial());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after =
            if certificate == Certificate::Expired { date_time_ymd(2001, 1, 1) } else { date_time_ymd(2100, 1, 1) };
        let key = Key::fresh();
        let leaf = params.signed_by(&key, &self.issuer).expect("our own parameters are good");
        let private = key.signing.to_pkcs8_der().expect("a key is written");
        let private = PrivateKeyDer::try_from(private.as_bytes().to_vec()).expect("PKCS#8");
        Identity::new(vec![leaf.der().clone(), self.der.clone()], private)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A leaf with its key, ready to serve.
#[derive(Debug, Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
}

impl Identity {
    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let config = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("our own certificate");
        Self { config: Arc::new(config) }
    }

    /// The same, for clients only that show a certificate of this authority.
    #[must_use]
    pub fn for_clients_of(&self, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der.clone()).expect("our own authority");
        let provider = Arc::new(rustls_graviola::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier.build().expect("our own authority"))
            .with_cert_resolver(Arc::clone(&self.config.cert_resolver));
        // Every connection shows its certificate anew.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Self { config: Arc::new(config) }
    }

    /// What shakes hands on the server's side.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

/// A file with a certificate in it, taken away with its owner.
#[derive(Debug)]
pub(crate) struct CertificateFile(PathBuf);

impl CertificateFile {
    pub(crate) fn new(pem: &str) -> Self {
        let mut name = [0; 8];
        getrandom::fill(&mut name).expect("randomness");
        let path = std::env::temp_dir().join(format!("broker-double-ca-{:016x}.pem", u64::from_be_bytes(name)));
        std::fs::write(&path, pem).expect("the temporary directory takes a file");
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for CertificateFile {
    fn drop(&mut self) {
        // It is a temporary file; nothing depends on its absence.
        let _left_behind = std::fs::remove_file(&self.0);
    }
}
