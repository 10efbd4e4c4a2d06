//! The way to the brokers: names, addresses, TLS, versions, login, topics, the group's offsets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::certificate::Certificate;
use crate::client::{ConnectError, Examiner, HostPort, Login, PartitionView, TlsSession, TopicPartition};
use crate::config::{Backend, Config, Kafka, KafkaLedger};
use crate::secret::Secrets;

use super::super::kafka;
use super::super::ledger_settings::{Finding, judge};
use super::super::life::host_name;
use super::report::Layer;
use super::{Notes, now_s, validity};

/// For one question, one connection, one handshake.
const STEP: Duration = Duration::from_secs(3);
/// For one question to a name server; a look-up may take thrice this.
const DNS_STEP: Duration = Duration::from_millis(1500);

/// Every bootstrap server side by side, then the topics and the group at the first that lets us in.
pub(super) async fn look(config: &Config, secrets: Option<&Secrets>, notes: &Notes) {
    let settings = &config.kafka;
    let begun = Instant::now();
    let empty = Secrets::default();
    let username = match (secrets, &settings.security.sasl) {
        (Some(secrets), Some(sasl)) => sasl.username.resolve(secrets).await.ok(),
        _ => None,
    };
    let username = username.as_ref().map_or("", |name| name.reveal());
    let mut client = kafka::consumer(settings, secrets.unwrap_or(&empty), username, &host_name()).client;
    (client.request_timeout, client.socket_connection_setup_timeout) = (STEP, STEP);
    (client.tls_handshake_timeout, client.dns_timeout) = (STEP, DNS_STEP);
    let examiner = match Examiner::new(client) {
        Ok(examiner) => examiner,
        Err(mistakes) => {
            let what = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            notes.bad(Layer::Tls, &"kafka", what, "the line names the setting or the file", begun);
            return;
        }
    };
    let servers = examiner.servers();
    let let_in =
        join_all(servers.iter().map(|server| server_by_layers(&examiner, server, secrets.is_some(), notes))).await;
    if let Some(login) = let_in.into_iter().flatten().next() {
        notes.at(Layer::Topics);
        let partitions = topics(&login, settings, notes).await;
        if let Backend::Kafka(ledger) = &config.storage.backend {
            ledger_topic(&login, ledger, notes).await;
        }
        notes.at(Layer::Group);
        group(&examiner, &login, settings, &partitions, notes).await;
    }
}

async fn server_by_layers(examiner: &Examiner, server: &HostPort, may_log_in: bool, notes: &Notes) -> Option<Login> {
    let addresses = names(examiner, server, notes).await?;
    let addresses: Vec<_> = addresses.into_iter().map(|ip| SocketAddrV4::new(ip, server.port)).collect();
    let open = join_all(addresses.iter().map(|address| dial(examiner, server, *address, notes))).await;
    let open: Vec<_> = open.into_iter().flatten().collect();
    let first = *open.first()?;
    tls(examiner, server, first, notes).await?;
    if may_log_in { log_in(examiner, server, notes).await } else { None }
}

