//! Canaries: a secret through every provider, a service that succeeds, fails, is reloaded, asked and drawn upon, and nothing
//! that anybody can see holds one of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Authority, Certificate, Cluster, Record};
use rustix::process::Signal;

use super::certificate::issue;
use super::ckms::gives;
use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers, PASSWORD};

const TOPIC: &str = "incidents";
const GROUP: &str = "canaries";
const PATIENCE: Duration = Duration::from_secs(45);

/// Through each provider, with characters that JSON, URLs and base64 write in other ways.
const OF_ENV: &str = "canary-ENV/\"0001\"+x";
const OF_COMMAND: &str = "canary-COMMAND/'0002'&x";
const OF_CKMS: &str = "canary-CKMS/%0003%=x";
/// Written out in the configuration.
const OF_FILE: &str = "canary-PLAIN-0005-x";
/// The token of the administrator.
const OF_TOKEN: &str = "canary-TOKEN-0004-x";

struct World {
    cluster: Cluster,
    /// What the webhooks reach.
    target: Target,
    /// Where traces go.
    collector: Target,
    authority: Authority,
    key_server: Target,
    folder: tempfile::TempDir,
    port: u16,
}

impl World {
    fn new() -> Self {
        let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
        let authority = Authority::new();
        let key_server = Target::start_tls(&authority.identity(&[], Certificate::Valid).for_clients_of(&authority));
        key_server.default_reply(gives(OF_CKMS));
        let folder = tempfile::tempdir().expect("a folder");
        let world = Self {
            cluster,
            target: Target::start(),
            collector: Target::start(),
            authority,
            key_server,
            folder,
            port: port::free(),
        };
        let pair = issue(&world.authority, 1);
        world.put("key.pem", &pair.key);
        world.put("cert.pem", &pair.certificate);
        world.put("authority.pem", world.authority.pem());
        world.put("token", OF_TOKEN);
        // What a child sees of its parent is what it can write down.
        let seen = world.at("seen-by-the-child");
        world.put(
            "fetch",
            &format!(
                "#!/bin/sh\ncat /proc/$$/environ /proc/$$/cmdline > {seen}\nprintf '%s' \"canary-COMMAND/'0002'&x\"\n"
            ),
        );
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(world.folder.path().join("fetch"), executable).expect("executable");
        world
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn config(&self) -> String {
        let action = |name: &str, path: &str| {
            format!(
                "  - name: {name}\n    type: webhook\n    method: POST\n    url: \"{}?key=$secret:of-env\"\n\
                 \x20   headers: {{X-Token: \"$secret:of-command\", Authorization: \"Bearer $secret:of-ckms\"}}\n\
                 \x20   body: '{{\"incident\": \"{{{{incident.id}}}}\", \"password\": \"$secret:of-ckms\"}}'\n\
                 \x20   idempotent: true\n    retries: {{attempts: 2, backoff: 10ms, max_backoff: 20ms}}\n",
                self.target.url(path)
            )
        };
        let more = format!(
            "global: {{log_level: trace, logfile: {log}}}\nkill_switch_file: {switch}\n\
             athenz: {{certificate: {cert}, key: {key}}}\nckms: {{url: \"{ckms}\"}}\ntls: {{ca_file: {ca}}}\n\
             telemetry: {{traces: {{endpoint: \"{collector}\", headers: {{X-Token: \"$secret:of-env\"}}}}}}\n\
             incident_conditions:\n\
             \x20 - {{name: works, tags: {{alert_type: works}}, incident_actions: [works]}}\n\
             \x20 - {{name: fails, tags: {{alert_type: fails}}, incident_actions: [fails]}}\n\
             incident_actions:\n{works}{fails}",
            log = self.at("consumer.log"),
            switch = self.at("PAUSED"),
            cert = self.at("cert.pem"),
            key = self.at("key.pem"),
            ca = self.at("authority.pem"),
            collector = self.collector.url("/v1/traces"),
            ckms = self.key_server.url("/rksd/v1/access"),
            works = action("works", "/works"),
            fails = action("fails", "/fails"),
        );
        let config =
            settings::config(&Brokers::double(&self.cluster), self.folder.path(), GROUP, TOPIC, self.port, &more);
        let secrets = format!(
            "secrets:\n  - {{name: of-env, env: CANARY}}\n  - {{name: of-command, command: [{fetch}]}}\n\
             \x20 - {{name: of-ckms, ckms_key_group: g, ckms_key_name: k}}\n",
            fetch = self.at("fetch")
        );
        let token = format!("http: {{admin_token_file: {}, ", self.at("token"));
        config.replace("secrets:\n", &secrets).replace("http: {", &token)
    }

    /// What a command says, both ways; its exit code with it.
    fn ran(&self, words: &[&str]) -> String {
        let mut command = binary();
        command.env("CANARY", OF_ENV).args(words).arg("--config").arg(self.folder.path().join("config.yaml"));
        let output = command.output().expect("the binary runs");
        format!("{:?}\n{}", output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
    }

    fn incident(&self, kind: &'static str) {
        let spec = IncidentSpec::new(kind, kind, now_ms() / 1000);
        self.cluster.produce(TOPIC, 0, [Record::from(spec.to_json(&mut Seed::new(1)))]);
    }
}

/// The forms in which text may carry a secret, and its most telling part.
fn forms(secret: &str) -> Vec<String> {
    let percent: String = secret
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    let json = serde_json::Value::from(secret).to_string();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
    let telling = secret.find(|c: char| c.is_ascii_digit()).map_or("", |at| &secret[at..at + 4]);
    let name = secret.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
    let mut forms =
        vec![secret.to_owned(), percent, json.trim_matches('"').to_owned(), base64, format!("{name}/{telling}")];
    // The beginning that all forms of writing leave as it is.
    forms.push(name.to_owned());
    forms
}

/// Where which secret was seen.
fn found(secrets: &[&str], places: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut found = Vec::new();
    for (place, bytes) in places {
        let text = String::from_utf8_lossy(bytes);
        for secret in secrets {
            found.extend(
                forms(secret)
                    .into_iter()
                    .filter(|form| text.contains(form.as_str()))
                    .map(|form| format!("{form} in {place}")),
            );
        }
    }
    found
}

/// The files below a folder that a service wrote, whole.
fn files(folder: &Path, places: &mut BTreeMap<String, Vec<u8>>) {
    for name in [
        "service.log",
        "consumer.log",
        "ledger.redb",
        "dead_letter.jsonl",
        "heartbeat.json",
        "consumer.pid",
        "seen-by-the-child",
    ] {
        if let Ok(bytes) = std::fs::read(folder.join(name)) {
            places.insert(name.to_owned(), bytes);
        }
    }
}

#[test]
fn no_secret_is_seen_anywhere_whatever_happens() {
    let world = World::new();
    world.target.default_reply(Reply::status(200).body(format!("hello {OF_ENV} {OF_CKMS}")));
    let folder = world.folder.path().to_owned();
    world.put("config.yaml", &world.config());
    let mut service = Service::start_with(&folder, world.port, &[("CANARY", OF_ENV)]);
    service.wait_ready(PATIENCE);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).expect("its limits");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["1", "1"], "no core dump: {limits}");

