//! Settings as written, then a configuration that is valid.
//!
//! [`Settings`] is the document with what the command line and the environment put over it. [`Config::new`] turns it into typed,
//! checked values and notes *every* mistake with its place, the nearest known key beside an unknown one, and a warning
//! for each key that is accepted without effect. The keys of the predecessor are accepted as they are. Conditions and actions
//! stay nodes here ([`Rules`]): their own modules compile them. Absent: reading files and the environment.

mod ckms;
mod kafka;
mod secrets;
mod sections;
mod storage;
mod traces;

use std::path::PathBuf;

pub use crate::config::ckms::Ckms;
pub use crate::config::kafka::{
    Assignor, IsolationLevel, Kafka, OffsetReset, Sasl, SaslMechanism, Security, SecurityProtocol,
};
pub use crate::config::sections::{
    Athenz, BigPanda, CloudWatch, DeadLetter, FlowSteps, Http, Limits, Log, LogFormat, Mode,
};
pub use crate::config::storage::{Backend, KafkaLedger, Storage};
pub use crate::config::traces::Traces;

use crate::guard;
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
    /// `CKMS_ENV`: the key server's environment, for every key.
    pub ckms_env: Option<String>,
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
    /// How the key server is spoken to.
    pub ckms: Ckms,
    /// Every secret with its provider.
    pub secrets: Secrets,
    /// The source of incidents.
    pub kafka: Kafka,
    /// The ledger.
    pub storage: Storage,
    /// Metrics as lines on stdout.
    pub cloudwatch: CloudWatch,
    /// OpenTelemetry traces, where they go anywhere.
    pub traces: Option<Traces>,
    /// Probes, page and metrics.
    pub http: Http,
    /// The API of `BigPanda`; without it the steps that need it are left out.
    pub bigpanda: Option<BigPanda>,
    /// A PEM file of authorities trusted in addition, for every HTTPS call.
    pub tls_ca_file: Option<PathBuf>,
    /// Where records go that are no incidents.
    pub dead_letter: DeadLetter,
    /// Present means paused; its text is the reason.
    pub kill_switch_file: Option<PathBuf>,
    /// Bounds on concurrency and size.
    pub limits: Limits,
    /// What may keep an attempt from being made.
    pub guards: guard::Rules,
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
        let (limits, guards) = sections::limits(&root);
        let (kafka, storage) = (kafka::read(&root, settings.overrides), storage::read(&root, settings.overrides));
        let config = Self {
            mode: sections::mode(&root),
            log: sections::log(&root),
            athenz: sections::athenz(&root),
            ckms: ckms::read(&root),
            secrets: secrets::read(&root, settings.overrides),
            dead_letter: sections::dead_letter(&root, &storage),
            kafka,
            storage,
            cloudwatch: sections::cloudwatch(&root),
            traces: traces::read(&root),
            http: sections::http(&root),
            bigpanda: sections::bigpanda(&root),
            tls_ca_file: sections::tls(&root),
            kill_switch_file: root.string("kill_switch_file").map(PathBuf::from),
            limits,
            guards,
            rules: Rules {
                incident_conditions: root.node("incident_conditions").cloned(),
                incident_actions: root.node("incident_actions").cloned(),
                alert_actions: root.node("alert_actions").cloned(),
            },
        };
        // Keys that begin with `x-` hold what anchors are put on.
        root.rest().iter().filter(|entry| entry.key.starts_with("x-")).for_each(|entry| root.know(&entry.key));
        if config.guards.freshness.is_some() && config.bigpanda.is_none() {
            let at =
                root.child("limits").map_or(root.at(), |limits| limits.node("freshness").map_or(root.at(), Node::at));
            mistakes.add("limits.freshness", at, "needs `bigpanda`: that is where the incident is read again");
        }
        root.close();
        check_references(settings.document, &config.secrets, mistakes);
        config
    }
}

