//! What a configuration defines and nothing in it uses: actions that no condition names, secrets that stand nowhere.

use crate::action::{Definitions, Scope};
use crate::condition::{ActionRef, Conditions};
use crate::secret;
use crate::yaml::{Mistakes, Node, Position};

/// Warns of both; what is used in any doubtful way counts as used.
pub(super) fn warn(document: &Node, conditions: &Conditions, actions: &Definitions, mistakes: &Mistakes) {
    for scope in [Scope::Incident, Scope::Alert] {
        let unused: Vec<_> = actions.names(scope).filter(|name| !is_used(scope, name, conditions, actions)).collect();
        let mut places: Vec<_> = unused.iter().filter_map(|name| Some((actions.get(scope, name)?.at, *name))).collect();
        places.sort_unstable();
        if let Some((first, _)) = places.first() {
            let told: Vec<_> = places.iter().map(|(at, name)| format!("`{name}` (line {})", at.line)).collect();
            mistakes.warn(scope.key(), *first, format!("used by no condition: {}", told.join(", ")));
        }
    }
    for (path, at, name) in secrets(document) {
        if !stands(document, name) {
            mistakes.warn(path, at, format!("nothing uses the secret `{name}`"));
        }
    }
}

/// A condition names it, or it follows where another one has not helped.
fn is_used(scope: Scope, name: &str, conditions: &Conditions, actions: &Definitions) -> bool {
    let among = |list: &[ActionRef]| list.iter().any(|action| *action.name == *name);
    let named = conditions.iter().any(|condition| match scope {
        Scope::Incident => among(&condition.incident_actions) || among(&condition.incident_fallback_actions),
        Scope::Alert => among(&condition.alert_actions) || among(&condition.alert_fallback_actions),
    });
    let escalations = actions.iter().filter(|action| action.scope == scope).filter_map(|action| action.verify.as_ref());
    named || escalations.filter_map(|verify| verify.escalate.as_deref()).any(|escalate| escalate == name)
}

/// The names under `secrets` with their places.
fn secrets(document: &Node) -> impl Iterator<Item = (String, Position, &str)> {
    let list = document.get("secrets").and_then(Node::as_list).unwrap_or_default();
    list.iter().enumerate().filter_map(|(index, secret)| {
        let name = secret.get("name")?;
        Some((format!("secrets[{index}]"), name.at(), name.text()?))
    })
}

/// `$secret:NAME` stands somewhere, or the bare name outside `secrets`, as settings such as `auth_secret` have it.
fn stands(document: &Node, name: &str) -> bool {
    let mut found = false;
    for entry in document.as_map().unwrap_or_default() {
        entry.value.each_scalar(&entry.key, &mut |_, _, text| {
            let bare = entry.key != "secrets" && text == name;
            found = found || bare || secret::names(text).any(|used| used == name);
        });
    }
    found
}