    // Success; and failure, told by a target that quotes what it was sent.
    world.incident("works");
    let committed = |next: i64| {
        let words = || format!("the offset {next}\n{}", service.last_words());
        wait_for(words, PATIENCE, || (world.cluster.committed(GROUP, TOPIC, 0) == Some(next)).then_some(()));
    };
    committed(1);
    let first = &world.target.requests()[0];
    assert_eq!(first.header("X-Token"), Some(OF_COMMAND), "they are sent where they belong");
    assert_eq!(first.header("Authorization"), Some(format!("Bearer {OF_CKMS}").as_str()));
    let quoted = format!("refused: {OF_ENV} {OF_COMMAND} {OF_CKMS} {PASSWORD} {}", forms(OF_ENV)[3]);
    world.target.default_reply(Reply::status(400).body(quoted.clone()));
    world.incident("fails");
    committed(2);
    world.target.default_reply(Reply::status(503).body(quoted));
    world.cluster.produce(TOPIC, 0, [Record::from("not an incident".to_owned())]);
    committed(3);

    // Reloads: one that is taken over, with a secret written out in the file, and one that is refused.
    let reloads = |name: &str| {
        let (_, metrics) = service.get("/metrics").unwrap_or_default();
        metrics.contains(&format!("kafka_consumer_reloads_total{{result=\"{name}\"}} 1.0")).then_some(())
    };
    let plain = format!("X-Token: \"$secret:of-command\", X-Plain: \"{OF_FILE}\"");
    world.put("config.yaml", &world.config().replace("X-Token: \"$secret:of-command\"", &plain));
    service.signal(Signal::HUP);
    wait_for(|| service.last_words(), PATIENCE, || reloads("taken_over"));
    world.put("config.yaml", &world.config().replace("attempts: 2", "attempts: many"));
    service.signal(Signal::HUP);
    wait_for(|| service.last_words(), PATIENCE, || reloads("refused"));
    world.put("config.yaml", &world.config());

