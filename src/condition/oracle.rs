//! The compiled conditions against a slow, obvious interpreter, on random trees and incidents.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::condition::{Conditions, Verdict};
use crate::incident::{self, Incident};
use crate::yaml::{self, Mistakes};

const WORDS: [&str; 7] = ["a", "b", "ab", "A", "aB", "7", "true"];
/// The clock, seconds since the epoch: midnight of a Thursday has just passed.
const NOW: i32 = 6;

/// Whether a text matches.
type Obvious = fn(&str) -> bool;
/// Patterns, and what they mean in other words.
const REGEXES: [(&str, Obvious); 5] = [
    ("^a", |text| text.starts_with('a')),
    ("b$", |text| text.ends_with('b')),
    ("a.*b", |text| text.find('a').is_some_and(|at| text[at + 1..].contains('b'))),
    ("^(?:7|ab)$", |text| text == "7" || text == "ab"),
    ("b", |text| text.contains('b')),
];
const GLOBS: [(&str, Obvious); 4] = [
    ("a*", |text| text.starts_with('a')),
    ("?", |text| text.chars().count() == 1),
    ("*b", |text| text.ends_with('b')),
    ("{7,ab}", |text| text == "7" || text == "ab"),
];

fn word() -> impl Strategy<Value = Value> {
    proptest::sample::select(&WORDS).prop_map(Value::from)
}

fn number() -> impl Strategy<Value = Value> {
    (0..9i64).prop_map(Value::from)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![3 => word(), 2 => number(), 1 => any::<bool>().prop_map(Value::from), 1 => Just(json!(2.5)), 1 => Just(Value::Null)]
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
    let status = || prop_oneof![word(), Just(Value::Null)];
    let alert = (tags(), status()).prop_map(|(tags, status)| json!({"tags": tags, "status": status}));
    let updated = prop_oneof![number(), Just(Value::Null)];
    (tags(), value(), status(), updated, proptest::collection::vec(alert, 0..4)).prop_map(
        |(tags, extra, status, updated, alerts)| {
            json!({"id": "i", "incident_tags": tags, "extra": extra, "status": status, "updatedOn": updated, "alerts": alerts})
        },
    )
}

/// One operator with what is wanted.
fn operator() -> impl Strategy<Value = (&'static str, Value)> {
    let listed = || prop_oneof![word(), proptest::collection::vec(word(), 1..3).prop_map(Value::from)];
    let named = |names: &'static [&'static str]| proptest::sample::select(names);
    prop_oneof![
        (
            named(&["equals", "in", "not_equals", "not_in"]),
            prop_oneof![listed(), number(), any::<bool>().prop_map(Value::from)]
        ),
        (named(&["contains", "starts_with", "ends_with"]), listed()),
        (Just("regex"), proptest::sample::select(&REGEXES).prop_map(|(pattern, _)| Value::from(pattern))),
        (Just("glob"), proptest::sample::select(&GLOBS).prop_map(|(pattern, _)| Value::from(pattern))),
        (named(&["gt", "gte", "lt", "lte", "older_than", "newer_than"]), number()),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
    ]
}

fn wanted() -> impl Strategy<Value = Value> {
    let ignore_case = proptest::option::of(any::<bool>());
    let operators = (proptest::collection::vec(operator(), 1..3), ignore_case).prop_map(|(operators, ignore_case)| {
        let mut map: Map<_, _> = operators.into_iter().map(|(name, wanted)| (name.to_owned(), wanted)).collect();
        map.extend(ignore_case.map(|ignore| ("ignore_case".to_owned(), ignore.into())));
        Value::Object(map)
    });
    let listed = proptest::collection::vec(word(), 1..3).prop_map(Value::from);
    prop_oneof![2 => word(), 1 => number(), 2 => listed, 1 => Just(Value::Null), 6 => operators]
}

fn tests() -> BoxedStrategy<Value> {
    let tag = (proptest::sample::select(&["x", "y", "z"]), wanted());
    let hours = proptest::sample::select(&["00:00-12:00", "12:00-13:00"]);
    let leaf = prop_oneof![
        4 => tag.prop_map(|(name, wanted)| json!({"tags": {name: wanted}})),
        3 => wanted().prop_map(|wanted| json!({"incident.extra": wanted})),
        2 => wanted().prop_map(|wanted| json!({"status": wanted})),
        1 => hours.prop_map(|hours| json!({"schedule": {"hours": hours}})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (proptest::sample::select(&["all", "any", "none"]), proptest::collection::vec(inner, 1..3))
            .prop_map(|(group, tests)| json!({group: tests}))
    })
    .boxed()
}

fn quantifier() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("any")),
        Just(json!("all")),
        Just(json!("none")),
        (0..3).prop_map(|n| json!({"at_least": n})),
        proptest::sample::select(&[0, 34, 50, 100]).prop_map(|share| json!({"share_at_least": format!("{share}%")})),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    let alerts = proptest::option::of((tests(), quantifier()));
    let age = proptest::option::of(0..9i64);
    (tests(), alerts, age).prop_map(|(mut tests, alerts, age)| {
        let Value::Object(map) = &mut tests else { return tests };
        if let Some((Value::Object(mut alerts), quantifier)) = alerts {
            alerts.insert("quantifier".to_owned(), quantifier);
            map.insert("alert_conditions".to_owned(), Value::Object(alerts));
        }
        if let Some(age) = age {
            map.insert("max_seconds_since_updated".to_owned(), age.into());
        }
        tests
    })
}

