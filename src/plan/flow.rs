//! Which step comes next, from the plan and how its steps stand. Pure and without memory.
//!
//! Incident actions in order; then for each supported alert its actions in order. A failure stops what depends on it,
//! unless `continue_on_failure`: an incident action everything after it, an alert action the rest of its alert (and with `fail_fast`
//! the other alerts). Then the fallbacks: of each alert that failed, and of the incident if anything failed. A step
//! that is held stops what depends on it without failing it: when a person has settled it, the next snapshot goes on.

use crate::ledger::Terminal;
use crate::plan::{Plan, Stage};

/// How a step stands.
pub type Standing = Option<Terminal>;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Take this step.
    Run(usize),
    /// Record that this step is not taken.
    Skip {
        /// The step.
        step: usize,
        /// Why.
        reason: String,
    },
    /// Nothing is left to do.
    Finished(Tally),
}

/// How the steps of a finished flow ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Done.
    pub succeeded: usize,
    /// Failed for good.
    pub failed: usize,
    /// Deliberately not done.
    pub skipped: usize,
    /// Waiting for a person.
    pub held: usize,
    /// Checks that found what they look for.
    pub found: usize,
}

/// The next step. `standings` has one entry per step of the plan.
pub fn next(plan: &Plan, standings: &[Standing]) -> Next {
    let view = View { plan, standings };
    (0..plan.steps.len()).find_map(|step| view.judge(step)).unwrap_or_else(|| Next::Finished(tally(standings)))
}

struct View<'a> {
    plan: &'a Plan,
    standings: &'a [Standing],
}

impl View<'_> {
    /// What to do about a step now, if anything. The incident's fallbacks stand last, so everything else has ended by then.
    fn judge(&self, step: usize) -> Option<Next> {
        if self.standings.get(step).copied().flatten().is_some() {
            return None;
        }
        match self.plan.steps.get(step)?.stage {
            Stage::Incident => self.regular(step, |stage| stage == Stage::Incident),
            Stage::Alert(alert) => self.of_alert(step, alert),
            Stage::AlertFallback(alert) => {
                self.any(Terminal::Failed, |stage| stage == Stage::Alert(alert)).then_some(Next::Run(step))
            }
            Stage::IncidentFallback => {
                let regular = |stage| matches!(stage, Stage::Incident | Stage::Alert(_));
                self.any(Terminal::Failed, regular).then_some(Next::Run(step))
            }
        }
    }

    fn of_alert(&self, step: usize, alert: usize) -> Option<Next> {
        let other_failed = self.any(Terminal::Failed, |stage| matches!(stage, Stage::Alert(other) if other != alert));
        let begun =
            self.standings.iter().zip(&self.plan.steps).any(|(s, of)| s.is_some() && of.stage == Stage::Alert(alert));
        if self.plan.condition.fail_fast && other_failed && !begun {
            return Some(Next::Skip { step, reason: "another alert failed, and fail_fast is on".to_owned() });
        }
        self.regular(step, |stage| stage == Stage::Incident || stage == Stage::Alert(alert))
    }

    /// A step that depends on the earlier steps of some stages.
    fn regular(&self, step: usize, depends_on: impl Fn(Stage) -> bool) -> Option<Next> {
        let earlier = self.plan.steps.iter().zip(self.standings).take(step).filter(|(of, _)| depends_on(of.stage));
        let mut failed = None;
        for (of, standing) in earlier {
            match standing {
                Some(Terminal::Succeeded) => {}
                Some(Terminal::Failed | Terminal::Skipped | Terminal::Found) => failed = failed.or(Some(of)),
                // Not begun means that it waits for something held; held waits for a person.
                Some(Terminal::Held) | None => return None,
            }
        }
        match failed {
            Some(of) if !self.plan.condition.continue_on_failure => {
                Some(Next::Skip { step, reason: format!("`{}` before it did not succeed", of.definition.name) })
            }
            Some(_) | None => Some(Next::Run(step)),
        }
    }

    fn any(&self, standing: Terminal, of: impl Fn(Stage) -> bool) -> bool {
        self.plan.steps.iter().zip(self.standings).any(|(step, is)| *is == Some(standing) && of(step.stage))
    }
}

