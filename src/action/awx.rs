//! `awx`: a job template of AWX or of the Ansible Automation Platform's controller (API v2).
//!
//! The attempt launches the template and reports the job's id; the job is then asked for by that id, also after a restart, so
//! it is never launched twice. A variable of its own carries a token of the episode: a job of unknown fate is looked for
//! among those of the template. The API filters by no variable, so the newest jobs are read and looked through here.
//!
//! AWX launches a template although it does not take what is sent along (`ignored_fields`). A job without its variables
//! could do anything, and could not be found again; so the template is read before, and refused where it would ignore any.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use crate::action::bearer::Bearer;
use crate::action::comment::token;
use crate::action::definition::{OnUnknown, Scope, Surroundings, template};
use crate::action::job::{start, watch};
use crate::action::json_api::{Ask, base_url, id_of, json};
use crate::action::network::{Exchange, Network};
use crate::action::parameters::{About, Parameters};
use crate::action::verdict::{Repeat, judge};
use crate::action::{Action, Progress, Read, Reconciled, Report, Secrets, Task, Watch};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::Reader;

/// The variable that carries the episode's token.
const TOKEN: &str = "kafka_consumer_episode";
/// Jobs looked through for ours, newest first. A job with its links takes several KiB in a list.
const JOBS_PER_PAGE: usize = 50;
const PAGES_MAX: usize = 20;

#[derive(Debug)]
struct Awx {
    api: Bearer,
    template: String,
    variables: Parameters,
    /// The hosts of the inventory that it is limited to.
    limit: Option<Template>,
    watch: Watch,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let api = Bearer::read(reader, api_url(reader), None);
    reader.required("job_template_id");
    let template_id = reader.read("job_template_id", "the number of a job template", |node| {
        node.text()?.parse::<u64>().ok().map(|id| id.to_string())
    });
    let variables = Parameters::read(reader, scope, About::One, "extra_vars");
    if reader.child("extra_vars").is_some_and(|section| section.node(TOKEN).is_some()) {
        reader.wrong("extra_vars", format!("`{TOKEN}` carries the episode's token, by which the job is found again"));
    }
    let limit = reader.node("limit").is_some().then(|| template(reader, "limit", scope, Some(Escape::Host)));
    let watch = watch(reader);
    let limit = match limit {
        Some(limit) => Some(limit?),
        None => None,
    };
    let action = Awx { api: api?, template: template_id?, variables: variables?, limit, watch };
    Some(Read { action: Box::new(action), on_unknown: OnUnknown::Reconcile })
}

/// The base of the API, its version included: where it stands differs between AWX and the platform.
fn api_url(reader: &Reader<'_, '_>) -> Option<Url> {
    let url = base_url(reader, "api_url", None)?;
    if !url.path().trim_end_matches('/').ends_with("/v2") {
        let what = "must end with the version: https://awx.example/api/v2, or https://aap.example/api/controller/v2";
        reader.wrong("api_url", what);
    }
    Some(url)
}

/// Whether the template takes what is sent along; the text says what it would ignore.
fn takes(template: &Value, with_limit: bool) -> Result<(), String> {
    let flag = |name: &str| template.get(name).and_then(Value::as_bool) == Some(true);
    if !flag("ask_variables_on_launch") {
        return Err(
            "the job template does not prompt for variables on launch (ask_variables_on_launch), so it would ignore \
                    them and the token by which its job is found again"
                .to_owned(),
        );
    }
    if with_limit && !flag("ask_limit_on_launch") {
        return Err(
            "the job template does not prompt for a limit on launch (ask_limit_on_launch), so it would run on all \
                    hosts of its inventory"
                .to_owned(),
        );
    }
    if template.get("job_slice_count").and_then(Value::as_u64).is_some_and(|count| count > 1) {
        return Err("the job template is sliced (job_slice_count): it launches a workflow and not a job".to_owned());
    }
    Ok(())
}

/// What the status of a job says. Pure.
fn judged(id: &str, job: &Value, output: &str) -> Progress {
    let text = |name: &str| job.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("status") {
        status @ ("new" | "pending" | "waiting" | "running") => {
            Progress::Running { detail: format!("job {id} is {status}") }
        }
        "successful" => Progress::Succeeded { detail: format!("job {id} was successful") },
        status @ ("failed" | "error" | "canceled") => {
            let why = text("job_explanation");
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            Progress::Failed { reason: format!("job {id}: {status}{why}; its output: {output}") }
        }
        other => Progress::CannotTell { reason: format!("job {id} has the unknown status `{other}`") },
    }
}

