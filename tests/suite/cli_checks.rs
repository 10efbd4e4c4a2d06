//! The command line, as a process.

use std::process::Output;

use crate::world::process::binary;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = binary().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

const WRONG: &str = "\
kafka:
  brokerz: [a:9092]
  topics: [incidents]
  consumer_group_id: g
http: {listen: nowhere}
incident_conditions:
  - name: first
    tags: {alert_type: oozie}
    incident_actions: [absent]
";

#[test]
fn check_names_every_mistake_with_file_line_and_column() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, WRONG).expect("a file");
    let name = file.to_str().expect("text");
    let (code, out, err) = run(&["check", "--config", name]);
    assert_eq!(code, Some(2), "{out}{err}");
    let expected = [
        format!("{name}:2:3: kafka.brokerz: unknown key (did you mean `brokers`?)"),
        format!("{name}:5:16: http.listen: "),
        format!("{name}:9:24: incident_conditions[0].incident_actions[0]: no action named `absent`"),
        format!("{name} is wrong in 4 places"),
    ];
    for line in expected {
        assert!(out.lines().any(|said| said.starts_with(&line)), "{line}\n---\n{out}");
    }
}

#[test]
fn check_speaks_json_to_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, WRONG).expect("a file");
    let (code, out, _) = run(&["check", "--output", "json", "--config", file.to_str().expect("text")]);
    assert_eq!(code, Some(2));
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["valid"], false);
    let mistakes = told["mistakes"].as_array().expect("a list");
    let unknown = mistakes.iter().find(|mistake| mistake["path"] == "kafka.brokerz").expect("the unknown key");
    assert_eq!((&unknown["line"], &unknown["column"], &unknown["nearest"]), (&2.into(), &3.into(), &"brokers".into()));
}

#[test]
fn a_valid_configuration_is_said_to_be_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("right.yaml");
    std::fs::write(&file, "kafka: {brokers: [\"a:9092\"], topics: [t], consumer_group_id: g}\n").expect("a file");
    let (code, out, err) = run(&["check", "--config", file.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("is valid: 0 conditions, 0 actions"), "{out}");
}

#[test]
fn the_configuration_of_the_deployment_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy_target/omega/config/config.yaml");
    let (code, out, err) = run(&["check", "--config", file]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_missing_file_is_named_together_with_what_chose_it() {
    for (arguments, variables, chosen) in [
        (&["--config", "/nowhere/c.yaml"][..], &[][..], "/nowhere/c.yaml (named by --config)"),
        (&[], &[("CONFIG_FILE", "/nowhere/v.yaml")], "/nowhere/v.yaml (named by the variable CONFIG_FILE)"),
        (
            &[],
            &[("DEFAULT_CONFIG_FILE", "/nowhere/d.yaml")],
            "/nowhere/d.yaml (named by the variable DEFAULT_CONFIG_FILE)",
        ),
        (&[], &[("CONFIG_FILE", "")], "/app/config/config.yaml (the built-in default"),
    ] {
        let output = binary().args(arguments).envs(variables.iter().copied()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("cannot read the configuration {chosen}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn help_shows_an_example_and_every_variable() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["kafka_consumer check --config", "CONFIG_FILE", "LOG_LEVEL", "CONSUMER_NAME", "STORAGE_BACKEND"] {
        assert!(out.contains(word), "{word}\n{out}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out.trim()), (Some(0), concat!("kafka_consumer ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_flag_or_variable_is_exit_2_and_says_what_would_be_right() {
    let (code, _, err) = run(&["--log-level", "loud"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("write trace, debug, info, warning or error"), "{err}");
    let output = binary().env("LOG_LEVEL", "loud").output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the variable LOG_LEVEL: `loud` is not a log level"), "{said}");
}

#[test]
fn the_names_of_the_container_platform_are_programs_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let called = |name: &str, arguments: &[&str]| {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(binary().get_program(), &link).expect("a link");
        let mut command = std::process::Command::new(&link);
        let output = command.env_clear().env("RUNTIME_DIR", folder.path()).args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for probe in ["app_liveness", "app_readiness"] {
        let (code, said) = called(probe, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("no PID file: "), "{said}");
    }
    let (code, said) = called("app_prestop", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("Nothing to stop: "), "{said}");
    for program in ["app_configure", "app_start"] {
        let file = folder.path().join("wrong.yaml");
        std::fs::write(&file, WRONG).expect("a file");
        let (code, said) = called(program, &["--config", file.to_str().expect("text")]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(":2:3: kafka.brokerz: unknown key"), "{said}");
    }
}

const ODD: &str = "\
kafka: {brokers: [a:9092], topics: [t], consumer_group_id: g}
secrets:
  - {name: spare, env: A}
  - {name: used, env: B}
  - {name: by_name, env: C}
incident_conditions:
  - {name: broad, tags: {kind: [oozie, hdfs]}, incident_actions: [tell], alert_actions: [fix]}
  - {name: narrow, tags: {kind: oozie}, active: true, incident_actions: [tell]}
  - {name: other, tags: {kind: {regex: '^spark|hive$'}}, incident_actions: [tell], incident_fallback_actions: [call]}
incident_actions:
  - {name: tell, type: webhook, url: 'http://t/?key=$secret:used'}
  - {name: call, type: webhook, url: 'http://t/'}
  - {name: spare_one, type: webhook, url: 'http://t/'}
  - {name: spare_two, type: webhook, url: 'http://t/'}
alert_actions:
  - {name: fix, type: screwdriver, pipeline_id: 1, job_name: j, auth_secret: by_name}
";

#[test]
fn check_warns_of_what_is_valid_and_not_meant_and_is_strict_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("odd.yaml");
    std::fs::write(&file, ODD).expect("a file");
    let name = file.to_str().expect("text");
    let (code, out, err) = run(&["check", "--config", name]);
    assert_eq!(code, Some(0), "{out}{err}");
    let expected = [
        format!("{name}:3:12: warning: secrets[0]: nothing uses the secret `spare`"),
        format!(
            "{name}:8:5: warning: incident_conditions[1]: can never match: `broad` in line 7 stands before it and takes every incident \
             that this one would"
        ),
        format!(
            "{name}:9:40: warning: incident_conditions[2].tags.kind.regex: `^spark|hive$`: ^ and $ hold for one alternative only: write \
             ^(?:…|…)$ if it is meant for all"
        ),
        format!(
            "{name}:13:5: warning: incident_actions: used by no condition: `spare_one` (line 13), `spare_two` (line 14)"
        ),
        format!("{name} is valid: 3 conditions, 5 actions, 4 warnings"),
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(run(&["check", "--strict", "--config", name]).0, Some(2));
    let (_, out, _) = run(&["check", "--output", "json", "--config", name]);
    let told: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&told["valid"], told["warnings"].as_array().map(Vec::len)), (&true.into(), Some(4)));
}
