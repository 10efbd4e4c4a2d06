//! `check_outage`: ends the flow while an outage is known.
//!
//! Where outages are announced is a matter of each house, so this is a request made of templates, and [`Signs`] in the JSON
//! that it answers with.

use futures::future::BoxFuture;
use reqwest::Method;

use crate::action::check::check;
use crate::action::definition::{Scope, Surroundings};
use crate::action::http_call::HttpCall;
use crate::action::json_api::json;
use crate::action::network::{Exchange, Network};
use crate::action::signs::Signs;
use crate::action::verdict::{Repeat, judge};
use crate::action::webhook::{expect_status, expected};
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

#[derive(Debug)]
struct Outage {
    call: HttpCall,
    /// Empty: every 2xx.
    expect_status: Vec<u16>,
    signs: Signs,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let call = HttpCall::read(reader, scope, Method::GET);
    let expect_status = expect_status(reader);
    let signs = Signs::read(reader);
    Some(check(reader, Outage { call: call?, expect_status: expect_status?, signs: signs? }))
}

impl Outage {
    fn judged(&self, result: Exchange) -> Report {
        let answer = match result {
            Ok(answer) if expected(&self.expect_status, answer.status) => answer,
            other => return judge(other, Repeat::Harmless, |_| false),
        };
        match json(&answer, answer.status).and_then(|body| self.signs.seen(&body)) {
            Ok(Some(name)) => Report::Found { reason: format!("an outage is known: {name}") },
            Ok(None) => Report::Succeeded { detail: "no outage is known".to_owned() },
            Err(reason) => Report::Retryable { reason, after: None },
        }
    }
}

impl Action for Outage {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        Ok(format!("look for an outage: {}", self.call.preview(context)?))
    }

    fn secret_names(&self) -> Vec<String> {
        self.call.secret_names()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let names = self.secret_names();
            match network.exchange(&names, |secrets| self.call.request(task, secrets)).await {
                Ok(result) => network.scrubbed(self.judged(result)),
                Err(report) => report,
            }
        })
    }
}
