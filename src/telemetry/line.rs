//! One event as one line. Pure: the time and the process id are given.
//!
//! JSON lines are flat: `timestamp`, `level`, `target`, `line`, `message`, then the fields of the event and of the spans
//! around it. The text form is the predecessor's, `[PID][LEVEL][TIMESTAMP][module.function][line] - message`, with the
//! fields after the message. What comes from outside cannot end a line or start another: control characters are escaped.

use serde_json::{Map, Value};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// `[PID][LEVEL][TIMESTAMP][module.function][line] - message`.
    Text,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(format!("`{other}` is not a log format; write json or text")),
        }
    }
}

/// An event, ready to be written.
pub(super) struct Line {
    pub(super) pid: u32,
    pub(super) level: &'static str,
    /// RFC 3339, UTC, milliseconds.
    pub(super) timestamp: String,
    /// The module path, with `::`.
    pub(super) target: String,
    /// The innermost span, which bears the name of what is being done.
    pub(super) function: Option<&'static str>,
    pub(super) number: Option<u32>,
    pub(super) message: String,
    pub(super) fields: Map<String, Value>,
}

impl Line {
    pub(super) fn render(self, format: Format) -> String {
        match format {
            Format::Json => self.json(),
            Format::Text => self.text(),
        }
    }

    fn json(self) -> String {
        let mut object = Map::new();
        object.insert("timestamp".to_owned(), self.timestamp.into());
        object.insert("level".to_owned(), self.level.into());
        object.insert("pid".to_owned(), self.pid.into());
        object.insert("target".to_owned(), self.target.into());
        if let Some(function) = self.function {
            object.insert("span".to_owned(), function.into());
        }
        if let Some(line) = self.number {
            object.insert("line".to_owned(), line.into());
        }
        object.insert("message".to_owned(), self.message.into());
        for (name, value) in self.fields {
            // A field that bears one of the names above keeps its value under a name of its own.
            let name = if object.contains_key(&name) { format!("field_{name}") } else { name };
            object.insert(name, value);
        }
        Value::Object(object).to_string()
    }

    fn text(self) -> String {
        use std::fmt::Write as _;

        let module = self.target.replace("::", ".");
        let place = self.function.map_or(module.clone(), |function| format!("{module}.{function}"));
        let line = self.number.unwrap_or_default();
        let mut text = format!("[{}][{}][{}][{place}][{line}] - ", self.pid, self.level, self.timestamp);
        escape_into(&mut text, &self.message);
        for (name, value) in &self.fields {
            let _ = match value {
                Value::String(plain) if is_plain(plain) => write!(text, " {name}={plain}"),
                other => write!(text, " {name}={other}"),
            };
        }
        text
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

fn escape_into(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Line {
        let mut fields = Map::new();
        fields.insert("incident".to_owned(), "60f1".into());
        fields.insert("partition".to_owned(), 3.into());
        fields.insert("why".to_owned(), "a \"b\" c".into());
        Line {
            pid: 7,
            level: "INFO",
            timestamp: "2026-03-14T15:30:00.123Z".to_owned(),
            target: "kafka_consumer::pipeline".to_owned(),
            function: Some("decide"),
            number: Some(42),
            message: message.to_owned(),
            fields,
        }
    }

    #[test]
    fn the_text_form_is_the_predecessors() {
        assert_eq!(
            line("matched").render(Format::Text),
            "[7][INFO][2026-03-14T15:30:00.123Z][kafka_consumer.pipeline.decide][42] - matched \
             incident=60f1 partition=3 why=\"a \\\"b\\\" c\""
        );
    }

    #[test]
    fn json_lines_are_flat() {
        let object: Value = serde_json::from_str(&line("matched").render(Format::Json)).expect("JSON");
        assert_eq!(object["incident"], "60f1");
        assert_eq!(object["partition"], 3);
        assert_eq!(object["message"], "matched");
        assert_eq!(object["line"], 42);
    }

    #[test]
    fn text_from_outside_cannot_start_a_line_of_its_own() {
        for format in [Format::Json, Format::Text] {
            let rendered = line("id \n[1][ERROR] - forged\u{1b}[31m").render(format);
            assert!(!rendered.contains('\n') && !rendered.contains('\u{1b}'), "{rendered}");
        }
    }

    #[test]
    fn a_field_cannot_pose_as_the_level() {
        let mut posing = line("m");
        posing.fields.insert("level".to_owned(), "TRACE".into());
        let object: Value = serde_json::from_str(&posing.render(Format::Json)).expect("JSON");
        assert_eq!((&object["level"], &object["field_level"]), (&"INFO".into(), &"TRACE".into()));
    }
}
