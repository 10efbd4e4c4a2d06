//! What needs no broker: the certificate pair and the secrets.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::certificate::{Certificate, PairError};
use crate::config::Config;
use crate::secret::{Provider, Secrets};
use crate::telemetry::scrubber;

use super::report::Layer;
use super::{Notes, now_s, validity};

/// For one secret.
const SECRET_WITHIN: Duration = Duration::from_secs(6);

/// The pair is looked at when a secret needs it or when it is there.
pub(super) async fn certificate(config: &Config, notes: &Notes) {
    let begun = Instant::now();
    let (certificate, key) = (config.athenz.certificate.clone(), config.athenz.key.clone());
    let providers = config.secrets.names().filter_map(|name| config.secrets.provider(name));
    let needed = providers.into_iter().any(|provider| matches!(provider, Provider::Ckms { .. }));
    let subject = certificate.display().to_string();
    let looked = tokio::task::spawn_blocking(move || {
        (certificate.exists() || needed).then(|| Certificate::of_pair(&certificate, &key))
    });
    match looked.await {
        Ok(None) => {}
        Ok(Some(Ok(found))) => tell(&subject, &found, notes, begun),
        Ok(Some(Err(error @ PairError::Mismatch { .. }))) => {
            let advice = "both are renewed daily, the key first: look again in a minute; if it stays, renew both";
            notes.bad(Layer::Certificate, &subject, error.to_string(), advice, begun);
        }
        Ok(Some(Err(error))) => {
            let advice = "is the certificate container (sia) running, requireTLSCerts set, and athenz.certificate the right path?";
            notes.bad(Layer::Certificate, &subject, error.to_string(), advice, begun);
        }
        Err(error) => notes.bad(Layer::Certificate, &subject, error.to_string(), "this is a defect", begun),
    }
}

fn tell(subject: &str, found: &Certificate, notes: &Notes, begun: Instant) {
    let name = &found.common_name;
    if let Some(left) = validity(found, now_s()) {
        notes.good(Layer::Certificate, &subject, format!("CN {name}, fits its key, {left}"), begun);
    } else {
        let advice = "the certificate container (sia) has stopped renewing it: look at its log";
        notes.bad(Layer::Certificate, &subject, format!("CN {name} has expired"), advice, begun);
    }
}

/// Fetches every secret side by side and tells its name only; `None` when one that the login needs is missing.
pub(super) async fn secrets(config: &Config, notes: &Notes) -> Option<Secrets> {
    let secrets = config.secrets.clone().on_fetch(|value| scrubber().register(value));
    if let Some(plain) = config.kafka.security.sasl.as_ref().and_then(|sasl| sasl.password.plain()) {
        scrubber().register(plain);
    }
    let fetched = join_all(secrets.names().map(|name| fetch(name, &secrets, notes))).await;
    let had: Vec<&str> = fetched.into_iter().flatten().collect();
    let sasl = config.kafka.security.sasl.iter();
    let complete =
        sasl.flat_map(|sasl| sasl.password.names().chain(sasl.username.names())).all(|name| had.contains(&name));
    complete.then_some(secrets.clone())
}

async fn fetch<'n>(name: &'n str, secrets: &Secrets, notes: &Notes) -> Option<&'n str> {
    let begun = Instant::now();
    let kind = secrets.provider(name).map_or("", Provider::kind);
    match tokio::time::timeout(SECRET_WITHIN, secrets.resolve(name)).await {
        Ok(Ok(_)) => {
            notes.good(Layer::Secrets, &name, format!("fetched from {kind}, not shown"), begun);
            Some(name)
        }
        Ok(Err(error)) => {
            let advice = "is the provider named right, mounted or allowed, and readable by user 1000?";
            notes.bad(Layer::Secrets, &name, error.to_string(), advice, begun);
            None
        }
        Err(_) => {
            let what = format!("{kind} gave nothing within {} s", SECRET_WITHIN.as_secs());
            notes.bad(Layer::Secrets, &name, what, "the provider hangs: look at it by hand", begun);
            None
        }
    }
}
