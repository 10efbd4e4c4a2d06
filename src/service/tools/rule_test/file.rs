//! What a file of rule tests holds: records, a clock, and what is expected. Read as configurations are: every mistake at once, with
//! its place and the nearest name that would be right.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::action::{Definitions, Scope};
use crate::condition::Conditions;
use crate::incident::{Incident, Limits};
use crate::yaml::{Entry, Mistake, Mistakes, Node, Position, Reader, join};

/// What the file is read against.
pub(super) struct Surroundings<'s> {
    pub(super) conditions: &'s Conditions,
    pub(super) actions: &'s Definitions,
    /// How large a record may be.
    pub(super) limits: Limits,
}

/// One test: records in order, with what is remembered from one to the next.
#[derive(Debug)]
pub(super) struct RuleTest {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) steps: Vec<Step>,
}

/// One record and what must come of it.
#[derive(Debug)]
pub(super) struct Step {
    /// The clock, seconds since the epoch.
    pub(super) now: i64,
    pub(super) incident: Incident<'static>,
    pub(super) expected: Expected,
}

/// What must come of a record. What is not given is not looked at.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) at: Position,
    pub(super) end: End,
    /// Names of actions in the order in which they are begun when all goes well, each once.
    pub(super) actions: Option<Vec<String>>,
    /// Steps of the flow itself: assign, split, resolve.
    pub(super) flow: Option<Vec<String>>,
    /// Ids of the supported alerts.
    pub(super) alerts: Option<Vec<String>>,
    /// Texts that the reasons of the condition that matches must contain.
    pub(super) why: Vec<String>,
    /// The same for a condition that does not match.
    pub(super) why_not: Vec<(String, Vec<String>)>,
    /// Texts that the request of an action must contain.
    pub(super) requests: Vec<(String, Vec<String>)>,
}

/// How a decision ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Matched(String),
    Nothing,
    /// The condition for which a missing value is an error.
    Undecided(String),
}

/// The tests of a file; for use only when no mistake was noted. Records in files of their own are looked for beside it.
pub(super) fn read(root: &Node, folder: &Path, surroundings: &Surroundings<'_>, mistakes: &Mistakes) -> Vec<RuleTest> {
    let reader = Reader::new(root, "", mistakes);
    let file = OfFile { folder, surroundings, mistakes };
    reader.required("tests");
    let list = reader.list("tests").unwrap_or_default();
    let tests: Vec<_> = list.iter().filter_map(|(path, node)| file.test(node, path)).collect();
    for (index, test) in tests.iter().enumerate() {
        if let Some(first) = tests.iter().take(index).find(|first| first.name == test.name) {
            let what = format!("the name is taken by the test in line {}", first.at.line);
            mistakes.add(format!("tests[{index}].name"), test.at, what);
        }
    }
    if reader.node("tests").is_some() && list.is_empty() && mistakes.is_empty() {
        reader.wrong("tests", "there are no tests");
    }
    for entry in reader.rest() {
        // Anchors are kept there, as in a configuration.
        if entry.key.starts_with("x-") {
            reader.know(&entry.key);
        }
    }
    reader.close();
    tests
}

struct OfFile<'f> {
    folder: &'f Path,
    surroundings: &'f Surroundings<'f>,
    mistakes: &'f Mistakes,
}

