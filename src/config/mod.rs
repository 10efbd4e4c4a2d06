//! Settings as written, then a configuration that is valid.
//!
//! [`Settings`] is the document with what the command line and the environment put over it. [`Config::new`] turns it into typed,
//! checked values and notes *every* mistake with its place, the nearest known key beside an unknown one, and a warning
//! for each key that is accepted without effect. The keys of the predecessor are accepted as they are. Conditions and actions
//! stay nodes here ([`Rules`]): their own modules compile them. Absent: reading files and the environment.

mod kafka;
mod secrets;
mod sections;
mod storage;

use std::path::PathBuf;

pub use crate::config::kafka::{
    Assignor, IsolationLevel, Kafka, OffsetReset, Sasl, SaslMechanism, Security, SecurityProtocol,
};
pub use crate::config::sections::{Athenz, BigPanda, CloudWatch, DeadLetter, Http, Limits, Log, LogFormat, Mode};
pub use crate::config::storage::{Backend, KafkaLedger, Storage};

use crate::secret::Secrets;
use crate::yaml::{Mistake, Mistakes, Node, Reader};

/// What is written: the document, and what wins over it.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'n> {
    /// The document.
    pub document: &'n Node,
    /// What flags and variables say.
    pub overrides: &'n Overrides,
}

/// What flags and variables say; each wins over the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `CONSUMER_NAME`: the `client.id`.
    pub consumer_name: Option<String>,
    /// `STORAGE_BACKEND`.
    pub storage_backend: Option<String>,
}

/// A configuration; valid when no mistake was noted while it was made.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether actions are carried out; a condition may say otherwise for itself.
    pub mode: Mode,
    /// Where and how logs are written.
    pub log: Log,
    /// The service's own certificate.
    pub athenz: Athenz,
    /// Every secret with its provider.
    pub secrets: Secrets,
    /// The source of incidents.
    pub kafka: Kafka,
    /// The ledger.
    pub storage: Storage,
    /// Metrics as lines on stdout.
    pub cloudwatch: CloudWatch,
    /// Probes, page and metrics.
    pub http: Http,
    /// The API of BigPanda; without it the steps that need it are left out.
    pub bigpanda: Option<BigPanda>,
    /// A PEM file of authorities trusted in addition, for every HTTPS call.
    pub tls_ca_file: Option<PathBuf>,
    /// Where records go that are no incidents.
    pub dead_letter: DeadLetter,
    /// Present means paused; its text is the reason.
    pub kill_switch_file: Option<PathBuf>,
    /// Bounds on concurrency and size.
    pub limits: Limits,
    /// What to do about incidents, not yet compiled.
    pub rules: Rules,
}

/// The rules as nodes of the document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The list `incident_conditions`.
    pub incident_conditions: Option<Node>,
    /// The list `incident_actions`.
    pub incident_actions: Option<Node>,
    /// The list `alert_actions`.
    pub alert_actions: Option<Node>,
}

impl Config {
    /// Reads all sections. What is returned is for use only when no mistake was noted.
    pub fn new(settings: Settings<'_>, mistakes: &Mistakes) -> Self {
        let root = Reader::new(settings.document, "", mistakes);
        let (kafka, storage) = (kafka::read(&root, settings.overrides), storage::read(&root, settings.overrides));
        let config = Self {
            mode: sections::mode(&root),
            log: sections::log(&root),
            athenz: sections::athenz(&root),
            secrets: secrets::read(&root),
            dead_letter: sections::dead_letter(&root, &storage),
            kafka,
            storage,
            cloudwatch: sections::cloudwatch(&root),
            http: sections::http(&root),
            bigpanda: sections::bigpanda(&root),
            tls_ca_file: sections::tls(&root),
            kill_switch_file: root.string("kill_switch_file").map(PathBuf::from),
            limits: sections::limits(&root),
            rules: Rules {
                incident_conditions: root.node("incident_conditions").cloned(),
                incident_actions: root.node("incident_actions").cloned(),
                alert_actions: root.node("alert_actions").cloned(),
            },
        };
        // Keys that begin with `x-` hold what anchors are put on.
        root.rest().iter().filter(|entry| entry.key.starts_with("x-")).for_each(|entry| root.know(&entry.key));
        root.close();
        check_references(settings.document, &config.secrets, mistakes);
        config
    }
}

/// Where a `$secret:NAME` is read.
const SECRET_PLACES: [&str; 8] = [
    "incident_actions",
    "alert_actions",
    "kafka.msk_auth.username",
    "kafka.msk_auth.password",
    "kafka.\"sasl.username\"",
    "kafka.\"sasl.password\"",
    "bigpanda.api_key",
    "x-",
];

/// Every reference in the document names a configured secret and stands where it is read.
fn check_references(document: &Node, secrets: &Secrets, mistakes: &Mistakes) {
    document.each_scalar("", &mut |path, node, text| {
        for name in crate::secret::names(text) {
            if secrets.provider(name).is_none() {
                let what = format!("refers to a secret `{name}`, which is not under `secrets`");
                mistakes.push(Mistake::at(path, node.at(), what).suggest(name, secrets.names()));
            }
            if !SECRET_PLACES.iter().any(|place| path.starts_with(place)) {
                mistakes.add(path, node.at(), "$secret: is not read in this setting");
            }
        }
    });
}
