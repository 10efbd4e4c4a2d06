//! `ops_escalation`: opens a ticket with the operations of the house.
//!
//! Their system is a matter of each house, so this is a request made of templates, and a pointer to the ticket's name in the
//! answer. A request of unknown fate is held for a person; unless the target recognises a repeat (`idempotent`), or says by
//! a second request (`lookup`) whether it has a ticket for the episode.

use futures::future::BoxFuture;
use reqwest::Method;

use crate::action::definition::{OnUnknown, Scope, Surroundings, reader_on_unknown};
use crate::action::http_call::HttpCall;
use crate::action::json_api::{id_of, json, pointer};
use crate::action::network::{Exchange, Network};
use crate::action::signs::Signs;
use crate::action::verdict::{judge, refusal};
use crate::action::webhook::{expect_status, expected, on_unknown};
use crate::action::{Action, Read, Reconciled, Report, Task};
use crate::template::{Context, RenderError};
use crate::transport::Answer;
use crate::yaml::Reader;

#[derive(Debug)]
struct Escalation {
    call: HttpCall,
    /// Empty: every 2xx.
    expect_status: Vec<u16>,
    /// Where in the answer the ticket's name stands.
    id: Option<String>,
    lookup: Option<Lookup>,
}

/// The question whether there is a ticket.
#[derive(Debug)]
struct Lookup {
    call: HttpCall,
    signs: Signs,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let call = HttpCall::read(reader, scope, Method::POST);
    let expect_status = expect_status(reader);
    let id = pointer(reader, "id_pointer");
    let lookup = match reader.child("lookup") {
        Some(section) => {
            let lookup = lookup(&section, scope, call.as_ref());
            section.close();
            Some(lookup?)
        }
        None => None,
    };
    if lookup.is_none() && reader_on_unknown(reader) == Some(OnUnknown::Reconcile) {
        reader.wrong("on_unknown", "without `lookup` nothing can be asked; use retry or hold");
    }
    let call = call?;
    let on_unknown = if lookup.is_some() { OnUnknown::Reconcile } else { on_unknown(call.repeat) };
    let action = Escalation { call, expect_status: expect_status?, id, lookup };
    Some(Read { action: Box::new(action), on_unknown })
}

fn lookup(section: &Reader<'_, '_>, scope: Scope, opens: Option<&HttpCall>) -> Option<Lookup> {
    let call = HttpCall::read(section, scope, Method::GET);
    let signs = Signs::read(section);
    let call = call?;
    if !call.names_episode() || opens.is_some_and(|opens| !opens.names_episode()) {
        let what =
            "{{ episode.key }} must stand in both requests: the ticket of another episode would be taken for ours";
        section.wrong("url", what);
    }
    Some(Lookup { call, signs: signs? })
}

impl Escalation {
    fn judged(&self, result: Exchange) -> Report {
        if let (Ok(answer), Some(_)) = (&result, &self.lookup)
            && matches!(answer.status, 500 | 502 | 504)
        {
            // The ticket may have been opened before something behind it failed, and it can be asked for.
            return Report::Unknown { reason: refusal(answer) };
        }
        let ticket = match (&result, &self.id) {
            (Ok(answer), Some(pointer)) if expected(&self.expect_status, answer.status) => ticket(answer, pointer),
            _ => None,
        };
        let report = judge(result, self.call.repeat, |status| expected(&self.expect_status, status));
        match (report, ticket) {
            (Report::Succeeded { .. }, Some(ticket)) => Report::Succeeded { detail: format!("opened {ticket}") },
            (report, _) => report,
        }
    }
}

fn ticket(answer: &Answer, pointer: &str) -> Option<String> {
    id_of(json(answer, answer.status).ok()?.pointer(pointer)?)
}

/// What an answer to the question says. Only a whole answer in which the pointer leads somewhere says no.
fn looked_up(result: Exchange, signs: &Signs) -> Result<Option<String>, String> {
    let answer = result.map_err(|error| error.to_string())?;
    signs.seen(&json(&answer, 200)?)
}

impl Action for Escalation {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        if let Some(lookup) = &self.lookup {
            lookup.call.preview(context)?;
        }
        self.call.preview(context)
    }

    fn secret_names(&self) -> Vec<String> {
        let lookup = self.lookup.iter().flat_map(|lookup| lookup.call.secret_names());
        self.call.secret_names().into_iter().chain(lookup).collect()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let names = self.call.secret_names();
            match network.exchange(&names, |secrets| self.call.request(task, secrets)).await {
                Ok(result) => network.scrubbed(self.judged(result)),
                Err(report) => report,
            }
        })
    }

    fn reconcile<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Reconciled> {
        Box::pin(async move {
            let Some(lookup) = &self.lookup else {
                return Reconciled::CannotTell { reason: "no lookup is configured".to_owned() };
            };
            // A request that we gave up may still be at work.
            tokio::time::sleep(task.timeout).await;
            let names = lookup.call.secret_names();
            let seen = match network.exchange(&names, |secrets| lookup.call.request(task, secrets)).await {
                Ok(result) => looked_up(result, &lookup.signs),
                Err(report) => Err(report.text().to_owned()),
            };
            match seen {
                Ok(Some(ticket)) => {
                    Reconciled::Done { detail: network.scrubbed_text(format!("the ticket is there: {ticket}")) }
                }
                Ok(None) => Reconciled::NotDone { detail: "there is no ticket for the episode".to_owned() },
                Err(reason) => Reconciled::CannotTell { reason: network.scrubbed_text(reason) },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{Mistakes, parse};
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    fn read_text(text: &str) -> (Option<OnUnknown>, String) {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).unwrap();
        let reader = Reader::new(&node, "", &mistakes);
        let read = read(&reader, Scope::Incident, &Surroundings::default());
        reader.close();
        (read.map(|read| read.on_unknown), mistakes.to_string())
    }

    #[test]
    fn what_becomes_of_an_unknown_outcome_depends_on_what_can_be_asked() {
        let plain = r#"{url: "http://t/"}"#;
        assert_eq!(read_text(plain).0, Some(OnUnknown::Hold));
        assert_eq!(read_text(r#"{url: "http://t/", idempotent: true}"#).0, Some(OnUnknown::Retry));
        let asked = r#"{url: "http://t/{{episode.key}}", lookup: {url: "http://t/?for={{episode.key}}", pointer: /0}}"#;
        assert_eq!(read_text(asked), (Some(OnUnknown::Reconcile), String::new()));
        assert!(read_text(r#"{url: "http://t/", on_unknown: reconcile}"#).1.contains("without `lookup`"));
    }

    #[test]
    fn a_lookup_that_could_find_the_ticket_of_another_episode_is_a_mistake() {
        let mistake = read_text(r#"{url: "http://t/", lookup: {url: "http://t/{{incident.id}}", pointer: /0}}"#).1;
        assert!(mistake.contains("lookup.url") && mistake.contains("another episode"), "{mistake}");
    }

    #[test]
    fn a_ticket_is_named_where_the_pointer_says() {
        let body = Bytes::from_static(br#"{"ticket": {"id": "OPS-1", "number": 7}}"#);
        let answer = Answer { status: 201, headers: HeaderMap::new(), body, cut_off: false };
        assert_eq!(ticket(&answer, "/ticket/id").as_deref(), Some("OPS-1"));
        assert_eq!(ticket(&answer, "/ticket/number").as_deref(), Some("7"));
        assert_eq!(ticket(&answer, "/ticket"), None);
    }
}
