//! The certificate that is renewed while it is in use, against a server that asks for one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kafka_broker_double::target::Target;
use kafka_broker_double::{Authority, Certificate, PemPair};
use kafka_consumer::certificate::{CertificateWatch, PairFiles, Shown, WatchSettings};
use kafka_consumer::client::{Resolver, TlsSettings};
use kafka_consumer::transport::{HttpClient, HttpSettings, Identity, Request};
use reqwest::Method;

use crate::world::produce::now_ms;

pub(crate) const NAME: &str = "sre.kafka-consumer-nonprod-k8s.kafka-consumer-development";
const DAY_S: u64 = 24 * 3600;
const RENEWALS: u64 = 12;
const SENDERS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);

fn now_s() -> u64 {
    u64::try_from(now_ms() / 1000).expect("after 1970")
}

pub(crate) fn issue(authority: &Authority, day: u64) -> PemPair {
    authority.client(NAME, now_s() - DAY_S, now_s() + day * 30 * DAY_S)
}

/// As the platform renews: each file by a rename, the key first.
fn rename(folder: &Path, name: &str, text: &str) {
    let draft = folder.join(format!("{name}.new"));
    std::fs::write(&draft, text).expect("written");
    std::fs::rename(draft, folder.join(name)).expect("renamed");
}

fn client(authority: &Authority, folder: &Path, shown: &Shown) -> HttpClient {
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("written");
    let of = shown.clone();
    let identity: Identity = Arc::new(move || of.now().pair.map(|pair| Arc::clone(&pair.certified)));
    let resolver = Resolver::system(Duration::from_secs(1));
    HttpClient::with_identity(resolver, TlsSettings::with_ca(ca), HttpSettings::default(), identity).expect("a client")
}

fn get(url: &str) -> Request {
    let url = url.parse().expect("a URL");
    Request { method: Method::GET, url, headers: reqwest::header::HeaderMap::new(), body: None, timeout: PATIENCE }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Each renewal passes through every state in which a look may find the files: new key with old certificate, an absent
/// name, half a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_under_load_lose_no_request() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let first = issue(&authority, 1);
    std::fs::write(at("key.pem"), &first.key).expect("written");
    std::fs::write(at("cert.pem"), &first.certificate).expect("written");
    let target = Target::start_tls(&authority.identity(&[], Certificate::Valid).for_clients_of(&authority));

    let files = PairFiles { certificate: at("cert.pem"), key: at("key.pem") };
    let every = Duration::from_millis(3);
    let watch = CertificateWatch::begin(WatchSettings { files, common_name: Some(NAME.into()), every }).await;
    let shown = watch.shown();
    let watching = tokio::spawn(watch.run());
    let client = client(&authority, folder.path(), &shown);

    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (client, over, sent, url) = (client.clone(), Arc::clone(&over), Arc::clone(&sent), target.url("/"));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = client.send(get(&url)).await;
                    assert_eq!(answer.map(|answer| answer.status), Ok(200));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for day in 2..2 + RENEWALS {
        let before = sent.load(Ordering::Relaxed);
        until("requests", || sent.load(Ordering::Relaxed) > before + 2 * SENDERS).await;
        let next = issue(&authority, day);
        rename(folder.path(), "key.pem", &next.key);
        std::fs::remove_file(at("cert.pem")).expect("removed");
        tokio::time::sleep(every).await;
        std::fs::write(at("cert.pem"), &next.certificate[..next.certificate.len() / 2]).expect("torn");
        tokio::time::sleep(every).await;
        rename(folder.path(), "cert.pem", &next.certificate);
        until("the renewed pair", || shown.renewals() == day - 1).await;
    }
    let before = sent.load(Ordering::Relaxed);
    until("requests", || sent.load(Ordering::Relaxed) > before + 2 * SENDERS).await;
    over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("no request was lost");
    }
    watching.abort();
    let requests = target.requests();
    assert_eq!(requests.len(), sent.load(Ordering::Relaxed), "none was sent twice either");
    let certificates: BTreeSet<_> = requests.iter().map(|request| request.client_certificate.clone()).collect();
    assert_eq!(certificates.len() as u64, RENEWALS + 1, "every pair was in use, and its connections ended with it");
    let last = requests.last().expect("requests").client_certificate.clone().expect("a certificate");
    let last = kafka_consumer::certificate::Certificate::parse(&last).expect("DER");
    assert!(last.not_after.unsigned_abs() > now_s() + RENEWALS * 30 * DAY_S, "the last is the newest");
}
