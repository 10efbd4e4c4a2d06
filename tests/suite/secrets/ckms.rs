//! The key server: a stand-in that asks for the service's certificate, the service as a process, and the doctor.

use std::path::Path;
use std::time::Duration;

use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Authority, Certificate, Cluster};

use super::certificate::{NAME, issue};
use crate::world::port;
use crate::world::process::{Service, binary, wait_for};
use crate::world::settings::{self, PASSWORD, USER};

const PATIENCE: Duration = Duration::from_secs(45);

struct World {
    cluster: Cluster,
    authority: Authority,
    server: Target,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let cluster = Cluster::builder().topic("incidents", 1).security(settings::double_security()).start();
        let authority = Authority::new();
        let server = Target::start_tls(&authority.identity(&[], Certificate::Valid).for_clients_of(&authority));
        server.default_reply(gives(PASSWORD));
        let world = Self { cluster, authority, server, folder: tempfile::tempdir().expect("a folder") };
        world.put("authority.pem", world.authority.pem());
        world.renew();
        world
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).expect("written");
    }

    fn renew(&self) {
        let pair = issue(&self.authority, 1);
        self.put("key.pem", &pair.key);
        self.put("cert.pem", &pair.certificate);
    }

    fn config(&self, port: u16, more: &str) -> String {
        let at = |name: &str| self.folder().join(name).display().to_string();
        format!(
            "athenz: {{certificate: {cert}, key: {key}, common_name: {NAME}}}\n\
             secrets:\n  - {{name: scram, ckms_key_group: bigpanda.keys.sre, ckms_key_name: bigpanda.prod.msk.sre}}\n\
             ckms: {{url: \"{url}\"}}\ntls: {{ca_file: {ca}}}\n\
             kafka:\n  brokers: [{brokers}]\n  consumer_group_id: keys\n  topics: [incidents]\n\
             \x20 msk_auth: {{auth_method: scram, username: {USER}, password: $secret:scram}}\n\
             \x20 ssl.ca.location: {kafka_ca}\n\
             storage: {{backend: file, path: {ledger}}}\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n{more}",
            cert = at("cert.pem"),
            key = at("key.pem"),
            ca = at("authority.pem"),
            url = self.server.url("/rksd/v1/access"),
            brokers = serde_json::to_string(&self.cluster.bootstrap()).expect("text"),
            kafka_ca = self.cluster.ca_file().display(),
            ledger = at("ledger.redb"),
        )
    }

    fn start(&self) -> Service {
        let port = port::free();
        Service::start(self.folder(), &self.config(port, ""), port)
    }

    /// What the doctor says of secrets and certificate.
    fn doctor(&self) -> (Option<i32>, String) {
        self.put("config.yaml", &self.config(port::free(), ""));
        let output =
            binary().args(["doctor", "--config"]).arg(self.folder().join("config.yaml")).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The assumed answer.
pub(crate) fn gives(value: &str) -> Reply {
    use base64::Engine as _;
    let value = base64::engine::general_purpose::STANDARD.encode(value);
    Reply::status(200).body(serde_json::json!({"secret": value}).to_string())
}

#[test]
fn the_service_fetches_its_password_from_the_key_server_under_its_own_certificate() {
    let world = World::new();
    let mut service = world.start();
    service.wait_ready(PATIENCE);
    let requests = world.server.requests();
    assert_eq!(requests.len(), 1, "one key is asked for once, however many logins there are: {requests:?}");
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/rksd/v1/access"));
    let body: serde_json::Value = serde_json::from_slice(&requests[0].body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({"keyGroup": "bigpanda.keys.sre", "keyName": "bigpanda.prod.msk.sre", "environment": "aws"})
    );
    let shown = requests[0].client_certificate.clone().expect("a certificate");
    assert_eq!(kafka_consumer::certificate::Certificate::parse(&shown).expect("DER").common_name, NAME);
    let (_, metrics) = service.get("/metrics").expect("metrics");
    assert!(metrics.contains("kafka_consumer_certificate_not_after_seconds "), "{metrics}");
    let (_, page) = service.get("/status.html").expect("a page");
    assert!(page.contains(NAME), "{page}");
    assert!(service.stop(PATIENCE).success(), "{}", service.last_words());
    assert!(!service.log().contains(PASSWORD), "the password is in the log");
}

#[test]
fn a_password_that_was_changed_is_fetched_anew_when_the_brokers_refuse_the_old_one() {
    let world = World::new();
    let mut service = world.start();
    service.wait_ready(PATIENCE);
    world.cluster.set_user(USER, "changed-PASSWORD-4712");
    world.server.default_reply(gives("changed-PASSWORD-4712"));
    let broker = world.cluster.brokers()[0];
    world.cluster.disconnect_all(broker);
    let words = || format!("a second fetch\n{}", service.last_words());
    wait_for(words, PATIENCE, || (world.server.request_count() > 1).then_some(()));
    service.wait_ready(PATIENCE);
    assert!(!service.log().contains("4712"), "a password is in the log");
}

#[test]
fn a_key_server_that_refuses_is_told_with_group_key_name_expiry_and_the_usual_causes() {
    let world = World::new();
    world.server.default_reply(Reply::status(403).body("principal is not in the role"));
    let (code, text) = world.doctor();
    assert_eq!(code, Some(11), "{text}");
    let until = format!("certificate of {NAME} until 20");
    for word in [
        "secret `scram`: key bigpanda.prod.msk.sre of group bigpanda.keys.sre (environment aws) could not be fetched from CKMS",
        "it answered 403 (principal is not in the role), after 1 try",
        &until,
        "(1) the environment (CKMS_ENV",
        "(2) the certificate is missing",
        "(3) the two CKMS flags of the Athenz service",
        "(4) the key group does not grant",
    ] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    let mut service = world.start();
    let body = service.wait_readyz("the reason", PATIENCE, |code, body| code == 503 && body.contains("CKMS"));
    assert!(body.contains("the key group does not grant"), "{body}");
    assert_eq!(service.get("/livez").map(|(code, _)| code), Some(200), "it lives whatever the key server does");
    world.server.default_reply(gives(PASSWORD));
    service.wait_ready(PATIENCE);
}

#[test]
fn a_key_server_in_trouble_is_asked_three_times_and_a_missing_certificate_is_named() {
    let world = World::new();
    world.server.default_reply(Reply::status(503));
    let (code, text) = world.doctor();
    assert!(code == Some(11) && text.contains("it answered 503, after 3 tries"), "{text}");
    assert_eq!(world.server.request_count(), 3);
    std::fs::remove_file(world.folder().join("cert.pem")).expect("removed");
    let (code, text) = world.doctor();
    assert_eq!(code, Some(10), "{text}");
    assert!(text.contains("asked with the no certificate: ") || text.contains("no certificate: "), "{text}");
    world.server.default_reply(gives(PASSWORD));
    let mut service = world.start();
    service.wait_readyz("the reason", PATIENCE, |code, body| code == 503 && body.contains("no certificate: "));
    world.renew();
    service.wait_ready(PATIENCE);
}

#[test]
fn the_command_line_client_of_the_key_server_is_called_as_it_is_documented() {
    let world = World::new();
    let (tool, seen) = (world.folder().join("ckms-remotecli"), world.folder().join("seen"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {}\nenv > {}.env\nprintf '%s\\n' {PASSWORD}\n",
        seen.display(),
        seen.display()
    );
    std::fs::write(&tool, script).expect("written");
    std::os::unix::fs::chown(&tool, None, None).expect("kept");
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let at = |name: &str| world.folder().join(name).display().to_string();
    let by_command = format!(
        "{{name: scram, command: [{tool}, -env, aws, -group, bigpanda.keys.sre, -key, bigpanda.prod.msk.sre, -tlscert, {cert}, -tlskey, {key}]}}",
        tool = tool.display(),
        cert = at("cert.pem"),
        key = at("key.pem"),
    );
    let by_server = "{name: scram, ckms_key_group: bigpanda.keys.sre, ckms_key_name: bigpanda.prod.msk.sre}";
    let port = port::free();
    let mut service = Service::start(world.folder(), &world.config(port, "").replace(by_server, &by_command), port);
    service.wait_ready(PATIENCE);
    let expected = format!(
        "-env aws -group bigpanda.keys.sre -key bigpanda.prod.msk.sre -tlscert {} -tlskey {}\n",
        at("cert.pem"),
        at("key.pem")
    );
    assert_eq!(std::fs::read_to_string(&seen).expect("seen"), expected);
    assert_eq!(world.server.request_count(), 0);
}
