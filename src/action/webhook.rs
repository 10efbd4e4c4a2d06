//! `webhook`: one HTTP request, made of templates, judged by its status.

use futures::future::BoxFuture;
use reqwest::Method;

use crate::action::definition::{OnUnknown, Scope, Surroundings, reader_on_unknown};
use crate::action::http_call::HttpCall;
use crate::action::network::Network;
use crate::action::verdict::{Repeat, judge};
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

#[derive(Debug)]
struct Webhook {
    call: HttpCall,
    /// Empty: every 2xx.
    expect_status: Vec<u16>,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    let call = HttpCall::read(reader, scope, Method::POST);
    let expect_status = expect_status(reader);
    if reader_on_unknown(reader) == Some(OnUnknown::Reconcile) {
        reader.wrong("on_unknown", "a webhook cannot be asked what became of a request; use retry or hold");
    }
    let call = call?;
    let on_unknown = on_unknown(call.repeat);
    Some(Read { action: Box::new(Webhook { call, expect_status: expect_status? }), on_unknown })
}

/// What a target that cannot be asked leaves: a repeat where it does no harm.
pub(crate) fn on_unknown(repeat: Repeat) -> OnUnknown {
    match repeat {
        Repeat::Harmless => OnUnknown::Retry,
        Repeat::Doubles => OnUnknown::Hold,
    }
}

pub(crate) fn expect_status(reader: &Reader<'_, '_>) -> Option<Vec<u16>> {
    let Some(words) = reader.strings("expect_status") else {
        return reader.node("expect_status").is_none().then(Vec::new);
    };
    let statuses: Option<Vec<u16>> =
        words.iter().map(|word| word.parse().ok().filter(|status| (100..600).contains(status))).collect();
    if statuses.is_none() {
        reader.wrong("expect_status", "expected status codes, such as [200, 201, 202, 204]");
    }
    statuses
}

/// Whether a status is among those expected; none given, every 2xx is.
pub(crate) fn expected(expect_status: &[u16], status: u16) -> bool {
    if expect_status.is_empty() { (200..300).contains(&status) } else { expect_status.contains(&status) }
}

impl Action for Webhook {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        self.call.preview(context)
    }

    fn secret_names(&self) -> Vec<String> {
        self.call.secret_names()
    }

    fn remedies(&self) -> bool {
        true
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let names = self.secret_names();
            match network.exchange(&names, |secrets| self.call.request(task, secrets)).await {
                Ok(result) => {
                    network.scrubbed(judge(result, self.call.repeat, |status| expected(&self.expect_status, status)))
                }
                Err(report) => report,
            }
        })
    }
}
