//! The Job of an episode: a name that only this episode can have, and a spec made of templates. Pure.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::action::definition::{Scope, compiled};
use crate::action::{Task, Watch};
use crate::template::{Context, Escape, RenderError, Template};
use crate::yaml::{Node, Reader};

/// Under which the episode's key stands in full.
pub(super) const EPISODE: &str = "kafka-consumer/episode-key";
/// By which people find the Jobs of an episode: `kubectl get jobs -l kafka-consumer/episode=…`.
const LABEL: &str = "kafka-consumer/episode";
/// Names of Jobs are labels of their pods, so 63 characters at most: a prefix, a hyphen, and this many.
const DIGITS: usize = 32;
const PREFIX_CHARS_MAX: usize = 63 - 1 - DIGITS;
const PREFIX: &str = "kafka-consumer";

/// What every Job of an action is made of.
#[derive(Debug)]
pub(super) struct Manifest {
    prefix: String,
    spec: Template,
    /// The cluster deletes Jobs that have ended, so one that is not there may have been.
    pub(super) deleted_when_over: bool,
    deadline_s: u64,
}

impl Manifest {
    /// Reads `name_prefix` and `spec`.
    pub(super) fn read(reader: &Reader<'_, '_>, scope: Scope, watch: Watch) -> Option<Self> {
        let prefix = match reader.node("name_prefix") {
            Some(_) => {
                reader.read("name_prefix", "letters, digits and hyphens, at most 30, such as restart-oozie", prefix)
            }
            None => Some(PREFIX.to_owned()),
        };
        let node = reader.required("spec")?;
        check(reader, node);
        let deleted_when_over = node.get("ttlSecondsAfterFinished").is_some();
        let json = serde_json::to_string(&node.value());
        let json = json.map_err(|error| reader.wrong("spec", format!("cannot be written as JSON: {error}"))).ok()?;
        let spec = compiled(reader, "spec", &json, scope, Some(Escape::Json))?;
        if spec.secret_names().next().is_some() {
            reader
                .wrong("spec", "a secret would stand in the Job for all to read; let the pod take it by secretKeyRef");
        }
        Some(Self { prefix: prefix?, spec, deleted_when_over, deadline_s: watch.timeout.as_secs().max(1) })
    }

    /// Whether its templates can be filled.
    pub(super) fn check(&self, context: &Context) -> Result<(), RenderError> {
        self.spec.render(context).map(drop)
    }

    /// The name of the episode's Job; the same for every attempt.
    pub(super) fn name(&self, episode: &str) -> String {
        format!("{}-{}", self.prefix, digest(episode))
    }

    /// The Job of an attempt, whole; the text says why there is none.
    pub(super) fn job(&self, task: Task<'_>, namespace: &str) -> Result<Value, String> {
        let spec = self.spec.render(task.context).map_err(|error| error.to_string())?;
        let mut spec: Value = serde_json::from_str(&spec).map_err(|error| format!("the spec is not JSON: {error}"))?;
        if let Some(fields) = spec.as_object_mut() {
            // Kubernetes' own default starts a pod up to seven times.
            fields.entry("backoffLimit").or_insert(json!(0));
            // What nobody waits for any more does not go on.
            fields.entry("activeDeadlineSeconds").or_insert(json!(self.deadline_s));
        }
        Ok(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.name(task.episode),
                "namespace": namespace,
                "labels": { "app.kubernetes.io/managed-by": "kafka_consumer", LABEL: digest(task.episode) },
                "annotations": { EPISODE: task.episode },
            },
            "spec": spec,
        }))
    }
}

fn digest(episode: &str) -> String {
    let digest = Sha256::digest(episode.as_bytes());
    let (start, _) = digest.split_first_chunk::<16>().expect("a SHA-256 has 32 bytes");
    format!("{:0DIGITS$x}", u128::from_be_bytes(*start))
}

fn prefix(node: &Node) -> Option<String> {
    let text = node.text()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = text.len() <= PREFIX_CHARS_MAX && text.starts_with(|c: char| c.is_ascii_lowercase());
    (fits && text.chars().all(plain)).then(|| text.to_owned())
}

