//! The page for people: one self-contained HTML document without scripts, in the reader's light or dark.
//!
//! Everything that comes from outside (topic names, incident ids, error texts) is escaped here and nowhere else.

use std::fmt::Write as _;

use super::routes::Readiness;

/// What the page shows below the headline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Name and version of the program, name of the consumer.
    pub title: String,
    /// Single facts, in order.
    pub facts: Vec<Fact>,
    /// Tables, in order; one without rows shows its `empty` text.
    pub tables: Vec<Table>,
}

/// A name and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is told.
    pub name: &'static str,
    /// What it is now.
    pub value: String,
}

/// A table with a caption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its caption.
    pub title: &'static str,
    /// The heads of its columns.
    pub columns: &'static [&'static str],
    /// Its rows, each as long as `columns`.
    pub rows: Vec<Row>,
    /// What stands there when there is no row.
    pub empty: &'static str,
}

/// One row of a table.
pub type Row = Vec<String>;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem}\
h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1rem;margin:1.5rem 0 .3rem}\
.good,.bad{padding:.6rem .8rem;border-left:.4rem solid #2a8a3e;background:#2a8a3e22;margin:.8rem 0}\
.bad{border-color:#c0392b;background:#c0392b22}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}";

pub(super) fn render(readiness: &Readiness, status: &Status) -> String {
    let mut html = String::with_capacity(8 * 1024);
    let title = escape(&status.title);
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    headline(&mut html, readiness);
    html.push_str("<dl>");
    for fact in &status.facts {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(fact.name), escape(&fact.value));
    }
    html.push_str("</dl>");
    for table in &status.tables {
        write_table(&mut html, table);
    }
    html.push_str("</body></html>\n");
    html
}

fn headline(html: &mut String, readiness: &Readiness) {
    match readiness {
        Readiness::Ready(what) => {
            let _ = write!(html, "<p class=\"good\"><strong>Ready.</strong> {}</p>", escape(what));
        }
        Readiness::NotReady(reasons) => {
            html.push_str("<div class=\"bad\"><strong>Not ready.</strong>");
            for reason in reasons {
                let _ = write!(html, "<br>{}", escape(reason));
            }
            html.push_str("</div>");
        }
    }
}

fn write_table(html: &mut String, table: &Table) {
    let _ = write!(html, "<h2>{}</h2>", escape(table.title));
    if table.rows.is_empty() {
        let _ = write!(html, "<p>{}</p>", escape(table.empty));
        return;
    }
    html.push_str("<div class=\"wide\"><table><thead><tr>");
    for column in table.columns {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
    }
    html.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
}

fn escape(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let evil = "<script>alert('x')</script>\"&";
        let status = Status {
            title: evil.to_owned(),
            facts: vec![Fact { name: "group", value: evil.to_owned() }],
            tables: vec![Table { title: "t", columns: &["c"], rows: vec![vec![evil.to_owned()]], empty: "" }],
        };
        let html = render(&Readiness::NotReady(vec![evil.to_owned()]), &status);
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;").count(), 5);
    }

    #[test]
    fn a_table_without_rows_says_so() {
        let table = Table { title: "Actions running", columns: &["action"], rows: vec![], empty: "none" };
        let status = Status { tables: vec![table], ..Status::default() };
        let html = render(&Readiness::Ready("2 partitions".to_owned()), &status);
        assert!(html.contains("<h2>Actions running</h2><p>none</p>"), "{html}");
        assert!(html.contains("<strong>Ready.</strong> 2 partitions"), "{html}");
    }
}