/// The id of the job among these whose variables hold the token. Where a job does not show its variables, nobody knows.
fn ours(jobs: &[Value], token: &str) -> Result<Option<String>, String> {
    for job in jobs {
        let Some(variables) = job.get("extra_vars").and_then(Value::as_str) else {
            return Err("the list of jobs does not show their extra_vars".to_owned());
        };
        if variables.contains(token) {
            return job.get("id").and_then(id_of).map(Some).ok_or_else(|| "our job has no id".to_owned());
        }
    }
    Ok(None)
}

impl Awx {
    fn body(&self, task: Task<'_>, secrets: &Secrets) -> Result<Value, RenderError> {
        let filled = self.variables.filled(task.context, secrets)?;
        let mut variables: Map<_, _> = filled.into_iter().map(|(name, value)| (name, json!(value))).collect();
        variables.insert(TOKEN.to_owned(), json!(token(task.episode)));
        let mut body = json!({ "extra_vars": variables });
        if let Some(limit) = &self.limit {
            let limit = limit.reveal(task.context, secrets)?;
            if let Some(body) = body.as_object_mut() {
                body.insert("limit".to_owned(), json!(limit.reveal()));
            }
        }
        Ok(body)
    }

    async fn launch(&self, task: Task<'_>, network: &Network) -> Result<Exchange, Report> {
        let names = self.of_request();
        let secrets = network.secrets(names.iter().map(String::as_str)).await;
        let secrets = secrets.map_err(|error| Report::Retryable { reason: error.to_string(), after: None })?;
        let body = self.body(task, &secrets).map_err(|error| Report::Failed { reason: error.to_string() })?;
        self.look_at_the_template(task.timeout, network).await?;
        let path = ["job_templates", &self.template, "launch", ""];
        let ask = Ask { method: &Method::POST, path: &path, query: &[], body: Some(&body), timeout: task.timeout };
        self.api.ask(network, ask).await
    }

    async fn look_at_the_template(&self, timeout: Duration, network: &Network) -> Result<(), Report> {
        let path = ["job_templates", &self.template, ""];
        let ask = Ask { method: &Method::GET, path: &path, query: &[], body: None, timeout };
        let told = |text: String| format!("nothing was launched: {text}");
        let answer = match self.api.ask(network, ask).await? {
            Ok(answer) if answer.status == 200 => answer,
            result => return Err(judge(result, Repeat::Harmless, |_| false).with_text(told)),
        };
        let template = json(&answer, 200).map_err(|why| Report::Retryable { reason: told(why), after: None })?;
        takes(&template, self.limit.is_some()).map_err(|why| Report::Failed { reason: told(why) })
    }

    async fn progress(&self, id: &str, timeout: Duration, network: &Network) -> Result<Progress, String> {
        let job = json(&self.api.get(network, &["jobs", id, ""], &[], timeout).await?, 200)?;
        Ok(judged(id, &job, &format!("{}/jobs/{id}/stdout/?format=txt", self.api.shown())))
    }

    async fn find(&self, token: &str, timeout: Duration, network: &Network) -> Result<Option<String>, String> {
        // Newer versions leave the variables out of lists unless they are asked for; older ones know no such question.
        let mut includes = true;
        let mut page = 1;
        while page <= PAGES_MAX {
            let (number, size) = (page.to_string(), JOBS_PER_PAGE.to_string());
            let mut query = vec![("order_by", "-id"), ("page", &number), ("page_size", &size)];
            query.extend(includes.then_some(("include", "extra_vars")));
            let answer = self.api.get(network, &["job_templates", &self.template, "jobs", ""], &query, timeout).await?;
            if includes && answer.status == 400 {
                includes = false;
                continue;
            }
            let list = json(&answer, 200)?;
            let jobs = list.get("results").and_then(Value::as_array).ok_or("the jobs are not a list")?;
            if let Some(id) = ours(jobs, token)? {
                return Ok(Some(id));
            }
            if list.get("next").is_none_or(Value::is_null) {
                return Ok(None);
            }
            page += 1;
        }
        Err(format!("it is not among the newest {} jobs of the template", PAGES_MAX * JOBS_PER_PAGE))
    }

    fn of_request(&self) -> Vec<String> {
        let limit = self.limit.iter().flat_map(Template::secret_names).map(str::to_owned);
        self.variables.secret_names().into_iter().chain(limit).collect()
    }
}