/// A condition, and one that demands the same or something like it, and more.
fn condition_and_kin() -> impl Strategy<Value = [Value; 2]> {
    prop_oneof![
        [condition(), condition()],
        (tests(), tests()).prop_map(|(broad, more)| [broad.clone(), json!({"all": [more, broad]})]),
        (tests(), tests()).prop_map(|(narrow, more)| [json!({"any": [more, narrow.clone()]}), narrow]),
        (tests(), tests()).prop_map(|(broad, more)| [json!({"none": [broad.clone()]}), json!({"none": [more, broad]})]),
        (tests(), quantifier(), quantifier()).prop_map(|(tests, one, other)| {
            let alerts = |quantifier: Value| {
                let mut tests = tests.as_object().expect("map").clone();
                tests.insert("quantifier".to_owned(), quantifier);
                json!({"alert_conditions": tests})
            };
            [alerts(one), alerts(other)]
        }),
        // One field under two operators.
        (operator(), operator()).prop_map(|((one, here), (other, there))| {
            [json!({"incident.extra": {one: here}}), json!({"incident.extra": {other: there}})]
        }),
        (operator(), operator()).prop_map(|((one, here), (other, there))| {
            [json!({"none": [{"incident.extra": {one: here}}]}), json!({"incident.extra": {other: there}})]
        }),
    ]
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
                    verdicts.push(one_value(wanted, tag_of(alert.unwrap_or(incident), name), false));
                }
            }
            "incident.extra" => verdicts.push(one_value(wanted, &incident["extra"], false)),
            "status" => verdicts.push(one_value(wanted, &alert.unwrap_or(incident)["status"], true)),
            "schedule" => verdicts.push(Verdict::from_bool(wanted["hours"] == "00:00-12:00")),
            "max_seconds_since_updated" => {
                verdicts.push(incident["updatedOn"].as_i64().map_or(Verdict::Missing, |then| {
                    Verdict::from_bool(i64::from(NOW) - then <= wanted.as_i64().expect("number"))
                }));
            }
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
            number => match (number["at_least"].as_u64(), number["share_at_least"].as_str()) {
                (Some(wanted), _) => passing as u64 >= wanted,
                (_, Some(share)) => {
                    let percent: usize = share.trim_end_matches('%').parse().expect("number");
                    !each.is_empty() && passing * 100 >= percent * each.len()
                }
                _ => panic!("{number}"),
            },
        }
    };
    match (passes(Verdict::False), passes(Verdict::True)) {
        (true, true) => Verdict::True,
        (false, false) => Verdict::False,
        _ => Verdict::Missing,
    }
}

fn one_value(wanted: &Value, found: &Value, ignores_case: bool) -> Verdict {
    match wanted {
        Value::Null => Verdict::from_bool(found.is_null()),
        Value::Object(map) => {
            let ignore = map.get("ignore_case").map_or(ignores_case, |ignore| ignore == true);
            let tests = map.iter().filter(|(name, _)| *name != "ignore_case");
            tests.map(|(name, wanted)| one_operator(name, wanted, found, ignore)).min().expect("an operator")
        }
        _ => one_operator("equals", wanted, found, ignores_case),
    }
}

