//! The parts of the page as HTML; the only place where text becomes markup.

use std::fmt::Write as _;

use super::model::{Cell, Fact, Part, Section, Table, Tone};

pub(super) fn tiles(html: &mut String, tiles: &[Fact]) {
    if tiles.is_empty() {
        return;
    }
    html.push_str("<dl class=\"tiles\">");
    for Fact { name, value } in tiles {
        let (tone, text) = (class(value.tone), escape(&value.text));
        let _ = write!(html, "<div class=\"{tone}\"><dt>{}</dt><dd>{text}</dd></div>", escape(name));
    }
    html.push_str("</dl>");
}

pub(super) fn section(html: &mut String, section: &Section) {
    let (id, title) = (section.id, escape(&section.title));
    if section.folded {
        let _ = write!(html, "<section id=\"{id}\"><details><summary>{title}</summary>");
    } else {
        let _ = write!(html, "<section id=\"{id}\" aria-labelledby=\"h-{id}\"><h2 id=\"h-{id}\">{title}</h2>");
    }
    section.parts.iter().for_each(|part| self::part(html, part));
    html.push_str(if section.folded { "</details></section>" } else { "</section>" });
}

fn part(html: &mut String, part: &Part) {
    match part {
        Part::Table(table) => self::table(html, table),
        Part::Facts(facts) => {
            html.push_str("<dl class=\"facts\">");
            for Fact { name, value } in facts {
                let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), cell(value));
            }
            html.push_str("</dl>");
        }
        Part::Chart(chart) => chart.write(html),
        Part::Text(text) => {
            let _ = write!(html, "<p class=\"quiet\">{}</p>", escape(text));
        }
        Part::Heading(text) => {
            let _ = write!(html, "<h3>{}</h3>", escape(text));
        }
        Part::Lines(text) => {
            let _ = write!(html, "<pre>{}</pre>", escape(text));
        }
        Part::Search { value } => search(html, value),
    }
}

/// Works without a script: it asks for this page again.
fn search(html: &mut String, value: &str) {
    let _ = write!(
        html,
        "<form action=\"/status.html#decisions\" role=\"search\"><label>Incident id<input name=\"incident\" value=\"{}\" \
         autocomplete=\"off\" spellcheck=\"false\" enterkeyhint=\"search\"></label><button>Show its decisions</button></form>",
        escape(value)
    );
}

fn table(html: &mut String, table: &Table) {
    if table.rows.is_empty() {
        let _ = write!(html, "<p class=\"quiet\">{}</p>", escape(table.empty));
        return;
    }
    // The roles are stated because the style of small screens takes them away.
    html.push_str("<table role=\"table\">");
    if let Some(caption) = &table.caption {
        let _ = write!(html, "<caption>{}</caption>", escape(caption));
    }
    html.push_str("<thead role=\"rowgroup\"><tr role=\"row\">");
    let number = |column: &&str| if table.numbers.contains(column) { " class=\"number\"" } else { "" };
    for column in table.columns {
        let _ = write!(html, "<th role=\"columnheader\"{} scope=\"col\">{}</th>", number(column), escape(column));
    }
    html.push_str("</tr></thead><tbody role=\"rowgroup\">");
    for row in &table.rows {
        html.push_str("<tr role=\"row\">");
        for (place, (value, column)) in row.iter().zip(table.columns).enumerate() {
            let (class, label) = (number(column), escape(column));
            let (tag, role) =
                if place == 0 { ("th", " role=\"rowheader\" scope=\"row\"") } else { ("td", " role=\"cell\"") };
            let _ = write!(html, "<{tag}{role} data-l=\"{label}\"{class}>{}</{tag}>", cell(value));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
}

/// A value as HTML; nothing at all for an empty one.
fn cell(value: &Cell) -> String {
    let text = escape(&value.text);
    if let Some(incident) = &value.incident {
        let query: String = incident.bytes().map(percent).collect();
        return format!("<span><a href=\"/status.html?incident={query}#decisions\">{text}</a></span>");
    }
    if let Some(full) = value.full {
        // Above 80 % the browser's own colours warn.
        return format!(
            "<span><meter min=\"0\" max=\"100\" high=\"80\" optimum=\"0\" value=\"{full}\">{full} %</meter>{text}</span>"
        );
    }
    match value.tone {
        _ if text.is_empty() => text,
        Tone::Plain => format!("<span>{text}</span>"),
        tone => format!("<span class=\"tag {}\">{text}</span>", class(tone)),
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain | Tone::Neutral => "",
        Tone::Good => "good",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
    }
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// Text as text, in content as in attributes.
pub(in crate::http) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
