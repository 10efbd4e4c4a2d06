//! The last hour as a small chart: one column for each minute, one colour for each outcome. SVG, without a script; what a column
//! holds is its title, and the numbers stand in a table beside it for whoever cannot see colours.

use std::fmt::Write as _;

use super::page::escape;

/// Columns, each a minute; the last one is now.
pub(super) const MINUTES: usize = 60;

/// Counts by outcome and minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chart {
    /// One for each outcome.
    pub series: Vec<Series>,
}

/// One outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Counts by minute, oldest first.
    pub minutes: [u64; MINUTES],
}

/// The class under which the style sheet has a colour; the legend names them too.
fn class(name: &str) -> &'static str {
    match name {
        "succeeded" => "s-succeeded",
        "failed" => "s-failed",
        "held" => "s-held",
        "already_done" => "s-already_done",
        "stale" => "s-stale",
        "shadow" => "s-shadow",
        "dropped" => "s-dropped",
        "settled" => "s-settled",
        _ => "s-other",
    }
}

/// The height of the chart in its own units.
const HEIGHT: u64 = 100;

impl Chart {
    pub(super) fn write(&self, html: &mut String) {
        let highest = (0..MINUTES).map(|minute| self.sum(minute)).max().unwrap_or(0);
        if highest == 0 {
            html.push_str("<p class=\"quiet\">no incident matched in the last hour</p>");
            return;
        }
        let total: u64 = (0..MINUTES).map(|minute| self.sum(minute)).sum();
        let _ = write!(
            html,
            "<div class=\"chart\"><div class=\"scale\" aria-hidden=\"true\"><span>{highest}</span><span>0</span></div>\
             <svg viewBox=\"0 0 600 {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{total} incidents in the last hour, at most {highest} in a minute\">"
        );
        (0..MINUTES).for_each(|minute| self.column(html, minute, highest));
        html.push_str("</svg><div class=\"when\" aria-hidden=\"true\"><span>an hour ago</span><span>30 min</span><span>now</span></div></div>");
        html.push_str("<ul class=\"key\">");
        for series in &self.series {
            let (class, name, count) =
                (class(&series.name), series.name.replace('_', " "), series.minutes.iter().sum::<u64>());
            let _ = write!(
                html,
                "<li><svg viewBox=\"0 0 1 1\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"1\" height=\"1\"/></svg>{} {count}</li>",
                escape(&name)
            );
        }
        html.push_str("</ul>");
    }

    fn sum(&self, minute: usize) -> u64 {
        self.series.iter().filter_map(|series| series.minutes.get(minute)).sum()
    }

    fn column(&self, html: &mut String, minute: usize, highest: u64) {
        if self.sum(minute) == 0 {
            return;
        }
        let ago = MINUTES.saturating_sub(minute).saturating_sub(1);
        let when = if ago == 0 { "this minute".to_owned() } else { format!("{ago} min ago") };
        let _ = write!(html, "<g><title>{when}");
        for series in &self.series {
            let count = series.minutes.get(minute).copied().unwrap_or(0);
            if count > 0 {
                let _ = write!(html, ", {count} {}", escape(&series.name.replace('_', " ")));
            }
        }
        html.push_str("</title>");
        let mut below = 0;
        for series in &self.series {
            let count = series.minutes.get(minute).copied().unwrap_or(0);
            let height = count.saturating_mul(HEIGHT).div_ceil(highest);
            let (x, y) = (minute.saturating_mul(10), HEIGHT.saturating_sub(below).saturating_sub(height));
            if height > 0 {
                let class = class(&series.name);
                let _ = write!(html, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\"/>");
            }
            below = below.saturating_add(height);
        }
        html.push_str("</g>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_incidents_says_so_and_one_with_some_counts_them() {
        let mut html = String::new();
        Chart::default().write(&mut html);
        assert!(html.contains("no incident matched"), "{html}");
        let mut minutes = [0; MINUTES];
        (minutes[0], minutes[59]) = (3, 1);
        let mut html = String::new();
        Chart { series: vec![Series { name: "<held>".to_owned(), minutes }] }.write(&mut html);
        assert_eq!(html.matches("<g>").count(), 2, "{html}");
        assert!(html.contains("&lt;held&gt; 4") && html.contains("at most 3 in a minute"), "{html}");
        assert!(html.contains("this minute, 1 &lt;held&gt;") && html.contains("59 min ago, 3"), "{html}");
    }
}
