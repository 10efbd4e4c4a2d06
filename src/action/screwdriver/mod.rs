//! `screwdriver`, `screwdriver_batch`, `screwdriver_async`: a job of a Screwdriver pipeline (API v4).
//!
//! The attempt starts an event and reports its id; the event is then asked for by that id, also after a restart, so it is
//! never started twice. Its cause message carries a token of the episode: an event of unknown fate is looked for among
//! those of the pipeline. `screwdriver_async` only starts it, which is success enough. `screwdriver_batch` starts one
//! event for all alerts of the match.

mod api;
mod builds;

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use crate::action::comment::token;
use crate::action::definition::{OnUnknown, Scope, Surroundings};
use crate::action::job::{start, watch};
use crate::action::json_api::{Ask, base_url, id_of, json, secret_name};
use crate::action::network::{Exchange, Network};
use crate::action::parameters::{About, Parameters};
use crate::action::screwdriver::api::Api;
use crate::action::screwdriver::builds::{Event, event};
use crate::action::{Action, Progress, Read, Reconciled, Report, Secrets, Task, Watch};
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

/// The public service.
const API_URL: &str = "https://api.screwdriver.cd";
/// A job that waits for others gets its build when they have succeeded: all is well only if that is still so after this.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
/// Events looked through for ours, newest first.
const EVENTS_PER_PAGE: usize = 50;
const PAGES_MAX: usize = 10;
/// The longest cause message that the service keeps.
const CAUSE_CHARS_MAX: usize = 512;

#[derive(Debug)]
struct Screwdriver {
    api: Api,
    /// Where people look at builds; the API itself where it is not given.
    ui: Option<Url>,
    pipeline: u64,
    job: String,
    parameters: Parameters,
    /// `None`: it does not wait.
    watch: Option<Watch>,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    screwdriver(reader, scope, About::One, true)
}

pub(crate) fn read_async(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    screwdriver(reader, scope, About::One, false)
}

pub(crate) fn read_batch(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    if scope == Scope::Alert {
        reader.wrong("type", "screwdriver_batch is one job for all alerts, so it stands under `incident_actions`");
    }
    screwdriver(reader, scope, About::All, true)
}

fn screwdriver(reader: &Reader<'_, '_>, scope: Scope, about: About, waits: bool) -> Option<Read> {
    let base = base_url(reader, "api_url", Some(API_URL));
    let ui = reader.node("ui_url").is_some().then(|| base_url(reader, "ui_url", None)).flatten();
    reader.required("pipeline_id");
    let pipeline = reader.read("pipeline_id", "the number of a pipeline", |node| node.text()?.parse().ok());
    let job = reader.required_string("job_name");
    let secret = secret_name(reader, "auth_secret");
    let parameters = Parameters::read(reader, scope, about, "extra_parameters");
    let watch = waits.then(|| watch(reader));
    if !waits {
        reader.ignored("polling_interval", "screwdriver_async does not wait");
        reader.ignored("polling_timeout", "screwdriver_async does not wait");
    }
    let action = Screwdriver {
        api: Api::new(base?, secret?),
        ui,
        pipeline: pipeline?,
        job: job?,
        parameters: parameters?,
        watch,
    };
    Some(Read { action: Box::new(action), on_unknown: OnUnknown::Reconcile })
}

impl Screwdriver {
    fn body(&self, task: Task<'_>, secrets: &Secrets) -> Result<Value, RenderError> {
        let parameters = self.parameters.filled(task.context, secrets)?;
        let parameters: Map<_, _> =
            parameters.into_iter().map(|(name, value)| (name, json!({ "value": value }))).collect();
        Ok(json!({
            "pipelineId": self.pipeline,
            "startFrom": self.job,
            "causeMessage": cause(task),
            "meta": { "parameters": parameters },
        }))
    }