/// What the cluster would refuse only when it is too late.
fn check(reader: &Reader<'_, '_>, spec: &Node) {
    let pod = spec.get("template").and_then(|template| template.get("spec"));
    let containers = pod.and_then(|pod| pod.get("containers")).and_then(Node::as_list);
    if containers.is_none_or(<[Node]>::is_empty) {
        reader.wrong("spec", "needs containers under template.spec, as the spec of a Job in Kubernetes has them");
    }
    let policy = pod.and_then(|pod| pod.get("restartPolicy")).and_then(Node::text);
    if !matches!(policy, Some("Never" | "OnFailure")) {
        let what =
            "needs template.spec.restartPolicy: Never (or OnFailure, which starts a container that failed again)";
        reader.wrong("spec", what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use crate::yaml::{Mistakes, parse};
    use std::time::Duration;

    const WATCH: Watch = Watch { interval: Duration::from_secs(1), timeout: Duration::from_mins(15) };
    const SPEC: &str =
        r#"{template: {spec: {restartPolicy: Never, containers: [{name: fix, image: "fix:1", args: ["{{host}}"]}]}}}"#;

    fn read(text: &str) -> (Option<Manifest>, String) {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let manifest = Manifest::read(&reader, Scope::Alert, WATCH);
        reader.close();
        (manifest, mistakes.to_string())
    }

    fn job(text: &str) -> Value {
        let (manifest, mistakes) = read(text);
        assert_eq!(mistakes, "");
        let incident = Incident::parse(br#"{"id": "i", "alerts": [{"id": "a", "host": "h\", \"x"}]}"#).unwrap();
        let context = Context::new(&incident).for_alert(0);
        let task = Task { context: &context, episode: "i/a/0/c/fix", timeout: Duration::from_secs(1) };
        manifest.unwrap().job(task, "sre").unwrap()
    }

    #[test]
    fn a_value_cannot_change_the_shape_of_the_job() {
        let job = job(&format!("{{spec: {SPEC}}}"));
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], json!(["h\", \"x"]));
        assert_eq!(job["metadata"]["annotations"][EPISODE], "i/a/0/c/fix");
        assert_eq!(job["metadata"]["namespace"], "sre");
    }

    #[test]
    fn one_pod_is_started_and_ends_with_our_patience_unless_the_spec_says_otherwise() {
        let plain = job(&format!("{{spec: {SPEC}}}"));
        assert_eq!((&plain["spec"]["backoffLimit"], &plain["spec"]["activeDeadlineSeconds"]), (&json!(0), &json!(900)));
        let other =
            job(&format!("{{spec: {}}}", SPEC.replacen('{', "{backoffLimit: 2, activeDeadlineSeconds: 60, ", 1)));
        assert_eq!((&other["spec"]["backoffLimit"], &other["spec"]["activeDeadlineSeconds"]), (&json!(2), &json!(60)));
    }

    #[test]
    fn the_name_depends_on_the_episode_alone_and_fits() {
        let (manifest, _) = read(&format!("{{name_prefix: a23456789-123456789-123456789, spec: {SPEC}}}"));
        let manifest = manifest.unwrap();
        assert_eq!(manifest.name("a").len(), 62);
        assert_eq!(manifest.name("a"), manifest.name("a"));
        assert_ne!(manifest.name("a"), manifest.name("b"));
        for wrong in ["Oozie", "-x", "x_y", "1x", "a23456789-123456789-123456789-1"] {
            assert!(read(&format!("{{name_prefix: '{wrong}', spec: {SPEC}}}")).1.contains("name_prefix"), "{wrong}");
        }
    }

    #[test]
    fn what_the_cluster_would_refuse_is_a_mistake() {
        for (spec, what) in [
            ("{}", "needs containers"),
            ("{template: {spec: {restartPolicy: Never, containers: []}}}", "needs containers"),
            ("{template: {spec: {containers: [{name: a}]}}}", "restartPolicy"),
            ("{template: {spec: {restartPolicy: Always, containers: [{name: a}]}}}", "restartPolicy"),
            (r#"{template: {spec: {restartPolicy: Never, containers: [{name: "$secret:key"}]}}}"#, "secretKeyRef"),
        ] {
            let mistakes = read(&format!("{{spec: {spec}}}")).1;
            assert!(mistakes.contains(what), "{spec}: {mistakes}");
        }
        assert!(
            read(&format!("{{spec: {}}}", SPEC.replacen('{', "{ttlSecondsAfterFinished: 0, ", 1)))
                .0
                .unwrap()
                .deleted_when_over
        );
    }
}
