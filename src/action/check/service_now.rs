//! `check_service_now_changes`, `scan_service_now_ops`: end the flow when records of a table of ServiceNow match (Table API).
//!
//! ServiceNow leaves out what it does not understand in a query, so a misspelt field makes it match more, not less: the
//! flow then ends where it need not, which the reason shows. Values of an incident can neither add a condition to a query nor
//! have a script run.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use reqwest::{Method, Url};
use serde_json::Value;

use crate::action::check::{answered, at_least, check, judged, query};
use crate::action::definition::{Scope, Surroundings};
use crate::action::json_api::{JsonCall, base_url, secret_name};
use crate::action::network::Network;
use crate::action::{Action, Read, Report, Secrets, Task};
use crate::secret::Secret;
use crate::template::{Context, Escape, RenderError, Template};
use crate::transport::Request;
use crate::yaml::Reader;

/// Records asked for, at least.
const LIMIT: usize = 100;
/// What is asked of each record.
const FIELDS: &str = "sys_id,number,short_description";

#[derive(Debug)]
struct Records {
    base: Url,
    table: String,
    query: Template,
    /// With a name it is a password, without one a bearer token.
    username: Option<String>,
    secret: String,
    at_least: usize,
}

pub(crate) fn read_changes(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    records(reader, scope, "change_request")
}

pub(crate) fn read_ops(reader: &Reader<'_, '_>, scope: Scope, _: &Surroundings) -> Option<Read> {
    records(reader, scope, "incident")
}

fn records(reader: &Reader<'_, '_>, scope: Scope, table_unless_given: &str) -> Option<Read> {
    let base = base_url(reader, "instance_url", None);
    let table = reader.string("table").unwrap_or_else(|| table_unless_given.to_owned());
    reader.required("query");
    let query = query(reader, scope, Escape::ServiceNow);
    let username = reader.string("username");
    let secret = secret_name(reader, "auth_secret");
    let at_least = at_least(reader);
    Some(check(reader, Records { base: base?, table, query: query?, username, secret: secret?, at_least }))
}

/// The records of an answer by name; the text says why they cannot be read.
fn named(body: &Value) -> Result<Vec<String>, String> {
    let records = body.get("result").and_then(Value::as_array).ok_or("the answer holds no list of records")?;
    let field = |record: &Value, name: &str| {
        record.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = |record: &Value| {
        let id = field(record, "number").or_else(|| field(record, "sys_id")).unwrap_or_else(|| "a record".to_owned());
        field(record, "short_description").map_or(id.clone(), |text| format!("{id} ({text})"))
    };
    Ok(records.iter().map(name).collect())
}

impl Records {
    fn authorization(&self, secrets: &Secrets) -> Result<Secret, String> {
        let secret =
            secrets.get(&self.secret).ok_or_else(|| format!("the secret `{}` is not there", self.secret))?.reveal();
        Ok(Secret::new(match &self.username {
            Some(user) => format!("Basic {}", Secret::new(STANDARD.encode(format!("{user}:{secret}"))).reveal()),
            None => format!("Bearer {secret}"),
        }))
    }

    fn request(&self, query: &str, secrets: &Secrets, timeout: Duration) -> Result<Request, String> {
        let limit = self.at_least.max(LIMIT).to_string();
        let authorization = self.authorization(secrets)?;
        let call = JsonCall {
            method: Method::GET,
            base: &self.base,
            path: &["api", "now", "table", &self.table],
            query: &[
                ("sysparm_query", query),
                ("sysparm_fields", FIELDS),
                ("sysparm_exclude_reference_link", "true"),
                ("sysparm_limit", &limit),
            ],
            authorization: Some(authorization.reveal()),
            body: None,
            timeout,
        };
        call.request()
    }

    async fn look(&self, task: Task<'_>, network: &Network) -> Result<Vec<String>, Report> {
        let query = self.query.render(task.context).map_err(|error| Report::Failed { reason: error.to_string() })?;
        let made = |secrets: &Secrets| self.request(&query, secrets, task.timeout);
        let body = answered(network.exchange(std::slice::from_ref(&self.secret), made).await?)?;
        named(&body).map_err(|reason| Report::Retryable { reason, after: None })
    }
}

impl Action for Records {
    fn preview(&self, context: &Context) -> Result<String, RenderError> {
        let (host, query) = (self.base.host_str().unwrap_or_default(), self.query.render(context)?);
        Ok(format!("look at {host} for {} or more records of {} with {query}", self.at_least, self.table))
    }

    fn secret_names(&self) -> Vec<String> {
        vec![self.secret.clone()]
    }

    fn execute<'a>(&'a self, task: Task<'a>, network: &'a Network) -> BoxFuture<'a, Report> {
        Box::pin(async move {
            let report = match self.look(task, network).await {
                Ok(found) => judged(&format!("records of {} match", self.table), &found, self.at_least),
                Err(report) => report,
            };
            network.scrubbed(report)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use serde_json::json;

    #[test]
    fn records_are_named_by_number_and_description() {
        let body = json!({"result": [
            {"sys_id": "1", "number": "CHG1", "short_description": "patch"}, {"sys_id": "2", "number": ""}, {},
        ]});
        assert_eq!(named(&body), Ok(vec!["CHG1 (patch)".to_owned(), "2".to_owned(), "a record".to_owned()]));
        assert!(named(&json!({"error": {"message": "no"}, "status": "failure"})).is_err());
    }

    #[test]
    fn a_value_adds_no_condition_and_runs_no_script() {
        let filled = |host: &str| {
            let record = json!({"id": "i", "alerts": [{"id": "a", "host": host}]}).to_string();
            let incident = Incident::parse(record.as_bytes()).unwrap();
            let query = Template::compile_as("active=true^cmdb_ci.name={{host}}", Escape::ServiceNow).unwrap();
            query.render(&Context::new(&incident).for_alert(0))
        };
        assert_eq!(filled("h1").as_deref(), Ok("active=true^cmdb_ci.name=h1"));
        assert_eq!(filled("h^ORactive=true").as_deref(), Ok("active=true^cmdb_ci.name=h^^ORactive=true"));
        let error = filled("JavaScript:gs.sleep(1)").unwrap_err().to_string();
        assert!(error.contains("run as a script"), "{error}");
    }
}
