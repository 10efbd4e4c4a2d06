//! The same for a CI system: JUnit's XML, a suite for each file. Only what such systems read: suites, cases, failures.

use std::fmt::Write as _;

use super::report::{OfFile, Report, Tested};

/// The whole document.
pub(super) fn document(report: &Report) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites tests=\"{}\" failures=\"{}\">", report.tests(), report.failed());
    report.files.iter().for_each(|file| suite(file, &mut xml));
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(of: &OfFile, xml: &mut String) {
    let (file, tests) = (escaped(&of.file.display().to_string()), of.tests.len());
    let failed = of.failed();
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">"
    );
    for test in &of.tests {
        case(test, &file, xml);
    }
    xml.push_str("  </testsuite>\n");
}

fn case(test: &Tested, file: &str, xml: &mut String) {
    let (name, line) = (escaped(&test.name), test.at.line);
    let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
    if test.failures.is_empty() {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n");
    for failure in &test.failures {
        let first = escaped(failure.what.lines().next().unwrap_or_default());
        let (whole, line) = (escaped(&failure.what), failure.at.line);
        let _ = writeln!(xml, "      <failure message=\"{first}\">{file}:{line}: {whole}</failure>");
    }
    xml.push_str("    </testcase>\n");
}

/// Text as XML has it, in an attribute and between tags. What XML cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_has_its_own_words_for_is_escaped_and_what_it_cannot_hold_replaced() {
        assert_eq!(escaped("a<b & \"c\">\n\u{1b}[31m"), "a&lt;b &amp; &quot;c&quot;&gt;\n\u{fffd}[31m");
    }
}
