//! From the text of a file to the configuration.

use std::time::Duration;

use kafka_proto::assignor::AssignorKind;

use super::{AppliedProperties, Properties};
use crate::client::config::{ClientConfig, SaslMechanism, Security};
use crate::client::consumer::{AutoOffsetReset, ConsumerConfig};
use crate::client::request::IsolationLevel;

fn applied(text: &str) -> Result<(ConsumerConfig, AppliedProperties), String> {
    let mut config = ConsumerConfig::new(ClientConfig::new(["b:1"]), "g");
    config.topics = vec!["t".to_owned()];
    let properties = Properties::parse(text).map_err(|error| error.to_string())?;
    let found = properties.apply(&mut config).map_err(|error| error.to_string())?;
    Ok((config, found))
}

/// The configuration, and the warnings as text.
fn taken(text: &str) -> (ConsumerConfig, Vec<String>) {
    let (config, found) = applied(text).expect("valid settings");
    (config, found.warnings.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(applied(text).expect_err("a mistake"), expected);
}

#[test]
fn what_the_java_client_is_given_for_sasl_over_tls_is_understood() {
    let (config, warnings) = taken(
        "bootstrap.servers=b1.example:9096, b2.example:9096\nsecurity.protocol=SASL_SSL\nssl.truststore.type=PEM\n\
         ssl.truststore.location=/etc/ca.pem\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  username=\"sre\" password=\"s;e\\\\\"cret\";\n",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.client.bootstrap_servers, ["b1.example:9096", "b2.example:9096"]);
    let Security::SaslSsl(sasl, tls) = config.client.security else { panic!("not SASL_SSL") };
    assert_eq!((sasl.mechanism, sasl.username.as_str()), (SaslMechanism::ScramSha512, "sre"));
    assert_eq!(sasl.password.read().unwrap().reveal(), "s;e\"cret");
    assert_eq!(tls.ca_location.unwrap().to_str(), Some("/etc/ca.pem"));
}

#[test]
fn what_librdkafka_is_given_is_understood() {
    let (config, warnings) = taken(
        "metadata.broker.list b1:1\nsecurity.protocol=sasl_ssl\nsasl.mechanisms=PLAIN\nsasl.username=u\n\
         sasl.password= p p \nssl.ca.location=/ca\nssl.certificate.location=/c\nssl.key.location=/k\n\
         topic.metadata.refresh.interval.ms=7000\nfetch.wait.max.ms=11\nfetch.message.max.bytes=12\n\
         broker.address.family=v4\nauto.offset.reset=smallest\nsocket.timeout.ms=13\nqueued.max.messages.kbytes=2\n",
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.client.bootstrap_servers, ["b1:1"]);
    assert_eq!(config.client.metadata_max_age, Duration::from_secs(7));
    assert_eq!(config.client.request_timeout, Duration::from_millis(13));
    assert_eq!(config.fetch_max_wait, Duration::from_millis(11));
    assert_eq!((config.max_partition_fetch_bytes, config.queued_max_bytes), (12, 2048));
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Earliest);
    let Security::SaslSsl(sasl, tls) = config.client.security else { panic!("not SASL_SSL") };
    assert_eq!((sasl.mechanism, sasl.password.read().unwrap().reveal()), (SaslMechanism::Plain, "p p "));
    assert_eq!(tls.client_identity.unwrap().key_location.to_str(), Some("/k"));
}

