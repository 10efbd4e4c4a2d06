//! Which step comes next, from the plan and how its steps stand. Pure and without memory.
//!
//! The incident is assigned to the service's account. Incident actions in order; alerts that no condition supports are
//! split off; then for each supported alert its actions in order, alerts side by side where the condition allows it. A
//! failure stops what depends on it, unless `continue_on_failure`: an incident action everything after it, an alert action the rest
//! of its alert (and with `fail_fast` the alerts that have not begun). When everything has succeeded the incident is
//! resolved; when something has failed come the fallbacks of each alert that failed, and of the incident. What was not
//! resolved is unassigned. Assigning is a courtesy to people: the flow goes on where it does not work.
//!
//! A check that finds something ends the flow (an alert's check that of its alert) without failing it. A step that
//! is held stops what depends on it without failing it: when a person has settled it, the next snapshot goes on.

use crate::ledger::Terminal;
use crate::plan::{Plan, Stage};

/// Alerts worked on at a time where `parallel_alert_processing` is on and nothing else is said.
const CONCURRENT_ALERTS: usize = 4;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not begun.
    Waiting,
    /// Being taken.
    Running,
    /// It has ended.
    Ended(Terminal),
}

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
    /// Nothing may begin before one of the running steps has ended.
    Wait,
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

impl Tally {
    /// The same but for steps that were skipped because they had been done before.
    #[must_use]
    pub fn without_skipped(self, done_before: usize) -> Self {
        Self { skipped: self.skipped.saturating_sub(done_before), ..self }
    }
}

/// The next step. `standings` has one entry per step of the plan.
pub fn next(plan: &Plan, standings: &[Standing]) -> Next {
    let mut view = View { plan, standings, fates: Vec::with_capacity(plan.steps.len()) };
    let mut first = None;
    for step in 0..plan.steps.len() {
        let fate = match standings.get(step) {
            Some(Standing::Ended(how)) => Fate::Ended(*how),
            Some(Standing::Running) => Fate::Open,
            Some(Standing::Waiting) | None => match view.judge(step) {
                Judgement::Now(next) => {
                    first = first.or(Some(next));
                    Fate::Open
                }
                Judgement::Later => Fate::Open,
                Judgement::Never => Fate::NotTaken,
            },
        };
        view.fates.push(fate);
    }
    let running = standings.contains(&Standing::Running);
    first.unwrap_or_else(|| if running { Next::Wait } else { Next::Finished(tally(standings)) })
}

/// What is to be said of a step, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It may still be taken, or is.
    Open,
    /// It has ended.
    Ended(Terminal),
    /// It is not taken, and nothing is recorded of it: a fallback without a failure, or a step behind one that is held.
    NotTaken,
}

enum Judgement {
    Now(Next),
    Later,
    Never,
}

/// The steps before the one that is judged have their fates: what a step depends on stands before it.
struct View<'a> {
    plan: &'a Plan,
    standings: &'a [Standing],
    fates: Vec<Fate>,
}

