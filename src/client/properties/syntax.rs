//! The syntax of a Java properties file: lines to keys and values.
//!
//! Promised: what `java.util.Properties.load` reads is read the same way: comments, continued lines, the three
//! separators, escapes with `\uXXXX` included. Absent: any knowledge of what a key means. Unlike Java's loader, which
//! takes bytes as Latin-1, text is Unicode.

/// One key with its value, and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// From 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// An escape that ends in the middle, on the line where its pair begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadEscape {
    pub(super) line: usize,
}

/// All pairs in the order of the text; of bad escapes, one for each pair.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, Vec<BadEscape>> {
    let mut pairs = Vec::new();
    let mut bad = Vec::new();
    for (line, logical) in logical_lines(text) {
        let (key, value) = split(&logical);
        match (unescape(key), unescape(value)) {
            (Some(key), Some(value)) => pairs.push(Pair { line, key, value }),
            (None, _) | (_, None) => bad.push(BadEscape { line }),
        }
    }
    if bad.is_empty() { Ok(pairs) } else { Err(bad) }
}

/// Lines without comments and blank ones, each joined with those it goes on in, with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = natural_lines(text).into_iter().zip(1_usize..);
    let mut found = Vec::new();
    while let Some((first, number)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while goes_on(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        found.push((number, logical));
    }
    found
}

/// A line ends with `\n`, `\r` or both.
fn natural_lines(text: &str) -> Vec<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Whether a line ends in a backslash that is not itself escaped.
fn goes_on(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Key and value, still escaped: the key ends at the first blank, `=` or `:` that is not escaped.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let here = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
        escaped = !escaped && *c == '\\';
        here
    });
    let (key, rest) = line.split_at(end.map_or(line.len(), |(at, _)| at));
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

/// `None` when `\u` is not followed by four hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    // UTF-16, because `\uXXXX` names its units and a pair of them may make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let push = |units: &mut Vec<u16>, c: char| units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    while let Some(c) = chars.next() {
        if c != '\\' {
            push(&mut units, c);
            continue;
        }
        match chars.next() {
            None => {}
            Some('t') => push(&mut units, '\t'),
            Some('n') => push(&mut units, '\n'),
            Some('r') => push(&mut units, '\r'),
            Some('f') => push(&mut units, '\u{c}'),
            Some('u') => units.push(unit(&mut chars)?),
            Some(other) => push(&mut units, other),
        }
    }
    Some(String::from_utf16_lossy(&units))
}

fn unit(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut unit = 0_u16;
    for _ in 0..4 {
        let digit = u16::try_from(chars.next()?.to_digit(16)?).ok()?;
        unit = (unit << 4) | digit;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let found = pairs(text).expect("no bad escape");
        let found: Vec<_> = found.iter().map(|pair| (pair.line, pair.key.as_str(), pair.value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_three_separators_and_the_blanks_around_them() {
        check(
            "a=1\nb:2\nc 3\n d\t=  4 5 \ne\nf==x\ng :=y",
            &[
                (1, "a", "1"),
                (2, "b", "2"),
                (3, "c", "3"),
                (4, "d", "4 5 "),
                (5, "e", ""),
                (6, "f", "=x"),
                (7, "g", "=y"),
            ],
        );
    }

    #[test]
    fn comments_and_blank_lines_are_passed_over_also_when_they_end_in_a_backslash() {
        check("# a=1 \\\nb=2\n\n   ! c=3\n\t\nd=4", &[(2, "b", "2"), (6, "d", "4")]);
    }

    #[test]
    fn a_line_goes_on_after_an_odd_number_of_backslashes() {
        check("a=1,\\\n   2,\\\n\t3\nb=x\\\\\nc=4\\", &[(1, "a", "1,2,3"), (4, "b", "x\\"), (5, "c", "4")]);
        // What looks like a comment is not one there.
        check("a=1\\\n#2", &[(1, "a", "1#2")]);
    }

    #[test]
    fn every_line_ending_counts() {
        check("a=1\r\nb=2\rc=3\\\r\n 4", &[(1, "a", "1"), (2, "b", "2"), (3, "c", "34")]);
    }

    #[test]
    fn escapes_are_taken_back() {
        check(r"a\ b\=c\:=\ x\t\n\u00e4\uD83D\uDE00\q\\", &[(1, "a b=c:", " x\t\n\u{e4}\u{1F600}q\\")]);
    }

    #[test]
    fn a_cut_off_escape_is_told_with_its_line() {
        assert_eq!(pairs("ok=1\nbad=\\u12\nalso\\uxyz=1"), Err(vec![BadEscape { line: 2 }, BadEscape { line: 3 }]));
    }
}
