//! `k8s_job`: a Job in a Kubernetes cluster (API batch/v1).
//!
//! The Job's name is made from the episode, and a cluster has one Job of a name: creating it a second time is refused with
//! `AlreadyExists`, which proves that the first attempt arrived, whenever it did. So nothing is started twice even by a
//! request that is found late. What is not there was not made, unless the spec lets the cluster delete what has ended
//! (`ttlSecondsAfterFinished`): then absence proves nothing, and the step is held for a person.

mod manifest;
mod status;

use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;

use crate::action::bearer::Bearer;
use crate::action::definition::{OnUnknown, Scope, Surroundings};
use crate::action::job::watch;
use crate::action::json_api::{Ask, base_url, json};
use crate::action::k8s_job::manifest::{EPISODE, Manifest};
use crate::action::k8s_job::status::judged;
use crate::action::network::Network;
use crate::action::verdict::{Repeat, judge, refusal};
use crate::action::{Action, Progress, Read, Reconciled, Report, Task, Watch};
use crate::template::{Context, RenderError};
use crate::transport::Answer;
use crate::yaml::Reader;

/// How a pod reaches the API of its own cluster, and whom it trusts there.
const API_URL: &str = "https://kubernetes.default.svc";
const CA_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

#[derive(Debug)]
struct K8sJob {
    api: Bearer,
    namespace: String,
    manifest: Manifest,
    watch: Watch,
}

/// What there is under the name of an episode's Job.
enum There {
    Ours(Value),
    Others,
    Nothing,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let base = base_url(reader, "api_url", Some(API_URL));
    let of_pod = reader.node("api_url").is_none().then(|| PathBuf::from(CA_FILE));
    let ca = reader.string("ca_file").map(PathBuf::from).or(of_pod);
    let api = Bearer::read(reader, base, ca);
    reader.required("namespace");
    let namespace = reader.read("namespace", "the name of a namespace", |node| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        node.text().filter(|name| !name.is_empty() && name.len() <= 63 && name.chars().all(plain)).map(str::to_owned)
    });
    let watch = watch(reader);
    let manifest = Manifest::read(reader, scope, watch);
    let action = K8sJob { api: api?, namespace: namespace?, manifest: manifest?, watch };
    Some(Read { action: Box::new(action), on_unknown: OnUnknown::Reconcile })
}

impl K8sJob {
    fn path<'p>(&'p self, name: Option<&'p str>) -> Vec<&'p str> {
        let mut path = vec!["apis", "batch", "v1", "namespaces", &self.namespace, "jobs"];
        path.extend(name);
        path
    }

    async fn create(&self, task: Task<'_>, network: &Network) -> Report {
        let name = self.manifest.name(task.episode);
        let job = match self.manifest.job(task, &self.namespace) {
            Ok(job) => job,
            Err(reason) => return Report::Failed { reason },
        };
        let path = self.path(None);
        let ask = Ask { method: &Method::POST, path: &path, query: &[], body: Some(&job), timeout: task.timeout };
        match self.api.ask(network, ask).await {
            Ok(Ok(answer)) if (200..300).contains(&answer.status) => Report::Started { id: name },
            Ok(Ok(answer)) if is_already_exists(&answer) => self.made_before(&name, task, network).await,
            // It may have been made before something behind it failed.
            Ok(Ok(answer)) if matches!(answer.status, 500 | 502 | 504) => Report::Unknown { reason: refusal(&answer) },
            Ok(result) => judge(result, Repeat::Doubles, |_| false),
            Err(report) => report,
        }
    }

    /// The cluster has a Job of this name.
    async fn made_before(&self, name: &str, task: Task<'_>, network: &Network) -> Report {
        match self.there(name, task, network).await {
            Ok(There::Ours(_)) => Report::Started { id: name.to_owned() },
            Ok(There::Others) => {
                Report::Failed { reason: format!("a Job {name} is there that is not of this episode") }
            }
            // It was made, so it may have run: nothing here may make another.
            Ok(There::Nothing) => Report::Failed { reason: format!("Job {name} was there, and was deleted meanwhile") },
            Err(reason) => Report::Unknown { reason: format!("Job {name} is there, and cannot be read: {reason}") },
        }
    }

    async fn there(&self, name: &str, task: Task<'_>, network: &Network) -> Result<There, String> {
        let answer = self.get(name, task.timeout, network).await?;
        if answer.status == 404 {
            return Ok(There::Nothing);
        }
        let job = json(&answer, 200)?;
        let episode = job.pointer("/metadata/annotations").and_then(|annotations| annotations.get(EPISODE));
        Ok(if episode.and_then(Value::as_str) == Some(task.episode) { There::Ours(job) } else { There::Others })
    }

    async fn get(&self, name: &str, timeout: Duration, network: &Network) -> Result<Answer, String> {
        self.api.get(network, &self.path(Some(name)), &[], timeout).await
    }
}

/// A `Status` of the API that says so. Other conflicts have the same status code.
fn is_already_exists(answer: &Answer) -> bool {
    let reason = || serde_json::from_slice::<Value>(&answer.body).ok()?.get("reason")?.as_str().map(str::to_owned);
    answer.status == 409 && reason().is_some_and(|reason| reason == "AlreadyExists")
}

impl Action for K8sJob {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        self.manifest.check(context)?;
        Ok(format!("create a Job in namespace {} at {}", self.namespace, self.api.shown()))
    }

    fn secret_names(&self) -> Vec<String> {
        vec![self.api.secret.clone()]
    }

    fn remedies(&self) -> bool {
        true
    }

    fn watch(&self) -> Option<Watch> {
        Some(self.watch)
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move { network.scrubbed(self.create(task, network).await) })
    }

    fn poll<'a>(&'a self, task: Task<'a>, id: &'a str, network: &'a Network) -> BoxFuture<'a, Progress> {
        Box::pin(async move {
            let progress = match self.there(id, task, network).await {
                Ok(There::Ours(job)) => judged(id, &job),
                Ok(There::Others) => Progress::CannotTell { reason: format!("another Job {id} has taken its place") },
                Ok(There::Nothing) => Progress::CannotTell { reason: format!("Job {id} is not there any more") },
                Err(reason) => Progress::CannotTell { reason },
            };
            progress.with_text(|text| network.scrubbed_text(text))
        })
    }

    /// Without a wait: a request that is still at work makes the one Job that there can be.
    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            let name = self.manifest.name(task.episode);
            match self.there(&name, task, network).await {
                Ok(There::Ours(_)) => Reconciled::Started { id: name },
                Ok(There::Others) => Reconciled::CannotTell { reason: format!("Job {name} is not of this episode") },
                Ok(There::Nothing) if self.manifest.deleted_when_over => {
                    let reason = format!("there is no Job {name}, and the cluster deletes those that have ended");
                    Reconciled::CannotTell { reason }
                }
                Ok(There::Nothing) => Reconciled::NotDone { detail: format!("there is no Job {name}") },
                Err(reason) => Reconciled::CannotTell { reason: network.scrubbed_text(reason) },
            }
        })
    }
}
