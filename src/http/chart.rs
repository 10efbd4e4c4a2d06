//! The last hour as a small chart: one column for each minute, one colour for each outcome. SVG, without a script.

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

/// Readable on light and dark. The legend names them too, for those who see red and green alike.
fn colour(name: &str) -> &'static str {
    match name {
        "succeeded" => "#2a8a3e",
        "failed" => "#d0453a",
        "held" => "#e0a030",
        "shadow" => "#5b7bd5",
        "dropped" => "#9b59b6",
        "settled" => "#3aa6b9",
        _ => "#8a8f98",
    }
}

/// The height of the chart in its own units.
const HEIGHT: u64 = 100;

impl Chart {
    pub(super) fn write(&self, html: &mut String) {
        html.push_str("<section><h2>Incidents of the last hour</h2>");
        let sum = |minute: usize| -> u64 { self.series.iter().filter_map(|series| series.minutes.get(minute)).sum() };
        let highest = (0..MINUTES).map(sum).max().unwrap_or(0);
        if highest == 0 {
            html.push_str("<p>none</p></section>");
            return;
        }
        let _ = write!(
            html,
            "<svg viewBox=\"0 0 600 {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"at most {highest} in a minute\">"
        );
        let _ = write!(html, "<path d=\"M0 {HEIGHT}H600\" stroke=\"#8888\" vector-effect=\"non-scaling-stroke\"/>");
        for minute in 0..MINUTES {
            let mut below = 0;
            for series in &self.series {
                let colour = colour(&series.name);
                let count = series.minutes.get(minute).copied().unwrap_or(0);
                let height = count.saturating_mul(HEIGHT).div_ceil(highest);
                let (x, y) = (minute.saturating_mul(10), HEIGHT.saturating_sub(below).saturating_sub(height));
                if height > 0 {
                    let _ =
                        write!(html, "<rect x=\"{x}\" y=\"{y}\" width=\"8\" height=\"{height}\" fill=\"{colour}\"/>");
                }
                below = below.saturating_add(height);
            }
        }
        html.push_str("</svg><p class=\"key\">");
        for series in &self.series {
            let colour = colour(&series.name);
            let count: u64 = series.minutes.iter().sum();
            let _ = write!(html, "<span><i style=\"background:{colour}\"></i>{} {count}</span>", escape(&series.name));
        }
        let _ = write!(html, "<span>at most {highest} in a minute</span></p></section>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_incidents_says_so_and_one_with_some_counts_them() {
        let mut html = String::new();
        Chart::default().write(&mut html);
        assert!(html.contains("<p>none</p>"), "{html}");
        let mut minutes = [0; MINUTES];
        (minutes[0], minutes[59]) = (3, 1);
        let mut html = String::new();
        Chart { series: vec![Series { name: "<held>".to_owned(), minutes }] }.write(&mut html);
        assert_eq!(html.matches("<rect").count(), 2, "{html}");
        assert!(html.contains("&lt;held&gt; 4") && html.contains("at most 3 in a minute"), "{html}");
    }
}