impl OfFile<'_> {
    fn test(&self, node: &Node, path: &str) -> Option<RuleTest> {
        let reader = Reader::new(node, path, self.mistakes);
        let name = reader.required_string("name");
        let mut steps = Vec::new();
        if let Some(list) = reader.list("steps") {
            let mut before = None;
            for (path, node) in &list {
                let reader = Reader::new(node, path.as_str(), self.mistakes);
                let step = self.step(&reader, before);
                reader.close();
                before = step.as_ref().map(|step| step.now).or(before);
                steps.extend(step);
            }
            if list.is_empty() {
                reader.wrong("steps", "there are no steps");
            }
        } else if reader.node("steps").is_none() {
            steps.extend(self.step(&reader, None));
        }
        reader.close();
        Some(RuleTest { name: name?, at: node.at(), steps })
    }

    fn step(&self, reader: &Reader<'_, '_>, before: Option<i64>) -> Option<Step> {
        let incident = self.incident(reader);
        let now = self.clock(reader, before, incident.as_ref());
        let expected = match reader.required("expect") {
            Some(node) => self.expected(node, &reader.path_of("expect")),
            None => None,
        };
        Some(Step { now: now?, incident: incident?, expected: expected? })
    }

    /// The record, in place or in a file.
    fn incident(&self, reader: &Reader<'_, '_>) -> Option<Incident<'static>> {
        let (inline, file) = (reader.node("record"), reader.string("file"));
        let (key, bytes) = match (inline, file) {
            (Some(_), Some(_)) => {
                reader.wrong("file", "the record stands here already under `record`; keep one");
                return None;
            }
            (None, None) => {
                let what = "is required and missing: the record, or `file` with the name of one";
                self.mistakes.add(reader.path_of("record"), reader.at(), what);
                return None;
            }
            (Some(node), None) => ("record", serde_json::to_vec(&node.value()).map_err(|error| error.to_string())),
            (None, Some(name)) => {
                let file = self.folder.join(name);
                let unreadable = |error| format!("{} cannot be read: {error}", file.display());
                ("file", std::fs::read(&file).map_err(unreadable))
            }
        };
        let parsed = bytes.and_then(|bytes| match Incident::parse_within(&bytes, &self.surroundings.limits) {
            Ok(incident) => Ok(incident.into_owned()),
            Err(error) => Err(format!("this is not an incident: {error}")),
        });
        parsed.map_err(|what| reader.wrong(key, what)).ok()
    }

    /// `at`, else `after` the step before, else the time of the record itself.
    fn clock(&self, reader: &Reader<'_, '_>, before: Option<i64>, incident: Option<&Incident<'_>>) -> Option<i64> {
        let at = reader.read("at", "a time such as 2026-03-14T15:30:00Z, or seconds since the epoch", |node| {
            let text = node.text()?;
            text.parse().ok().or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_second))
        });
        let after = reader.duration("after");
        match (at, after, before) {
            (Some(_), Some(_), _) => {
                reader.wrong("after", "the clock is given already by `at`; keep one");
                None
            }
            (Some(at), None, _) => Some(at),
            (None, Some(after), Some(before)) => Some(later(before, after)),
            (None, Some(_), None) => {
                reader.wrong("after", "there is no step before this one; write `at`");
                None
            }
            (None, None, _) if reader.node("at").is_some() || reader.node("after").is_some() => None,
            (None, None, _) => {
                let own = incident?;
                let own = own.updated_on.or(own.changed_on).or(own.started_on);
                if own.is_none() {
                    let what = "is required and missing: the record itself has no time";
                    self.mistakes.add(reader.path_of("at"), reader.at(), what);
                }
                own
            }
        }
    }

    fn expected(&self, node: &Node, path: &str) -> Option<Expected> {
        let reader = Reader::new(node, path, self.mistakes);
        let names: Vec<_> = self.surroundings.conditions.iter().map(|condition| condition.name.as_str()).collect();
        let end = self.end(&reader, &names);
        let [actions, flow] = [self.actions(&reader), self.flow(&reader)];
        let alerts = reader.strings("alerts");
        let why = reader.strings("why").unwrap_or_default();
        let why_not = self.by_name(&reader, "why_not", "condition", &names);
        let requests = self.by_name(&reader, "requests", "action", &self.action_names());
        if end == Some(End::Nothing) {
            for key in ["actions", "flow", "alerts", "why", "requests"].into_iter().filter(|key| has(&reader, key)) {
                reader.wrong(key, "nothing is done about a record that no condition takes; remove it");
            }
        }
        reader.close();
        end.map(|end| Expected { at: node.at(), end, actions, flow, alerts, why, why_not, requests })
    }

    fn end(&self, reader: &Reader<'_, '_>, names: &[&str]) -> Option<End> {
        let (condition, undecided) = (reader.entry("condition"), reader.node("undecided"));
        let known = |key: &str, node: &Node| self.known(&reader.path_of(key), node, "condition", names);
        match (condition, undecided) {
            (Some(_), Some(_)) => {
                reader.wrong("undecided", "`condition` says already how it ends; keep one");
                None
            }
            (None, Some(node)) => known("undecided", node).map(End::Undecided),
            (Some(Entry { value, .. }), None) if value.is_null() => Some(End::Nothing),
            // A condition may be called so.
            (Some(Entry { value, .. }), None) if value.text() == Some("none") && !names.contains(&"none") => {
                Some(End::Nothing)
            }
            (Some(Entry { value, .. }), None) => known("condition", value).map(End::Matched),
            (None, None) => {
                let what = "is required and missing: the name of a condition, or none";
                self.mistakes.add(reader.path_of("condition"), reader.at(), what);
                None
            }
        }
    }

    fn actions(&self, reader: &Reader<'_, '_>) -> Option<Vec<String>> {
        let names = self.action_names();
        self.list_of(reader, "actions", "action", &names)
    }

    fn flow(&self, reader: &Reader<'_, '_>) -> Option<Vec<String>> {
        self.list_of(reader, "flow", "step of the flow", &["assign", "split", "resolve"])
    }

    fn action_names(&self) -> Vec<&str> {
        let of = |scope| self.surroundings.actions.names(scope);
        of(Scope::Incident).chain(of(Scope::Alert)).collect()
    }

    /// A list of known names, or one.
    fn list_of(&self, reader: &Reader<'_, '_>, key: &str, what: &str, known: &[&str]) -> Option<Vec<String>> {
        let node = reader.node(key)?;
        let path = reader.path_of(key);
        match node.as_list() {
            None => self.known(&path, node, what, known).map(|one| vec![one]),
            Some(items) => {
                let read = items.iter().enumerate();
                let read = read.map(|(index, item)| self.known(&format!("{path}[{index}]"), item, what, known));
                read.collect::<Vec<_>>().into_iter().collect()
            }
        }
    }

    /// A map from known names to a text, or several.
    fn by_name(&self, reader: &Reader<'_, '_>, key: &str, what: &str, known: &[&str]) -> Vec<(String, Vec<String>)> {
        let Some(section) = reader.child(key) else { return Vec::new() };
        let path = reader.path_of(key);
        let mut found = Vec::new();
        for entry in section.rest() {
            if known.contains(&entry.key.as_str()) {
                found.extend(section.strings(&entry.key).map(|texts| (entry.key.clone(), texts)));
            } else {
                let mistake =
                    Mistake::at(join(&path, &entry.key), entry.at, format!("there is no {what} of this name"));
                self.mistakes.push(mistake.suggest(&entry.key, known.iter().copied()));
            }
        }
        found
    }

    fn known(&self, path: &str, node: &Node, what: &str, known: &[&str]) -> Option<String> {
        let Some(name) = node.text() else {
            self.mistakes.add(path, node.at(), format!("expected the name of a {what}, found {}", node.describe()));
            return None;
        };
        if !known.contains(&name) {
            let mistake = Mistake::at(path, node.at(), format!("there is no {what} `{name}`"));
            self.mistakes.push(mistake.suggest(name, known.iter().copied()));
            return None;
        }
        Some(name.to_owned())
    }
}

fn has(reader: &Reader<'_, '_>, key: &str) -> bool {
    reader.node(key).is_some_and(|node| node.as_list().is_none_or(|items| !items.is_empty()))
}

fn later(before: i64, after: Duration) -> i64 {
    before.saturating_add(i64::try_from(after.as_secs()).unwrap_or(i64::MAX))
}
