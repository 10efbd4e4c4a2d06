//! From the builds of an event to how it stands. Pure.
//!
//! A job that was restarted has several builds; the last one counts. An event goes on while any of them has not ended.

use std::collections::BTreeMap;

use serde_json::Value;

/// How an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// No build is there yet, or one has not ended.
    Running { detail: String },
    /// All builds there are have succeeded; a job that waits for them may not have a build yet.
    Succeeded { builds: usize },
    /// At least one has ended otherwise, and none goes on.
    Failed { builds: Vec<FailedBuild> },
}

/// A build that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedBuild {
    pub(crate) id: String,
    pub(crate) status: String,
    /// What the service says about it; may be empty.
    pub(crate) message: String,
}

/// Reads the list of an event's builds; the text says why it is not one.
pub(crate) fn event(body: &Value) -> Result<Event, String> {
    let builds = body.as_array().ok_or("the builds are not a list")?;
    let mut last: BTreeMap<u64, (u64, &Value)> = BTreeMap::new();
    for build in builds {
        let number = |key: &str| build.get(key).and_then(number).ok_or_else(|| format!("a build has no {key}"));
        let (id, job) = (number("id")?, number("jobId")?);
        if last.get(&job).is_none_or(|(known, _)| *known < id) {
            last.insert(job, (id, build));
        }
    }
    let (mut running, mut failed, mut succeeded) = (0_usize, Vec::new(), 0_usize);
    for (id, build) in last.values() {
        let status = build.get("status").and_then(Value::as_str).ok_or("a build has no status")?;
        match status {
            "SUCCESS" => succeeded += 1,
            "CREATED" | "QUEUED" | "RUNNING" | "BLOCKED" | "FROZEN" => running += 1,
            // FAILURE, ABORTED, UNSTABLE, COLLAPSED, and whatever comes to be: not the success that was asked for.
            other => {
                let message = build.get("statusMessage").and_then(Value::as_str).unwrap_or_default().to_owned();
                failed.push(FailedBuild { id: id.to_string(), status: other.to_owned(), message });
            }
        }
    }
    Ok(match (running, failed.len(), succeeded) {
        (0, 0, 0) => Event::Running { detail: "no build yet".to_owned() },
        (0, 0, builds) => Event::Succeeded { builds },
        (0, _, _) => Event::Failed { builds: failed },
        (running, ..) => Event::Running { detail: format!("{running} of {} builds have not ended", last.len()) },
    })
}

/// Ids are numbers; some versions write them as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stands(builds: &[(u64, u64, &str)]) -> Event {
        let builds: Vec<_> =
            builds.iter().map(|(id, job, status)| json!({"id": id, "jobId": job, "status": status})).collect();
        event(&Value::Array(builds)).unwrap()
    }

    #[test]
    fn an_event_goes_on_until_every_build_has_ended() {
        assert!(matches!(stands(&[]), Event::Running { .. }));
        for status in ["CREATED", "QUEUED", "RUNNING", "BLOCKED", "FROZEN"] {
            assert!(matches!(stands(&[(1, 1, "FAILURE"), (2, 2, status)]), Event::Running { .. }), "{status}");
        }
        assert_eq!(stands(&[(1, 1, "SUCCESS"), (2, 2, "SUCCESS")]), Event::Succeeded { builds: 2 });
    }

    #[test]
    fn whatever_is_no_success_is_a_failure() {
        for status in ["FAILURE", "ABORTED", "UNSTABLE", "COLLAPSED", "SOMETHING_NEW"] {
            let Event::Failed { builds } = stands(&[(1, 1, "SUCCESS"), (2, 2, status)]) else { panic!("{status}") };
            assert_eq!((builds.len(), builds[0].id.as_str(), builds[0].status.as_str()), (1, "2", status));
        }
    }

    #[test]
    fn of_a_restarted_job_the_last_build_counts() {
        assert_eq!(stands(&[(7, 1, "SUCCESS"), (2, 1, "FAILURE")]), Event::Succeeded { builds: 1 });
    }

    #[test]
    fn what_is_no_list_of_builds_is_an_error() {
        for body in [json!({}), json!([{"id": 1}]), json!([{"id": 1, "jobId": 2}]), json!([5])] {
            assert!(event(&body).is_err(), "{body}");
        }
    }
}
