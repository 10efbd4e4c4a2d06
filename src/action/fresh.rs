//! The incident as BigPanda has it now, for the question whether an attempt should still be made.

use std::time::Duration;

use crate::action::bigpanda::Endpoint;
use crate::action::network::Network;
use crate::action::verdict::refusal;
use crate::guard::{Reading, Snapshot};
use crate::incident::{Found, Incident, Path};
use crate::transport::{Answer, Request};

/// Activities that are looked through for a comment.
const ACTIVITIES_READ: u32 = 100;

/// Reads an incident again, its comments only where they matter. Whatever is in doubt is a [`Reading::Failed`].
pub async fn read_again(network: &Network, incident: &str, with_comments: bool, timeout: Duration) -> Reading {
    let read = async {
        let mut snapshot = snapshot(&get(network, incident, What::Incident, timeout).await?)?;
        if with_comments {
            let activities = get(network, incident, What::Activities, timeout).await?;
            snapshot.comments.push(String::from_utf8_lossy(&activities).into_owned());
        }
        Ok::<_, String>(snapshot)
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(snapshot)) => Reading::Is(snapshot),
        Ok(Err(why)) => Reading::Failed(why),
        Err(_) => Reading::Failed(format!("BigPanda did not answer within {timeout:?}")),
    }
}

enum What {
    Incident,
    Activities,
}

async fn get(network: &Network, incident: &str, what: What, timeout: Duration) -> Result<bytes::Bytes, String> {
    let Some(bigpanda) = network.bigpanda() else { return Err("bigpanda is not configured".to_owned()) };
    bigpanda.turn(Endpoint::Activities).await;
    let request: Request = match what {
        What::Activities => bigpanda.activities(network, incident, 1, ACTIVITIES_READ, timeout).await?,
        What::Incident => bigpanda.incident(network, incident, timeout).await?,
    };
    let answer: Answer = network.http().send(request).await.map_err(|error| error.to_string())?;
    bigpanda.heard(&answer);
    if answer.status != 200 {
        return Err(refusal(&answer));
    }
    if answer.cut_off {
        return Err("the answer is too long to be read whole".to_owned());
    }
    Ok(answer.body)
}

fn snapshot(body: &[u8]) -> Result<Snapshot, String> {
    let incident = Incident::parse(body).map_err(|error| error.to_string())?;
    let field = |name: &str| Path::incident(name).map_or(Found::Missing, |path| incident.get(&path));
    let assignee = match field("assignee") {
        Found::Map(_) => id_of(field("assignee.id")),
        other => id_of(other),
    };
    Ok(Snapshot {
        active: incident.is_active(),
        snoozed: Some(truth(&field("snooze.snoozed")) || truth(&field("snoozed"))),
        in_maintenance: Some(truth(&field("maintenance")) || truth(&field("in_maintenance"))),
        assignee,
        tags: incident.tags.0.iter().map(|(name, _)| name.to_string()).collect(),
        comments: Vec::new(),
    })
}

fn id_of(found: Found<'_, '_>) -> Option<String> {
    match found {
        Found::Missing => None,
        Found::Text(id) => (!id.is_empty()).then(|| id.to_owned()),
        Found::Int(id) => Some(id.to_string()),
        // In doubt it is somebody.
        Found::Bool(_) | Found::Float(_) | Found::List(_) | Found::Map(_) => Some("somebody".to_owned()),
    }
}

/// Absent, false and empty say no; everything else says yes.
fn truth(found: &Found<'_, '_>) -> bool {
    match found {
        Found::Missing | Found::Bool(false) => false,
        Found::Text(text) => !text.is_empty() && !text.eq_ignore_ascii_case("false"),
        Found::List(items) => !items.is_empty(),
        Found::Map(entries) => !entries.is_empty(),
        Found::Bool(true) | Found::Int(_) | Found::Float(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Snapshot {
        let body =
            format!(r#"{{"id": "i", "active": true, "tags": [{{"tag_id": "hands_off", "tag_value": "x"}}]{rest}}}"#);
        snapshot(body.as_bytes()).expect("an incident")
    }

    #[test]
    fn the_answer_is_read_in_the_shapes_that_it_has() {
        let plain = read(r#", "snooze": {"snoozed": false, "end_time": null}, "assignee": null, "maintenance": []"#);
        assert_eq!((plain.active, plain.snoozed, plain.in_maintenance), (Some(true), Some(false), Some(false)));
        assert_eq!(plain.assignee, None);
        assert_eq!(read(r#", "snooze": {"snoozed": true}"#).snoozed, Some(true));
        assert_eq!(read(r#", "maintenance": [{"id": 1}]"#).in_maintenance, Some(true));
        assert_eq!(read(r#", "assignee": {"id": "ann", "name": "Ann"}"#).assignee.as_deref(), Some("ann"));
        assert_eq!(read(r#", "assignee": "bob""#).assignee.as_deref(), Some("bob"));
    }

    #[test]
    fn what_is_no_incident_is_no_reading() {
        assert!(snapshot(b"{}").is_err());
        assert!(snapshot(b"<html>").is_err());
    }
}
