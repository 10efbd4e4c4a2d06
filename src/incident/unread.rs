//! A record that is not read: what its bytes alone prove.
//!
//! In a record without escapes every text stands as it is, so a text that is not among its bytes is not in it. This is no proof
//! that it is an incident, nor that it is JSON. Absent: what is looked for.

use memchr::{memchr, memmem};

/// Text that looks like an object of JSON and has no escapes.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a>(&'a str);

/// The names of an incident's id, with the quote before and without the one behind.
const ID_NAMES: [&str; 3] = ["\"id", "\"incident_id", "\"incidentId"];
/// How each of them ends.
const ID_END: &[u8] = b"d\"";
/// Whole numbers of this many digits are surely read as such.
const DIGITS_MAX: usize = 18;

impl<'a> Unread<'a> {
    /// `None` if the bytes prove nothing: only reading the record tells.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.trim_ascii()).ok()?;
        let is_plain = text.starts_with('{') && text.ends_with('}') && memchr(b'\\', text.as_bytes()).is_none();
        is_plain.then_some(Self(text))
    }

    /// The whole text.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// Whether it could be about an incident that `is_one` knows by its id. So it could when it names no id, or one in a way that
    /// only reading tells.
    pub fn may_be_about(self, mut is_one: impl FnMut(&str) -> bool) -> bool {
        let mut names_one = false;
        for at in memmem::find_iter(self.0.as_bytes(), ID_END) {
            let (Some(before), Some(behind)) = (self.0.get(..=at), self.0.get(at + ID_END.len()..)) else {
                return true;
            };
            if !ID_NAMES.iter().any(|name| before.ends_with(name)) {
                continue;
            }
            // Without a colon it is a value, such as the name of a tag.
            let Some(value) = behind.trim_ascii_start().strip_prefix(':') else { continue };
            match id_in(value.trim_ascii_start()) {
                Some(id) if !is_one(id) => names_one = true,
                Some(_) | None => return true,
            }
        }
        !names_one
    }
}

/// The id that a value begins with: text, or a whole number that is read as its digits.
fn id_in(value: &str) -> Option<&str> {
    let id = if let Some(text) = value.strip_prefix('"') {
        text.split('"').next()?
    } else {
        let (id, rest) = value.split_at(value.bytes().take_while(u8::is_ascii_digit).count());
        let ends = rest.trim_ascii_start().starts_with([',', '}']);
        if !ends || id.len() > DIGITS_MAX {
            return None;
        }
        id
    };
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;

    fn ids(text: &str) -> (Vec<String>, bool) {
        let mut asked = Vec::new();
        let unread = Unread::of(text.as_bytes()).expect("proves something");
        let may_be = unread.may_be_about(|id| {
            asked.push(id.to_owned());
            false
        });
        (asked, may_be)
    }

    #[test]
    fn what_could_be_its_id_is_asked_for() {
        let record = r#" {"incident": {"id" : "60f1", "incidentTags": [{"id": "alert_type", "value": "id"}],
            "alerts": [{"id":17}, {"valid": "no id"}]}, "incident_id": "7b", "incidentId": "8c"} "#;
        assert_eq!(ids(record), (["60f1", "alert_type", "17", "7b", "8c"].map(str::to_owned).to_vec(), false));
        let unread = Unread::of(record.as_bytes()).expect("proves something");
        assert!(unread.may_be_about(|id| id == "17"));
        assert_eq!(Incident::parse(record.as_bytes()).expect("an incident").id, "60f1");
    }

    #[test]
    fn an_id_that_only_reading_tells_could_be_any() {
        for id in ["", "null", "1.0", "1e3", "-7", "\"\"", "7 8", "1234567890123456789", "[\"x\"]"] {
            assert!(ids(&format!("{{\"id\": {id}}}")).1, "{id}");
        }
        assert!(ids("{}").1);
        assert!(ids(r#"{"name": "id"}"#).1);
    }

    #[test]
    fn escapes_and_what_is_no_object_prove_nothing() {
        for record in
            [&br#"{"id": "\u0041"}"#[..], b"", b"[{}]", b"{\"id\": \"x\"", b"\xef\xbb\xbf{}", b"{\"id\": \"\xff\"}"]
        {
            assert!(Unread::of(record).is_none(), "{}", record.escape_ascii());
        }
    }
}