async fn names(examiner: &Examiner, server: &HostPort, notes: &Notes) -> Option<Vec<std::net::Ipv4Addr>> {
    let begun = Instant::now();
    let (found, dropped) = examiner.resolve(&server.host).await;
    let list = |addresses: &[String]| addresses.join(", ");
    let aaaa = match dropped.as_slice() {
        [] => String::new(),
        some => format!("; AAAA never dialled: {}", list(&some.iter().map(ToString::to_string).collect::<Vec<_>>())),
    };
    match found {
        Ok(addresses) => {
            let a = list(&addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
            notes.good(Layer::Names, server, format!("A {a}{aaaa}"), begun);
            Some(addresses)
        }
        Err(error) => {
            let advice = "is the name spelled right, and does /etc/resolv.conf of this pod lead to a server that knows it (egress 53)?";
            notes.bad(Layer::Names, server, format!("{error}{aaaa}"), advice, begun);
            None
        }
    }
}

async fn dial(examiner: &Examiner, server: &HostPort, address: SocketAddrV4, notes: &Notes) -> Option<SocketAddrV4> {
    let begun = Instant::now();
    match examiner.dial(address).await {
        Ok(_) => {
            notes.good(Layer::Addresses, server, format!("{address} accepts"), begun);
            Some(address)
        }
        Err(error) => {
            let advice = "is egress to this port allowed (network policy), and does the broker listen there?";
            notes.bad(Layer::Addresses, server, error.to_string(), advice, begun);
            None
        }
    }
}

async fn tls(examiner: &Examiner, server: &HostPort, address: SocketAddrV4, notes: &Notes) -> Option<()> {
    let begun = Instant::now();
    match examiner.tls(&server.host, address).await {
        None => notes.good(Layer::Tls, server, "not used (security.protocol)".to_owned(), begun),
        Some(Ok(session)) => notes.good(Layer::Tls, server, describe(&session), begun),
        Some(Err(what)) => {
            let advice =
                "a private authority belongs into ssl.ca.location; a wrong name or date must be mended at the broker";
            notes.bad(Layer::Tls, server, what, advice, begun);
            return None;
        }
    }
    Some(())
}

/// Version, chain, names, expiry.
pub(super) fn describe(session: &TlsSession) -> String {
    let mut words = session.version.clone();
    let chain: Vec<Certificate> = session.chain.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
    if let Some(own) = chain.first() {
        let issuers: Vec<&str> = chain.iter().map(|certificate| certificate.issuer.as_str()).collect();
        let left = validity(own, now_s()).unwrap_or_else(|| "expired".to_owned());
        // Writing to a string does not fail.
        let _ = write!(words, ", for {}, issued by {}, {left}", own.names.join(", "), issuers.join(" < "));
    }
    words
}

async fn log_in(examiner: &Examiner, server: &HostPort, notes: &Notes) -> Option<Login> {
    let begun = Instant::now();
    match examiner.log_in(server).await {
        Ok(login) => {
            notes.good(Layer::Versions, server, "answered".to_owned(), begun);
            notes.good(Layer::Login, server, "let in".to_owned(), begun);
            Some(login)
        }
        Err(error @ ConnectError::Sasl { .. }) => {
            notes.good(Layer::Versions, server, "answered".to_owned(), begun);
            let advice = "is the user known to the cluster, the secret the current one, and the mechanism SCRAM-SHA-512 enabled there?";
            notes.bad(Layer::Login, server, error.to_string(), advice, begun);
            None
        }
        Err(error @ ConnectError::Negotiate { .. }) => {
            let advice = "is this a Kafka listener (2.4 or newer), and does security.protocol fit its port?";
            notes.bad(Layer::Versions, server, error.to_string(), advice, begun);
            None
        }
        Err(error) => {
            notes.bad(Layer::Addresses, server, error.to_string(), "it answered a moment ago: look again", begun);
            None
        }
    }
}

async fn topics(login: &Login, settings: &Kafka, notes: &Notes) -> Vec<PartitionView> {
    let begun = Instant::now();
    let subject = settings.topics.join(", ");
    let advice = "is the topic spelled as in the cluster, and may this user describe it (ACL)?";
    let (partitions, wrong) = match login.topics(&settings.topics).await {
        Ok(found) => found,
        Err(error) => {
            notes.bad(Layer::Topics, &subject, error.to_string(), advice, begun);
            return Vec::new();
        }
    };
    for (topic, error) in &wrong {
        notes.bad(Layer::Topics, topic, error.name().to_owned(), advice, begun);
    }
    let leaderless: Vec<String> =
        partitions.iter().filter(|view| view.leader.is_none()).map(|view| view.partition.to_string()).collect();
    if !leaderless.is_empty() {
        let what = format!("without a leader: {}", leaderless.join(", "));
        notes.bad(Layer::Topics, &subject, what, "a broker is down or still starting: look at the cluster", begun);
    } else if wrong.is_empty() {
        let leaders: std::collections::BTreeSet<_> =
            partitions.iter().filter_map(|view| view.leader.clone()).map(|leader| leader.to_string()).collect();
        let leaders: Vec<_> = leaders.into_iter().collect();
        let what = format!("{} partitions, leaders {}", partitions.len(), leaders.join(", "));
        notes.good(Layer::Topics, &subject, what, begun);
    }
    partitions
}

/// The ledger topic: whether it is there, with as many partitions as are configured.
async fn ledger_topic(login: &Login, ledger: &KafkaLedger, notes: &Notes) {
    let begun = Instant::now();
    let subject = &ledger.topic;
    let advice = "create it with cleanup.policy=compact and as many partitions as storage.partitions says, or set storage.create";
    match login.topics(std::slice::from_ref(subject)).await {
        Ok((partitions, wrong)) => match wrong.first() {
            None if partitions.len() == usize::from(ledger.partitions) => {
                notes.good(Layer::Topics, subject, format!("the ledger, {} partitions", partitions.len()), begun);
                let replicas = partitions.iter().map(|view| view.replicas).min().unwrap_or(0);
                ledger_settings(login, subject, replicas, notes).await;
            }
            None => {
                let what = format!(
                    "the ledger has {} partitions, storage.partitions says {}",
                    partitions.len(),
                    ledger.partitions
                );
                notes.bad(Layer::Topics, subject, what, advice, begun);
            }
            Some(_) if ledger.create => {
                notes.notable(
                    Layer::Topics,
                    subject,
                    "the ledger topic is not there; it is made at the start".to_owned(),
                    begun,
                );
            }
            Some((_, error)) => notes.bad(Layer::Topics, subject, error.name().to_owned(), advice, begun),
        },
        Err(error) => notes.bad(Layer::Topics, subject, error.to_string(), advice, begun),
    }
}

/// Whether the brokers keep what is written there.
async fn ledger_settings(login: &Login, topic: &str, replicas: usize, notes: &Notes) {
    let begun = Instant::now();
    let settings = match login.settings(topic, &super::super::ledger_settings::NAMES).await {
        Ok(settings) => settings,
        Err(error) => {
            let what = format!(
                "its settings cannot be looked at (DescribeConfigs): {error}; cleanup.policy has to be `compact`"
            );
            notes.notable(Layer::Topics, &topic, what, begun);
            return;
        }
    };
    for finding in judge(topic, &settings, replicas) {
        match finding {
            Finding::Wrong(what) => {
                notes.bad(Layer::Topics, &topic, what, "alter the topic; nothing starts until then", begun);
            }
            Finding::Risky(what) => notes.notable(Layer::Topics, &topic, what, begun),
        }
    }
}

async fn group(examiner: &Examiner, login: &Login, settings: &Kafka, views: &[PartitionView], notes: &Notes) {
    let begun = Instant::now();
    let subject = &settings.group_id;
    match offsets(examiner, login, subject, views).await {
        Ok((coordinator, lags)) => {
            let lags_told = if lags.is_empty() { "no partition to look at".to_owned() } else { lags.join(", ") };
            notes.good(Layer::Group, subject, format!("coordinator {coordinator}; {lags_told}"), begun);
            if lags.iter().any(|lag| lag.ends_with("nothing committed")) {
                let what = "some partitions have no committed offset: auto.offset.reset decides where reading begins";
                notes.notable(Layer::Group, subject, what.to_owned(), begun);
            }
        }
        Err(what) => {
            let advice =
                "may this user read this group (ACL), and is the coordinator reachable like the brokers above?";
            notes.bad(Layer::Group, subject, what, advice, begun);
        }
    }
}

/// The coordinator, and one text for each partition.
async fn offsets(
    examiner: &Examiner,
    login: &Login,
    group: &str,
    views: &[PartitionView],
) -> Result<(HostPort, Vec<String>), String> {
    let coordinator = login.coordinator(group).await?;
    let partitions: Vec<TopicPartition> = views.iter().map(|view| view.partition.clone()).collect();
    let at_coordinator = examiner.log_in(&coordinator).await.map_err(|error| format!("the coordinator {error}"))?;
    let committed = at_coordinator.committed(group, &partitions).await?;
    let mut by_leader: BTreeMap<String, (HostPort, Vec<TopicPartition>)> = BTreeMap::new();
    for view in views {
        if let Some(leader) = &view.leader {
            let entry = by_leader.entry(leader.to_string()).or_insert_with(|| (leader.clone(), Vec::new()));
            entry.1.push(view.partition.clone());
        }
    }
    let ask = async |leader: &HostPort, partitions: &[TopicPartition]| {
        let leader = examiner.log_in(leader).await.map_err(|error| format!("the leader {error}"))?;
        leader.ends(partitions).await
    };
    let ends = join_all(by_leader.values().map(|(leader, partitions)| ask(leader, partitions))).await;
    let mut known = BTreeMap::new();
    for answer in ends {
        known.extend(answer?);
    }
    let lag = |(partition, offset): &(TopicPartition, Option<i64>)| match (offset, known.get(partition)) {
        (Some(offset), Some(end)) => format!("{partition} at {offset}, lag {}", end.saturating_sub(*offset)),
        (Some(offset), None) => format!("{partition} at {offset}"),
        (None, _) => format!("{partition} nothing committed"),
    };
    Ok((coordinator, committed.iter().map(lag).collect()))
}
