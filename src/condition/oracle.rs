//! The compiled conditions against a slow, obvious interpreter, on random trees and incidents.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::condition::{Conditions, Verdict};
use crate::incident::Incident;
use crate::yaml::{self, Mistakes};

const WORDS: [&str; 4] = ["a", "b", "ab", "7"];

fn word() -> impl Strategy<Value = Value> {
    proptest::sample::select(&WORDS).prop_map(Value::from)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![word(), (0..9i64).prop_map(Value::from), any::<bool>().prop_map(Value::from), Just(Value::Null)]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![3 => scalar(), 1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from)]
}

fn tags() -> impl Strategy<Value = Value> {
    let tag = (proptest::sample::select(&["x", "y", "z"]), value());
    proptest::collection::vec(tag, 0..3)
        .prop_map(|tags| tags.into_iter().map(|(name, value)| json!({"id": name, "value": value})).collect())
}

fn incident() -> impl Strategy<Value = Value> {
    let alert = tags().prop_map(|tags| json!({"tags": tags}));
    (tags(), value(), proptest::collection::vec(alert, 0..3))
        .prop_map(|(tags, extra, alerts)| json!({"id": "i", "incident_tags": tags, "extra": extra, "alerts": alerts}))
}

fn wanted() -> impl Strategy<Value = Value> {
    let listed = || proptest::collection::vec(word(), 1..3).prop_map(Value::from);
    prop_oneof![
        word(),
        (0..9i64).prop_map(Value::from),
        listed(),
        listed().prop_map(|list| json!({"not_in": list})),
        word().prop_map(|word| json!({"contains": word})),
        (0..9i64).prop_map(|limit| json!({"gt": limit})),
        any::<bool>().prop_map(|wanted| json!({"exists": wanted})),
    ]
}

fn tests() -> BoxedStrategy<Value> {
    let tag = (proptest::sample::select(&["x", "y", "z"]), wanted());
    let leaf = prop_oneof![
        tag.prop_map(|(name, wanted)| json!({"tags": {name: wanted}})),
        wanted().prop_map(|wanted| json!({"incident.extra": wanted})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (proptest::sample::select(&["all", "any", "none"]), proptest::collection::vec(inner, 1..3))
            .prop_map(|(group, tests)| json!({group: tests}))
    })
    .boxed()
}

fn condition() -> impl Strategy<Value = Value> {
    let quantifier = prop_oneof![
        Just(json!("any")),
        Just(json!("all")),
        Just(json!("none")),
        (0..3).prop_map(|n| json!({"at_least": n}))
    ];
    let alerts = proptest::option::of((tests(), quantifier));
    (tests(), alerts).prop_map(|(mut tests, alerts)| {
        if let (Some((Value::Object(mut alerts), quantifier)), Value::Object(tests)) = (alerts, &mut tests) {
            alerts.insert("quantifier".to_owned(), quantifier);
            tests.insert("alert_conditions".to_owned(), Value::Object(alerts));
        }
        tests
    })
}

/// What a record holds under a tag: the first of that name.
fn tag_of<'v>(record: &'v Value, name: &str) -> &'v Value {
    let lists = ["incident_tags", "tags"].into_iter().filter_map(|key| record.get(key).and_then(Value::as_array));
    lists.flatten().find(|tag| tag["id"] == name).map_or(&Value::Null, |tag| &tag["value"])
}

fn interpret(tests: &Map<String, Value>, incident: &Value, alert: Option<&Value>) -> Verdict {
    let each = |list: &Value| -> Vec<Verdict> {
        list.as_array()
            .expect("list")
            .iter()
            .map(|one| interpret(one.as_object().expect("map"), incident, alert))
            .collect()
    };
    let mut verdicts = Vec::new();
    for (key, wanted) in tests {
        match key.as_str() {
            "all" => verdicts.push(each(wanted).into_iter().min().expect("some")),
            "any" => verdicts.push(each(wanted).into_iter().max().expect("some")),
            "none" => verdicts.push(each(wanted).into_iter().max().expect("some").negate()),
            "tags" => {
                for (name, wanted) in wanted.as_object().expect("map") {
                    verdicts.push(one_value(wanted, tag_of(alert.unwrap_or(incident), name)));
                }
            }
            "incident.extra" => verdicts.push(one_value(wanted, &incident["extra"])),
            "alert_conditions" => verdicts.push(alerts(wanted.as_object().expect("map"), incident)),
            "quantifier" => {}
            other => panic!("{other}"),
        }
    }
    verdicts.into_iter().min().unwrap_or(Verdict::True)
}

