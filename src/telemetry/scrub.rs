//! Takes secret values out of text that leaves the process.
//!
//! Whoever resolves a secret registers its value here; every log line, error page and final error text passes through
//! [`Scrubber::scrub`]. A value is also found in the forms in which text usually carries it: escaped as JSON, as base64
//! and percent-encoded. Values shorter than 4 bytes are not scrubbed: they would hit by chance everywhere.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{OnceLock, PoisonError, RwLock};

use base64::Engine as _;

/// Values below this many bytes are left alone.
const SHORTEST: usize = 4;

/// How many values are remembered; beyond it the oldest is forgotten, so that endless rotation stays bounded.
const REMEMBERED_MAX: usize = 256;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A set of values that must not be seen.
#[derive(Default)]
pub struct Scrubber {
    /// Every form of every value, longest first, so that a value which contains another goes whole.
    forms: RwLock<Vec<String>>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scrubber(***)")
    }
}

impl Scrubber {
    /// Remembers `value`; from now on its forms are masked.
    pub fn register(&self, value: &str) {
        if value.len() < SHORTEST {
            return;
        }
        let mut forms = self.forms.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms_of(value) {
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.truncate(REMEMBERED_MAX.saturating_mul(4));
    }

    /// The text with every remembered value masked; borrowed when there was none.
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let forms = self.forms.read().unwrap_or_else(PoisonError::into_inner);
        let mut clean = Cow::Borrowed(text);
        for form in forms.iter() {
            if clean.contains(form.as_str()) {
                clean = Cow::Owned(clean.replace(form.as_str(), MASK));
            }
        }
        clean
    }
}

/// The scrubber of the process, which the log sink uses.
pub fn scrubber() -> &'static Scrubber {
    static SCRUBBER: OnceLock<Scrubber> = OnceLock::new();
    SCRUBBER.get_or_init(Scrubber::default)
}

fn forms_of(value: &str) -> Vec<String> {
    let json = serde_json::Value::from(value).to_string();
    let json = json.trim_matches('"').to_owned();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(value);
    let percent = value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    });
    let mut forms = vec![value.to_owned(), json, base64, percent];
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_masked_in_each_form_that_text_carries() {
        let scrubber = Scrubber::default();
        scrubber.register("p\"a/ss word");
        for carried in ["p\"a/ss word", "p\\\"a/ss word", "p%22a%2Fss%20word", "cCJhL3NzIHdvcmQ"] {
            assert_eq!(scrubber.scrub(&format!("<{carried}>")), "<***>", "{carried}");
        }
    }

    #[test]
    fn a_value_inside_another_does_not_leave_the_rest_of_it() {
        let scrubber = Scrubber::default();
        scrubber.register("hunter");
        scrubber.register("hunter2-and-more");
        assert_eq!(scrubber.scrub("password hunter2-and-more"), "password ***");
    }

    #[test]
    fn text_without_secrets_is_not_copied() {
        let scrubber = Scrubber::default();
        scrubber.register("canary-1");
        assert!(matches!(scrubber.scrub("an innocent line"), Cow::Borrowed(_)));
    }

    #[test]
    fn values_too_short_to_be_secrets_are_left_alone() {
        let scrubber = Scrubber::default();
        scrubber.register("in");
        assert_eq!(scrubber.scrub("joined in time"), "joined in time");
    }
}
