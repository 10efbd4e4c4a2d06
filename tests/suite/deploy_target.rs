//! The files of the deployment name nothing that the program does not have: paths, ports, probes, variables, commands, settings,
//! alerts. And the keys of the platform are those that it takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kafka_broker_double::Cluster;
use kafka_consumer::config::Ckms;
use kafka_consumer::container::Program;
use kafka_consumer::service::CONFIG_PATH;
use regex::Regex;
use serde_yaml::Value;

use crate::world::port;
use crate::world::process::{Service, binary};
use crate::world::settings::{self, Brokers};

const PATIENCE: Duration = Duration::from_secs(45);

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Everything that stands in backticks in the walk through a deployment, without its code blocks.
fn named(pattern: &str) -> BTreeSet<String> {
    let text = read("deploy_target/omega/README.md") + &read("deploy_target/omega/omega.yaml");
    let (quoted, wanted) = (Regex::new("`([^`]+)`").expect("valid"), Regex::new(pattern).expect("valid"));
    let quoted: Vec<_> = quoted.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    let plain = text.lines().filter(|line| !line.contains('`')).map(str::to_owned);
    let all = quoted.into_iter().chain(plain).collect::<Vec<_>>();
    let found: BTreeSet<String> = all
        .iter()
        .flat_map(|text| wanted.captures_iter(text).map(|found| found[1].to_owned()).collect::<Vec<_>>())
        .collect();
    assert!(!found.is_empty(), "{pattern} finds nothing, so nothing is checked");
    found
}

fn help(words: &[&str]) -> Option<String> {
    let output = binary().args(words).arg("--help").output().expect("the binary runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_platforms_keys_are_those_of_the_contract_and_lead_to_what_is_there() {
    let omega = yaml("deploy_target/omega/omega.yaml");
    for key in ["configMounts", "replicas"] {
        assert!(omega.get(key).is_none() && omega["jobs"]["component"].get(key).is_none(), "{key} is invalid there");
    }
    let custom = &omega["custom"];
    let (source, target) =
        (custom["appSrcDir"].as_str().expect("a folder"), custom["appTargetDir"].as_str().expect("a folder"));
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(source).join("config.yaml").is_file(), "{source}");
    assert_eq!(format!("{target}/config.yaml"), CONFIG_PATH, "where the program looks when nobody says otherwise");
    assert_eq!((&omega["probe"], &omega["requireTLSCerts"]), (&Value::from("custom"), &Value::from(true)));
    let pods = &omega["jobs"]["component"]["autoscale"];
    assert_eq!((&pods["minReplicas"], &pods["maxReplicas"]), (&Value::from(1), &Value::from(1)));

    let config = yaml(&format!("{source}/config.yaml"));
    let log = Path::new(config["global"]["logfile"].as_str().expect("a file")).parent().expect("a folder");
    assert!(custom["appLogsDirs"].as_sequence().expect("folders").contains(&log.display().to_string().into()));
    let claim = yaml("deploy_target/omega/pvc.yaml");
    let walk = read("deploy_target/omega/README.md");
    assert!(walk.contains(claim["metadata"]["name"].as_str().expect("a name")));
    // A domain's namespace doubles the dashes within its parts.
    let domain = omega["athensDomain"].as_str().expect("a domain").replace('-', "--").replace('.', "-");
    assert_eq!(claim["metadata"]["namespace"].as_str(), Some(domain.as_str()));
    for path in [&config["storage"]["path"], &config["dead_letter"]["file"], &config["kill_switch_file"]] {
        assert!(
            path.as_str().is_some_and(|path| path.starts_with("/data/automation_consumer/")),
            "{path:?} is on the volume"
        );
    }
}