impl View<'_> {
    fn judge(&self, step: usize) -> Judgement {
        let Some(of) = self.plan.steps.get(step) else { return Judgement::Never };
        match of.stage {
            Stage::Assign => Judgement::Now(Next::Run(step)),
            Stage::Incident => self.regular(step, |stage| stage == Stage::Incident),
            Stage::Split => self.regular(step, |stage| stage == Stage::Incident),
            Stage::Alert(alert) => self.of_alert(step, alert),
            Stage::Escalation => self.after_failure_of_previous(step),
            Stage::AlertFallback(alert) => self.when(
                step,
                |stage| stage == Stage::Alert(alert),
                |fates| fates.contains(&Fate::Ended(Terminal::Failed)),
            ),
            Stage::Resolve => {
                self.when(step, regular, |fates| fates.iter().all(|fate| *fate == Fate::Ended(Terminal::Succeeded)))
            }
            Stage::IncidentFallback => self.when(step, all_but_assign, |_| {
                self.fates_of(|stage| regular(stage) || stage == Stage::Resolve)
                    .contains(&Fate::Ended(Terminal::Failed))
            }),
            Stage::Unassign => self.when(
                step,
                |_| true,
                |_| {
                    let is = |stage| self.fates_of(|of| of == stage).contains(&Fate::Ended(Terminal::Succeeded));
                    is(Stage::Assign) && !is(Stage::Resolve)
                },
            ),
        }
    }

    /// A step that is taken under a condition which is known when the steps of some stages are settled.
    fn when(&self, step: usize, after: impl Fn(Stage) -> bool, holds: impl FnOnce(&[Fate]) -> bool) -> Judgement {
        let fates = self.fates_of(after);
        if fates.contains(&Fate::Open) {
            Judgement::Later
        } else if holds(&fates) {
            Judgement::Now(Next::Run(step))
        } else {
            Judgement::Never
        }
    }

    fn after_failure_of_previous(&self, step: usize) -> Judgement {
        match step.checked_sub(1).and_then(|previous| self.fates.get(previous)) {
            Some(Fate::Open) => Judgement::Later,
            Some(Fate::Ended(Terminal::Failed)) => Judgement::Now(Next::Run(step)),
            Some(Fate::Ended(_) | Fate::NotTaken) | None => Judgement::Never,
        }
    }

    fn of_alert(&self, step: usize, alert: usize) -> Judgement {
        let others = self.fates_of(|stage| matches!(stage, Stage::Alert(other) if other != alert));
        let other_failed = others.contains(&Fate::Ended(Terminal::Failed));
        let begun = self
            .plan
            .steps
            .iter()
            .zip(self.standings)
            .any(|(of, standing)| of.stage == Stage::Alert(alert) && *standing != Standing::Waiting);
        if self.plan.condition.fail_fast && other_failed && !begun {
            return Judgement::Now(Next::Skip { step, reason: "another alert failed, and fail_fast is on".to_owned() });
        }
        let judgement =
            self.regular(step, |stage| matches!(stage, Stage::Incident | Stage::Split) || stage == Stage::Alert(alert));
        match judgement {
            Judgement::Now(Next::Run(_)) if !self.has_room_for(alert) => Judgement::Later,
            other => other,
        }
    }

    /// Whether an alert may be worked on beside those that are. One that is only being verified takes no room.
    fn has_room_for(&self, alert: usize) -> bool {
        let condition = &self.plan.condition;
        let most = if condition.parallel_alert_processing {
            condition.max_concurrent_alerts.unwrap_or(CONCURRENT_ALERTS)
        } else {
            1
        };
        let mut busy: Vec<usize> = Vec::new();
        for (of, standing) in self.plan.steps.iter().zip(self.standings) {
            if let (Stage::Alert(other) | Stage::AlertFallback(other), Standing::Running) = (of.stage, standing)
                && other != alert
                && !of.is_verification()
                && !busy.contains(&other)
            {
                busy.push(other);
            }
        }
        busy.len() < most.max(1)
    }

    /// A step that depends on the earlier steps of some stages.
    fn regular(&self, step: usize, depends_on: impl Fn(Stage) -> bool) -> Judgement {
        if self.fates_of(|stage| stage == Stage::Assign).contains(&Fate::Open) {
            return Judgement::Later;
        }
        let earlier = self.plan.steps.iter().zip(&self.fates).filter(|(of, _)| depends_on(of.stage));
        let (mut failed, mut found) = (None, None);
        for (of, fate) in earlier {
            match fate {
                Fate::Ended(Terminal::Succeeded) => {}
                Fate::Ended(Terminal::Failed | Terminal::Skipped) => failed = failed.or(Some(of)),
                Fate::Ended(Terminal::Found) => found = found.or(Some(of)),
                // Not taken means that it waits for something held; held waits for a person.
                Fate::Ended(Terminal::Held) | Fate::NotTaken => return Judgement::Never,
                Fate::Open => return Judgement::Later,
            }
        }
        let skip = |reason| Judgement::Now(Next::Skip { step, reason });
        match (found, failed) {
            (Some(of), _) => skip(format!("`{}` found what it looks for, so the flow ends there", of.definition.name)),
            (None, Some(of)) if !self.plan.condition.continue_on_failure => {
                skip(format!("`{}` before it did not succeed", of.definition.name))
            }
            (None, Some(_) | None) => Judgement::Now(Next::Run(step)),
        }
    }

    fn fates_of(&self, of: impl Fn(Stage) -> bool) -> Vec<Fate> {
        self.plan.steps.iter().zip(&self.fates).filter(|(step, _)| of(step.stage)).map(|(_, fate)| *fate).collect()
    }
}

