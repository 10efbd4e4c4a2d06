//! The world outside, which outlives every process: BigPanda, two webhooks, Screwdriver, AWX and a Kubernetes, each as far as
//! the rules of the test need it. It counts what was really done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::engine::crashes::fate::{Fate, Step};
use crate::world::target::{Call, Reply, Target};

/// What was done, by all processes together.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside(Arc<Mutex<Done>>);

#[derive(Debug, Default)]
pub(super) struct Done {
    /// Texts by incident.
    pub(super) comments: BTreeMap<String, Vec<String>>,
    /// Numbers of attempts by episode.
    pub(super) hooks: BTreeMap<String, Vec<u32>>,
    /// Cause messages; an event's id is its place.
    pub(super) events: Vec<String>,
    /// Variables; a job's id is its place.
    pub(super) plays: Vec<String>,
    /// Episodes of Jobs, by name; and how often one was made.
    pub(super) jobs: BTreeMap<String, String>,
}

impl Outside {
    pub(super) fn done(&self) -> MutexGuard<'_, Done> {
        self.0.lock().expect("no panic while holding it")
    }

    /// The address at which one process finds it. After the death of that process nothing is done here any more.
    pub(super) fn to(&self, fate: &Arc<Fate>) -> Target {
        let (outside, fate) = (self.clone(), Arc::clone(fate));
        Target::serving(move |call| {
            if !fate.reach(Step::Arrived) {
                return Reply::new(503, "").torn();
            }
            let (reply, changed) = outside.done().answer(call);
            if changed && !fate.reach(Step::Done) { reply.torn() } else { reply }
        })
    }
}

impl Done {
    /// How often an action was done for an episode. No attempt may be seen twice.
    pub(super) fn times(&self, action: &str, incident: &str, episode: &str) -> usize {
        let named = |text: &&String| text.contains(&format!("incident {incident},"));
        match action {
            "note" => self.comments.get(incident).map_or(0, Vec::len),
            "event" => self.events.iter().filter(named).count(),
            "play" => {
                self.plays.iter().filter(|variables| variables.contains(&format!("\"of\":\"{incident}\""))).count()
            }
            "pod" => self.jobs.values().filter(|of| *of == episode).count(),
            _ => {
                let attempts = self.hooks.get(episode).cloned().unwrap_or_default();
                let mut different = attempts.clone();
                different.sort_unstable();
                different.dedup();
                assert_eq!(different.len(), attempts.len(), "{episode}: an attempt was sent twice: {attempts:?}");
                attempts.len()
            }
        }
    }

    /// The answer, and whether anything was done.
    fn answer(&mut self, call: &Call) -> (Reply, bool) {
        let line = call.line();
        let parts: Vec<&str> = line.split(['/', ' ']).filter(|part| !part.is_empty()).collect();
        let reads = |value: Value| (Reply::json(200, value), false);
        match parts.as_slice() {
            ["POST", "hook", ..] => {
                let header = |name: &str| call.header(name).expect("our header").to_owned();
                let attempt = header("x-attempt").parse().expect("a number");
                self.hooks.entry(header("x-episode")).or_default().push(attempt);
                (Reply::new(200, "ok"), true)
            }
            ["POST", .., incident, "comments"] => {
                let text = call.json()["comment"].as_str().expect("text").to_owned();
                self.comments.entry((*incident).to_owned()).or_default().push(text);
                (Reply::new(204, ""), true)
            }
            ["GET", .., incident, "activities"] => {
                reads(json!({"items": self.comments.get(*incident).cloned().unwrap_or_default()}))
            }
            ["GET", "v4", "auth", "token"] => reads(json!({"token": "a.signed.token"})),
            ["POST", "v4", "events"] => {
                self.events.push(call.json()["causeMessage"].as_str().expect("text").to_owned());
                (Reply::json(201, json!({"id": self.events.len() - 1})), true)
            }
            ["GET", "v4", "pipelines", _, "events"] => {
                let asked = |name: &str| {
                    let pairs = call.path.split(['?', '&']).filter_map(|pair| pair.split_once('='));
                    let value = pairs.into_iter().find(|(key, _)| *key == name).expect("it is asked page by page").1;
                    value.parse::<usize>().expect("a number")
                };
                let (page, count) = (asked("page"), asked("count"));
                let event = |(id, cause): (usize, &String)| json!({"id": id, "causeMessage": cause});
                let newest = self.events.iter().enumerate().rev().skip((page - 1) * count).take(count);
                reads(newest.map(event).collect())
            }
            ["GET", "v4", "events", ..] => reads(json!([{"id": 7, "jobId": 1, "status": "SUCCESS"}])),
            ["GET", "api", "v2", "job_templates", "42"] => reads(json!({"ask_variables_on_launch": true})),
            ["POST", "api", "v2", "job_templates", "42", "launch"] => {
                self.plays.push(call.json()["extra_vars"].to_string());
                (Reply::json(201, json!({"job": self.plays.len() - 1})), true)
            }
            ["GET", "api", "v2", "job_templates", "42", "jobs"] => {
                let play = |(id, variables): (usize, &String)| json!({"id": id, "extra_vars": variables});
                let plays: Vec<Value> = self.plays.iter().enumerate().rev().map(play).collect();
                reads(json!({"next": null, "results": plays}))
            }
            ["GET", "api", "v2", "jobs", _] => reads(json!({"status": "successful"})),
            ["POST", "apis", .., "jobs"] => {
                let job = call.json();
                let name = job["metadata"]["name"].as_str().expect("a name").to_owned();
                if self.jobs.contains_key(&name) {
                    return (Reply::json(409, json!({"kind": "Status", "reason": "AlreadyExists"})), false);
                }
                let episode = &job["metadata"]["annotations"]["kafka-consumer/episode-key"];
                self.jobs.insert(name, episode.as_str().expect("text").to_owned());
                (Reply::json(201, job), true)
            }
            ["GET", "apis", .., "jobs", name] => match self.jobs.get(*name) {
                None => (Reply::json(404, json!({"kind": "Status", "reason": "NotFound"})), false),
                Some(episode) => reads(json!({
                    "kind": "Job", "metadata": {"annotations": {"kafka-consumer/episode-key": episode}},
                    "status": {"conditions": [{"type": "Complete", "status": "True"}]},
                })),
            },
            other => panic!("nobody asks for {other:?}"),
        }
    }
}
