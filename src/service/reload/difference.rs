//! What another configuration changes: rules by their names, settings by their paths, never a value. Pure.

use std::fmt;

use serde_json::{Value, json};

use crate::service::check::count;
use crate::yaml::{Kind, Node};

/// The lists that a reload takes over.
const LISTS: [&str; 3] = ["incident_conditions", "incident_actions", "alert_actions"];
/// Of `limits` what a reload takes over: the guards for all.
const GUARDS: [&str; 7] = ["max_event_age", "budget", "fleet", "concurrent_targets", "storm", "breaker", "freshness"];

/// What a configuration changes, compared with the one in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// `incident_conditions`, `incident_actions`, `alert_actions`.
    lists: [Changes; 3],
    /// Paths below `limits` that are guards.
    guards: Vec<String>,
    /// Settings that the process was started with and that only another start changes.
    needs_restart: Vec<String>,
}

/// What changes in a list whose items have names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    /// With the paths of what is another.
    changed: Vec<(String, Vec<String>)>,
    /// Items that were there before stand in another order: of conditions the first that matches wins.
    reordered: bool,
}

impl Difference {
    /// Compares a document with the one whose rules are in force, and with the one the process was started with.
    pub(super) fn between(in_force: &Node, started: &Node, new: &Node) -> Self {
        let lists = LISTS.map(|list| Changes::between(in_force.get(list), new.get(list)));
        let limits = |document: &Node, key: &str| document.get("limits").and_then(|limits| limits.get(key)).cloned();
        let mut guards = Vec::new();
        for key in GUARDS {
            let (old, new) = (limits(in_force, key), limits(new, key));
            paths(old.as_ref(), new.as_ref(), &format!("limits.{key}"), &mut guards);
        }
        let mut needs_restart = Vec::new();
        paths(Some(started), Some(new), "", &mut needs_restart);
        needs_restart.retain(|path| !taken_over(path));
        Self { lists, guards, needs_restart }
    }

    /// The rules are the same.
    pub(super) fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.lists.iter().all(|list| *list == Changes::default())
    }

    /// What only a restart changes.
    pub(super) fn needs_restart(&self) -> &[String] {
        &self.needs_restart
    }

    /// One line for each change of the rules.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (list, Changes { added, removed, changed, reordered }) in LISTS.into_iter().zip(&self.lists) {
            let what = if list == "incident_conditions" { "condition" } else { "action" };
            let of = if list == "incident_conditions" { String::new() } else { format!(" of {list}") };
            lines.extend(added.iter().map(|name| format!("{what} `{name}`{of} added")));
            lines.extend(removed.iter().map(|name| format!("{what} `{name}`{of} removed")));
            let changed =
                changed.iter().map(|(name, paths)| format!("{what} `{name}`{of} changed: {}", paths.join(", ")));
            lines.extend(changed);
            if *reordered && list == "incident_conditions" {
                lines.push("conditions are tried in another order".to_owned());
            }
        }
        if !self.guards.is_empty() {
            lines.push(format!("guards changed: {}", self.guards.join(", ")));
        }
        lines
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let mut lists = serde_json::Map::new();
        for (list, changes) in LISTS.into_iter().zip(&self.lists) {
            let changed = changes.changed.iter().map(|(name, paths)| json!({"name": name, "settings": paths}));
            let changed = changed.collect::<Vec<_>>();
            let (added, removed, reordered) = (&changes.added, &changes.removed, changes.reordered);
            lists.insert(
                list.to_owned(),
                json!({"added": added, "removed": removed, "changed": changed, "reordered": reordered}),
            );
        }
        lists.insert("guards".to_owned(), json!(self.guards));
        lists.insert("needs_restart".to_owned(), json!(self.needs_restart));
        Value::Object(lists)
    }
}

impl fmt::Display for Difference {
    /// In a few words: `2 conditions added, 1 action changed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [conditions, of_incidents, of_alerts] = &self.lists;
        let mut words = Vec::new();
        for (noun, lists) in [("condition", vec![conditions]), ("action", vec![of_incidents, of_alerts])] {
            let of = |number: fn(&Changes) -> usize| lists.iter().map(|list| number(list)).sum::<usize>();
            let all = [
                (of(|list| list.added.len()), "added"),
                (of(|list| list.removed.len()), "removed"),
                (of(|list| list.changed.len()), "changed"),
            ];
            words.extend(all.into_iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{} {how}", count(n, noun))));
        }
        if conditions.reordered {
            words.push("conditions reordered".to_owned());
        }
        if !self.guards.is_empty() {
            words.push("guards changed".to_owned());
        }
        if words.is_empty() {
            words.push("no rule changed".to_owned());
        }
        f.write_str(&words.join(", "))
    }
}

