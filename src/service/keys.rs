//! The secrets with everything it takes to fetch them: the certificate that is watched, and the client of the key server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;

use crate::certificate::{CertificateWatch, PairFiles, Shown, WatchSettings};
use crate::ckms::{Ckms, Encoding, Wire};
use crate::client::{Resolver, TlsSettings};
use crate::config::{self, Config};
use crate::secret::{Provider, Secrets};
use crate::telemetry::scrubber;
use crate::transport::{HttpClient, HttpSettings, Identity};

/// For one question to a name server on the way to the key server.
const DNS_TIMEOUT: Duration = Duration::from_secs(2);

/// What fetches secrets.
pub(super) struct Keys {
    /// Every configured secret; fetched values are scrubbed from logs.
    pub(super) secrets: Secrets,
    /// The certificate in use, where there is one to watch.
    pub(super) shown: Option<Shown>,
    /// To be run for as long as the certificate is needed.
    pub(super) watch: Option<CertificateWatch>,
}

/// Looks at the certificate once where one is needed or there, and makes what fetches secrets. The error is a mistake in the
/// configuration.
pub(super) async fn keys(config: &Config) -> Result<Keys, String> {
    let secrets = config.secrets.clone().on_fetch(|value| scrubber().register(value));
    let files = pair_files(config);
    if !needs_certificate(config) && !files.certificate.exists() {
        return Ok(Keys { secrets, shown: None, watch: None });
    }
    let watch = CertificateWatch::begin(WatchSettings::new(files, config.athenz.common_name.clone())).await;
    let shown = watch.shown();
    let secrets = secrets.with_key_server(Arc::new(key_server(config, &shown)?));
    Ok(Keys { secrets, shown: Some(shown), watch: Some(watch) })
}

fn key_server(config: &Config, shown: &Shown) -> Result<Ckms, String> {
    let tls = TlsSettings { ca_location: config.tls_ca_file.clone(), ..TlsSettings::default() };
    let of = shown.clone();
    let identity: Identity = Arc::new(move || of.now().pair.map(|pair| Arc::clone(&pair.certified)));
    let http = HttpClient::with_identity(Resolver::system(DNS_TIMEOUT), tls, HttpSettings::default(), identity)
        .map_err(|error| format!("tls.ca_file: {error}"))?;
    Ok(Ckms::new(http, shown.clone(), wire(&config.ckms), config.ckms.timeout))
}

/// The settings as the client of the key server takes them.
pub(super) fn wire(settings: &config::Ckms) -> Wire {
    Wire {
        url: settings.url.clone(),
        method: if settings.method == "GET" { Method::GET } else { Method::POST },
        headers: settings.headers.clone(),
        body: settings.body.clone(),
        pointer: settings.pointer.clone(),
        encoding: if settings.base64 { Encoding::Base64 } else { Encoding::Plain },
    }
}

/// Where certificate and key lie.
pub(super) fn pair_files(config: &Config) -> PairFiles {
    PairFiles { certificate: config.athenz.certificate.clone(), key: config.athenz.key.clone() }
}

/// Whether a secret comes from the key server, or from a command that is handed certificate or key.
pub(super) fn needs_certificate(config: &Config) -> bool {
    let pair = [&config.athenz.certificate, &config.athenz.key];
    let is_one = |word: &String| pair.iter().any(|file: &&PathBuf| file.as_os_str() == word.as_str());
    let providers = config.secrets.names().filter_map(|name| config.secrets.provider(name));
    providers.into_iter().any(|provider| match provider {
        Provider::Ckms(_) => true,
        Provider::Command(words) => words.iter().any(is_one),
        Provider::File(_) | Provider::Env(_) => false,
    })
}