fn tally(standings: &[Standing]) -> Tally {
    let count = |how| standings.iter().filter(|standing| **standing == Some(how)).count();
    Tally {
        succeeded: count(Terminal::Succeeded),
        failed: count(Terminal::Failed),
        skipped: count(Terminal::Skipped),
        held: count(Terminal::Held),
        found: count(Terminal::Found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Definitions, Surroundings};
    use crate::condition::Conditions;
    use crate::incident::Incident;
    use crate::yaml::{Mistakes, parse};

    fn plan(extra: &str) -> Plan {
        let text = format!(
            r#"
incident_conditions:
  - name: c
    active: true
    incident_actions: [one, two]
    alert_actions: [fix, check]
    alert_fallback_actions: [tell]
    incident_fallback_actions: [two]
{extra}
incident_actions:
  - {{name: one, type: webhook, url: "http://t/one"}}
  - {{name: two, type: webhook, url: "http://t/two/{{{{team}}}}"}}
alert_actions:
  - {{name: fix, type: webhook, url: "http://t/fix/{{{{alert.id}}}}"}}
  - {{name: check, type: webhook, url: "http://t/check"}}
  - {{name: tell, type: webhook, url: "http://t/tell"}}
"#
        );
        let mistakes = Mistakes::default();
        let root = parse(&text, &mistakes).unwrap();
        let (incident_actions, alert_actions) = (root.get("incident_actions"), root.get("alert_actions"));
        let definitions = Definitions::read(incident_actions, alert_actions, &Surroundings::default(), &mistakes);
        let conditions = Conditions::compile(root.get("incident_conditions"), "incident_conditions", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let incident = Incident::parse(
            br#"{"id": "i", "active": true, "startedOn": 5, "incident_tags": [{"id": "team", "value": "sre"}],
                "alerts": [{"id": "a", "startedOn": 6}, {"id": "b"}]}"#,
        )
        .unwrap();
        let matched = conditions.decide(&incident, 100).matched.expect("matches");
        Plan::new(incident.into_owned(), &matched, &definitions)
    }

    /// Runs the flow; `answer` says how each step that runs ends. The steps in order, with how they ended.
    fn flow(plan: &Plan, answer: impl Fn(&str) -> Terminal) -> Vec<String> {
        let mut standings = vec![None; plan.steps.len()];
        let mut story = Vec::new();
        loop {
            let (step, how) = match next(plan, &standings) {
                Next::Run(step) => (step, answer(&plan.steps[step].episode)),
                Next::Skip { step, .. } => (step, Terminal::Skipped),
                Next::Finished(_) => return story,
            };
            standings[step] = Some(how);
            story.push(format!("{} {}", plan.steps[step].episode, how.name()));
        }
    }

    fn fails<'f>(failing: &'f [&'f str]) -> impl Fn(&str) -> Terminal + 'f {
        |episode| if failing.contains(&episode) { Terminal::Failed } else { Terminal::Succeeded }
    }

    #[test]
    fn keys_and_requests_come_from_the_incident() {
        let plan = plan("");
        let keys: Vec<_> = plan.steps.iter().map(|step| &*step.episode).collect();
        assert_eq!(
            keys,
            [
                "i/-/5/c/one",
                "i/-/5/c/two",
                "i/a/6/c/fix",
                "i/a/6/c/check",
                "i/a/6/c/fallback:tell",
                "i/b/5/c/fix",
                "i/b/5/c/check",
                "i/b/5/c/fallback:tell",
                "i/-/5/c/fallback:two"
            ]
        );
        assert_eq!(plan.steps[0].request, Ok("POST http://t/one".to_owned()));
    }

    #[test]
    fn all_goes_well_without_fallbacks() {
        assert_eq!(
            flow(&plan(""), fails(&[])),
            [
                "i/-/5/c/one succeeded",
                "i/-/5/c/two succeeded",
                "i/a/6/c/fix succeeded",
                "i/a/6/c/check succeeded",
                "i/b/5/c/fix succeeded",
                "i/b/5/c/check succeeded"
            ]
        );
    }

    #[test]
    fn an_alert_that_fails_falls_back_and_the_other_goes_on() {
        assert_eq!(
            flow(&plan(""), fails(&["i/a/6/c/fix"]))[2..],
            [
                "i/a/6/c/fix failed",
                "i/a/6/c/check skipped",
                "i/a/6/c/fallback:tell succeeded",
                "i/b/5/c/fix succeeded",
                "i/b/5/c/check succeeded",
                "i/-/5/c/fallback:two succeeded"
            ]
        );
    }

    #[test]
    fn an_incident_action_that_fails_stops_all_that_follows() {
        assert_eq!(
            flow(&plan(""), fails(&["i/-/5/c/one"])),
            [
                "i/-/5/c/one failed",
                "i/-/5/c/two skipped",
                "i/a/6/c/fix skipped",
                "i/a/6/c/check skipped",
                "i/b/5/c/fix skipped",
                "i/b/5/c/check skipped",
                "i/-/5/c/fallback:two succeeded"
            ]
        );
    }

    #[test]
    fn continue_on_failure_goes_on_and_still_falls_back() {
        let story = flow(&plan("    continue_on_failure: true"), fails(&["i/-/5/c/one", "i/a/6/c/fix"]));
        assert!(story.contains(&"i/a/6/c/check succeeded".to_owned()), "{story:?}");
        assert!(story.contains(&"i/-/5/c/fallback:two succeeded".to_owned()), "{story:?}");
    }

    #[test]
    fn fail_fast_starts_no_further_alert() {
        let story = flow(&plan("    fail_fast: true"), fails(&["i/a/6/c/check"]));
        assert!(story.contains(&"i/b/5/c/fix skipped".to_owned()), "{story:?}");
    }

    #[test]
    fn what_is_held_stops_the_rest_of_its_alert_without_an_entry() {
        let story =
            flow(&plan(""), |episode| if episode == "i/a/6/c/fix" { Terminal::Held } else { Terminal::Succeeded });
        assert!(!story.iter().any(|line| line.contains("/a/6/c/check")), "{story:?}");
        assert!(story.contains(&"i/b/5/c/check succeeded".to_owned()), "{story:?}");
        assert!(!story.iter().any(|line| line.contains("fallback")), "{story:?}");
    }
}
