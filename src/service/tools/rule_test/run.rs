//! One test held against the rules. Pure: rules and a test in, what is not as expected out.

use std::fmt::Write as _;

use crate::action::Definitions;
use crate::condition::{Conditions, Coverage, Explained, Explanation, Match, Memory, Verdict};
use crate::incident::{Alert, Incident};
use crate::plan::{Plan, Stage, Step as Planned};
use crate::yaml::Position;

use super::file::{End, Expected, RuleTest};

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The expectation.
    pub(super) at: Position,
    pub(super) what: String,
}

/// What came of a record.
struct Came<'c> {
    explanation: Explanation,
    matched: Option<&'c Match>,
    plan: Option<Plan>,
    alerts: Vec<String>,
}

/// Decides the records of a test one after the other and says what is not as expected.
pub(super) fn run(
    test: &RuleTest,
    conditions: &Conditions,
    actions: &Definitions,
    coverage: &mut Coverage,
) -> Vec<Failure> {
    let mut memory = Memory::default();
    let mut failures = Vec::new();
    for (number, step) in (1..).zip(&test.steps) {
        let (incident, now) = (&step.incident, step.now);
        coverage.see(conditions, incident, now, &memory);
        let explanation = conditions.explain_with(incident, now, &memory);
        // What it makes the conditions remember must reach the disk before the record is done; here there is none.
        let (decision, _notes) = conditions.decide_remembering(incident, now, &mut memory);
        let matched = decision.matched.as_ref();
        let plan = matched.map(|matched| Plan::new(incident.clone(), matched, actions));
        let alerts = matched.map_or_else(Vec::new, |matched| supported(incident, matched));
        let came = Came { explanation, matched, plan, alerts };
        let which = if test.steps.len() > 1 { format!("step {number}: ") } else { String::new() };
        let told = came.held_against(&step.expected).into_iter();
        failures.extend(told.map(|what| Failure { at: step.expected.at, what: format!("{which}{what}") }));
    }
    failures
}

impl Came<'_> {
    fn held_against(&self, expected: &Expected) -> Vec<String> {
        let end = self.end();
        if end != expected.end {
            return vec![self.other_end(&expected.end, &end)];
        }
        let mut wrong = Vec::new();
        let mut same = |what: &str, wanted: &Option<Vec<String>>, found: &[String]| {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.as_slice() != found) {
                wrong.push(format!("expected the {what} [{}], found [{}]", wanted.join(", "), found.join(", ")));
            }
        };
        same("actions", &expected.actions, &self.names(false));
        same("steps of the flow", &expected.flow, &self.names(true));
        same("alerts", &expected.alerts, &self.alerts);
        if let End::Matched(name) | End::Undecided(name) = &end {
            wrong.extend(expected.why.iter().filter_map(|text| self.lacks(name, text)));
        }
        for (name, texts) in &expected.why_not {
            if self.matched.is_some_and(|matched| matched.condition.name == *name) {
                wrong.push(format!("expected reasons why `{name}` does not match, but it does"));
            } else {
                wrong.extend(texts.iter().filter_map(|text| self.lacks(name, text)));
            }
        }
        wrong.extend(self.requests(&expected.requests));
        wrong
    }

    fn end(&self) -> End {
        let undecided = self.explanation.undecided.clone().map_or(End::Nothing, End::Undecided);
        self.matched.map_or(undecided, |matched| End::Matched(matched.condition.name.clone()))
    }

    fn other_end(&self, expected: &End, found: &End) -> String {
        let words = |end: &End| match end {
            End::Matched(name) => format!("`{name}`"),
            End::Nothing => "no condition".to_owned(),
            End::Undecided(name) => format!("no decision because of `{name}`"),
        };
        let mut said = format!("expected {}, found {}", words(expected), words(found));
        for end in [expected, found] {
            if let End::Matched(name) | End::Undecided(name) = end {
                let _ = write!(said, "\n`{name}`{}", listed(&self.reasons(name)));
            }
        }
        said
    }

    /// What is wrong when no reason of a condition contains the text.
    fn lacks(&self, name: &str, text: &str) -> Option<String> {
        let reasons = self.reasons(name);
        let found = reasons.iter().any(|reason| reason.contains(text));
        (!found).then(|| format!("no reason of `{name}` contains `{text}`{}", listed(&reasons)))
    }

    /// Why a condition matches or not: every test that decided, and a condition before it.
    fn reasons(&self, name: &str) -> Vec<String> {
        let Some(explained) = self.explanation.conditions.iter().find(|explained| explained.name == name) else {
            return Vec::new();
        };
        let Explained { shadowed, evidence, .. } = explained;
        let decides = self.explanation.matched.as_ref().or(self.explanation.undecided.as_ref());
        let before = decides.filter(|_| *shadowed).map(|first| format!("an earlier condition decides: {first}"));
        // A condition that would match does not lack anything but its turn.
        let own = if *shadowed && evidence.verdict == Verdict::True { Vec::new() } else { evidence.reasons() };
        own.into_iter().chain(before).collect()
    }

    /// The steps that are begun when all goes well, of the flow or of the configuration.
    fn sure(&self, of_flow: bool) -> impl Iterator<Item = &Planned> {
        let steps = self.plan.iter().flat_map(|plan| &plan.steps);
        steps.filter(move |step| match step.stage {
            Stage::Incident | Stage::Alert(_) => !of_flow && !step.is_verification(),
            Stage::Assign | Stage::Split | Stage::Resolve => of_flow,
            Stage::AlertFallback(_) | Stage::Escalation | Stage::IncidentFallback | Stage::Unassign => false,
        })
    }

    fn names(&self, of_flow: bool) -> Vec<String> {
        let mut names = Vec::new();
        for step in self.sure(of_flow) {
            let name = match step.stage {
                Stage::Assign => "assign",
                Stage::Split => "split",
                Stage::Resolve => "resolve",
                _ => &step.definition.name,
            };
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Requests that do not contain what they should, and those that cannot be made although nobody expects that.
    fn requests(&self, expected: &[(String, Vec<String>)]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, texts) in expected {
            let made: Vec<String> =
                self.sure(false).filter(|step| *step.definition.name == **name).map(request).collect();
            let lacking = texts.iter().filter(|text| !made.iter().any(|made| made.contains(text.as_str())));
            wrong.extend(lacking.map(|text| format!("no request of `{name}` contains `{text}`{}", listed(&made))));
        }
        let unexpected =
            self.sure(false).filter(|step| !expected.iter().any(|(name, _)| **name == *step.definition.name));
        wrong.extend(
            unexpected
                .filter(|step| step.request.is_err())
                .map(|step| format!("the request of `{}` {}", step.definition.name, request(step))),
        );
        wrong
    }
}

/// What follows a colon: one in the line, several below it.
fn listed(reasons: &[String]) -> String {
    match reasons {
        [] => ": it has none".to_owned(),
        [only] => format!(": {only}"),
        several => several.iter().fold(":".to_owned(), |told, reason| told + "\n  " + reason),
    }
}

fn request(step: &Planned) -> String {
    step.request.clone().unwrap_or_else(|why| format!("cannot be made: {why}"))
}

fn supported(incident: &Incident<'_>, matched: &Match) -> Vec<String> {
    let name = |index: &usize| {
        let alert: Option<&Alert<'_>> = incident.alerts.get(*index);
        alert.and_then(|alert| alert.id.as_deref()).map_or_else(|| format!("#{index}"), str::to_owned)
    };
    matched.supported_alerts.iter().map(name).collect()
}