    let mut places = BTreeMap::new();
    for path in [
        "/status.html",
        "/status.html?incident=fails",
        "/readyz",
        "/livez",
        "/metrics",
        "/api/v1/health",
        "/api/v1/group",
        "/api/v1/incidents",
        "/api/v1/actions",
        "/api/v1/guards",
        "/api/v1/decisions",
        "/api/v1/incidents/fails",
        "/api/v1/episodes",
    ] {
        let (code, body) = service.get(path).expect("an answer");
        assert_eq!(code, 200, "{path}: {body}");
        places.insert(path.to_owned(), body.into_bytes());
    }
    let record = IncidentSpec::new("fails", "fails", 5).to_json(&mut Seed::new(1));
    world.put("record.json", &String::from_utf8(record).expect("text"));
    let record = world.at("record.json");
    let export = world.ran(&["history", "export"]);
    let key = export.split('"').find(|word| word.starts_with("fails/-/")).expect("an episode").to_owned();
    for words in [
        &["history", "export"][..],
        &["history", "list"],
        &["history", "show", &key],
        &["history", "settle", &key, "--retry", "--who", "ann", "--why", "because"],
        &["explain", &record],
        &["explain", &record, "--output", "json"],
        &["doctor"],
        &["doctor", "--json"],
        &["check"],
        &["dead-letter", "list"],
        &["pause", "--why", "an exercise"],
        &["resume"],
    ] {
        let said = world.ran(words);
        assert!(said.len() > "Some(0)\n".len(), "{words:?} says nothing");
        places.insert(words.join(" "), said.into_bytes());
    }
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    files(&folder, &mut places);
    let traces = world.collector.requests();
    assert!(traces.iter().any(|request| request.text().contains("refused: ***")), "the failure is in a trace");
    places.insert("traces".to_owned(), traces.iter().flat_map(|request| request.body.to_vec()).collect());
    for name in ["consumer.log", "ledger.redb", "seen-by-the-child", "dead_letter.jsonl"] {
        assert!(places.get(name).is_some_and(|bytes| !bytes.is_empty()), "{name} was looked at");
    }
    // It was there to be seen: the failure tells what the target said.
    let story = String::from_utf8_lossy(&places["/status.html?incident=fails"]).into_owned();
    assert!(story.contains("refused: ***"), "{story}");
    let planted = [PASSWORD, OF_ENV, OF_COMMAND, OF_CKMS, OF_FILE, OF_TOKEN];
    let seen = found(&planted, &places);
    assert!(seen.is_empty(), "{}", seen.join("\n"));
    let key = std::fs::read_to_string(folder.join("key.pem")).expect("a key");
    let line = key.lines().nth(1).expect("a line of the key");
    assert!(places.values().all(|bytes| !String::from_utf8_lossy(bytes).contains(line)), "the private key");
}

#[test]
fn the_search_for_canaries_finds_each_of_their_forms() {
    for secret in [PASSWORD, OF_ENV, OF_COMMAND, OF_CKMS, OF_FILE, OF_TOKEN] {
        for form in forms(secret) {
            let places = BTreeMap::from([("somewhere".to_owned(), format!("a line with <{form}> in it").into_bytes())]);
            assert!(!found(&[secret], &places).is_empty(), "{form}");
        }
    }
    let clean = BTreeMap::from([("somewhere".to_owned(), b"ready: 2 partitions".to_vec())]);
    assert!(found(&[PASSWORD, OF_ENV, OF_COMMAND, OF_CKMS, OF_FILE, OF_TOKEN], &clean).is_empty());
}
