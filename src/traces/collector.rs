//! One delivery to the collector: a request, and what its answer means by OTLP's rules. Pure but for the request.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url};

use crate::secret::{SecretText, Secrets};
use crate::transport::{Answer, HttpClient, Request};

/// Where spans go.
#[derive(Debug)]
pub struct Collector {
    /// How.
    pub http: HttpClient,
    /// Where, path included.
    pub endpoint: Url,
    /// Sent along, such as `Authorization`.
    pub headers: Vec<(HeaderName, SecretText)>,
    /// Where the values of secrets in them come from.
    pub secrets: Secrets,
    /// For one delivery.
    pub timeout: Duration,
}

/// What became of one delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It was taken, but for some spans, with the collector's reason for them.
    Taken { rejected: usize, why: String },
    /// It will never be taken.
    Refused(String),
    /// Not now; the collector may say when.
    NotNow { why: String, after: Option<Duration> },
}

impl Collector {
    /// Delivers an encoded request once.
    pub(super) async fn post(&self, body: Bytes) -> Delivery {
        let headers = match self.headers().await {
            Ok(headers) => headers,
            Err(why) => return Delivery::NotNow { why, after: None },
        };
        let (url, timeout) = (self.endpoint.clone(), self.timeout);
        let request = Request { method: Method::POST, url, headers, body: Some(body), timeout };
        match self.http.send(request).await {
            Ok(answer) => {
                if matches!(answer.status, 401 | 403) {
                    // They may have been renewed: fetched anew for the next try.
                    let names = self.headers.iter().flat_map(|(_, value)| value.names());
                    names.for_each(|name| self.secrets.refused(name));
                }
                meaning(&answer)
            }
            Err(error) => Delivery::NotNow { why: error.to_string(), after: None },
        }
    }

    async fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &self.headers {
            let secret = value.resolve(&self.secrets).await.map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(secret.reveal())
                .map_err(|_| format!("the value of the header {name} holds what no header can"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// By the OTLP specification 429, 502, 503 and 504 are repeated and other refusals are for good. Refused credentials are
/// repeated too, since they may be in the middle of a rotation.
fn meaning(answer: &Answer) -> Delivery {
    let excerpt = answer.excerpt();
    let why = if excerpt.is_empty() {
        format!("HTTP {}", answer.status)
    } else {
        format!("HTTP {}: {excerpt}", answer.status)
    };
    match answer.status {
        200..=299 => {
            let partial = ExportTraceServiceResponse::decode(answer.body.clone()).ok();
            let partial = partial.and_then(|response| response.partial_success).unwrap_or_default();
            let rejected = usize::try_from(partial.rejected_spans).unwrap_or_default();
            Delivery::Taken { rejected, why: partial.error_message }
        }
        401 | 403 | 429 | 502..=504 => {
            let after = answer.header(&RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Delivery::NotNow { why, after }
        }
        _ => Delivery::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        Answer { status, headers, body: body.into(), cut_off: false }
    }

    #[test]
    fn answers_mean_what_otlp_says() {
        for status in [401, 403, 429, 502, 503, 504] {
            let after = Some(Duration::from_secs(7));
            assert_eq!(
                meaning(&answer(status, "busy")),
                Delivery::NotNow { why: format!("HTTP {status}: busy"), after }
            );
        }
        for status in [301, 400, 404, 413, 500] {
            assert_eq!(meaning(&answer(status, "")), Delivery::Refused(format!("HTTP {status}")));
        }
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
        let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(meaning(&answer(200, body)), Delivery::Taken { rejected: 3, why: "too old".to_owned() });
        for body in ["", "{}", "not protobuf at all"] {
            assert_eq!(meaning(&answer(200, body)), Delivery::Taken { rejected: 0, why: String::new() }, "{body}");
        }
    }
}