fn one_operator(operator: &str, wanted: &Value, found: &Value, ignore: bool) -> Verdict {
    if operator == "exists" {
        return Verdict::from_bool(wanted.as_bool() == Some(!found.is_null()));
    }
    let items = match found {
        Value::Null => return Verdict::Missing,
        // A list has no age.
        Value::Array(_) if operator.ends_with("er_than") => return Verdict::Missing,
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let any = |judge: &dyn Fn(&Value) -> Verdict| items.iter().map(judge).max().unwrap_or(Verdict::False);
    let wanted_list = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
    let letters = |text: String| if ignore { text.to_lowercase() } else { text };
    let of_text = |passes: &dyn Fn(&str) -> bool| {
        any(&|item| match item {
            Value::Null => Verdict::Missing,
            item => Verdict::from_bool(passes(&letters(text(item)))),
        })
    };
    let of_number = |passes: &dyn Fn(f64) -> bool| {
        any(&|item| match item {
            Value::Bool(_) => Verdict::Missing,
            item => text(item).parse().map_or(Verdict::Missing, |number| Verdict::from_bool(passes(number))),
        })
    };
    let equals = || any(&|item| Verdict::from_bool(wanted_list.iter().any(|one| equal(one, item, ignore))));
    let limit = wanted.as_f64().unwrap_or_default();
    let some = |passes: &dyn Fn(&str) -> bool| wanted_list.iter().any(|one| passes(&letters(text(one))));
    match operator {
        "equals" | "in" => equals(),
        "not_equals" | "not_in" => equals().negate(),
        "contains" => of_text(&|text| some(&|part| text.contains(part))),
        "starts_with" => of_text(&|text| some(&|part| text.starts_with(part))),
        "ends_with" => of_text(&|text| some(&|part| text.ends_with(part))),
        "regex" => of_text(obvious(&REGEXES, wanted)),
        "glob" => of_text(obvious(&GLOBS, wanted)),
        "gt" => of_number(&|number| number > limit),
        "gte" => of_number(&|number| number >= limit),
        "lt" => of_number(&|number| number < limit),
        "lte" => of_number(&|number| number <= limit),
        // Whole seconds, and no later than now or later: both ways it is an age.
        "older_than" => of_number(&|then| f64::from(NOW) - then.trunc() > limit),
        "newer_than" => of_number(&|then| f64::from(NOW) - then.trunc() <= limit),
        other => panic!("{other}"),
    }
}

/// Booleans are booleans, and text that says so in any letters; everything else is equal as text.
fn equal(wanted: &Value, item: &Value, ignore: bool) -> bool {
    let (left, right) = (text(wanted), text(item));
    match (wanted, item) {
        (_, Value::Null) => false,
        // Written without quotes or with them, a `true` is one in the JSON that is compiled here only when it is a boolean.
        (Value::Bool(_), _) => left.eq_ignore_ascii_case(&right),
        _ if ignore => left.to_lowercase() == right.to_lowercase(),
        _ => left == right,
    }
}

fn obvious<'p>(patterns: &'p [(&str, Obvious)], wanted: &Value) -> &'p Obvious {
    &patterns.iter().find(|(pattern, _)| wanted == pattern).expect("a pattern of the list").1
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compile(conditions: &[Value]) -> Conditions {
    let rules: Vec<_> = conditions
        .iter()
        .enumerate()
        .map(|(number, tests)| {
            let mut rule = tests.as_object().expect("map").clone();
            rule.insert("name".to_owned(), format!("c{number}").into());
            rule.insert("incident_actions".to_owned(), json!(["a"]));
            Value::Object(rule)
        })
        .collect();
    let mistakes = Mistakes::default();
    let node = yaml::parse(&Value::from(rules).to_string(), &mistakes).expect("yaml");
    let compiled = Conditions::compile(Some(&node), "conditions", &mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    compiled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn compiled_conditions_say_what_the_obvious_interpreter_says(
        conditions in proptest::collection::vec(condition(), 1..5),
        incident in incident(),
    ) {
        let compiled = compile(&conditions);
        let expected: Vec<_> = conditions.iter().map(|tests| interpret(tests.as_object().expect("map"), &incident, None)).collect();
        let record = incident.to_string();
        let parsed = Incident::parse(record.as_bytes()).expect("incident");
        let explained: Vec<_> = compiled.explain(&parsed, NOW.into()).conditions.iter().map(|one| one.evidence.verdict).collect();
        prop_assert_eq!(&explained, &expected);
        let first = expected.iter().position(|verdict| *verdict == Verdict::True);
        prop_assert_eq!(compiled.decide(&parsed, NOW.into()).matched.map(|found| found.index), first);
        if first.is_some() {
            prop_assert!(compiled.rule_out(record.as_bytes()).is_none(), "{}", record);
            prop_assert!(compiled.rule_out_by_head(record.as_bytes(), &incident::Limits::default()).is_none(), "{}", record);
        }
    }

    #[test]
    fn what_is_called_out_of_reach_never_has_its_turn(
        conditions in condition_and_kin(),
        incidents in proptest::collection::vec(incident(), 20),
    ) {
        let compiled = compile(&conditions);
        if compiled.covered().next().is_some() {
            for incident in incidents {
                let [broad, narrow] =
                    conditions.each_ref().map(|tests| interpret(tests.as_object().expect("map"), &incident, None));
                prop_assert!(narrow != Verdict::True || broad == Verdict::True, "{incident}");
            }
        }
    }
}

/// Or the first property would say little of them.
#[test]
fn many_of_these_records_are_ruled_out_unread_and_by_their_heads() {
    let mut runner = TestRunner::deterministic();
    let (mut unread, mut by_head) = (0, 0);
    for _ in 0..2000 {
        let conditions = compile(&[condition().new_tree(&mut runner).expect("a condition").current()]);
        let record = incident().new_tree(&mut runner).expect("an incident").current().to_string();
        unread += usize::from(conditions.rule_out(record.as_bytes()).is_some());
        by_head += usize::from(conditions.rule_out_by_head(record.as_bytes(), &incident::Limits::default()).is_some());
    }
    assert!((50..1500).contains(&unread) && (50..1500).contains(&by_head), "{unread} and {by_head} of 2000");
}

/// Or the property above would say nothing.
#[test]
fn many_of_these_pairs_are_called_out_of_reach_and_most_are_not() {
    let mut runner = TestRunner::deterministic();
    let called = (0..400).filter(|_| {
        let pair = condition_and_kin().new_tree(&mut runner).expect("a pair").current();
        compile(&pair).covered().next().is_some()
    });
    let called = called.count();
    assert!((60..360).contains(&called), "{called} of 400");
}
