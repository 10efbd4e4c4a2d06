//! `CloudWatch`'s embedded metric format: a JSON line on standard output that the log agent turns into metrics. Pure.
//!
//! Promised: what the specification asks for: `_aws` with a timestamp in milliseconds, at most 100 values for one metric in one
//! line, every dimension a member of the line. Its reference: "Embedded metric format specification" of the `CloudWatch`
//! Logs user guide.

use serde_json::{Map, Value, json};

/// Values of one metric in one line.
const VALUES_MAX: usize = 100;

/// What a metric is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A duration.
    Seconds,
}

/// One metric of an interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What was measured; a count is one value.
    pub values: Vec<f64>,
}

/// The lines of an interval, without their line ends. A metric without values is left out.
pub fn lines(namespace: &str, dimension: (&str, &str), at_ms: i64, metrics: &[Emitted]) -> Vec<String> {
    let chunks = |metric: &Emitted| metric.values.len().div_ceil(VALUES_MAX);
    let count = metrics.iter().map(chunks).max().unwrap_or(0);
    (0..count).map(|number| line(namespace, dimension, at_ms, metrics, number)).collect()
}

fn line(namespace: &str, (name, value): (&str, &str), at_ms: i64, metrics: &[Emitted], number: usize) -> String {
    let (mut described, mut members) = (Vec::new(), Map::new());
    for metric in metrics {
        let Some(values) = metric.values.chunks(VALUES_MAX).nth(number) else { continue };
        let unit = match metric.unit {
            Unit::Count => "Count",
            Unit::Seconds => "Seconds",
        };
        described.push(json!({"Name": metric.name, "Unit": unit}));
        let value = match values {
            [one] => json!(one),
            several => json!(several),
        };
        members.insert(metric.name.to_owned(), value);
    }
    let about = json!({"Namespace": namespace, "Dimensions": [[name]], "Metrics": described});
    members.insert("_aws".to_owned(), json!({"Timestamp": at_ms, "CloudWatchMetrics": [about]}));
    members.insert(name.to_owned(), value.into());
    Value::Object(members).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_the_specification_asks_for() {
        let metrics = [
            Emitted { name: "IncidentsProcessed", unit: Unit::Count, values: vec![3.0] },
            Emitted { name: "IncidentProcessingDuration", unit: Unit::Seconds, values: vec![0.5, 1.5] },
            Emitted { name: "AlertProcessingDuration", unit: Unit::Seconds, values: vec![] },
        ];
        let lines = lines("SRE/KafkaConsumer", ("Consumer", "pod-1"), 5, &metrics);
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!(line["_aws"]["Timestamp"], 5);
        let about = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!((&about["Namespace"], &about["Dimensions"]), (&json!("SRE/KafkaConsumer"), &json!([["Consumer"]])));
        let wanted = json!([
            {"Name": "IncidentsProcessed", "Unit": "Count"}, {"Name": "IncidentProcessingDuration", "Unit": "Seconds"}
        ]);
        assert_eq!(about["Metrics"], wanted);
        assert_eq!((&line["IncidentsProcessed"], &line["Consumer"]), (&json!(3.0), &json!("pod-1")));
        assert_eq!(line["IncidentProcessingDuration"], json!([0.5, 1.5]));
    }

    #[test]
    fn more_values_than_a_line_holds_go_into_further_lines() {
        let values = (0..250).map(f64::from).collect();
        let metrics = [
            Emitted { name: "D", unit: Unit::Seconds, values },
            Emitted { name: "C", unit: Unit::Count, values: vec![1.0] },
        ];
        let lines = lines("n", ("d", "v"), 0, &metrics);
        assert_eq!(lines.len(), 3);
        let count =
            |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["D"].as_array().map_or(1, Vec::len);
        assert_eq!(lines.iter().map(count).collect::<Vec<_>>(), [100, 100, 50]);
        assert!(!lines[1].contains("\"C\""), "a count is told once");
    }
}
