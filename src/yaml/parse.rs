//! From text to the tree: bounded in size, depth and nodes; aliases and merge keys resolved.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::yaml::{Entry, Kind, Mistake, Mistakes, Node, Position, Scalar};

/// A configuration is read by people; four mebibytes are far beyond that.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Maps and lists inside one another.
const MAX_DEPTH: usize = 64;
/// Values in one document, every use of an alias counted in full.
const MAX_NODES: usize = 200_000;

/// Reads one document. Duplicate keys are noted and the tree is still given (the first value stands), so that the
/// rest of the document can be checked too; `None` when there is no tree to speak of.
pub fn parse(text: &str, mistakes: &Mistakes) -> Option<Node> {
    if text.len() > MAX_BYTES {
        mistakes.add("", Position::default(), format!("the document is larger than {MAX_BYTES} bytes"));
        return None;
    }
    let mut builder = Builder { mistakes, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, position(span.start)),
            Err(error) => {
                let at = position(*error.marker());
                Err(Mistake::at("", at, format!("this is not YAML: {}", error.info())))
            }
        };
        if let Err(mistake) = step {
            mistakes.push(mistake);
            return None;
        }
    }
    builder.root.or_else(|| Some(Node::new(Position { line: 1, column: 1 }, Kind::Scalar(Scalar::new("", true)))))
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col().saturating_add(1) }
}

/// A map or list whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    /// The node count when it began, so that its size is known at its end.
    nodes_before: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Position)>, merged: Vec<Node> },
}

struct Builder<'m> {
    mistakes: &'m Mistakes,
    open: Vec<Open>,
    root: Option<Node>,
    /// Finished anchored nodes with their size in nodes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), Mistake> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Mistake::at("", at, "a second document begins here; one file holds one document"))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                let plain = matches!(style, ScalarStyle::Plain) && !known_tag(tag.as_deref(), at)?;
                self.finish(Node::new(at, Kind::Scalar(Scalar::new(text, plain))), anchor, 1, plain)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Items::List(Vec::new()), anchor, tag.as_deref(), at),
            Event::MappingStart(anchor, tag) => {
                let items = Items::Map { entries: Vec::new(), key: None, merged: Vec::new() };
                self.begin(items, anchor, tag.as_deref(), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(Mistake::at("", at, "this alias stands inside the value it names"));
                };
                let (size, node) = (*size, node.clone());
                self.count(size, at)?;
                self.finish(node, 0, size, false)
            }
        }
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(Mistake::at("", at, format!("more than {MAX_NODES} values (aliases count in full)")));
        }
        Ok(())
    }

    fn begin(&mut self, items: Items, anchor: usize, tag: Option<&Tag>, at: Position) -> Result<(), Mistake> {
        known_tag(tag, at)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Mistake::at("", at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(Open { items: Items::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Mistake::at("", at, "a key must be text, not a list or a map"));
        }
        self.open.push(Open { at, anchor, nodes_before: self.nodes, items });
        self.count(1, at)
    }

    fn end(&mut self) -> Result<(), Mistake> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let size = self.nodes.saturating_sub(open.nodes_before);
        let kind = match open.items {
            Items::List(items) => Kind::List(items),
            Items::Map { mut entries, merged, .. } => {
                merge(&mut entries, &merged)?;
                Kind::Map(entries)
            }
        };
        self.finish(Node::new(open.at, kind), open.anchor, size, false)
    }

    /// Puts a finished node where it belongs: the root, an item, a key or a value.
    fn finish(&mut self, node: Node, anchor: usize, size: usize, plain: bool) -> Result<(), Mistake> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, key, merged } => match key.take() {
                None => *key = Some(as_key(&node, plain)?),
                Some((name, _)) if name == MERGE => merged.push(node),
                Some((name, at)) => match entries.iter().find(|entry| entry.key == name) {
                    Some(first) => {
                        let what = format!("the key `{name}` stands twice; first in line {}", first.at.line);
                        self.mistakes.add(name, at, what);
                    }
                    None => entries.push(Entry { key: name, at, value: node }),
                },
            },
        }
        Ok(())
    }
}

