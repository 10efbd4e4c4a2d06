//! Budgets as they stand, for whoever looks: of every budget in the rules the target that has used most of it.

use std::time::Duration;

use crate::action::Scope;
use crate::guard::{Count, Own, What};
use crate::pipeline::domain::Domain;

/// How much of a budget is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Whose it is: `limits budget`, `condition oozie fleet`.
    pub owner: String,
    /// Which target; empty where it does not count by target.
    pub target: String,
    /// Attempts, or different targets.
    pub used: usize,
    /// How many are allowed.
    pub at_most: usize,
    /// Within this time; `None`: at a time.
    pub within: Option<Duration>,
}

impl Budget {
    fn new(owner: String, what: What, (target, used): (String, usize)) -> Self {
        let (at_most, within) = match what {
            What::Attempts { at_most, within } | What::Fleet { at_most, within } => (at_most, Some(within)),
            What::Concurrent { at_most } => (at_most, None),
        };
        Self { owner, target, used, at_most, within }
    }
}

/// Every budget of the rules, with what `used` says of it.
pub(crate) fn budgets(domain: &Domain, used: impl Fn(&str, What) -> (String, usize)) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let mut add = |owner: &str, own: &Own| {
        budgets.extend(own.counts.iter().map(|Count { what, .. }| {
            let owner = format!("{owner} {}", what.key());
            let most = used(&owner, *what);
            Budget::new(owner, *what, most)
        }));
    };
    let rules = domain.rulebook.now();
    add("limits", &rules.guards.all);
    for condition in rules.conditions.iter() {
        add(&format!("condition {}", condition.name), &condition.guards);
    }
    for scope in [Scope::Incident, Scope::Alert] {
        for name in rules.definitions.names(scope) {
            if let Some(definition) = rules.definitions.get(scope, name) {
                add(&format!("{} {name}", scope.key()), &definition.guards);
            }
        }
    }
    budgets
}
