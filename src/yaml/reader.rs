//! Takes known keys from a map, and tells at the end which keys nobody knew.
//!
//! Every getter notes that its key is known, gives `None` for an absent or null value, and notes a mistake for a
//! value of the wrong kind. [`Reader::close`] then reports the keys that were never asked for, with the nearest that were.

use std::cell::RefCell;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::yaml::{Entry, Mistake, Mistakes, Node, Position, join, units};

/// A map being read. `'n` is the tree, `'m` the collected mistakes.
pub struct Reader<'n, 'm> {
    entries: &'n [Entry],
    at: Position,
    path: String,
    mistakes: &'m Mistakes,
    asked: RefCell<Vec<String>>,
}

impl<'n, 'm> Reader<'n, 'm> {
    /// Reads `node` as a map; null reads as an empty one, anything else is a mistake and reads as empty.
    pub fn new(node: &'n Node, path: impl Into<String>, mistakes: &'m Mistakes) -> Self {
        let path = path.into();
        if node.as_map().is_none() && !node.is_null() {
            mistakes.add(path.as_str(), node.at(), format!("expected a map, found {}", node.describe()));
        }
        let entries = node.as_map().unwrap_or_default();
        Self { entries, at: node.at(), path, mistakes, asked: RefCell::default() }
    }

    /// The path of this map.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where this map began.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Where mistakes go.
    pub fn mistakes(&self) -> &'m Mistakes {
        self.mistakes
    }

    /// The path of a key of this map.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Makes a key known without reading it.
    pub fn know(&self, key: &str) {
        self.asked.borrow_mut().push(key.to_owned());
    }

    /// The entry of a key, null or not.
    pub fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.know(key);
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key; null counts as absent.
    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value).filter(|value| !value.is_null())
    }

    /// The value of the first of several spellings that is present.
    pub fn node_of(&self, keys: &[&str]) -> Option<(String, &'n Node)> {
        let found: Vec<_> = keys.iter().filter_map(|key| Some(((*key).to_owned(), self.node(key)?))).collect();
        if let [(first, _), (second, node), ..] = found.as_slice() {
            self.mistakes.add(self.path_of(second), node.at(), format!("means the same as `{first}`; keep one"));
        }
        found.into_iter().next()
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str) -> Option<&'n Node> {
        let node = self.node(key);
        if node.is_none() {
            self.mistakes.add(self.path_of(key), self.at, "is required and missing");
        }
        node
    }

    /// A map under a key.
    pub fn child(&self, key: &str) -> Option<Reader<'n, 'm>> {
        self.node(key).map(|node| Reader::new(node, self.path_of(key), self.mistakes))
    }

    /// A list of anything under a key, each item with its path.
    pub fn list(&self, key: &str) -> Option<Vec<(String, &'n Node)>> {
        let node = self.node(key)?;
        let Some(items) = node.as_list() else {
            return self.expected(key, node, "a list");
        };
        let path = self.path_of(key);
        Some(items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect())
    }

    /// A scalar as text, whatever its type.
    pub fn string(&self, key: &str) -> Option<String> {
        self.read(key, "text", |node| node.text().map(str::to_owned))
    }

    /// A scalar as text that must be there and not be empty.
    pub fn required_string(&self, key: &str) -> Option<String> {
        let node = self.required(key)?;
        match node.text() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            Some(_) => {
                self.mistakes.add(self.path_of(key), node.at(), "is empty");
                None
            }
            None => self.expected(key, node, "text"),
        }
    }

    /// Texts: a list of scalars, or one scalar.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        self.read(key, "a list of texts", |node| match node.as_list() {
            Some(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            None => node.text().map(|text| vec![text.to_owned()]),
        })
    }

    /// A boolean, in the spellings of YAML 1.1 too.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.read(key, "true or false", |node| node.as_scalar()?.as_bool())
    }

    /// A whole number in the range of its type.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        self.read(key, "a whole number in range", |node| T::try_from(node.text()?.parse().ok()?).ok())
    }

    /// A length of time: `30s`, `10m`, `1h`, or plain seconds.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.read(key, "a duration such as 30s, 10m, 1h or plain seconds", |node| units::duration(node.text()?))
    }

    /// A length of time in plain milliseconds, as Kafka's settings have it, or with a unit.
    pub fn millis(&self, key: &str) -> Option<Duration> {
        self.read(key, "milliseconds, or a duration such as 30s", |node| {
            let text = node.text()?;
            text.parse().map(Duration::from_millis).ok().or_else(|| {
                // A bare decimal would be read as seconds by `duration`, which no `.ms` setting means.
                if text.ends_with(|c: char| c.is_ascii_alphabetic()) { units::duration(text) } else { None }
            })
        })
    }

    /// A number of bytes, plain or with a unit.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.read(key, "a number of bytes, such as 1048576 or 1MiB", |node| units::bytes(node.text()?))
    }

    /// One of several words, letter case aside.
    pub fn choice<T: Clone>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = self.node(key)?;
        let text = node.text().unwrap_or_default();
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let what = format!("expected one of {}, found `{text}`", words.join(", "));
            self.mistakes.push(Mistake::at(self.path_of(key), node.at(), what).suggest(text, words));
        }
        found.map(|(_, value)| value.clone())
    }

    /// A whole section filled by `serde_yaml`; its complaint is placed at the section.
    pub fn typed<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let node = self.node(key)?;
        node.typed().map_err(|error| self.mistakes.add(self.path_of(key), node.at(), error.to_string())).ok()
    }

    /// A value read by a function that gives `None` for what it does not understand.
    pub fn read<T>(&self, key: &str, expected: &str, read: impl FnOnce(&'n Node) -> Option<T>) -> Option<T> {
        let node = self.node(key)?;
        read(node).or_else(|| self.expected(key, node, expected))
    }

    /// Notes a mistake at the value of a key (or at this map, when the key is absent).
    pub fn wrong(&self, key: &str, what: impl Into<String>) {
        let at = self.entries.iter().find(|entry| entry.key == key).map_or(self.at, |entry| entry.value.at());
        self.mistakes.add(self.path_of(key), at, what);
    }

    /// A key that is accepted and has no effect: warns when it is there.
    pub fn ignored(&self, key: &str, why: &str) {
        if let Some(entry) = self.entry(key) {
            self.mistakes.warn(self.path_of(key), entry.at, format!("has no effect: {why}"));
        }
    }

    /// The entries nobody asked for so far.
    pub fn rest(&self) -> Vec<&'n Entry> {
        let asked = self.asked.borrow();
        self.entries.iter().filter(|entry| !asked.contains(&entry.key)).collect()
    }

    /// The keys asked for so far.
    pub fn known(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Reports every key that was never asked for.
    pub fn close(self) {
        for entry in self.rest() {
            self.unknown(entry);
        }
    }

    /// Reports one unknown key with the nearest known one.
    pub fn unknown(&self, entry: &Entry) {
        let asked = self.asked.borrow();
        self.mistakes.push(
            Mistake::at(self.path_of(&entry.key), entry.at, "unknown key")
                .suggest(&entry.key, asked.iter().map(String::as_str)),
        );
    }

    fn expected<T>(&self, key: &str, node: &Node, expected: &str) -> Option<T> {
        let found = match node.text() {
            Some(text) if text.len() <= LONGEST_QUOTED && !text.contains("$secret:") => format!("`{text}`"),
            _ => node.describe().to_owned(),
        };
        self.mistakes.add(self.path_of(key), node.at(), format!("expected {expected}, found {found}"));
        None
    }
}

