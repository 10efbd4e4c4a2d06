//! `explain`: one record, every condition with its evidence, and what would be done about it. Nothing is done.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::condition::{Match, Memory};
use crate::incident::Incident;
use crate::pipeline::wall_clock_ms;
use crate::plan::Plan;

use super::books::Held;
use super::{Answer, Form, Loaded, Options, Told, cannot, loaded, read, stage};

/// Explains the record in a file (`-`: standard input) at a moment, now when not given, in seconds since the epoch.
pub fn explain(options: &Options, record: &Path, at: Option<i64>, form: Form, out: &mut dyn Write) -> Answer {
    let rules = loaded(options)?;
    let bytes = read(record)?;
    let not_one = |error| cannot(format_args!("{} is not an incident: {error}", record.display()));
    let incident = Incident::parse(&bytes).map_err(not_one)?.into_owned();
    let now = at.unwrap_or_else(|| wall_clock_ms().div_euclid(1000));
    let (memory, unknown) = remembered(&rules, now);
    let explanation = rules.conditions.explain_with(&incident, now, &memory);
    let matched: Option<Match> = rules.conditions.decide_with(&incident, now, &memory).matched;
    let id = incident.id.to_string();
    let plan = matched.as_ref().map(|matched| Plan::new(incident, matched, &rules.actions));
    if form.json {
        let told = json!({
            "incident": id,
            "at": now,
            "matched": explanation.matched,
            "undecided": explanation.undecided,
            "not_remembered": unknown,
            "conditions": explanation.conditions,
            "steps": plan.as_ref().map_or_else(Vec::new, steps),
        });
        writeln!(out, "{told}")?;
    } else {
        write!(out, "{}", painted(&explanation.to_string(), form.colour))?;
        if let Some(why) = &unknown {
            writeln!(out, "\nas if nothing had been seen before: {why}")?;
        }
        if let Some(plan) = &plan {
            writeln!(out, "\nplanned for incident {id}; a fallback is taken only when something before it failed:")?;
            for step in &plan.steps {
                let request = step.request.clone().unwrap_or_else(|why| format!("cannot be made: {why}"));
                writeln!(out, "  {:18} {:20} {request}", stage(step.stage), step.definition.name)?;
            }
        }
    }
    Ok(if plan.is_some() { Told::Yes } else { Told::Differs })
}

/// What the conditions remember, or why that is not known.
fn remembered(rules: &Loaded, now: i64) -> (Memory, Option<String>) {
    if !rules.conditions.look_back() {
        return (Memory::default(), None);
    }
    let held = Held::open(&rules.config).and_then(|opened| {
        opened.map_err(|holder| {
            cannot(format_args!("the ledger {} is held by {holder}", rules.config.storage.path.display()))
        })
    });
    let notes = held.and_then(|held| held.notes());
    let memory = notes.and_then(|notes| {
        let notes = notes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        rules.conditions.recall(notes, now).map_err(cannot)
    });
    match memory {
        Ok(memory) => (memory, None),
        Err(why) => (Memory::default(), Some(why.to_string())),
    }
}

fn steps(plan: &Plan) -> Vec<Value> {
    let one = |step: &crate::plan::Step| {
        let (request, problem) = match &step.request {
            Ok(request) => (Some(request), None),
            Err(why) => (None, Some(why)),
        };
        json!({
            "episode": &*step.episode,
            "stage": stage(step.stage),
            "action": &*step.definition.name,
            "type": step.definition.type_name,
            "request": request,
            "problem": problem,
        })
    };
    plan.steps.iter().map(one).collect()
}

/// The verdict at the head of a line in its colour.
fn painted(text: &str, colour: bool) -> String {
    let paint = |line: &str| {
        let verdict = line.split_whitespace().next().unwrap_or_default();
        let code = match verdict {
            "true" => "32",
            "false" => "31",
            "missing" => "33",
            _ => return format!("{line}\n"),
        };
        format!("{}\n", line.replacen(verdict, &format!("\u{1b}[{code}m{verdict}\u{1b}[0m"), 1))
    };
    if colour { text.lines().map(paint).collect() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_comes_only_when_asked_for() {
        assert_eq!(painted("c\n  true    active\n", false), "c\n  true    active\n");
        assert_eq!(painted("  false   active", true), "  \u{1b}[31mfalse\u{1b}[0m   active\n");
    }
}
