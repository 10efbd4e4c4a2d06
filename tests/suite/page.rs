//! The page and its JSON API, on a running service.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use kafka_broker_double::incidents::{IncidentSpec, Seed};
use kafka_broker_double::target::{Reply, Target};
use kafka_broker_double::{Cluster, Record};
use serde_json::Value;

use crate::world::port;
use crate::world::process::{Service, wait_for};
use crate::world::produce::now_ms;
use crate::world::settings::{self, Brokers};

const TOPIC: &str = "incidents";
const GROUP: &str = "page";
const PATIENCE: Duration = Duration::from_secs(45);
const TOKEN: &str = "canary-TOKEN-0815";

fn incident(id: &str) -> Record {
    Record::from(IncidentSpec::new(id, "oozie", now_ms() / 1000).to_json(&mut Seed::new(1)))
}

fn json(service: &Service, path: &str) -> Value {
    let (code, body) = service.get(path).expect("an answer");
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn post(port: u16, path: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_page_and_the_api_tell_of_decisions_and_the_token_pauses() {
    let cluster = Cluster::builder().topic(TOPIC, 1).security(settings::double_security()).start();
    let target = Target::start();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("token"), format!("{TOKEN}\n")).expect("a token");
    let port = port::free();
    let hook = settings::hook(&target.url("/{{incident.id}}"));
    let more = format!("kill_switch_file: {}\n{hook}", at("PAUSED").display());
    let config = settings::config(&Brokers::double(&cluster), folder.path(), GROUP, TOPIC, port, &more)
        .replace("http: {", &format!("http: {{admin_token_file: {}, ", at("token").display()));
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    cluster.produce(TOPIC, 0, [incident("one")]);
    let done = |offset| (cluster.committed(GROUP, TOPIC, 0) == Some(offset)).then_some(());
    wait_for(|| service.last_words(), PATIENCE, || done(1));

    let health = json(&service, "/api/v1/health");
    assert_eq!((&health["ready"], &health["state"]), (&Value::from(true), &Value::from("running")), "{health}");
    let group = json(&service, "/api/v1/group");
    assert_eq!(group["partitions"][0]["partition"], "incidents-0", "{group}");
    let client = json(&service, "/api/v1/client");
    let steps: Vec<_> = client["flight_recorder"].as_array().expect("steps").iter().map(|step| &step["step"]).collect();
    assert!(
        ["joining", "assigned", "connected"].iter().all(|step| steps.iter().any(|known| *known == step)),
        "{client}"
    );
    let connected = |of: &Value| of["state"] == "connected" && of["to"].is_string();
    assert!(client["connections"].as_array().expect("connections").iter().any(connected), "{client}");
    let hour = json(&service, "/api/v1/incidents");
    assert_eq!(hour["incidents"][0]["outcome"], "succeeded", "{hour}");
    let found = json(&service, "/api/v1/incidents/one");
    assert_eq!((&found[0]["action"], &found[0]["state"]), (&Value::from("hook"), &Value::from("succeeded")), "{found}");
    assert_eq!(json(&service, "/api/v1/decisions?incident=absent"), Value::Array(vec![]));
    assert_eq!(json(&service, "/api/v1/actions"), Value::Array(vec![]));
    let (_, page) = service.get("/status.html?incident=one").expect("a page");
    for word in [
        "Decisions about incident one",
        "intent",
        "Incidents of the last hour",
        "<svg",
        "value=\"one\"",
        "oozie saw:",
        "first join; as",
    ] {
        assert!(page.contains(word), "{word}\n{page}");
    }
    assert!(!page.contains("<script"), "{page}");

    assert!(post(port, "/api/v1/pause?reason=grid%20maintenance", "wrong").starts_with("HTTP/1.1 401"));
    assert!(post(port, "/api/v1/pause?reason=grid%20maintenance", TOKEN).starts_with("HTTP/1.1 200"));
    target.default_reply(Reply::hang());
    cluster.produce(TOPIC, 0, [incident("two")]);
    // Who looks at the switch is the incident that wants to start.
    service.wait_readyz("the pause", PATIENCE, |code, body| code == 200 && body.contains("grid maintenance"));
    assert_eq!(json(&service, "/api/v1/health")["nothing_starts"], "paused: grid maintenance");
    assert_eq!(target.request_count(), 1);
    assert!(post(port, "/api/v1/resume", TOKEN).starts_with("HTTP/1.1 200"));
    wait_for(|| service.last_words(), PATIENCE, || (target.request_count() == 2).then_some(()));
    // A look at the ledger is used again for a moment.
    let attempting = |open: &Value| open[0]["incident"] == "two" && open[0]["state"] == "attempting";
    let open = || Some(json(&service, "/api/v1/actions")).filter(attempting).map(drop);
    wait_for(|| service.last_words(), PATIENCE, open);
    assert!(!service.log().contains(TOKEN));
}