fn alerts(tests: &Map<String, Value>, incident: &Value) -> Verdict {
    let list = incident["alerts"].as_array().expect("alerts");
    let each: Vec<_> = list.iter().map(|alert| interpret(tests, incident, Some(alert))).collect();
    // By trying both answers for every alert of which nothing is known.
    let passes = |unknown: Verdict| {
        let sure =
            each.iter().filter(|one| **one == Verdict::True || (**one == Verdict::Missing && unknown == Verdict::True));
        let passing = sure.count();
        match &tests["quantifier"] {
            Value::String(word) if word == "any" => passing > 0,
            Value::String(word) if word == "all" => passing == each.len() && !each.is_empty(),
            Value::String(_) => passing == 0,
            at_least => passing as u64 >= at_least["at_least"].as_u64().expect("number"),
        }
    };
    match (passes(Verdict::False), passes(Verdict::True)) {
        (true, true) => Verdict::True,
        (false, false) => Verdict::False,
        _ => Verdict::Missing,
    }
}

fn one_value(wanted: &Value, found: &Value) -> Verdict {
    let items = match found {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let any = |judge: &dyn Fn(&Value) -> Verdict| {
        if found.is_null() {
            return Verdict::Missing;
        }
        items.iter().map(judge).max().unwrap_or(Verdict::False)
    };
    let equals = |wanted: &Value| {
        let list = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
        any(&|item| Verdict::from_bool(!item.is_null() && list.iter().any(|one| text(one) == text(item))))
    };
    match wanted.as_object().and_then(|map| map.iter().next()) {
        None => equals(wanted),
        Some((operator, wanted)) => match operator.as_str() {
            "not_in" => equals(wanted).negate(),
            "exists" => Verdict::from_bool(wanted.as_bool() == Some(!found.is_null())),
            "contains" => any(&|item| match item {
                Value::Null => Verdict::Missing,
                item => Verdict::from_bool(text(item).contains(&text(wanted))),
            }),
            "gt" => any(&|item| match text(item).parse::<f64>() {
                Ok(number) => Verdict::from_bool(number > wanted.as_f64().expect("number")),
                Err(_) => Verdict::Missing,
            }),
            other => panic!("{other}"),
        },
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn compiled_conditions_say_what_the_obvious_interpreter_says(
        conditions in proptest::collection::vec(condition(), 1..5),
        incident in incident(),
    ) {
        let rules: Vec<_> = conditions.iter().enumerate().map(|(number, tests)| {
            let mut rule = tests.as_object().expect("map").clone();
            rule.insert("name".to_owned(), format!("c{number}").into());
            rule.insert("incident_actions".to_owned(), json!(["a"]));
            Value::Object(rule)
        }).collect();
        let mistakes = Mistakes::default();
        let node = yaml::parse(&Value::from(rules).to_string(), &mistakes).expect("yaml");
        let compiled = Conditions::compile(Some(&node), "conditions", &mistakes);
        prop_assert!(mistakes.is_empty(), "{}", mistakes);

        let expected: Vec<_> = conditions.iter().map(|tests| interpret(tests.as_object().expect("map"), &incident, None)).collect();
        let record = incident.to_string();
        let parsed = Incident::parse(record.as_bytes()).expect("incident");
        let explained: Vec<_> = compiled.explain(&parsed, 0).conditions.iter().map(|one| one.evidence.verdict).collect();
        prop_assert_eq!(&explained, &expected);
        let first = expected.iter().position(|verdict| *verdict == Verdict::True);
        prop_assert_eq!(compiled.decide(&parsed, 0).matched.map(|found| found.index), first);
    }
}