#[test]
fn folders_and_programs_that_are_named_are_in_the_image() {
    let image = read("Dockerfile");
    for path in named(r"(/(?:scripts|opt|app|data|var/run/kafka_consumer|tmp)(?:/[\w.]+)*)") {
        // A file lies in a folder of the image; a program has its name there.
        let file = path.rsplit('/').next().unwrap_or_default();
        let folder = path.strip_suffix(&format!("/{file}")).unwrap_or_default();
        if folder == "/scripts" {
            assert_ne!(Program::called(path.as_ref()), Program::Consumer, "{path}");
            assert!(image.contains(&format!(" {file}")), "{path}");
        } else {
            let there = |folder: &str| !folder.is_empty() && image.contains(&format!("/root-fs{folder}"));
            assert!(there(&path) || (file.contains('.') && there(folder)), "{path}");
        }
    }
    for program in named(r"\b(app_\w+)\b") {
        assert!(program == "app_name" || Program::called(program.as_ref()) != Program::Consumer, "{program}");
    }
}

#[test]
fn ports_are_the_same_everywhere() {
    let listen =
        yaml("deploy_target/omega/config/config.yaml")["http"]["listen"].as_str().expect("an address").to_owned();
    let port = listen.rsplit(':').next().expect("a port");
    assert!(read("Dockerfile").contains(&format!("EXPOSE {port}\n")));
    assert!(read("deploy_target/omega/terraform/network_policy.tf").contains(&format!("omega_app_ports = [{port}]")));
    assert_eq!(named(r"localhost:(\d+)").into_iter().collect::<Vec<_>>(), [port]);
    let egress = read("deploy_target/omega/README.md");
    let egress = egress.lines().find(|line| line.starts_with("- Egress")).expect("a line on egress");
    let keys = Ckms::default().url;
    let keys = keys.split(':').nth(2).and_then(|rest| rest.split('/').next()).expect("a port").to_owned();
    let brokers = yaml("deploy_target/omega/config/config.yaml")["kafka"]["brokers"].clone();
    let brokers = brokers.as_sequence().expect("brokers").iter().filter_map(Value::as_str).map(str::to_owned);
    for port in brokers.filter_map(|broker| Some(broker.rsplit_once(':')?.1.to_owned())).chain([keys]) {
        assert!(egress.contains(&port), "{port}: {egress}");
    }
}

#[test]
fn variables_commands_settings_and_alerts_that_are_named_exist() {
    let main = help(&[]).expect("help");
    for variable in named(r"\b([A-Z]+_[A-Z_]+)\b") {
        assert!(main.contains(&variable), "{variable}");
    }
    for command in named(
        r"kafka_consumer ((?:check|doctor|explain|replay|history|pause|resume|dead-letter|run)(?: (?:import|list|show|settle|verify))?)",
    ) {
        assert!(help(&command.split(' ').collect::<Vec<_>>()).is_some(), "{command}");
    }
    let example = read("config/config.yaml");
    for setting in named(r"\b((?:http|storage|limits|kafka|global)\.[a-z_]+(?:\.[a-z_]+)*)\b") {
        let (_, key) = setting.split_once('.').expect("a dot");
        assert!(example.contains(&format!("{key}:")), "{setting}");
    }
    let rules = read("deploy_target/prometheus/rules.yaml");
    for alert in named(r"\b(KafkaConsumer[A-Z]\w+)\b") {
        assert!(rules.contains(&format!("alert: {alert}\n")), "{alert}");
    }
}

#[test]
fn the_listener_has_every_path_that_is_named() {
    let cluster = Cluster::builder().topic("incidents", 1).security(settings::double_security()).start();
    let folder = tempfile::tempdir().expect("a folder");
    let port = port::free();
    let config = settings::config(&Brokers::double(&cluster), folder.path(), "g", "incidents", port, "");
    let mut service = Service::start(folder.path(), &config, port);
    service.wait_ready(PATIENCE);
    for path in named(r"(/(?:livez|readyz|status\.html|metrics|api/v1/\w+))") {
        let (code, body) = service.get(&path).expect("an answer");
        // What only changes something is not for GET.
        assert!(code == 200 || code == 405, "{path}: {code} {body}");
    }
}
