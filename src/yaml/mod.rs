//! A YAML tree that remembers where everything stood.
//!
//! `serde_yaml` gives values without positions and stops at the first error. Here the document becomes a tree of
//! [`Node`]s with line and column; a [`Reader`] takes the keys it knows from a map and collects *every* mistake in
//! [`Mistakes`]; `serde_yaml` resolves the type of a plain scalar and fills typed sections ([`Node::typed`]).
//!
//! Promised: bounded work for any input (size, depth and node limits, aliases counted where they are expanded), and a
//! position for every mistake. Anchors, aliases and merge keys (`<<`) are understood. Absent: custom tags, several
//! documents in one file, writing YAML.

mod mistakes;
mod parse;
mod reader;
pub mod units;

use serde::de::DeserializeOwned;

pub use crate::yaml::mistakes::{Mistake, Mistakes, nearest};
pub use crate::yaml::parse::parse;
pub use crate::yaml::reader::Reader;

/// Where something stood in the document; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A value of the document and where it began.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    at: Position,
    kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document, without duplicates.
    Map(Vec<Entry>),
}

/// A scalar as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    text: String,
    plain: bool,
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key began.
    pub at: Position,
    /// What it holds.
    pub value: Node,
}

impl Node {
    /// A node made by the parser (or a test).
    pub fn new(at: Position, kind: Kind) -> Self {
        Self { at, kind }
    }

    /// Where it began.
    pub fn at(&self) -> Position {
        self.at
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its entries, when it is a mapping.
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Scalar(_) | Kind::List(_) => None,
        }
    }

    /// Its items, when it is a sequence.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Scalar(_) | Kind::Map(_) => None,
        }
    }

    /// The scalar, when it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The text of a scalar that is not null: `5` gives `5`, whatever its type would be.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| !scalar.is_null()).map(Scalar::as_str)
    }

    /// The value under `key`, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// An empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(Scalar::is_null)
    }

    /// What it is, for messages: `a list`, `a map`, `text`, ...
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Scalar(scalar) => match scalar.value() {
                serde_yaml::Value::Null => "nothing",
                serde_yaml::Value::Bool(_) => "a boolean",
                serde_yaml::Value::Number(_) => "a number",
                _ => "text",
            },
        }
    }

    /// The same as a `serde_yaml` value, without positions.
    pub fn value(&self) -> serde_yaml::Value {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.value(),
            Kind::List(items) => serde_yaml::Value::Sequence(items.iter().map(Node::value).collect()),
            Kind::Map(entries) => serde_yaml::Value::Mapping(
                entries.iter().map(|entry| (entry.key.clone().into(), entry.value.value())).collect(),
            ),
        }
    }

    /// Fills a typed value through `serde_yaml`.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, serde_yaml::Error> {
        serde_yaml::from_value(self.value())
    }

    /// Calls `visit` for every scalar below, with its path from `path`.
    pub fn each_scalar<'n>(&'n self, path: &str, visit: &mut dyn FnMut(&str, &'n Node, &'n str)) {
        match &self.kind {
            Kind::Scalar(scalar) => visit(path, self, scalar.as_str()),
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.each_scalar(&format!("{path}[{index}]"), visit);
                }
            }
            Kind::Map(entries) => {
                for entry in entries {
                    entry.value.each_scalar(&join(path, &entry.key), visit);
                }
            }
        }
    }
}

impl Scalar {
    /// A scalar; `plain` means written without quotes, so that its type is found from its text.
    pub fn new(text: impl Into<String>, plain: bool) -> Self {
        Self { text: text.into(), plain }
    }

    /// The text as written, unquoted.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Written without quotes.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// An empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The typed value; quoted text stays text.
    pub fn value(&self) -> serde_yaml::Value {
        if self.is_null() {
            return serde_yaml::Value::Null;
        }
        let typed = if self.plain && self.text.len() <= LONGEST_TYPED_SCALAR {
            serde_yaml::from_str(&self.text).ok()
        } else {
            None
        };
        match typed {
            Some(value @ (serde_yaml::Value::Bool(_) | serde_yaml::Value::Number(_))) => value,
            _ => serde_yaml::Value::String(self.text.clone()),
        }
    }

    /// A boolean; the spellings of YAML 1.1 (`yes`, `no`, `on`, `off`), which Python's reader takes, are accepted.
    pub fn as_bool(&self) -> Option<bool> {
        if !self.plain {
            return None;
        }
        match self.text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// No number or boolean is written longer than this; longer text is not offered to the type resolver.
const LONGEST_TYPED_SCALAR: usize = 64;

/// `parent.key`, or `key` at the root; a key that holds a dot is quoted.
pub fn join(parent: &str, key: &str) -> String {
    let key = if key.contains('.') { format!("\"{key}\"") } else { key.to_owned() };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Node {
        let mistakes = Mistakes::default();
        let node = parse(text, &mistakes).expect("parses");
        assert!(mistakes.is_empty(), "{mistakes}");
        node
    }

    #[test]
    fn plain_scalars_have_the_types_of_yaml_and_quoted_ones_are_text() {
        let node = root("a: 5\nb: '5'\nc: true\nd: ~\ne: 1.5\nf: a b\n");
        let value = node.value();
        assert_eq!(value["a"], serde_yaml::Value::from(5));
        assert_eq!(value["b"], serde_yaml::Value::from("5"));
        assert_eq!(value["c"], serde_yaml::Value::from(true));
        assert_eq!(value["d"], serde_yaml::Value::Null);
        assert_eq!(value["e"], serde_yaml::Value::from(1.5));
        assert_eq!(value["f"], serde_yaml::Value::from("a b"));
    }

    #[test]
    fn a_tree_and_serde_yaml_agree_on_a_document() {
        let text = "a: [1, {b: c}]\nd: |\n  two\n  lines\n'5': x\ne: 0x10\n";
        let there: serde_yaml::Value = serde_yaml::from_str(text).expect("yaml");
        assert_eq!(root(text).value(), there);
    }

    #[test]
    fn typed_sections_are_filled_by_serde_yaml() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Section {
            names: Vec<String>,
            count: u8,
        }
        let section: Section = root("names: [a, b]\ncount: 3").typed().expect("typed");
        assert_eq!(section, Section { names: vec!["a".into(), "b".into()], count: 3 });
    }

    #[test]
    fn positions_count_from_one() {
        let node = root("a:\n  - b\n  - c: d\n");
        let inner = node.get("a").and_then(Node::as_list).expect("list");
        assert_eq!(inner[0].at(), Position { line: 2, column: 5 });
        assert_eq!(inner[1].get("c").expect("c").at(), Position { line: 3, column: 8 });
    }
}