impl Action for Awx {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        self.variables.check(context)?;
        let limit = self.limit.as_ref().map(|limit| limit.render(context)).transpose()?;
        let limit = limit.map(|limit| format!(" on {limit}")).unwrap_or_default();
        Ok(format!("launch job template {}{limit} at {}", self.template, self.api.shown()))
    }

    fn secret_names(&self) -> Vec<String> {
        let mut names = self.of_request();
        names.push(self.api.secret.clone());
        names
    }

    fn remedies(&self) -> bool {
        true
    }

    fn watch(&self) -> Option<Watch> {
        Some(self.watch)
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.launch(task, network).await {
                Ok(result) => start(result, "job", |body| id_of(body.get("job")?)),
                Err(report) => report,
            };
            network.scrubbed(report)
        })
    }

    fn poll<'a>(&'a self, task: Task<'a>, id: &'a str, network: &'a Network) -> BoxFuture<'a, Progress> {
        Box::pin(async move {
            let progress = match self.progress(id, task.timeout, network).await {
                Ok(progress) => progress,
                Err(reason) => Progress::CannotTell { reason },
            };
            progress.with_text(|text| network.scrubbed_text(text))
        })
    }

    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            // A request that we gave up may still be at work.
            tokio::time::sleep(task.timeout).await;
            let token = token(task.episode);
            match self.find(&token, task.timeout, network).await {
                Ok(Some(id)) => Reconciled::Started { id },
                Ok(None) => {
                    let detail = format!("no job of template {} has {token} among its variables", self.template);
                    Reconciled::NotDone { detail }
                }
                Err(reason) => Reconciled::CannotTell { reason: network.scrubbed_text(reason) },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};

    fn mistakes_of(text: &str) -> String {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let _ = read(&reader, Scope::Incident, &Surroundings::default());
        reader.close();
        mistakes.to_string()
    }

    #[test]
    fn what_the_definition_lacks_is_named() {
        let whole = r#"{api_url: "https://awx.example/api/v2", job_template_id: 7, auth_secret: k, limit: "web,{{incident.id}}"}"#;
        assert_eq!(mistakes_of(whole), "");
        let without = mistakes_of("{limit: x}");
        for key in ["api_url", "job_template_id", "auth_secret"] {
            assert!(without.contains(&format!("{key}: is required")), "{without}");
        }
        assert!(mistakes_of(&whole.replace("/api/v2", "")).contains("must end with the version"));
        assert!(
            mistakes_of(&whole.replace("limit", "extra_vars: {kafka_consumer_episode: x}, limit")).contains("token")
        );
    }

    #[test]
    fn a_template_that_would_ignore_what_it_is_given_is_refused() {
        let whole = json!({"ask_variables_on_launch": true, "ask_limit_on_launch": true, "job_slice_count": 1});
        assert_eq!(takes(&whole, true), Ok(()));
        for (lack, value) in [
            ("ask_variables_on_launch", json!(false)),
            ("ask_limit_on_launch", json!(null)),
            ("job_slice_count", json!(4)),
        ] {
            let mut template = whole.clone();
            template[lack] = value;
            assert!(takes(&template, true).unwrap_err().contains(lack));
        }
        assert_eq!(takes(&json!({"ask_variables_on_launch": true}), false), Ok(()), "nobody limits it");
    }

    #[test]
    fn a_status_that_is_not_known_is_no_end() {
        let is = |status: &str| judged("7", &json!({"status": status, "job_explanation": "no host"}), "u");
        for status in ["new", "pending", "waiting", "running"] {
            assert!(matches!(is(status), Progress::Running { .. }), "{status}");
        }
        for status in ["failed", "error", "canceled"] {
            let reason = format!("job 7: {status} (no host); its output: u");
            assert_eq!(is(status), Progress::Failed { reason });
        }
        assert!(matches!(is("successful"), Progress::Succeeded { .. }));
        assert!(matches!(is("paused"), Progress::CannotTell { .. }));
        assert!(matches!(judged("7", &json!([]), "u"), Progress::CannotTell { .. }));
    }

    #[test]
    fn a_job_that_hides_its_variables_may_be_ours() {
        let job = |id: u64, variables: Value| json!({"id": id, "extra_vars": variables});
        let jobs = [job(9, json!("{}")), job(8, json!(r#"{"kafka_consumer_episode": "[t]"}"#))];
        assert_eq!(ours(&jobs, "[t]"), Ok(Some("8".to_owned())));
        assert_eq!(ours(&jobs, "[u]"), Ok(None));
        assert!(ours(&[json!({"id": 7})], "[t]").is_err());
    }
}
