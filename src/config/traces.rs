//! The section `telemetry.traces`: where OpenTelemetry traces go. Without an endpoint there are none.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::secret::SecretText;
use crate::yaml::{Node, Reader};

/// Where OpenTelemetry traces go, and as whose.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector's address for traces over OTLP/HTTP, path included.
    pub endpoint: Url,
    /// Sent along with each delivery.
    pub headers: Vec<(HeaderName, SecretText)>,
    /// The share of traces that are kept, from 0 to 1.
    pub sample_ratio: f64,
    /// For one delivery.
    pub timeout: Duration,
    /// `service.name`.
    pub service_name: String,
    /// More attributes of the resource, such as `deployment.environment.name`.
    pub resource: Vec<(String, String)>,
}

pub(super) fn read(root: &Reader<'_, '_>) -> Option<Traces> {
    let telemetry = root.child("telemetry")?;
    let traces = telemetry.child("traces").and_then(|reader| {
        let traces = traces(&reader);
        reader.close();
        traces
    });
    telemetry.close();
    traces
}

fn traces(reader: &Reader<'_, '_>) -> Option<Traces> {
    let written = reader.node("endpoint").is_some();
    let endpoint = reader.string("endpoint").and_then(|text| match endpoint(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            reader.wrong("endpoint", why);
            None
        }
    });
    let headers = reader.node("headers").map(|node| headers(reader, node)).unwrap_or_default();
    let ratio = "a number from 0 to 1";
    let ratio =
        reader.read("sample_ratio", ratio, |node| node.text()?.parse().ok().filter(|n| (0.0..=1.0).contains(n)));
    let timeout = reader.duration("timeout").unwrap_or(Duration::from_secs(5));
    let service_name = reader.string("service_name").unwrap_or_else(|| "kafka_consumer".to_owned());
    let resource = reader.read("resource", "a map of names and texts", pairs).unwrap_or_default();
    if !written {
        let what = "has no effect without an endpoint, such as http://otel-collector:4318/v1/traces";
        reader.mistakes().warn(reader.path(), reader.at(), what);
    }
    Some(Traces { endpoint: endpoint?, headers, sample_ratio: ratio.unwrap_or(1.0), timeout, service_name, resource })
}

fn endpoint(text: &str) -> Result<Url, String> {
    let example = "such as http://otel-collector:4318/v1/traces";
    let url = Url::parse(text).map_err(|error| format!("is no URL ({error}), {example}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("expected a URL that begins with http:// or https://, {example}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials belong into `headers`".to_owned());
    }
    if url.path() == "/" {
        return Err(format!("has no path; the one of traces is /v1/traces, {example}"));
    }
    Ok(url)
}

fn headers(reader: &Reader<'_, '_>, node: &Node) -> Vec<(HeaderName, SecretText)> {
    let wrong = |at, what: String| reader.mistakes().add(reader.path_of("headers"), at, what);
    if node.as_map().is_none() {
        wrong(node.at(), format!("expected a map of names and values, found {}", node.describe()));
    }
    let mut found = Vec::new();
    for entry in node.as_map().unwrap_or_default() {
        let name = HeaderName::try_from(&entry.key);
        let value = entry.value.text().filter(|text| HeaderValue::from_str(text).is_ok());
        match (name, value) {
            (Ok(name), Some(value)) => found.push((name, SecretText::new(value))),
            (Err(_), _) => wrong(entry.at, format!("`{}` cannot be the name of a header", entry.key)),
            (_, None) => wrong(entry.at, format!("the value of `{}` cannot be that of a header", entry.key)),
        }
    }
    found
}

fn pairs(node: &Node) -> Option<Vec<(String, String)>> {
    node.as_map()?.iter().map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{self, Mistakes};

    fn read_text(text: &str) -> (Option<Traces>, Mistakes) {
        let mistakes = Mistakes::default();
        let document = yaml::parse(text, &mistakes).expect("yaml");
        let root = Reader::new(&document, "", &mistakes);
        let traces = read(&root);
        root.close();
        (traces, mistakes)
    }

    #[test]
    fn an_endpoint_is_enough() {
        let (traces, mistakes) = read_text("telemetry: {traces: {endpoint: 'http://otel:4318/v1/traces'}}");
        assert!(mistakes.is_empty(), "{mistakes}");
        let traces = traces.expect("traces");
        assert_eq!((traces.sample_ratio, traces.timeout), (1.0, Duration::from_secs(5)));
        assert_eq!((traces.endpoint.port(), traces.service_name.as_str()), (Some(4318), "kafka_consumer"));
    }

    #[test]
    fn without_one_there_are_none_and_what_is_beside_it_has_no_effect() {
        for text in ["mode: live", "telemetry:", "telemetry: {traces: null}"] {
            let mistakes = Mistakes::default();
            let document = yaml::parse(text, &mistakes).expect("yaml");
            assert_eq!(read(&Reader::new(&document, "", &mistakes)), None, "{text}");
            assert!(mistakes.is_empty() && mistakes.warnings().is_empty(), "{text}");
        }
        let (traces, mistakes) = read_text("telemetry: {traces: {sample_ratio: 0.1}}");
        assert!(traces.is_none() && mistakes.is_empty(), "{mistakes}");
        assert!(mistakes.warnings()[0].to_string().contains("no effect without an endpoint"));
    }

    #[test]
    fn mistakes_are_placed_and_say_what_is_expected() {
        for (settings, expected) in [
            ("endpoint: 'otel:4318/v1/traces'", "begins with http:// or https://"),
            ("endpoint: 'http://otel:4318'", "has no path"),
            ("endpoint: 'http://me:pw@otel:4318/v1/traces'", "credentials belong into `headers`"),
            ("endpoint: 'http://o/t', sample_ratio: 2", "a number from 0 to 1"),
            ("endpoint: 'http://o/t', sample_ratio: nan", "a number from 0 to 1"),
            ("endpoint: 'http://o/t', sampel_ratio: 1", "sample_ratio"),
            ("endpoint: 'http://o/t', headers: {'a b': c}", "`a b` cannot be the name of a header"),
            ("endpoint: 'http://o/t', headers: [a]", "a map of names and values"),
            ("endpoint: 'http://o/t', timeout: soon", "a duration"),
        ] {
            let (_, mistakes) = read_text(&format!("telemetry:\n  traces: {{{settings}}}\n"));
            let told = mistakes.all().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert!(told.contains(expected) && told.contains("line 2, column "), "{settings}: {told}");
        }
    }
}