    async fn start(&self, task: Task<'_>, network: &Network) -> Result<Exchange, Report> {
        let names = self.parameters.secret_names();
        let secrets = network.secrets(names.iter().map(String::as_str)).await;
        let secrets = secrets.map_err(|error| Report::Retryable { reason: error.to_string(), after: None })?;
        let body = self.body(task, &secrets).map_err(|error| Report::Failed { reason: error.to_string() })?;
        let ask =
            Ask { method: &Method::POST, path: &["events"], query: &[], body: Some(&body), timeout: task.timeout };
        self.api.ask(network, ask).await
    }

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        timeout: Duration,
        network: &Network,
    ) -> Result<Value, String> {
        let ask = Ask { method: &Method::GET, path, query, body: None, timeout };
        let answer = self
            .api
            .ask(network, ask)
            .await
            .map_err(|report| report.text().to_owned())?
            .map_err(|error| error.to_string())?;
        json(&answer, 200)
    }

    async fn stands(&self, id: &str, timeout: Duration, network: &Network) -> Result<Event, String> {
        event(&self.get(&["events", id, "builds"], &[("fetchSteps", "false")], timeout, network).await?)
    }

    async fn progress(&self, id: &str, timeout: Duration, network: &Network) -> Result<Event, String> {
        let first = self.stands(id, timeout, network).await?;
        if !matches!(first, Event::Succeeded { .. }) {
            return Ok(first);
        }
        tokio::time::sleep(SETTLES_WITHIN).await;
        let second = self.stands(id, timeout, network).await?;
        let more = matches!(second, Event::Succeeded { .. }) && second != first;
        Ok(if more { Event::Running { detail: "another build was added".to_owned() } } else { second })
    }

    async fn find(&self, token: &str, timeout: Duration, network: &Network) -> Result<Option<String>, String> {
        let pipeline = self.pipeline.to_string();
        let count = EVENTS_PER_PAGE.to_string();
        for page in 1..=PAGES_MAX {
            let page = page.to_string();
            let query = [("page", page.as_str()), ("count", count.as_str()), ("sort", "descending")];
            let events = self.get(&["pipelines", &pipeline, "events"], &query, timeout, network).await?;
            let events = events.as_array().ok_or("the events are not a list")?;
            let ours = |event: &&Value| {
                event.get("causeMessage").and_then(Value::as_str).is_some_and(|cause| cause.contains(token))
            };
            if let Some(event) = events.iter().find(ours) {
                let id = event.get("id").and_then(id_of).ok_or("our event has no id")?;
                return Ok(Some(id));
            }
            if events.len() < EVENTS_PER_PAGE {
                return Ok(None);
            }
        }
        Err(format!("it is not among the newest {} events of the pipeline", PAGES_MAX * EVENTS_PER_PAGE))
    }

    fn page(&self, kind: &str, id: &str) -> String {
        match &self.ui {
            Some(ui) => {
                format!("{}/pipelines/{}/{kind}/{id}", ui.as_str().trim_end_matches('/'), self.pipeline)
            }
            None => format!("{}/v4/{kind}/{id}", self.api.base.as_str().trim_end_matches('/')),
        }
    }

    fn judged(&self, id: &str, event: Event) -> Progress {
        match event {
            Event::Running { detail } => Progress::Running { detail },
            Event::Succeeded { builds } => {
                Progress::Succeeded { detail: format!("event {id} succeeded with {builds} builds") }
            }
            Event::Failed { builds } => {
                let build = |build: &builds::FailedBuild| {
                    let message =
                        if build.message.is_empty() { String::new() } else { format!(" ({})", build.message) };
                    format!("{} {}{message}", build.status, self.page("builds", &build.id))
                };
                let failed: Vec<_> = builds.iter().map(build).collect();
                Progress::Failed { reason: format!("event {id} failed: {}", failed.join(", ")) }
            }
        }
    }
}

/// Token first: whatever the service cuts off stands at the end.
fn cause(task: Task<'_>) -> String {
    let incident = &task.context.incident().id;
    let alert = task.context.alert_id().map(|alert| format!(", alert {alert}")).unwrap_or_default();
    let text = format!("{} incident {incident}{alert}, episode {}", token(task.episode), task.episode);
    text.chars().take(CAUSE_CHARS_MAX).collect()
}

impl Action for Screwdriver {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        self.parameters.check(context)?;
        let base = self.api.base.as_str().trim_end_matches('/');
        Ok(format!("start {} of pipeline {} at {base}", self.job, self.pipeline))
    }

    fn secret_names(&self) -> Vec<String> {
        let mut names = self.parameters.secret_names();
        names.push(self.api.secret.clone());
        names
    }

    fn remedies(&self) -> bool {
        // What is only started may still fail.
        self.watch.is_some()
    }

    fn watch(&self) -> Option<Watch> {
        self.watch
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.start(task, network).await {
                Ok(result) => start(result, "event", |body| id_of(body.get("id")?)),
                Err(report) => report,
            };
            let report = match report {
                Report::Started { id } if self.watch.is_none() => {
                    Report::Succeeded { detail: format!("event {id} was started: {}", self.page("events", &id)) }
                }
                other => other,
            };
            report.with_text(|text| self.api.scrubbed(network, &text))
        })
    }

    fn poll<'a>(&'a self, task: Task<'a>, id: &'a str, network: &'a Network) -> BoxFuture<'a, Progress> {
        Box::pin(async move {
            let progress = match self.progress(id, task.timeout, network).await {
                Ok(event) => self.judged(id, event),
                Err(reason) => Progress::CannotTell { reason },
            };
            progress.with_text(|text| self.api.scrubbed(network, &text))
        })
    }

    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            // A request that we gave up may still be at work.
            tokio::time::sleep(task.timeout).await;
            let token = token(task.episode);
            match self.find(&token, task.timeout, network).await {
                Ok(Some(id)) if self.watch.is_some() => Reconciled::Started { id },
                Ok(Some(id)) => Reconciled::Done { detail: format!("event {id} has {token} as its cause") },
                Ok(None) => {
                    let detail = format!("no event of pipeline {} has {token} as its cause", self.pipeline);
                    Reconciled::NotDone { detail }
                }
                Err(reason) => Reconciled::CannotTell { reason: self.api.scrubbed(network, &reason) },
            }
        })
    }
}
