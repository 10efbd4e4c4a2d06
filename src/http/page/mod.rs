//! The page for people: one self-contained HTML document without scripts, in the reader's light or dark, on a phone as on a desk.
//!
//! Everything that comes from outside (topic names, incident ids, error texts) is escaped in [`write`] and nowhere else. The
//! style sheet is part of the page and the only one that the browser is told to trust.

mod model;
mod write;

use std::fmt::Write as _;

pub use model::{Cell, Fact, Part, Row, Section, Status, Table, Tone};

pub(super) use write::escape;

use super::routes::Readiness;

/// The whole style.
pub(super) const STYLE: &str = include_str!("page.css");

/// What the reader asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Decisions of this incident.
    pub(super) incident: Option<String>,
    /// Load the page again every so many seconds.
    pub(super) refresh_s: Option<u32>,
}

/// The document.
pub(super) fn render(readiness: &Readiness, status: &Status, asked: &Asked) -> String {
    let mut html = String::with_capacity(32 * 1024);
    head(&mut html, status, asked);
    html.push_str("<main>");
    headline(&mut html, readiness);
    for warning in &status.warnings {
        let _ = write!(html, "<p class=\"banner warn\" role=\"status\">{}</p>", escape(warning));
    }
    write::tiles(&mut html, &status.tiles);
    for section in &status.sections {
        write::section(&mut html, section);
    }
    html.push_str("</main>");
    foot(&mut html, asked);
    html
}

fn head(html: &mut String, status: &Status, asked: &Asked) {
    let title = escape(&status.title);
    html.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    if let Some(seconds) = asked.refresh_s {
        let _ = write!(html, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
    }
    let _ = write!(html, "<title>{title}</title><style>{STYLE}</style></head><body>");
    let _ = write!(html, "<header><h1>{title}<small>{}</small></h1></header>", escape(&status.subtitle));
    html.push_str("<nav aria-label=\"Sections\"><ul>");
    for section in &status.sections {
        let _ = write!(html, "<li><a href=\"#{}\">{}</a></li>", section.id, escape(&section.title));
    }
    html.push_str("</ul></nav>");
}

fn headline(html: &mut String, readiness: &Readiness) {
    match readiness {
        Readiness::Ready(what) => {
            let _ =
                write!(html, "<p class=\"banner good\" role=\"status\"><strong>Ready.</strong> {}</p>", escape(what));
        }
        Readiness::NotReady(reasons) => {
            html.push_str("<div class=\"banner bad\" role=\"alert\"><strong>Not ready.</strong><ul>");
            for reason in reasons {
                let _ = write!(html, "<li>{}</li>", escape(reason));
            }
            html.push_str("</ul></div>");
        }
    }
}

fn foot(html: &mut String, asked: &Asked) {
    let again = if asked.refresh_s.is_some() {
        "<a href=\"/status.html\">Stop refreshing</a>"
    } else {
        "<a href=\"/status.html?refresh=30\">Refresh every 30 s</a>"
    };
    let _ = write!(html, "<footer><p>{again}. The same for programs: ");
    for (number, name) in
        ["health", "group", "incidents", "actions", "guards", "decisions", "episodes"].iter().enumerate()
    {
        let comma = if number == 0 { "" } else { ", " };
        let _ = write!(html, "{comma}<a href=\"/api/v1/{name}\">{name}</a>");
    }
    html.push_str(". For Prometheus: <a href=\"/metrics\">/metrics</a>.</p></footer></body></html>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: Vec<Row>) -> Table {
        Table { caption: None, columns: &["c"], numbers: &[], rows, empty: "none" }
    }

    fn status(part: Part, text: &str) -> Status {
        Status {
            title: text.to_owned(),
            subtitle: text.to_owned(),
            warnings: vec![text.to_owned()],
            tiles: vec![Fact { name: "tile", value: text.into() }],
            sections: vec![Section { id: "s", title: text.to_owned(), folded: false, parts: vec![part] }],
        }
    }

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let evil = "<script>alert('x')</script>\"&";
        for part in [
            Part::Table(table(vec![vec![evil.into()]])),
            Part::Facts(vec![Fact { name: "f", value: evil.into() }]),
            Part::Text(evil.to_owned()),
            Part::Lines(evil.to_owned()),
            Part::Search { value: evil.to_owned() },
        ] {
            let asked = Asked { incident: Some(evil.to_owned()), refresh_s: None };
            let html = render(&Readiness::NotReady(vec![evil.to_owned()]), &status(part, evil), &asked);
            assert!(!html.contains("<script") && !html.contains("alert('x')"), "{html}");
        }
    }

    #[test]
    fn a_table_without_rows_says_so_and_one_with_rows_names_its_columns() {
        let ready = Readiness::Ready("2 partitions".to_owned());
        let html = render(&ready, &status(Part::Table(table(vec![])), "t"), &Asked::default());
        assert!(
            html.contains("<p class=\"quiet\">none</p>") && html.contains("<strong>Ready.</strong> 2 partitions"),
            "{html}"
        );
        let html = render(&ready, &status(Part::Table(table(vec![vec!["v".into()]])), "t"), &Asked::default());
        assert!(html.contains("scope=\"col\">c</th>") && html.contains("scope=\"row\" data-l=\"c\""), "{html}");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_refreshes_unasked() {
        let html = render(&Readiness::NotReady(vec![]), &status(Part::Text(String::new()), "t"), &Asked::default());
        for word in ["http://", "https://", "src=", "url(", "@import", "http-equiv", "style=\""] {
            assert!(!html.contains(word), "{word}");
        }
        let asked = Asked { refresh_s: Some(30), ..Asked::default() };
        assert!(render(&Readiness::NotReady(vec![]), &Status::default(), &asked).contains("content=\"30\""));
    }
}