/// The stages that the incident's end depends on.
const fn regular(stage: Stage) -> bool {
    matches!(stage, Stage::Incident | Stage::Split | Stage::Alert(_))
}

const fn all_but_assign(stage: Stage) -> bool {
    !matches!(stage, Stage::Assign)
}

fn tally(standings: &[Standing]) -> Tally {
    let count = |how| standings.iter().filter(|standing| **standing == Standing::Ended(how)).count();
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
    use crate::action::{Definitions, Flow, Surroundings};
    use crate::condition::Conditions;
    use crate::incident::Incident;
    use crate::yaml::{Mistakes, parse};

    fn plan(extra: &str) -> Plan {
        planned(extra, Flow::default())
    }

    fn planned(extra: &str, flow: Flow) -> Plan {
        let text = format!(
            r#"
incident_conditions:
  - name: c
    active: true
    alert_conditions: {{any: [{{id: a}}, {{id: b}}]}}
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
        let surroundings = Surroundings { bigpanda: true, flow, ..Surroundings::default() };
        let (incident_actions, alert_actions) = (root.get("incident_actions"), root.get("alert_actions"));
        let definitions = Definitions::read(incident_actions, alert_actions, &surroundings, &mistakes);
        let conditions = Conditions::compile(root.get("incident_conditions"), "incident_conditions", &mistakes);
        assert!(mistakes.is_empty(), "{mistakes}");
        let incident = Incident::parse(
            br#"{"id": "i", "active": true, "startedOn": 5, "incident_tags": [{"id": "team", "value": "sre"}],
                "alerts": [{"id": "a", "startedOn": 6}, {"id": "b"}, {"id": "other", "status": "warning"}]}"#,
        )
        .unwrap();
        let matched = conditions.decide(&incident, 100).matched.expect("matches");
        Plan::new(incident.into_owned(), &matched, &definitions)
    }

    /// Runs the flow; `answer` says how each step that runs ends. The steps in order, with how they ended.
    fn flow(plan: &Plan, answer: impl Fn(&str) -> Terminal) -> Vec<String> {
        let mut standings = vec![Standing::Waiting; plan.steps.len()];
        let mut story = Vec::new();
        loop {
            let (step, how) = match next(plan, &standings) {
                Next::Run(step) => (step, answer(&plan.steps[step].episode)),
                Next::Skip { step, .. } => (step, Terminal::Skipped),
                Next::Wait => unreachable!("nothing runs"),
                Next::Finished(_) => return story,
            };
            standings[step] = Standing::Ended(how);
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

    /// How a step of a story ended.
    fn ended(story: &[String], step: &str) -> Option<String> {
        story.iter().find_map(|line| line.strip_prefix(step)?.strip_prefix(' ').map(str::to_owned))
    }

    const FLOW: [&str; 4] =
        ["i/-/6/c/flow:assign", "i/-/6/c/flow:split", "i/-/6/c/flow:resolve", "i/-/6/c/flow:unassign"];

    #[test]
    fn the_flow_assigns_splits_and_resolves() {
        let story = flow(&planned("", Flow::ALL), fails(&[]));
        let steps: Vec<_> = story.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let expected = [
            FLOW[0],
            "i/-/5/c/one",
            "i/-/5/c/two",
            FLOW[1],
            "i/a/6/c/fix",
            "i/a/6/c/check",
            "i/b/5/c/fix",
            "i/b/5/c/check",
            FLOW[2],
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_has_failed_is_not_resolved_but_given_back_after_the_fallbacks() {
        let story = flow(&planned("", Flow::ALL), fails(&["i/b/5/c/fix"]));
        assert_eq!(ended(&story, FLOW[2]), None);
        let last = [format!("{} succeeded", "i/-/5/c/fallback:two"), format!("{} succeeded", FLOW[3])];
        assert_eq!(story[story.len() - 2..], last);
    }

    #[test]
    fn a_resolve_that_fails_falls_back_and_gives_back() {
        let story = flow(&planned("", Flow::ALL), fails(&[FLOW[2]]));
        let last = ["i/-/6/c/flow:resolve failed", "i/-/5/c/fallback:two succeeded", "i/-/6/c/flow:unassign succeeded"];
        assert_eq!(story[story.len() - 3..], last);
    }

    #[test]
    fn an_incident_that_could_not_be_assigned_is_worked_on_and_not_given_back() {
        let story = flow(&planned("", Flow::ALL), fails(&[FLOW[0], "i/a/6/c/fix"]));
        assert_eq!(ended(&story, "i/b/5/c/check").as_deref(), Some("succeeded"));
        assert_eq!(ended(&story, FLOW[3]), None);
    }

    #[test]
    fn a_finding_of_the_incident_ends_the_flow_without_fallbacks() {
        let story = flow(&planned("    continue_on_failure: true", Flow::ALL), |episode| {
            if episode == "i/-/5/c/one" { Terminal::Found } else { Terminal::Succeeded }
        });
        assert_eq!(ended(&story, "i/-/5/c/one").as_deref(), Some("found"));
        assert_eq!(ended(&story, "i/a/6/c/fix").as_deref(), Some("skipped"));
        assert_eq!(ended(&story, FLOW[1]).as_deref(), Some("skipped"));
        assert_eq!(ended(&story, FLOW[2]), None);
        assert_eq!(ended(&story, FLOW[3]).as_deref(), Some("succeeded"));
        assert!(!story.iter().any(|line| line.contains("fallback")), "{story:?}");
    }

    #[test]
    fn a_finding_of_an_alert_ends_that_alert_alone() {
        let story =
            flow(
                &planned("", Flow::ALL),
                |episode| {
                    if episode == "i/a/6/c/fix" { Terminal::Found } else { Terminal::Succeeded }
                },
            );
        assert_eq!(ended(&story, "i/a/6/c/check").as_deref(), Some("skipped"));
        assert_eq!(ended(&story, "i/b/5/c/check").as_deref(), Some("succeeded"));
        assert_eq!(ended(&story, FLOW[2]), None);
        assert!(!story.iter().any(|line| line.contains("fallback")), "{story:?}");
    }

    #[test]
    fn messages_alone_neither_take_nor_resolve_an_incident() {
        let text = "    parallel_alert_processing: false";
        let mut plan = planned(text, Flow::ALL);
        assert!(plan.steps.iter().any(|step| step.stage == Stage::Resolve));
        plan.steps.retain(|step| matches!(step.stage, Stage::Incident));
        assert_eq!(flow(&plan, fails(&[])).len(), 2);
    }

    /// Begins as much as may run at once.
    fn begun(plan: &Plan, standings: &mut [Standing]) -> Vec<String> {
        let mut begun = Vec::new();
        while let Next::Run(step) = next(plan, standings) {
            standings[step] = Standing::Running;
            begun.push(plan.steps[step].episode.to_string());
        }
        begun
    }

    #[test]
    fn alerts_run_side_by_side_only_where_that_is_on_and_as_many_as_allowed() {
        for (extra, together) in [
            ("", 1),
            ("    parallel_alert_processing: true", 2),
            ("    parallel_alert_processing: true\n    max_concurrent_alerts: 1", 1),
        ] {
            let plan = plan(extra);
            let mut standings = vec![Standing::Waiting; plan.steps.len()];
            for step in 0..2 {
                assert_eq!(begun(&plan, &mut standings).len(), 1, "incident actions are in order");
                standings[step] = Standing::Ended(Terminal::Succeeded);
            }
            let first = begun(&plan, &mut standings);
            assert_eq!(first.len(), together, "{extra} {first:?}");
            assert_eq!(next(&plan, &standings), Next::Wait);
            standings[2] = Standing::Ended(Terminal::Succeeded);
            assert_eq!(begun(&plan, &mut standings)[0], "i/a/6/c/check", "an alert that has begun goes first");
        }
    }
}
