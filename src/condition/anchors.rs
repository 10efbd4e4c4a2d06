//! Patterns that are probably not what is meant: anchors that hold for a part, or for nothing, and texts written for another operator.
//!
//! A regex is looked for anywhere in a value, a glob must be the whole of it, and all other operators take their text letter
//! by letter. Promised: what is called impossible here cannot match; everything else is said as a question, in a warning.

use regex_syntax::hir::{Hir, HirKind, Look};

/// What is odd about a text under an operator; `None`: nothing.
pub(super) fn oddity(operator: &str, text: &str) -> Option<String> {
    match operator {
        "regex" => regex(text),
        "glob" if !text.contains(['*', '?', '[', '{', '\\']) => Some(format!(
            "a glob must be the whole value, so this is the same as equals: write \"*{text}*\" if it may be a part of it"
        )),
        "glob" => None,
        _ => literal(operator, text),
    }
}

fn literal(operator: &str, text: &str) -> Option<String> {
    let pattern = text.starts_with('^') || text.contains(".*");
    pattern.then(|| format!("{operator} takes this letter by letter: write it under regex if it is a pattern"))
}

fn regex(text: &str) -> Option<String> {
    let whole = regex_syntax::parse(text).ok()?;
    let pattern = without_groups(&whole);
    if is_impossible(pattern) {
        return Some("an anchor stands in the middle of it, so it can never match".to_owned());
    }
    if let HirKind::Alternation(alternatives) = pattern.kind() {
        return partly(alternatives);
    }
    let inner = text.strip_prefix('^').and_then(|text| text.strip_suffix('$'));
    if let Some(inner) = inner.filter(|inner| !inner.is_empty() && regex_syntax::escape(inner) == **inner) {
        return Some(format!(
            "it is anchored at both ends and has nothing of a pattern, so it is the same as equals: write {inner} if it may be a part"
        ));
    }
    let idle = [text.starts_with(".*"), text.ends_with(".*") && !text.ends_with("\\.*")];
    (idle.contains(&true) && text != ".*").then(|| {
        "a regex is looked for anywhere, so .* at its beginning or end does nothing: leave it out, or write ^ and $ if the whole \
         value is meant"
            .to_owned()
    })
}

/// The first alternative has a `^`, or the last one a `$`, that the others do not have.
fn partly(alternatives: &[Hir]) -> Option<String> {
    let begins = |one: &Hir| one.properties().look_set_prefix().contains(Look::Start);
    let ends = |one: &Hir| one.properties().look_set_suffix().contains(Look::End);
    let (first, last) = (alternatives.first()?, alternatives.last()?);
    let begin = begins(first) && !alternatives.iter().all(begins);
    let end = ends(last) && !alternatives.iter().all(ends);
    let anchors = match (begin, end) {
        (true, true) => "^ and $ hold",
        (true, false) => "^ holds",
        (false, true) => "$ holds",
        (false, false) => return None,
    };
    Some(format!("{anchors} for one alternative only: write ^(?:…|…)$ if it is meant for all"))
}

/// Something must stand before the beginning or after the end.
fn is_impossible(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Alternation(alternatives) => alternatives.iter().all(is_impossible),
        HirKind::Capture(capture) => is_impossible(&capture.sub),
        HirKind::Concat(parts) => {
            let something = |part: &Hir| part.properties().minimum_len().is_some_and(|least| least > 0);
            let is = |part: &Hir, look: Look| matches!(part.kind(), HirKind::Look(found) if *found == look);
            let after =
                |look, parts: &[Hir]| parts.iter().skip_while(|part| !something(part)).any(|part| is(part, look));
            let before =
                |look, parts: &[Hir]| parts.iter().rev().skip_while(|part| !something(part)).any(|part| is(part, look));
            after(Look::Start, parts) || before(Look::End, parts) || parts.iter().any(is_impossible)
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => false,
    }
}

fn without_groups(pattern: &Hir) -> &Hir {
    match pattern.kind() {
        HirKind::Capture(capture) => without_groups(&capture.sub),
        _ => pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operator: &str, text: &str, said: &str) {
        let found = oddity(operator, text);
        assert!(found.as_deref().is_some_and(|found| found.contains(said)), "{operator} {text}: {found:?}");
    }

    #[test]
    fn anchors_that_hold_for_a_part_or_for_nothing_are_found() {
        check("regex", "^oozie|hdfs$", "^ and $ hold for one alternative only");
        check("regex", "^oozie|hdfs", "^ holds for one alternative only");
        check("regex", "(oozie|hdfs$)", "$ holds for one alternative only");
        check("regex", "a^b", "can never match");
        check("regex", "a$b", "can never match");
        check("regex", "(?:x+)^y|b$c", "can never match");
        check("regex", "^oozie$", "the same as equals: write oozie");
    }

    #[test]
    fn texts_that_are_written_for_another_operator_are_found() {
        check("regex", ".*oozie.*", "is looked for anywhere");
        check("regex", "oozie.*", "does nothing");
        check("glob", "oozie", "write \"*oozie*\"");
        check("starts_with", "^oozie", "letter by letter");
        check("equals", "oozie.*", "write it under regex");
    }

    #[test]
    fn what_may_well_be_meant_is_left_alone() {
        for text in [
            "oozie",
            "^oozie",
            "oozie$",
            "^oo.*ie$",
            "^(?:a|b)$",
            "^a|^b",
            "a$|b$",
            "(?m)a$\n^b",
            "a|^b",
            "^$",
            "a*^b",
            "\\.*",
            ".*",
            "^.*x",
            "h\\d+\\.*",
            "(^|/)x",
            "x($|/)",
        ] {
            assert_eq!(oddity("regex", text), None, "{text}");
        }
        for (operator, text) in [("glob", "*.example"), ("glob", "a?"), ("equals", "a.b"), ("contains", "US$")] {
            assert_eq!(oddity(operator, text), None, "{operator} {text}");
        }
    }
}