#[test]
fn settings_of_the_consumer_reach_their_fields() {
    let (config, found) = applied(
        "group.id=h\ngroup.instance.id=i\nclient.id=c\nclient.rack=r\nisolation.level=read_uncommitted\n\
         heartbeat.interval.ms=1000\nsession.timeout.ms=6000\nmax.poll.interval.ms=7000\nmax.poll.records=8\n\
         default.api.timeout.ms=9000\nfetch.min.bytes=10\nfetch.max.bytes=11\nfetch.max.wait.ms=12\n\
         max.partition.fetch.bytes=13\nauto.offset.reset=by_duration:PT15M\nauto.commit.interval.ms=14\n\
         enable.auto.commit=true\nconnections.max.idle.ms=15\nreconnect.backoff.ms=16\nreconnect.backoff.max.ms=17\n\
         retry.backoff.ms=18\nretry.backoff.max.ms=19\nsocket.connection.setup.timeout.ms=20\n\
         partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor,range\n\
         receive.buffer.bytes=-1\ncheck.crcs=true\ngroup.protocol=classic\n",
    )
    .unwrap();
    assert_eq!(found.warnings, []);
    assert_eq!((found.max_poll_records, found.enable_auto_commit), (Some(8), Some(true)));
    assert_eq!(found.auto_commit_interval, Some(Duration::from_millis(14)));
    assert_eq!((config.group_id.as_str(), config.group_instance_id.as_deref()), ("h", Some("i")));
    assert_eq!((config.client.client_id.as_str(), config.client_rack.as_deref()), ("c", Some("r")));
    assert_eq!(config.isolation_level, IsolationLevel::ReadUncommitted);
    assert_eq!(config.heartbeat_interval, Duration::from_secs(1));
    assert_eq!(config.session_timeout, Duration::from_secs(6));
    assert_eq!(config.max_poll_interval, Duration::from_secs(7));
    assert_eq!(config.default_api_timeout, Duration::from_secs(9));
    assert_eq!((config.fetch_min_bytes, config.fetch_max_bytes, config.max_partition_fetch_bytes), (10, 11, 13));
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::ByDuration(Duration::from_mins(15)));
    assert_eq!(config.client.reconnect_backoff_max, Duration::from_millis(17));
    assert_eq!(config.client.retry_backoff_max, Duration::from_millis(19));
    assert_eq!(config.client.socket_connection_setup_timeout, Duration::from_millis(20));
    assert_eq!(config.partition_assignment_strategy, [AssignorKind::CooperativeSticky, AssignorKind::Range]);
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn what_has_no_effect_is_named_with_its_line() {
    let (_, warnings) =
        taken("\nkey.deserializer=x.Y\nno.such.setting=1\nsasl.username=u\nssl.ca.location=/ca\ncheck.crcs=false\n");
    assert_eq!(
        warnings,
        [
            "line 2: key.deserializer: has no effect; keys and values are bytes",
            "line 3: no.such.setting: is not known here and has no effect",
            "line 6: check.crcs: checksums are always checked",
            "line 4: sasl.username: has no effect, nor have others of its kind, with this security.protocol",
            "line 5: ssl.ca.location: has no effect, nor have others of its kind, with this security.protocol",
        ]
    );
}

#[test]
fn combinations_that_kafka_takes_are_met_halfway_and_valid() {
    let (config, warnings) =
        taken("session.timeout.ms=6000\nreconnect.backoff.ms=2000\nretry.backoff.ms=0\nfetch.max.bytes=2147483647");
    assert_eq!(config.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(
        warnings,
        [
            "heartbeat.interval.ms: is lowered to 2000 ms, a third of the session",
            "reconnect.backoff.max.ms: is raised to the 2000 ms it starts from",
            "line 3: retry.backoff.ms: is raised to 1 ms",
        ]
    );
}

#[test]
fn every_mistake_is_told_at_once_with_line_and_key() {
    refused(
        "session.timeout.ms=soon\nmax.poll.records=0\ngroup.protocol=consumer\n",
        "line 1: session.timeout.ms: `soon` is not a whole number; line 2: max.poll.records: is 0; \
         line 3: group.protocol: `consumer` is not possible; the group protocol is classic",
    );
    refused("ssl.truststore.type=JKS", "line 1: ssl.truststore.type: `JKS` cannot be read; give certificates as PEM");
    refused("fetch.min.bytes=-1", "line 1: fetch.min.bytes: `-1` is below 0");
    refused("a=\\u00g0", "line 1: \\u: is not followed by four hexadecimal digits");
}

#[test]
fn credentials_that_do_not_fit_are_mistakes_that_show_no_password() {
    refused(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.ScramLoginModule required username=u password=hunter2;",
        "sasl.jaas.config: names a login module that does not fit sasl.mechanism",
    );
    refused(
        "sasl.jaas.config=x.ScramLoginModule required username=u password='hunter2;",
        "line 1: sasl.jaas.config: has a quote that is not closed",
    );
    refused(
        "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI",
        "line 2: sasl.mechanism: `GSSAPI` is not possible; SCRAM-SHA-512 and PLAIN are; sasl.mechanism: is missing; SCRAM-SHA-512 and PLAIN are possible",
    );
    let shown = format!("{:?}", Properties::parse("sasl.password=hunter2").unwrap());
    assert_eq!(shown, "[\"sasl.password\"]");
}

#[test]
fn what_is_set_later_counts_under_whatever_name() {
    let mut properties =
        Properties::parse("metadata.broker.list=a:1\nbootstrap.servers=b:1\nmetadata.broker.list=c:1").unwrap();
    let mut config = ConsumerConfig::new(ClientConfig::new(["x:1"]), "g");
    properties.apply(&mut config).unwrap();
    assert_eq!(config.client.bootstrap_servers, ["c:1"]);
    properties.set("bootstrap.servers", "d:1");
    properties.apply(&mut config).unwrap();
    assert_eq!(config.client.bootstrap_servers, ["d:1"]);
    assert_eq!(properties.get("metadata.broker.list"), Some("c:1"));
}

#[test]
fn a_fetch_waits_longer_than_kafka_says_only_where_nobody_says_how_long() {
    let idle_wait = |text: &str| taken(text).0.fetch_idle_wait;
    assert_eq!(idle_wait("group.id=g\n"), Some(Duration::from_secs(5)));
    assert_eq!(idle_wait("fetch.max.wait.ms=500\n"), None, "also where it is what it would be anyway");
    assert_eq!(idle_wait("fetch.wait.max.ms=100\n"), None);
}