/// How a plain `<<` key is carried until its map ends; no document can write this as a key by itself.
const MERGE: &str = "\0<<";

fn as_key(node: &Node, plain: bool) -> Result<(String, Position), Mistake> {
    match node.as_scalar() {
        Some(scalar) if plain && scalar.as_str() == "<<" => Ok((MERGE.to_owned(), node.at())),
        Some(scalar) => Ok((scalar.as_str().to_owned(), node.at())),
        None => Err(Mistake::at("", node.at(), "a key must be text, not a list or a map")),
    }
}

/// Adds what `<<` brings: keys that the map does not have itself, earlier maps before later ones.
fn merge(entries: &mut Vec<Entry>, merged: &[Node]) -> Result<(), Mistake> {
    for source in merged {
        match source.kind() {
            Kind::Map(from) => {
                for entry in from {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry.clone());
                    }
                }
            }
            Kind::List(sources) if sources.iter().all(|node| node.as_map().is_some()) => merge(entries, sources)?,
            Kind::List(_) | Kind::Scalar(_) => {
                return Err(Mistake::at("<<", source.at(), "a merge key takes a map or a list of maps"));
            }
        }
    }
    Ok(())
}

/// `!!str` makes text of a scalar (true); other tags of YAML's core are what they say anyway; the rest is unknown.
fn known_tag(tag: Option<&Tag>, at: Position) -> Result<bool, Mistake> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
        Some(tag) => Err(Mistake::at("", at, format!("the tag `{tag}` has no meaning here"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn wrong(text: &str) -> String {
        let mistakes = Mistakes::default();
        let _tree = parse(text, &mistakes);
        mistakes.to_string()
    }

    #[test]
    fn aliases_and_merge_keys_are_resolved_and_own_keys_win() {
        let mistakes = Mistakes::default();
        let root = parse("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nall: [*b]\n", &mistakes).expect("tree");
        assert!(mistakes.is_empty(), "{mistakes}");
        let used = root.get("use").expect("use");
        assert_eq!(used.get("x").and_then(Node::text), Some("1"));
        assert_eq!(used.get("y").and_then(Node::text), Some("3"));
    }

    #[test]
    fn a_duplicate_key_names_both_places_and_the_first_stands() {
        let mistakes = Mistakes::default();
        let root = parse("a: 1\nb: 2\na: 3\n", &mistakes).expect("tree");
        assert_eq!(root.get("a").and_then(Node::text), Some("1"));
        assert_eq!(mistakes.to_string(), "line 3, column 1: a: the key `a` stands twice; first in line 1");
    }

    #[test]
    fn broken_yaml_has_a_line() {
        assert!(wrong("a: [1,\nb: }").starts_with("line 2"), "{}", wrong("a: [1,\nb: }"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let one = format!("*a{}", level - 1);
            let _ = writeln!(text, "a{level}: &a{level} [{}]", [one.as_str(); 10].join(", "));
        }
        assert!(wrong(&text).contains("more than 200000 values"), "{}", wrong(&text));
    }

    #[test]
    fn an_alias_of_what_surrounds_it_is_refused() {
        assert!(wrong("a: &a [*a]").contains("inside the value it names"), "{}", wrong("a: &a [*a]"));
    }

    #[test]
    fn deep_nesting_and_size_are_refused() {
        assert!(wrong(&format!("{}{}", "[".repeat(100), "]".repeat(100))).contains("nested deeper"));
        assert!(wrong(&" ".repeat(MAX_BYTES + 1)).contains("larger than"));
    }

    #[test]
    fn second_documents_and_custom_tags_are_refused() {
        assert!(wrong("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(wrong("a: !vault x\n").contains("no meaning here"));
    }

    #[test]
    fn an_empty_document_is_null() {
        let mistakes = Mistakes::default();
        assert!(parse("# nothing\n", &mistakes).expect("tree").is_null());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-a:b\\[\\]{}&*<#\"'| \\n?!,0-9]{0,80}") {
            let _tree = parse(&text, &Mistakes::default());
        }
    }
}