/// A wrong value longer than this is described, not quoted.
const LONGEST_QUOTED: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn check(text: &str, read: impl Fn(&Reader<'_, '_>), expected: &[&str]) {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).expect("yaml");
        let reader = Reader::new(&node, "", &mistakes);
        read(&reader);
        reader.close();
        let found: Vec<_> = mistakes.all().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_places() {
        check(
            "brokerz: [a]\nactive: maybe\nwait: 5 parsecs\nmode: lve\ncount: 300\n",
            |r| {
                let _ = (r.strings("brokers"), r.boolean("active"), r.duration("wait"));
                let _ = (r.choice("mode", &[("live", 1), ("shadow", 2)]), r.integer::<u8>("count"));
                let _ = r.required("name");
            },
            &[
                "line 1, column 1: name: is required and missing",
                "line 1, column 1: brokerz: unknown key (did you mean `brokers`?)",
                "line 2, column 9: active: expected true or false, found `maybe`",
                "line 3, column 7: wait: expected a duration such as 30s, 10m, 1h or plain seconds, found `5 parsecs`",
                "line 4, column 7: mode: expected one of live, shadow, found `lve` (did you mean `live`?)",
                "line 5, column 8: count: expected a whole number in range, found `300`",
            ],
        );
    }

    #[test]
    fn well_formed_values_are_read() {
        let read = |r: &Reader<'_, '_>| {
            assert_eq!(r.strings("one"), Some(vec!["a".to_owned()]));
            assert_eq!(r.boolean("flag"), Some(true));
            assert_eq!(r.millis("session.timeout.ms"), Some(Duration::from_secs(45)));
            assert_eq!(r.millis("poll"), Some(Duration::from_mins(5)));
            assert_eq!(r.string("nothing"), None);
            assert_eq!(r.bytes("size"), Some(1 << 20));
        };
        check("one: a\nflag: yes\nsession.timeout.ms: 45000\npoll: 5m\nnothing: ~\nsize: 1MiB\n", read, &[]);
    }

    #[test]
    fn two_spellings_of_one_thing_are_a_mistake() {
        let read =
            |r: &Reader<'_, '_>| assert_eq!(r.node_of(&["body", "payload"]).map(|(key, _)| key), Some("body".into()));
        check("body: a\npayload: b\n", read, &["line 2, column 10: payload: means the same as `body`; keep one"]);
    }

    #[test]
    fn a_section_of_the_wrong_kind_is_one_mistake() {
        check(
            "kafka: text\n",
            |r| assert!(r.child("kafka").is_some()),
            &["line 1, column 8: kafka: expected a map, found text"],
        );
    }
}
