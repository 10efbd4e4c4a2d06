//! `scan_big_panda`: ends the flow when other incidents of BigPanda match a query (BPQL).

use futures::future::BoxFuture;
use serde_json::Value;

use crate::action::check::search::{More, Search};
use crate::action::check::{at_least, check, judged};
use crate::action::definition::{Scope, Surroundings};
use crate::action::json_api::id_of;
use crate::action::network::Network;
use crate::action::{Action, Read, Report, Task};
use crate::template::{Context, RenderError};
use crate::yaml::Reader;

#[derive(Debug)]
struct Scan {
    search: Search,
    at_least: usize,
}

pub(crate) fn read(reader: &Reader<'_, '_>, scope: Scope, surroundings: &Surroundings) -> Option<Read> {
    reader.required("query");
    let search = Search::read(reader, "scan_big_panda", scope, surroundings);
    let at_least = at_least(reader);
    Some(check(reader, Scan { search: search?, at_least }))
}

/// The ids of those that are not the incident itself; `None` where one has none.
fn others(items: &[Value], own: &str) -> Option<Vec<String>> {
    let ids: Option<Vec<_>> = items.iter().map(|item| item.get("id").and_then(id_of)).collect();
    Some(ids?.into_iter().filter(|id| id != own).collect())
}

impl Scan {
    async fn scan(&self, task: Task<'_>, network: &Network) -> Result<Vec<String>, Report> {
        let mut found = Vec::new();
        let take = |items: &[Value]| {
            let no_id = || Report::Retryable { reason: "an incident of the answer has no id".to_owned(), after: None };
            found.extend(others(items, &task.context.incident().id).ok_or_else(no_id)?);
            Ok(if found.len() >= self.at_least { More::Enough } else { More::Wanted })
        };
        self.search.each_page(task, network, take).await?;
        Ok(found)
    }
}

impl Action for Scan {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let query = self.search.shown(context)?;
        Ok(format!("look in BigPanda for {} or more other incidents with {query}", self.at_least))
    }

    fn secret_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.scan(task, network).await {
                Ok(found) => judged("other incidents of BigPanda match", &found, self.at_least),
                Err(report) => report,
            };
            network.scrubbed(report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_incident_itself_is_no_other() {
        let items = [json!({"id": "own"}), json!({"id": "b"}), json!({"id": 3})];
        assert_eq!(others(&items, "own"), Some(vec!["b".to_owned(), "3".to_owned()]));
        assert_eq!(others(&[json!({"id": "b"}), json!({})], "own"), None);
    }
}
