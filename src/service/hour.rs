//! Incidents of the last hour by condition and outcome, minute by minute. Bounded: conditions and outcomes come from us.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Cell, Chart, Series, Table};

use super::page::{thousands, toned};

/// Minutes that are kept.
const MINUTES: u64 = 60;
const MINUTE: Duration = Duration::from_mins(1);

/// Counts by minute since the start, and by condition and outcome.
type Counts = BTreeMap<u64, BTreeMap<(String, &'static str), u64>>;

#[derive(Debug)]
pub(super) struct Hour {
    started: Instant,
    counts: Mutex<Counts>,
}

impl Default for Hour {
    fn default() -> Self {
        Self { started: Instant::now(), counts: Mutex::default() }
    }
}

impl Hour {
    /// An incident ended now.
    pub(super) fn add(&self, condition: &str, outcome: &'static str) {
        self.add_at(self.minute(), condition, outcome);
    }

    fn minute(&self) -> u64 {
        self.started.elapsed().as_secs() / MINUTE.as_secs()
    }

    fn add_at(&self, minute: u64, condition: &str, outcome: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|then, _| then.saturating_add(MINUTES) > minute);
        let count = counts.entry(minute).or_default().entry((condition.to_owned(), outcome)).or_default();
        *count = count.saturating_add(1);
    }

    /// By outcome, for the page.
    pub(super) fn chart(&self) -> Chart {
        self.chart_at(self.minute())
    }

    fn chart_at(&self, now: u64) -> Chart {
        let mut series: BTreeMap<&'static str, [u64; 60]> = BTreeMap::new();
        for (minute, counted) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let back = usize::try_from(now.saturating_sub(*minute)).unwrap_or(usize::MAX);
            let Some(column) = 59_usize.checked_sub(back) else { continue };
            for ((_, outcome), count) in counted {
                if let Some(cell) = series.entry(outcome).or_insert([0; 60]).get_mut(column) {
                    *cell = cell.saturating_add(*count);
                }
            }
        }
        let one = |(name, minutes): (&str, [u64; 60])| Series { name: name.to_owned(), minutes };
        Chart { series: series.into_iter().map(one).collect() }
    }

    /// By condition and outcome, for people.
    pub(super) fn table(&self) -> Table {
        let row = |((condition, outcome), count): ((String, &'static str), u64)| {
            vec![Cell::from(condition), toned(outcome), thousands(count).into()]
        };
        Table {
            caption: None,
            columns: &["Condition", "Ended", "Incidents"],
            numbers: &["Incidents"],
            rows: self.sums().into_iter().map(row).collect(),
            empty: "",
        }
    }

    /// By condition and outcome, for programs.
    pub(super) fn answer(&self) -> Value {
        let one = |((condition, outcome), count)| json!({"condition": condition, "outcome": outcome, "count": count});
        json!({"minutes": MINUTES, "incidents": self.sums().into_iter().map(one).collect::<Vec<_>>()})
    }

    fn sums(&self) -> BTreeMap<(String, &'static str), u64> {
        let now = self.minute();
        let mut sums: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
        for (minute, counted) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if minute.saturating_add(MINUTES) > now {
                for (key, count) in counted {
                    let sum = sums.entry(key.clone()).or_default();
                    *sum = sum.saturating_add(*count);
                }
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_an_hour_is_forgotten_and_now_is_the_last_column() {
        let hour = Hour::default();
        hour.add_at(0, "oozie", "failed");
        hour.add_at(30, "oozie", "succeeded");
        hour.add_at(61, "yarn", "succeeded");
        let chart = hour.chart_at(61);
        assert_eq!(chart.series.len(), 1, "{chart:?}");
        assert_eq!((chart.series[0].name.as_str(), chart.series[0].minutes[59]), ("succeeded", 1));
        assert_eq!(chart.series[0].minutes[28], 1);
    }
}
