//! From the rules as written to conditions: the settings of a condition, and its tree of tests.

use std::sync::Arc;

use crate::condition::field;
use crate::condition::operator::Operator;
use crate::condition::over_time::OverTime;
use crate::condition::schedule::Schedule;
use crate::condition::test::{AlertsTest, FieldTest, Quantifier, Test};
use crate::condition::{ActionRef, Condition, Conditions, Mode, OnMissing};
use crate::guard;
use crate::incident::{Path, PathError, Scope};
use crate::yaml::{Entry, Mistake, Mistakes, Node, Reader, join, units};

/// Tests that are no fields, of an incident.
const INCIDENT_TESTS: [&str; 8] =
    ["tags", "incident_tags", "alert_conditions", "max_seconds_since_updated", "schedule", "all", "any", "none"];
/// Tests that are no fields, of an alert.
const ALERT_TESTS: [&str; 6] = ["tags", "incident_tags", "schedule", "all", "any", "none"];

impl Conditions {
    /// Compiles the list under `path`, noting every mistake. What is returned is for use only when there was none.
    pub fn compile(node: Option<&Node>, path: &str, mistakes: &Mistakes) -> Self {
        let Some(node) = node.filter(|node| !node.is_null()) else {
            mistakes.warn(
                path,
                crate::yaml::Position::default(),
                "there are no conditions, so no incident is acted on",
            );
            return Self::default();
        };
        let Some(items) = node.as_list() else {
            mistakes.add(path, node.at(), format!("expected a list of conditions, found {}", node.describe()));
            return Self::default();
        };
        let list: Vec<_> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| condition(item, &format!("{path}[{index}]"), mistakes))
            .collect();
        unique_names(&list, path, mistakes);
        let conditions = Self::new(list);
        if mistakes.is_empty() {
            conditions.out_of_reach(path, mistakes);
        }
        conditions
    }

    /// Warns of the conditions that can never match.
    fn out_of_reach(&self, path: &str, mistakes: &Mistakes) {
        for (narrow, broad) in self.covered() {
            let (Some(condition), Some(broad)) = (self.list.get(narrow), self.list.get(broad)) else { continue };
            let what = format!(
                "can never match: `{}` in line {} stands before it and takes every incident that this one would",
                broad.name, broad.at.line
            );
            mistakes.warn(format!("{path}[{narrow}]"), condition.at, what);
        }
    }
}

fn unique_names(list: &[Condition], path: &str, mistakes: &Mistakes) {
    for (index, condition) in list.iter().enumerate() {
        if let Some(first) = list.iter().take(index).find(|first| first.name == condition.name) {
            let what = format!("the name `{}` is taken by the condition in line {}", condition.name, first.at.line);
            mistakes.add(format!("{path}[{index}].name"), condition.at, what);
        }
    }
}

fn condition(node: &Node, path: &str, mistakes: &Mistakes) -> Option<Condition> {
    let reader = Reader::new(node, path, mistakes);
    let name = reader.required_string("name");
    let fallback = match reader.node_of(&["incident_fallback_actions", "fallback_actions"]) {
        Some((key, _)) => actions(&reader, &key),
        None => Vec::new(),
    };
    let mut condition = Condition {
        name: name.clone().unwrap_or_default(),
        mode: reader.choice("mode", &[("live", Mode::Live), ("shadow", Mode::Shadow)]),
        on_missing: reader
            .choice("missing", &[("false", OnMissing::False), ("error", OnMissing::Error)])
            .unwrap_or_default(),
        incident_actions: actions(&reader, "incident_actions"),
        alert_actions: actions(&reader, "alert_actions"),
        incident_fallback_actions: fallback,
        alert_fallback_actions: actions(&reader, "alert_fallback_actions"),
        continue_on_failure: reader.boolean("continue_on_failure").unwrap_or(false),
        parallel_alert_processing: reader.boolean("parallel_alert_processing").unwrap_or(false),
        max_concurrent_alerts: at_least_one(&reader, "max_concurrent_alerts"),
        fail_fast: reader.boolean("fail_fast").unwrap_or(false),
        guards: guard::Own::read(&reader),
        over_time: OverTime::read(&reader, name.as_deref().unwrap_or_default()),
        at: node.at(),
        test: Test::All(Vec::new()),
        alerts: None,
    };
    let settings = reader.known();
    let compiler = Compiler { mistakes, settings: &settings };
    let tests: Vec<_> =
        reader.rest().into_iter().filter_map(|entry| compiler.entry(Scope::Incident, entry, path)).collect();
    if tests.is_empty() && reader.rest().is_empty() {
        mistakes.warn(path, node.at(), "has no tests, so it matches every incident");
    }
    if [&condition.incident_actions, &condition.alert_actions].iter().all(|actions| actions.is_empty()) {
        mistakes.warn(path, node.at(), "names no actions, so a match does nothing but stop later conditions");
    }
    condition.alerts = tests.iter().find_map(|test| match test {
        Test::Alerts(alerts) => Some(alerts.clone()),
        Test::Field(_) | Test::Schedule(_) | Test::All(_) | Test::Any(_) | Test::None(_) => None,
    });
    condition.test = Test::All(tests);
    name.map(|_| condition)
}