/// Where a `$secret:NAME` is read.
const SECRET_PLACES: [&str; 9] = [
    "incident_actions",
    "alert_actions",
    "kafka.msk_auth.username",
    "kafka.msk_auth.password",
    "kafka.\"sasl.username\"",
    "kafka.\"sasl.password\"",
    "bigpanda.api_key",
    "telemetry.traces.headers",
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::yaml;

    /// The predecessor's file, with every one of its keys.
    const PREDECESSOR: &str = r#"
global: {logfile: /app/logs/consumer.log, aws_shared_credentials_file: /var/run/aws}
athenz: {certificate: /var/run/athenz/service.cert.pem, key: /var/run/athenz/service.key.pem, use_iam_auth: false}
secrets:
  - {name: bigpanda-prod-scram-key, ckms_key_group: bigpanda.keys.sre, ckms_key_name: bigpanda.prod.msk.sre, ckms_environment: aws}
kafka:
  brokers: ["broker1-public-bpimskprod-c21.yahooinc.com:443", "broker2-public-bpimskprod-c21.yahooinc.com:443"]
  consumer_group_id: sre-kafka-consumer-dev-eks
  topics: [sre]
  msk_auth: {auth_method: scram, username: sre, password: $secret:bigpanda-prod-scram-key}
storage: {backend: file, ttl_days: 7}
cloudwatch: {metrics_enabled: true, stdout_only: true, namespace: SRE/KafkaConsumer, region: us-east-1}
incident_conditions: []
incident_actions: []
alert_actions: []
"#;
    const MINIMAL: &str = "kafka: {brokers: [b:1], consumer_group_id: g, topics: [t]}\n";

    fn read_with(text: &str, overrides: &Overrides) -> (Config, Mistakes) {
        let mistakes = Mistakes::default();
        let document = yaml::parse(text, &mistakes).expect("yaml");
        (Config::new(Settings { document: &document, overrides }, &mistakes), mistakes)
    }

    fn read(text: &str) -> (Config, Mistakes) {
        read_with(text, &Overrides::default())
    }

    #[track_caller]
    fn valid(text: &str) -> Config {
        let (config, mistakes) = read(text);
        assert!(mistakes.is_empty(), "{mistakes}");
        config
    }

    /// The minimal file with `kafka` settings added and other sections after it.
    fn with(kafka: &str, sections: &str) -> String {
        format!("kafka: {{brokers: [b:1], consumer_group_id: g, topics: [t]{kafka}}}\n{sections}\n")
    }

    #[track_caller]
    fn wrong(text: &str, expected: &[&str]) {
        let (_, mistakes) = read(text);
        let found: Vec<_> = mistakes.all().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_file_of_the_predecessor_loads_unchanged_with_a_warning_for_what_has_no_effect() {
        let (config, mistakes) = read(PREDECESSOR);
        assert!(mistakes.is_empty(), "{mistakes}");
        let warnings: Vec<_> = mistakes.warnings().iter().map(|warning| warning.path.clone()).collect();
        assert_eq!(warnings, ["global.aws_shared_credentials_file"]);
        assert_eq!(config.kafka.brokers.len(), 2);
        assert_eq!(config.kafka.security.protocol, SecurityProtocol::SaslSsl);
        let sasl = config.kafka.security.sasl.expect("credentials");
        assert_eq!((sasl.mechanism, sasl.username.plain()), (SaslMechanism::ScramSha512, Some("sre")));
        assert_eq!(sasl.password.names().collect::<Vec<_>>(), ["bigpanda-prod-scram-key"]);
        assert_eq!(config.storage.backend, Backend::File);
        assert!(config.cloudwatch.metrics_enabled);
    }

    #[test]
    fn defaults_are_those_of_kafka_and_of_the_predecessor() {
        let config = valid(MINIMAL);
        let kafka = &config.kafka;
        assert_eq!(kafka.security.protocol, SecurityProtocol::Plaintext);
        assert_eq!((kafka.session_timeout, kafka.max_poll_interval), (Duration::from_secs(45), Duration::from_mins(5)));
        assert_eq!(
            (kafka.auto_offset_reset, kafka.isolation_level),
            (OffsetReset::Latest, IsolationLevel::ReadCommitted)
        );
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:4080");
        assert_eq!(config.dead_letter, DeadLetter::File("/data/automation_consumer/dead_letter.jsonl".into()));
        assert_eq!(config.storage.ttl, Duration::from_hours(168));
        assert_eq!((config.limits.max_concurrent_actions, config.limits.max_concurrent_incidents), (16, 64));
        assert_eq!(config.mode, Mode::Live);
    }

    #[test]
    fn kafka_settings_have_the_names_and_units_of_kafka() {
        let config = valid(&with(
            ", session.timeout.ms: 30000, max.poll.interval.ms: 10m, group.instance.id: pod-0, client.id: me, \
             auto.offset.reset: 'by_duration:PT15M', isolation.level: read_uncommitted, fetch.max.bytes: 10MiB, \
             partition.assignment.strategy: [cooperative-sticky, range], broker.address.family: v4, \
             security.protocol: ssl, ssl.ca.location: /ca.pem, enable.auto.commit: true",
            "",
        ));
        let kafka = &config.kafka;
        assert_eq!(
            (kafka.session_timeout, kafka.max_poll_interval),
            (Duration::from_secs(30), Duration::from_mins(10))
        );
        assert_eq!(kafka.auto_offset_reset, OffsetReset::ByDuration(Duration::from_mins(15)));
        assert_eq!(kafka.isolation_level, IsolationLevel::ReadUncommitted);
        assert_eq!((kafka.client_id.as_deref(), kafka.group_instance_id.as_deref()), (Some("me"), Some("pod-0")));
        assert_eq!(
            (kafka.fetch_max_bytes, kafka.assignors.as_deref()),
            (10 << 20, Some(&[Assignor::CooperativeSticky, Assignor::Range][..]))
        );
        assert_eq!(kafka.security.ca_location.as_deref(), Some(std::path::Path::new("/ca.pem")));
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_at_once_each_with_its_place() {
        wrong(
            "kafka:\n  brokerz: [b:1]\n  consumer_group_id: g\n  topics: [t, 'bad topic']\n  session.timout.ms: 5\n  auto.offset.reset: newest\n\
             storge: {}\nhttp: {listen: nowhere}\nlimits: {max_concurrent_actions: 0}\nmode: lve\n",
            &[
                "line 2, column 3: kafka.brokers: is required and missing",
                "line 2, column 3: kafka.brokerz: unknown key (did you mean `brokers`?)",
                "line 4, column 15: kafka.topics: `bad topic` cannot be the name of a topic: letters, digits, `.`, `_` and `-`, at most 249",
                "line 5, column 3: kafka.\"session.timout.ms\": unknown key (did you mean `session.timeout.ms`?)",
                "line 6, column 22: kafka.\"auto.offset.reset\": expected latest, earliest, none or by_duration:PT15M, found `newest`",
                "line 7, column 1: storge: unknown key (did you mean `storage`?)",
                "line 8, column 16: http.listen: expected an address such as 127.0.0.1:4080, found `nowhere`",
                "line 9, column 34: limits.max_concurrent_actions: expected a whole number from 1 to 100000, found `0`",
                "line 10, column 7: mode: expected one of live, shadow, found `lve` (did you mean `live`?)",
            ],
        );
        wrong("mode: live\n", &["line 1, column 1: kafka: is required and missing"]);
    }

    #[test]
    fn a_ledger_topic_needs_its_name_and_has_defaults_for_the_rest() {
        let config = valid(&with("", "storage: {backend: kafka, topic: sre-ledger, partitions: 4, lease: 20s}"));
        let topic = KafkaLedger {
            topic: "sre-ledger".into(),
            create: false,
            partitions: 4,
            replication_factor: 3,
            lease: Duration::from_secs(20),
        };
        assert_eq!(config.storage.backend, Backend::Kafka(topic));
        wrong(
            &with("", "storage: {backend: kafka, partitions: 0, lease: 1s}"),
            &[
                "line 2, column 20: storage.backend: `backend: kafka` needs `topic`, the ledger topic",
                "line 2, column 39: storage.partitions: expected a number of partitions, 1 to 64, found `0`",
                "line 2, column 49: storage.lease: expected a duration from 2s to 5m",
            ],
        );
    }

    #[test]
    fn what_is_not_supported_says_so_and_what_to_do() {
        wrong(
            &with(", msk_auth: {auth_method: iam}", "storage: {backend: dynamodb}"),
            &[
                "line 1, column 84: kafka.msk_auth.auth_method: iam is not supported yet; use scram with a user name and a password",
                "line 2, column 20: storage.backend: dynamodb is not supported; a ledger shared by several replicas is `backend: kafka`, one replica needs `backend: file`",
            ],
        );
        wrong(
            &with(
                ", broker.address.family: v6, ssl.endpoint.identification.algorithm: ''",
                "athenz: {use_iam_auth: true}",
            ),
            &[
                "line 1, column 83: kafka.\"broker.address.family\": brokers are dialled by IPv4 only; use v4",
                "line 1, column 126: kafka.\"ssl.endpoint.identification.algorithm\": the host name is always verified; use https",
                "line 2, column 24: athenz.use_iam_auth: IAM authentication is not supported yet; use msk_auth with auth_method: scram",
            ],
        );
    }

    #[test]
    fn settings_that_contradict_one_another_are_mistakes() {
        wrong(
            &with(
                ", session.timeout.ms: 6000, heartbeat.interval.ms: 3000, security.protocol: SASL_SSL, reconnect.backoff.ms: 5000",
                "",
            ),
            &[
                "line 1, column 8: kafka.\"reconnect.backoff.max.ms\": is below reconnect.backoff.ms",
                "line 1, column 109: kafka.\"heartbeat.interval.ms\": must be above 0 and at most a third of session.timeout.ms, so that two heartbeats may be lost",
                "line 1, column 134: kafka.\"security.protocol\": needs credentials: msk_auth, or sasl.mechanism, sasl.username and sasl.password",
            ],
        );
    }

    #[test]
    fn brokers_are_host_and_port_by_ipv4() {
        for (broker, what) in [
            ("b", "expected host:port"),
            ("'[::1]:9092'", "IPv6"),
            ("'b:0'", "expected host:port"),
            ("':1'", "expected host:port"),
        ] {
            let (_, mistakes) = read(&format!("kafka: {{brokers: [{broker}], consumer_group_id: g, topics: t}}"));
            assert!(mistakes.to_string().contains(what), "{broker}: {mistakes}");
        }
        assert_eq!(
            valid("kafka: {bootstrap.servers: 'a:1, b:2', group.id: g, topics: t}").kafka.brokers,
            ["a:1", "b:2"]
        );
    }

    #[test]
    fn a_secret_has_one_provider_and_every_reference_a_secret() {
        let secrets = "secrets:\n  - {name: a, file: /x}\n  - {name: b, env: B}\n  - {name: c, command: [ckms-remotecli, -env, aws]}\n";
        let config = valid(&format!("{MINIMAL}{secrets}"));
        assert_eq!(config.secrets.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        wrong(
            &with(
                ", client.id: $secret:key",
                "secrets:\n  - {name: key, file: /x, env: Y}\n  - {name: kez, env: Z}\nincident_actions: [{url: 'https://x/$secret:keu'}]",
            ),
            &[
                "line 1, column 71: kafka.\"client.id\": $secret: is not read in this setting",
                "line 3, column 5: secrets[0]: has more than one provider; keep one",
                "line 5, column 26: incident_actions[0].url: refers to a secret `keu`, which is not under `secrets` (did you mean `key`?)",
            ],
        );
    }

    #[test]
    fn variables_win_over_the_file() {
        let overrides = Overrides {
            consumer_name: Some("pod-7".into()),
            storage_backend: Some("file".into()),
            ..Overrides::default()
        };
        let (config, mistakes) = read_with(&with(", client.id: me", "storage: {backend: dynamodb}"), &overrides);
        assert!(mistakes.is_empty(), "{mistakes}");
        assert_eq!((config.kafka.client_id.as_deref(), config.storage.backend), (Some("pod-7"), Backend::File));
        let overrides = Overrides { storage_backend: Some("fiel".into()), ..Overrides::default() };
        let (_, mistakes) = read_with(MINIMAL, &overrides);
        assert_eq!(
            mistakes.to_string(),
            "STORAGE_BACKEND (environment): expected one of file, kafka, dynamodb, found `fiel` (did you mean `file`?)"
        );
    }

    #[test]
    fn sections_are_read() {
        let config = valid(&with(
            "",
            "secrets: [{name: k, env: K}]\nmode: shadow\nhttp: {listen: '0.0.0.0:4080', admin_token_file: /t}\n\
            bigpanda: {environment_id: e, api_key: '$secret:k', base_url: 'https://x/', service_account_id: u}\ntls: {ca_file: /ca.pem}\n\
            dead_letter: {file: /d.jsonl}\nkill_switch_file: /P\nlimits: {max_concurrent_actions: 2, max_record_bytes: 1MiB, pass_over_unread: true}\nx-anchors: {a: b}",
        ));
        let bigpanda = config.bigpanda.expect("bigpanda");
        assert_eq!((bigpanda.base_url.as_str(), bigpanda.service_account_id.as_deref()), ("https://x", Some("u")));
        assert!(!format!("{bigpanda:?}").contains("secret-value"));
        assert_eq!((config.mode, config.limits.max_record_bytes), (Mode::Shadow, 1 << 20));
        assert!(config.limits.pass_over_unread);
        assert_eq!(config.kill_switch_file, Some("/P".into()));
        wrong(
            &with("", "bigpanda: {environment_id: e}"),
            &["line 2, column 11: bigpanda.api_key: is required and missing"],
        );
    }
}
