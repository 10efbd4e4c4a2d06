//! The hosts that actions call: name, connection, TLS. No request is sent.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Url;

use crate::client::TlsSettings;
use crate::client::{addresses_of, shake_hands};
use crate::config::Config;

use super::Notes;
use super::brokers::describe;
use super::report::Layer;

const STEP: Duration = Duration::from_secs(2);

/// Scheme, host, port.
type Target = (String, String, u16);

pub(super) async fn look(config: &Config, notes: &Notes) {
    let tls = TlsSettings { ca_location: config.tls_ca_file.clone(), ..TlsSettings::default() };
    join_all(targets(config).iter().map(|target| one(target, &tls, notes))).await;
}

/// Every host that stands in a URL of the configuration. A host that a template makes is known only with an incident.
fn targets(config: &Config) -> BTreeSet<Target> {
    let mut found: BTreeSet<Target> =
        config.bigpanda.iter().filter_map(|settings| target(&settings.base_url)).collect();
    for node in config.rules.incident_actions.iter().chain(&config.rules.alert_actions) {
        node.each_scalar("", &mut |path, _, text| {
            if path.ends_with("url") {
                found.extend(target(text));
            }
        });
    }
    found
}

/// Only what stands before the path counts: behind it there may be templates, and secrets.
fn target(text: &str) -> Option<Target> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let url: Url = format!("{scheme}://{host}/").parse().ok()?;
    if host.contains("{{") || host.contains('@') {
        return None;
    }
    Some((scheme.to_owned(), url.host_str()?.to_owned(), url.port_or_known_default()?))
}

async fn one((scheme, host, port): &Target, tls: &TlsSettings, notes: &Notes) {
    let begun = Instant::now();
    let subject = format!("{scheme}://{host}:{port}");
    match reach(scheme, host, *port, tls).await {
        Ok(what) => notes.good(Layer::Targets, &subject, what, begun),
        Err(what) => {
            let advice = "is the host spelled right, egress to it allowed, and a private authority in tls.ca_file?";
            notes.bad(Layer::Targets, &subject, what, advice, begun);
        }
    }
}

async fn reach(scheme: &str, host: &str, port: u16, tls: &TlsSettings) -> Result<String, String> {
    let found = addresses_of(host, STEP).await.map_err(|error| error.to_string())?;
    let first = found.first().ok_or_else(|| "no address".to_owned())?;
    let address = SocketAddrV4::new(*first, port);
    if scheme == "https" {
        let session = shake_hands(tls.clone(), host, address, STEP).await?;
        return Ok(format!("{address}, {}", describe(&session)));
    }
    match tokio::time::timeout(STEP, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(format!("{address} accepts, without TLS")),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no answer within {} s", STEP.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_a_url_counts_and_never_what_may_be_secret() {
        let of = |text| target(text).map(|(_, host, port)| format!("{host}:{port}"));
        assert_eq!(of("https://hooks.example/T0/secret").as_deref(), Some("hooks.example:443"));
        assert_eq!(of("http://127.0.0.1:80/{{incident.id}}").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(of("https://{{tags.host}}/x"), None);
        assert_eq!(of("https://user:secret@host/x"), None);
        assert_eq!(of("nonsense"), None);
    }
}
