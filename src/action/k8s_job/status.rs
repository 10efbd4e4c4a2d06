//! From a Job as the cluster shows it to how it stands. Pure.

use serde_json::Value;

use crate::action::Progress;

/// How the Job of this name stands: its conditions say that it has ended, and how.
pub(super) fn judged(name: &str, job: &Value) -> Progress {
    if job.get("kind").and_then(Value::as_str).is_some_and(|kind| kind != "Job") {
        return Progress::CannotTell { reason: format!("what is at the place of {name} is no Job") };
    }
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let holds = |kind: &str| {
        conditions.iter().find(|condition| text(condition, "type") == kind && text(condition, "status") == "True")
    };
    if holds("Complete").is_some() {
        return Progress::Succeeded { detail: format!("Job {name} is complete") };
    }
    if let Some(failed) = holds("Failed") {
        let why = [text(failed, "reason"), text(failed, "message")].into_iter().filter(|part| !part.is_empty());
        let why = why.collect::<Vec<_>>().join(": ");
        return Progress::Failed { reason: format!("Job {name} failed: {why}") };
    }
    let count = |field: &str| job.pointer(&format!("/status/{field}")).and_then(Value::as_u64).unwrap_or_default();
    let suspended = if holds("Suspended").is_some() { ", suspended" } else { "" };
    let detail = format!("Job {name}: {} pods active, {} failed{suspended}", count("active"), count("failed"));
    Progress::Running { detail }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stands(conditions: &Value) -> Progress {
        judged("n", &json!({"kind": "Job", "status": {"active": 1, "conditions": conditions}}))
    }

    #[test]
    fn only_a_condition_that_holds_ends_it() {
        let complete =
            json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]);
        assert!(matches!(stands(&complete), Progress::Succeeded { .. }));
        for running in [
            json!([]),
            json!(null),
            json!([{"type": "Complete", "status": "False"}, {"type": "Failed", "status": "Unknown"}]),
            json!([{"type": "FailureTarget", "status": "True"}]),
            json!([{"type": "Suspended", "status": "True"}]),
        ] {
            assert!(matches!(stands(&running), Progress::Running { .. }), "{running}");
        }
        let failed =
            json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "one pod"}]);
        assert_eq!(stands(&failed), Progress::Failed { reason: "Job n failed: BackoffLimitExceeded: one pod".into() });
    }

    #[test]
    fn what_is_no_job_says_nothing() {
        assert!(matches!(judged("n", &json!({"kind": "Status"})), Progress::CannotTell { .. }));
    }
}