fn at_least_one(reader: &Reader<'_, '_>, key: &str) -> Option<usize> {
    reader.read(key, "a whole number of at least 1", |node| node.text()?.parse().ok().filter(|number| *number > 0))
}

/// Names of actions: a list, or one.
fn actions(reader: &Reader<'_, '_>, key: &str) -> Vec<ActionRef> {
    let Some(node) = reader.node(key) else { return Vec::new() };
    let path = reader.path_of(key);
    let one = |node: &Node, path: String| {
        if node.text().is_none() {
            reader.mistakes().add(
                path.as_str(),
                node.at(),
                format!("expected the name of an action, found {}", node.describe()),
            );
        }
        node.text().map(|name| ActionRef { name: Arc::from(name), path, at: node.at() })
    };
    match node.as_list() {
        None => one(node, path).into_iter().collect(),
        Some(items) => {
            items.iter().enumerate().filter_map(|(index, item)| one(item, format!("{path}[{index}]"))).collect()
        }
    }
}

struct Compiler<'m> {
    mistakes: &'m Mistakes,
    /// The settings of a condition, for suggestions.
    settings: &'m [String],
}

impl Compiler<'_> {
    /// One key of a map of tests.
    fn entry(&self, scope: Scope, entry: &Entry, parent: &str) -> Option<Test> {
        let path = join(parent, &entry.key);
        let value = &entry.value;
        match (entry.key.as_str(), scope) {
            ("tags", scope) => self.tags(scope, value, &path),
            ("incident_tags", _) => self.tags(Scope::Incident, value, &path),
            ("all", _) => Some(Test::All(self.list(scope, value, &path)?)),
            ("any", _) => Some(Test::Any(self.list(scope, value, &path)?)),
            ("none", _) => Some(Test::None(self.list(scope, value, &path)?)),
            ("schedule", _) => Schedule::read(value, &path, self.mistakes).map(|read| Test::Schedule(Box::new(read))),
            ("alert_conditions", Scope::Incident) => self.alerts(value, &path),
            ("max_seconds_since_updated", Scope::Incident) => self.max_age(value, &path),
            (key, _) if key.starts_with("incident.") => self.field(
                &self.written(Path::incident(key.trim_start_matches("incident.")), entry, &path)?,
                value,
                &path,
            ),
            (key, Scope::Alert) if key.starts_with("alert.") => {
                self.field(&self.written(Path::alert(key.trim_start_matches("alert.")), entry, &path)?, value, &path)
            }
            (key, scope) => match known_field(scope, key) {
                Some(field) => self.field(&field, value, &path),
                None => self.unknown(scope, entry, path),
            },
        }
    }

    fn written(&self, field: Result<Path, PathError>, entry: &Entry, path: &str) -> Option<Path> {
        field.map_err(|error| self.mistakes.add(path, entry.at, error.to_string())).ok()
    }

    fn field(&self, field: &Path, value: &Node, path: &str) -> Option<Test> {
        let operators = field::operators(field, value, path, self.mistakes)?;
        let mut tests: Vec<_> = operators
            .into_iter()
            .map(|any| {
                let mut tests: Vec<_> = any
                    .into_iter()
                    .map(|operator| Test::Field(Box::new(FieldTest { path: field.clone(), operator })))
                    .collect();
                if tests.len() == 1 { tests.pop() } else { Some(Test::Any(tests)) }
            })
            .collect::<Option<_>>()?;
        if tests.len() == 1 { tests.pop() } else { Some(Test::All(tests)) }
    }

    fn tags(&self, scope: Scope, value: &Node, path: &str) -> Option<Test> {
        let Some(entries) = value.as_map() else {
            self.mistakes.add(
                path,
                value.at(),
                format!("expected a map from tag to value, found {}", value.describe()),
            );
            return None;
        };
        let tests = entries
            .iter()
            .filter_map(|entry| self.field(&Path::tag(scope, &entry.key), &entry.value, &join(path, &entry.key)));
        Some(one_or_all(tests.collect()))
    }

    /// The tests of a map.
    fn map(&self, scope: Scope, value: &Node, path: &str) -> Option<Test> {
        let Some(entries) = value.as_map().filter(|entries| !entries.is_empty()) else {
            self.mistakes.add(path, value.at(), format!("expected a map of tests, found {}", value.describe()));
            return None;
        };
        Some(one_or_all(entries.iter().filter_map(|entry| self.entry(scope, entry, path)).collect()))
    }

    /// A list of maps of tests.
    fn list(&self, scope: Scope, value: &Node, path: &str) -> Option<Vec<Test>> {
        let Some(items) = value.as_list().filter(|items| !items.is_empty()) else {
            self.mistakes.add(path, value.at(), format!("expected a list of tests, found {}", value.describe()));
            return None;
        };
        Some(
            items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| self.map(scope, item, &format!("{path}[{index}]")))
                .collect(),
        )
    }

    fn alerts(&self, value: &Node, path: &str) -> Option<Test> {
        let Some(entries) = value.as_map() else {
            self.mistakes.add(path, value.at(), format!("expected a map of tests, found {}", value.describe()));
            return None;
        };
        let quantifier = entries.iter().find(|entry| entry.key == "quantifier");
        let quantifier = quantifier.map_or(Some(Quantifier::Any), |entry| {
            quantifier_of(&entry.value).or_else(|| {
                let what = "expected any, all, none, {at_least: N} or {share_at_least: 50%}";
                self.mistakes.add(join(path, "quantifier"), entry.value.at(), what);
                None
            })
        });
        let tests = entries.iter().filter(|entry| entry.key != "quantifier");
        let test = one_or_all(tests.filter_map(|entry| self.entry(Scope::Alert, entry, path)).collect());
        Some(Test::Alerts(AlertsTest { quantifier: quantifier?, test: Box::new(test) }))
    }

    fn max_age(&self, value: &Node, path: &str) -> Option<Test> {
        let seconds = value.text().and_then(units::duration).and_then(|age| i64::try_from(age.as_secs()).ok());
        let Some(seconds) = seconds else {
            self.mistakes.add(path, value.at(), "expected a number of seconds, or a duration such as 1h");
            return None;
        };
        let updated = Path::incident("updated_on").ok()?;
        Some(Test::Field(Box::new(FieldTest { path: updated, operator: Operator::NewerThan(seconds) })))
    }

    fn unknown(&self, scope: Scope, entry: &Entry, path: String) -> Option<Test> {
        let (tests, fields, settings): (&[&str], _, _) = match scope {
            Scope::Incident => (&INCIDENT_TESTS, Path::INCIDENT_FIELDS, self.settings),
            Scope::Alert => (&ALERT_TESTS, Path::ALERT_FIELDS, &[][..]),
        };
        let known = tests.iter().chain(fields).copied().chain(settings.iter().map(String::as_str));
        let prefix = if scope == Scope::Alert { "alert" } else { "incident" };
        let what = format!("unknown key; a field of your own is named `{prefix}.{}`", entry.key);
        self.mistakes.push(Mistake::at(path, entry.at, what).suggest(&entry.key, known));
        None
    }
}

fn known_field(scope: Scope, key: &str) -> Option<Path> {
    let path = match scope {
        Scope::Incident => Path::incident(key),
        Scope::Alert => Path::alert(key),
    };
    path.ok().filter(Path::is_known)
}

fn one_or_all(mut tests: Vec<Test>) -> Test {
    match (tests.pop(), tests.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            tests.extend(last);
            Test::All(tests)
        }
    }
}

fn quantifier_of(node: &Node) -> Option<Quantifier> {
    if let Some(word) = node.text() {
        return match word {
            "any" => Some(Quantifier::Any),
            "all" => Some(Quantifier::All),
            "none" => Some(Quantifier::None),
            _ => None,
        };
    }
    match node.as_map()? {
        [only] if only.key == "at_least" => only.value.text()?.parse().ok().map(Quantifier::AtLeast),
        [only] if only.key == "share_at_least" => {
            let percent: f64 = only.value.text()?.trim_end_matches('%').trim_end().parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(Quantifier::ShareAtLeast(percent))
        }
        _ => None,
    }
}
