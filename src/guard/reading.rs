//! The incident as it is at this moment, and whether that still asks for an action.

use crate::guard::{Freshness, Guard, Refusal, Then};

/// What reading the incident again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// The step asks nothing of the incident: it gives back what was taken, or only looks.
    NotNeeded,
    /// It cannot be told how the incident is.
    Failed(String),
    /// It is like this.
    Is(Snapshot),
}

/// What matters of an incident. `None` is what the answer did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// It goes on.
    pub active: Option<bool>,
    /// Somebody snoozed it.
    pub snoozed: Option<bool>,
    /// It is in a maintenance window.
    pub in_maintenance: Option<bool>,
    /// The id of the user it is assigned to.
    pub assignee: Option<String>,
    /// The names of its tags.
    pub tags: Vec<String>,
    /// The texts of its latest comments.
    pub comments: Vec<String>,
}

/// Whether an attempt may follow the reading.
pub(super) fn check(reading: &Reading, rule: &Freshness) -> Result<(), Refusal> {
    let now = match reading {
        Reading::Is(now) => now,
        Reading::NotNeeded => return Ok(()),
        Reading::NotAsked => return refuse(Then::Hold, "the incident was not read again".to_owned()),
        Reading::Failed(why) => return refuse(Then::Hold, format!("the incident cannot be read again: {why}")),
    };
    if now.active != Some(true) {
        let is = if now.active.is_none() { "does not say whether it is active" } else { "is not active any more" };
        return refuse(Then::Skip, format!("the incident {is}"));
    }
    if now.snoozed == Some(true) {
        return refuse(Then::Skip, "the incident is snoozed".to_owned());
    }
    if now.in_maintenance == Some(true) {
        return refuse(Then::Skip, "the incident is in maintenance".to_owned());
    }
    if let Some(person) = now.assignee.as_ref().filter(|who| rule.service_account.as_ref() != Some(*who)) {
        return refuse(Then::Skip, format!("the incident is assigned to {person}"));
    }
    if let Some(tag) = rule.hold_tag.as_ref().filter(|tag| now.tags.contains(tag)) {
        return refuse(Then::Skip, format!("the incident has the tag `{tag}`"));
    }
    if let Some(mark) = rule.hold_comment.as_ref().filter(|mark| now.comments.iter().any(|text| text.contains(*mark))) {
        return refuse(Then::Skip, format!("a comment says `{mark}`"));
    }
    Ok(())
}

fn refuse(then: Then, why: String) -> Result<(), Refusal> {
    Err(Refusal { guard: Guard::Freshness, then, why })
}
