//! The name of one thing to be done once.
//!
//! Promised: two different keys never have the same text, and the text is stable: it is the key in the file, the
//! `{{episode.key}}` of templates, the idempotency key of requests and the argument of `history`.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stands for "no alert" in the text; an alert that is really called so is escaped.
const NO_ALERT: &str = "-";

/// Incident, alert or none, start of the episode, condition, action. A genuine re-fire has another start, so it acts
/// again; a redelivery or a repeated snapshot has the same key, so it does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpisodeKey {
    /// Incident id.
    pub incident: String,
    /// Alert id, for actions that run per alert.
    pub alert: Option<String>,
    /// When the alert or the incident started, seconds since the epoch; 0 when the record does not say.
    pub started: i64,
    /// Name of the condition.
    pub condition: String,
    /// Name of the action; fallbacks carry a prefix, see `plan`.
    pub action: String,
}

impl fmt::Display for EpisodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(&self.incident, f)?;
        f.write_char('/')?;
        match self.alert.as_deref() {
            None => f.write_str(NO_ALERT)?,
            Some(NO_ALERT) => f.write_str("%2D")?,
            Some(alert) => escape(alert, f)?,
        }
        write!(f, "/{}/", self.started)?;
        escape(&self.condition, f)?;
        f.write_char('/')?;
        escape(&self.action, f)
    }
}

/// Percent-escapes what would end a part, break a header or break a log line.
fn escape(part: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in part.bytes() {
        if byte.is_ascii_graphic() && byte != b'/' && byte != b'%' {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// The text is not an episode key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an episode key: expected INCIDENT/ALERT or -/START/CONDITION/ACTION")]
pub struct EpisodeKeyError {
    text: String,
}

impl FromStr for EpisodeKey {
    type Err = EpisodeKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| EpisodeKeyError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<EpisodeKey> {
    let mut parts = text.split('/');
    let incident = unescape(parts.next()?)?;
    let alert = match parts.next()? {
        NO_ALERT => None,
        alert => Some(unescape(alert)?),
    };
    let started = parts.next()?.parse().ok()?;
    let condition = unescape(parts.next()?)?;
    let action = unescape(parts.next()?)?;
    parts.next().is_none().then_some(EpisodeKey { incident, alert, started, condition, action })
}

fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

impl Serialize for EpisodeKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EpisodeKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(incident: &str, alert: Option<&str>) -> EpisodeKey {
        EpisodeKey {
            incident: incident.to_owned(),
            alert: alert.map(str::to_owned),
            started: 1_769_755_513,
            condition: "oozie".to_owned(),
            action: "restart".to_owned(),
        }
    }

    #[test]
    fn the_text_is_readable_and_stable() {
        assert_eq!(key("60f1", None).to_string(), "60f1/-/1769755513/oozie/restart");
        assert_eq!(key("60f1", Some("a 1/ü")).to_string(), "60f1/a%201%2F%C3%BC/1769755513/oozie/restart");
    }

    #[test]
    fn an_alert_called_dash_is_not_no_alert() {
        assert_ne!(key("i", Some("-")).to_string(), key("i", None).to_string());
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "a/b", "i/-/now/c/a", "i/-/1/c/a/more", "i/%4/1/c/a", "%FF/-/1/c/a"] {
            assert!(text.parse::<EpisodeKey>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_key_survives_its_text(incident in ".*", alert in proptest::option::of(".*"), started: i64, condition in ".*", action in ".*") {
            let key = EpisodeKey { incident, alert, started, condition, action };
            prop_assert_eq!(key.to_string().parse::<EpisodeKey>(), Ok(key));
        }
    }
}
