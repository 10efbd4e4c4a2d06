//! The page for people: one self-contained HTML document without scripts, in the reader's light or dark.
//!
//! Everything that comes from outside (topic names, incident ids, error texts) is escaped here and nowhere else.

use std::fmt::Write as _;

use serde_json::Value;

use super::api::Trouble;
use super::chart::Chart;
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
    /// The last hour, minute by minute.
    pub chart: Option<Chart>,
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
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--good:#2a8a3e;--bad:#d0453a}\
*{box-sizing:border-box}\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem}\
h1{font-size:1.15rem;margin:.2rem 0;overflow-wrap:anywhere}h2{font-size:1rem;margin:0 0 .5rem}\
section{border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem;margin:.8rem 0;background:var(--soft)}\
.good,.bad{padding:.6rem .8rem;border-left:.4rem solid var(--good);border-radius:.3rem;background:#2a8a3e22;margin:.8rem 0;\
overflow-wrap:anywhere}\
.bad{border-color:var(--bad);background:#d0453a22}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}\
th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;opacity:.75;white-space:nowrap}tr:last-child td{border-bottom:0}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}\
form{display:flex;gap:.5rem;flex-wrap:wrap}input,button{font:inherit;padding:.3rem .6rem;border-radius:.4rem;\
border:1px solid var(--line);background:transparent;color:inherit}input{flex:1 1 12rem;min-width:0}\
svg{display:block;width:100%;height:6rem}.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.9rem;margin:.4rem 0 0}\
.key i{display:inline-block;width:.7rem;height:.7rem;border-radius:.15rem;margin-right:.35rem}p{margin:.2rem 0}\
footer{opacity:.7;font-size:.85rem;margin:1rem 0}@media(max-width:34rem){dl{grid-template-columns:1fr}dd{margin:0 0 .3rem}}";

pub(super) fn render(readiness: &Readiness, status: &Status, wanted: Option<&str>) -> String {
    let mut html = String::with_capacity(8 * 1024);
    let title = escape(&status.title);
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>"
    );
    headline(&mut html, readiness);
    search(&mut html, wanted);
    if let Some(chart) = &status.chart {
        chart.write(&mut html);
    }
    html.push_str("<section><h2>At a glance</h2><dl>");
    for fact in &status.facts {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(fact.name), escape(&fact.value));
    }
    html.push_str("</dl></section>");
    for table in &status.tables {
        write_table(&mut html, table);
    }
    html.push_str(
        "<footer>The same as JSON: /api/v1/health, group, incidents, actions, decisions. For Prometheus: /metrics.</footer></body></html>\n",
    );
    html
}

/// Works without a script: it asks for this page again.
fn search(html: &mut String, wanted: Option<&str>) {
    let wanted = escape(wanted.unwrap_or_default());
    let _ = write!(
        html,
        "<form action=\"/status.html\"><input name=\"incident\" value=\"{wanted}\" aria-label=\"Incident id\" \
         placeholder=\"Incident id\"><button>Show its decisions</button></form>"
    );
}

/// Episodes from the ledger as a table; what keeps them from being read stands in their place.
pub(super) fn episodes(title: &'static str, found: &Result<Value, Trouble>) -> Table {
    let columns = &["When", "Incident", "Alert", "Condition", "Action", "State", "Why"];
    let (episodes, trouble) = match found {
        Ok(value) => (value.as_array().map_or(&[][..], Vec::as_slice), None),
        Err(Trouble::Wrong(why) | Trouble::NotNow(why)) => (&[][..], Some(why.clone())),
    };
    let text = |episode: &Value, name: &str| episode[name].as_str().unwrap_or_default().to_owned();
    let row = |episode: &Value| {
        let age = episode["age_s"].as_u64().unwrap_or_default();
        let names = ["incident", "alert", "condition", "action", "state", "reason"];
        std::iter::once(ago(age)).chain(names.map(|name| text(episode, name))).collect()
    };
    let mut rows: Vec<Row> = episodes.iter().map(row).collect();
    rows.extend(trouble.map(|why| vec![why]));
    Table { title, columns, rows, empty: "none" }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        7200..=172_799 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
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
    let _ = write!(html, "<section><h2>{}</h2>", escape(table.title));
    if table.rows.is_empty() {
        let _ = write!(html, "<p>{}</p></section>", escape(table.empty));
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
    html.push_str("</tbody></table></div></section>");
}

pub(super) fn escape(text: &str) -> String {
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
            chart: None,
        };
        let html = render(&Readiness::NotReady(vec![evil.to_owned()]), &status, Some(evil));
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;").count(), 6);
    }

    #[test]
    fn a_table_without_rows_says_so() {
        let table = Table { title: "Actions running", columns: &["action"], rows: vec![], empty: "none" };
        let status = Status { tables: vec![table], ..Status::default() };
        let html = render(&Readiness::Ready("2 partitions".to_owned()), &status, None);
        assert!(html.contains("<h2>Actions running</h2><p>none</p>"), "{html}");
        assert!(html.contains("<strong>Ready.</strong> 2 partitions"), "{html}");
    }
}
