//! The shipped example is a configuration that works.

use std::collections::BTreeSet;

use kafka_consumer::action::{Definitions, Scope, Surroundings, type_names};
use kafka_consumer::condition::Conditions;
use kafka_consumer::config::{Config, Overrides, Settings};
use kafka_consumer::guard::Guard;
use kafka_consumer::incident::Incident;
use kafka_consumer::yaml::{self, Mistakes};

const EXAMPLE: &str = include_str!("../../config/config.yaml");

#[test]
fn the_example_loads_without_a_mistake_or_a_warning() {
    let mistakes = Mistakes::default();
    let document = yaml::parse(EXAMPLE, &mistakes).expect("YAML");
    let overrides = Overrides::default();
    let config = Config::new(Settings { document: &document, overrides: &overrides }, &mistakes);
    let rules = &config.rules;
    let conditions = Conditions::compile(rules.incident_conditions.as_ref(), "incident_conditions", &mistakes);
    let surroundings = Surroundings {
        flow: kafka_consumer::action::Flow::ALL,
        bigpanda: config.bigpanda.is_some(),
        secrets: config.secrets.names().map(str::to_owned).collect(),
    };
    let actions =
        Definitions::read(rules.incident_actions.as_ref(), rules.alert_actions.as_ref(), &surroundings, &mistakes);
    let names = |scope| actions.names(scope).collect::<Vec<_>>();
    conditions.check_actions(&names(Scope::Incident), &names(Scope::Alert), &mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    assert_eq!(mistakes.warnings(), []);
    assert_eq!(conditions.len(), 2);

    let record = br#"{"id": "60f1", "active": true, "resolved": false, "updated_at": 1000, "incident_tags": [{"id": "alert_type", "value": "oozie"}],
        "alerts": [{"id": "a", "host": "h", "tags": [{"name": "severity", "value": "critical"}]}]}"#;
    let incident = Incident::parse(record).expect("incident");
    let found = conditions.decide(&incident, 1500).matched.expect("match");
    assert_eq!((found.condition.name.as_str(), found.supported_alerts.as_slice()), ("oozie_failures", &[0][..]));
}

/// Every key of the document, and every value of `type`.
fn words(node: &yaml::Node, keys: &mut BTreeSet<String>, types: &mut BTreeSet<String>) {
    for item in node.as_list().unwrap_or_default() {
        words(item, keys, types);
    }
    for entry in node.as_map().unwrap_or_default() {
        keys.insert(entry.key.clone());
        if entry.key == "type" {
            types.extend(entry.value.text().map(str::to_owned));
        }
        words(&entry.value, keys, types);
    }
}

#[test]
fn the_example_has_every_type_of_action_and_every_guard() {
    let document = yaml::parse(EXAMPLE, &Mistakes::default()).expect("YAML");
    let (mut keys, mut types) = (BTreeSet::new(), BTreeSet::new());
    words(&document, &mut keys, &mut types);
    let missing: Vec<_> = type_names().filter(|name| !types.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "types without an example");
    assert_eq!(type_names().count(), 20);
    let guards = Guard::ALL.into_iter().flat_map(Guard::keys);
    let missing: Vec<_> = guards.filter(|key| !keys.contains(**key)).collect();
    assert_eq!(missing, Vec::<&&str>::new(), "guards without an example");
}
