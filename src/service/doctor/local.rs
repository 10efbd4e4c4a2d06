//! What needs no broker: the certificate pair and the secrets.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::certificate::{Certificate, Pair, PairError};
use crate::config::Config;
use crate::secret::{Provider, Secrets};
use crate::telemetry::scrubber;

use super::super::keys;
use super::report::Layer;
use super::{Notes, now_s, validity};

/// For one secret.
const SECRET_WITHIN: Duration = Duration::from_secs(8);

/// The pair is looked at when a secret needs it or when it is there.
pub(super) async fn certificate(config: &Config, notes: &Notes) {
    let begun = Instant::now();
    let (files, needed) = (keys::pair_files(config), keys::needs_certificate(config));
    let (subject, expected) = (files.certificate.display().to_string(), config.athenz.common_name.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let look = || {
            Pair::read(&files).and_then(|pair| {
                pair.usable(&files, expected.as_deref(), now_s())?;
                Ok(pair.certificate)
            })
        };
        (files.certificate.exists() || needed).then(look)
    });
    match looked.await {
        Ok(None) => {}
        Ok(Some(Ok(found))) => tell(&subject, &found, notes, begun),
        Ok(Some(Err(error @ PairError::NotValidNow { .. }))) => {
            let advice = "the certificate container (sia) has stopped renewing it: look at its log, and at the clock of this node";
            notes.bad(Layer::Certificate, &subject, error.to_string(), advice, begun);
        }
        Ok(Some(Err(error @ PairError::WrongName { .. }))) => {
            let advice = "is athenz.common_name spelled right, and athensDomain with the environment in omega.yaml?";
            notes.bad(Layer::Certificate, &subject, error.to_string(), advice, begun);
        }
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
    let (name, until) = (&found.common_name, found.ends_at());
    let left = validity(found, now_s()).unwrap_or_default();
    let what = format!("CN {name}, fits its key, until {until}, {left}");
    if found.seconds_left(now_s()) < 24 * 3600 {
        notes.notable(Layer::Certificate, &subject, what + ": it is renewed daily, so its renewal is late", begun);
    } else {
        notes.good(Layer::Certificate, &subject, what, begun);
    }
}

/// Fetches every secret side by side and tells its name only; `None` when one that the login needs is missing.
pub(super) async fn secrets(config: &Config, notes: &Notes) -> Option<Secrets> {
    let begun = Instant::now();
    let secrets = match keys::keys(config).await {
        Ok(keys) => keys.secrets,
        Err(what) => {
            notes.bad(Layer::Secrets, &"ckms", what, "the line names the setting or the file", begun);
            return None;
        }
    };
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
