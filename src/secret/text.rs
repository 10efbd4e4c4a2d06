//! `$secret:NAME` in the text of a setting.

use std::fmt;

use zeroize::Zeroizing;

use super::{Secret, SecretError, Secrets};

/// What introduces a reference to a secret.
pub const MARK: &str = "$secret:";

/// A piece of a text with references in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// Text as it stands.
    Text(&'t str),
    /// The name of a secret.
    Secret(&'t str),
}

/// Splits a text at its `$secret:NAME` references. A name is of letters, digits, `_`, `-` and inner dots.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).unwrap_or(after.len());
        let name = after.get(..end).unwrap_or_default().trim_end_matches('.');
        let consumed = before.len().saturating_add(if name.is_empty() { MARK.len() } else { 0 });
        if let Some(before) = rest.get(..consumed).filter(|before| !before.is_empty()) {
            parts.push(Part::Text(before));
        }
        if !name.is_empty() {
            parts.push(Part::Secret(name));
        }
        rest = after.get(name.len()..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The names of the secrets that a text refers to.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Secret(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// A setting in which `$secret:NAME` may stand; it is as unprintable as what it may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Secret);

impl SecretText {
    /// The setting as written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// The names of the secrets it refers to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(self.0.reveal())
    }

    /// The text itself, when it refers to no secret.
    pub fn plain(&self) -> Option<&str> {
        let text = self.0.reveal();
        names(text).next().is_none().then_some(text)
    }

    /// Its value, with every reference fetched.
    pub async fn resolve(&self, secrets: &Secrets) -> Result<Secret, SecretError> {
        let mut value = Zeroizing::new(String::new());
        for part in parts(self.0.reveal()) {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Secret(name) => value.push_str(secrets.resolve(name).await?.reveal()),
            }
        }
        Ok(Secret::new(std::mem::take(&mut *value)))
    }
}

impl fmt::Debug for SecretText {
    /// `$secret:NAME` is shown, since a name is no secret; text that was written out is not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in parts(self.0.reveal()) {
            match part {
                Part::Text(_) => f.write_str("***")?,
                Part::Secret(name) => write!(f, "{MARK}{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(format!("{:?}", SecretText::new("Bearer $secret:a.b")), "***$secret:a.b");
    }

    #[test]
    fn references_are_found_inside_any_text() {
        assert_eq!(parts("Bearer $secret:a-b_c.d."), [Part::Text("Bearer "), Part::Secret("a-b_c.d"), Part::Text(".")]);
        assert_eq!(parts("$secret:a$secret:b"), [Part::Secret("a"), Part::Secret("b")]);
        assert_eq!(parts("cost $secret: none"), [Part::Text("cost $secret:"), Part::Text(" none")]);
        assert_eq!(parts("plain"), [Part::Text("plain")]);
        assert_eq!(parts(""), []);
    }
}