impl Changes {
    fn between(old: Option<&Node>, new: Option<&Node>) -> Self {
        let (old, new) = (named(old), named(new));
        let find =
            |list: &[(String, Node)], name: &str| list.iter().find(|(of, _)| of == name).map(|(_, node)| node.clone());
        let mut changes = Self::default();
        for (name, node) in &new {
            match find(&old, name) {
                None => changes.added.push(name.clone()),
                Some(before) => {
                    let mut differing = Vec::new();
                    paths(Some(&before), Some(node), "", &mut differing);
                    if !differing.is_empty() {
                        changes.changed.push((name.clone(), differing));
                    }
                }
            }
        }
        changes.removed =
            old.iter().filter(|(name, _)| find(&new, name).is_none()).map(|(name, _)| name.clone()).collect();
        let stayed = |list: &[(String, Node)], other: &[(String, Node)]| {
            let stays = list.iter().filter(|(name, _)| find(other, name).is_some());
            stays.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        changes.reordered = stayed(&old, &new) != stayed(&new, &old);
        changes
    }
}

/// The items of a list by their names.
fn named(list: Option<&Node>) -> Vec<(String, Node)> {
    let items = list.and_then(Node::as_list).unwrap_or_default();
    items.iter().filter_map(|item| Some((item.get("name")?.text()?.to_owned(), item.clone()))).collect()
}

/// Where two nodes differ: through maps by their keys, everything else as a whole.
fn paths(old: Option<&Node>, new: Option<&Node>, at: &str, found: &mut Vec<String>) {
    match (old.map(Node::kind), new.map(Node::kind)) {
        (Some(Kind::Map(of_old)), Some(Kind::Map(of_new))) => {
            let only_new = of_new.iter().filter(|entry| of_old.iter().all(|other| other.key != entry.key));
            for entry in of_old.iter().chain(only_new) {
                let below = if at.is_empty() { entry.key.clone() } else { format!("{at}.{}", entry.key) };
                let get = |node: Option<&Node>| node.and_then(|node| node.get(&entry.key)).cloned();
                paths(get(old).as_ref(), get(new).as_ref(), &below, found);
            }
        }
        _ if old.map(Node::value) == new.map(Node::value) => {}
        _ => found.push(at.to_owned()),
    }
}

/// Whether a reload changes it, or it changes nothing by itself.
fn taken_over(path: &str) -> bool {
    let mut parts = path.split('.');
    match (parts.next(), parts.next()) {
        (Some("limits"), Some(key)) => GUARDS.contains(&key),
        (Some(first), _) => LISTS.contains(&first) || first.starts_with("x-"),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};

    const OLD: &str = "
kafka: {brokers: [a:1], consumer_group_id: g, topics: [t]}
limits: {max_concurrent_actions: 4, budget: {at_most: 1, within: 1h}}
incident_conditions:
- {name: one, tags: {alert_type: oozie, site: x}, incident_actions: [hook]}
- {name: two, tags: {alert_type: hdfs}}
- {name: three}
incident_actions: [{name: hook, type: webhook, url: 'http://a/'}]
";

    fn node(text: &str) -> Node {
        parse(text, &Mistakes::default()).expect("YAML")
    }

    fn difference(new: &str) -> Difference {
        let old = node(OLD);
        Difference::between(&old, &old, &node(new))
    }

    #[test]
    fn the_same_rules_in_other_lines_are_no_difference() {
        let moved = format!("# a comment\n\n{}", OLD.replace("{name: three}", "{ name: 'three' }"));
        let same = difference(&moved);
        assert!(same.is_empty() && same.lines().is_empty() && same.needs_restart().is_empty(), "{same:?}");
        assert_eq!(same.to_string(), "no rule changed");
    }

    #[test]
    fn rules_are_told_by_their_names_and_settings_by_their_paths() {
        let new = OLD
            .replace("alert_type: oozie, site: x", "alert_type: [oozie, hive]")
            .replace("- {name: two, tags: {alert_type: hdfs}}\n- {name: three}\n", "- {name: three}\n- {name: four}\n")
            .replace("http://a/", "http://token@b/")
            .replace("at_most: 1", "at_most: 2");
        let difference = difference(&new);
        assert_eq!(
            difference.lines(),
            [
                "condition `four` added",
                "condition `two` removed",
                "condition `one` changed: tags.alert_type, tags.site",
                "action `hook` of incident_actions changed: url",
                "guards changed: limits.budget.at_most",
            ]
        );
        assert_eq!(
            difference.to_string(),
            "1 condition added, 1 condition removed, 1 condition changed, 1 action changed, guards changed"
        );
        assert!(!difference.to_json().to_string().contains("token"), "no value is told");
        assert_eq!(difference.to_json()["incident_conditions"]["added"], json!(["four"]));
    }

    #[test]
    fn another_order_of_conditions_is_a_difference() {
        let new = OLD.replace("- {name: three}\n", "").replace("- {name: one", "- {name: three}\n- {name: one");
        assert_eq!(difference(&new).lines(), ["conditions are tried in another order"]);
    }

    #[test]
    fn what_needs_a_restart_is_named_until_there_was_one() {
        let new = OLD.replace("[a:1]", "[b:1]").replace("max_concurrent_actions: 4", "max_concurrent_actions: 5")
            + "storage: {path: /l}\nx-anchor: {a: 1}\n";
        let first = difference(&new);
        assert!(first.is_empty());
        assert_eq!(first.needs_restart(), ["kafka.brokers", "limits.max_concurrent_actions", "storage"]);
        // Rules of that file are in force now; the process still is the one that was started with the old one.
        let again = Difference::between(&node(&new), &node(OLD), &node(&new));
        assert_eq!(again.needs_restart(), first.needs_restart());
    }
}
