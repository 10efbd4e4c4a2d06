//! The text of a template: its secrets, its tags, whether it is JSON, and how values are written into it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::value::{Value as Jinja, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, UndefinedBehavior};

use crate::secret::{self, Part};
use crate::template::{Escape, FUEL, SECRETS, TemplateError};

/// An environment with everything but the template.
pub(super) fn environment(escape: Escape) -> Environment<'static> {
    static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut base = Environment::new();
        base.set_undefined_behavior(UndefinedBehavior::Strict);
        base.set_fuel(Some(FUEL));
        base.set_auto_escape_callback(|_| AutoEscape::None);
        base
    });
    let mut environment = BASE.clone();
    environment.set_formatter(move |out, _state, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(ErrorKind::UndefinedError));
        }
        write_value(out, escape, value)
    });
    environment
}

fn write_value(out: &mut Output<'_>, escape: Escape, value: &Jinja) -> Result<(), minijinja::Error> {
    let text = plain(value);
    let written = match escape {
        _ if value.is_safe() => out.write_str(&text),
        Escape::Json => {
            let quoted = serde_json::Value::from(text).to_string();
            out.write_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default())
        }
        Escape::Url => text.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.write_char(char::from(byte)),
            _ => write!(out, "%{byte:02X}"),
        }),
        // Wherever it stands in the value: the template may put nothing before it.
        Escape::ServiceNow if text.to_ascii_lowercase().contains("javascript:") => {
            let what = "a value with `javascript:` in it, which ServiceNow would run as a script";
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
        }
        Escape::ServiceNow => out.write_str(&text.replace('^', "^^")),
        Escape::Host if !is_host(&text) => {
            let what = "a value that is not the name of one host";
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
        }
        Escape::None | Escape::Host => out.write_str(&text),
        Escape::Slack => out.write_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
    };
    written.map_err(minijinja::Error::from)
}

/// Nothing that separates, excludes or widens in a pattern of Ansible (`:`, `,`, `!`, `&`, `*`, `~`, `@`, brackets), and not
/// the groups that every inventory has.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
        && text != "all"
        && text != "ungrouped"
}

/// A value as text: the items of a list with commas between them, `true` and `false` as JSON has them.
pub(super) fn plain(value: &Jinja) -> String {
    match value.kind() {
        ValueKind::Seq => {
            let items: Vec<_> = value.try_iter().into_iter().flatten().map(|item| plain(&item)).collect();
            items.join(",")
        }
        // JSON's words, not Python's.
        ValueKind::Bool => value.is_true().to_string(),
        _ => value.to_string(),
    }
}

/// Turns `$secret:NAME` outside of tags into a look-up that no incident can answer.
pub(super) fn with_secrets(source: &str) -> Result<(String, Vec<String>), TemplateError> {
    let (mut inner, mut found) = (String::with_capacity(source.len()), Vec::new());
    let mut rest = source;
    while !rest.is_empty() {
        let (outside, tag, after) = next_tag(rest);
        for part in secret::parts(outside) {
            match part {
                Part::Text(text) => inner.push_str(text),
                Part::Secret(name) => {
                    let _ = write!(inner, "{{{{ {SECRETS}[\"{name}\"] }}}}");
                    if !found.iter().any(|known| known == name) {
                        found.push(name.to_owned());
                    }
                }
            }
        }
        if let Some(name) = secret::names(tag).next() {
            return Err(TemplateError::SecretInside { name: name.to_owned() });
        }
        inner.push_str(tag);
        rest = after;
    }
    Ok((inner, found))
}

/// The text before the next tag, the tag with its braces, and what follows.
fn next_tag(text: &str) -> (&str, &str, &str) {
    let begin = ["{{", "{%", "{#"].iter().filter_map(|open| text.find(open)).min().unwrap_or(text.len());
    let (outside, tag) = text.split_at_checked(begin).unwrap_or((text, ""));
    let close = match tag.as_bytes().get(1) {
        Some(b'{') => "}}",
        Some(b'%') => "%}",
        _ => "#}",
    };
    let end = tag.find(close).map_or(tag.len(), |at| at.saturating_add(close.len()));
    let (tag, after) = tag.split_at_checked(end).unwrap_or((tag, ""));
    (outside, tag, after)
}

/// Whether a template makes JSON: it is JSON when `0` stands for every expression, or it begins as an object or a list of
/// texts or objects does (loops leave commas that JSON does not have).
pub(super) fn is_json(source: &str) -> bool {
    let begins = source.trim_start();
    let (first, second) = (begins.get(..1), begins.get(1..).map(str::trim_start));
    let object = first == Some("{") && second.is_some_and(|rest| rest.starts_with('"'));
    let list = first == Some("[") && second.is_some_and(|rest| rest.starts_with('"') || is_json(rest));
    if object || list {
        return true;
    }
    if !matches!(first, Some("{" | "[")) {
        return false;
    }
    let (mut text, mut rest) = (String::new(), source);
    while !rest.is_empty() {
        let (outside, tag, after) = next_tag(rest);
        text.push_str(outside);
        text.push_str(if tag.starts_with("{{") { "0" } else { "" });
        rest = after;
    }
    // A text that is one expression is no JSON of its own.
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()
}
