//! What keeps actions from being started: kill switches, budgets, circuits, storm mode.

use std::path::Path;

use serde_json::{Value, json};

use crate::http::{Cell, Fact, Part, Row, Section, Table, Tone};
use crate::pipeline::Budget;

use super::super::surface::Running;
use super::length;

/// A kill switch that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::service) struct Switch {
    /// What it stops.
    pub(in crate::service) stops: String,
    /// What its file says.
    pub(in crate::service) reason: String,
}

impl Switch {
    /// Every switch beside the one that stops everything, read from the disk now.
    pub(in crate::service) fn engaged(all: Option<&Path>) -> Vec<Self> {
        let Some(all) = all else { return Vec::new() };
        let name = all.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = all.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let own = entry.file_name().to_string_lossy().into_owned();
            let stops = match own.strip_prefix(&name).map(|rest| rest.split_once('.').map(|(_, rest)| rest)) {
                Some(None) if own == name => "everything".to_owned(),
                Some(Some(rest)) => match rest.split_once('.') {
                    Some(("condition", rule)) => format!("condition {rule}"),
                    Some(("action", rule)) => format!("action {rule}"),
                    _ => continue,
                },
                _ => continue,
            };
            found.push(Self { stops, reason: first_line(&entry.path()) });
        }
        found.sort_by(|a, b| a.stops.cmp(&b.stops));
        found
    }
}

fn first_line(path: &Path) -> String {
    const SHOWN: usize = 200;
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| format!("cannot be read: {error}"));
    text.lines().next().unwrap_or_default().chars().take(SHOWN).collect()
}

pub(super) fn section(running: &Running, switches: &[Switch]) -> Section {
    let none = || Cell::toned("off", Tone::Good);
    let on = |switch: &Switch| Cell::toned(format!("{} paused: {}", switch.stops, switch.reason), Tone::Plain);
    let mut facts = match switches {
        [] => vec![Fact { name: "Kill switch", value: none() }],
        some => some.iter().map(|switch| Fact { name: "Kill switch", value: on(switch) }).collect(),
    };
    let tripped = running.pipeline.tripped();
    facts.extend(tripped.iter().map(|what| Fact { name: "Tripped", value: Cell::from(what.as_str()) }));
    if tripped.is_empty() {
        facts.push(Fact { name: "Circuits and storm mode", value: Cell::toned("none open", Tone::Good) });
    }
    facts.extend(running.pipeline.resets().last().map(|reset| {
        let text = format!("{} by {}: {}", reset.which.name(), reset.who, reset.why);
        Fact { name: "Last reset", value: text.into() }
    }));
    facts.extend(running.pipeline.halted().map(|why| Fact { name: "Nothing starts", value: why.into() }));
    let table = Table {
        caption: Some("Of each budget the target that has used most of it.".to_owned()),
        columns: &["Budget", "Target", "Used", "Within"],
        numbers: &[],
        rows: running.pipeline.budgets().iter().map(budget).collect(),
        empty: "no budget is configured",
    };
    let parts = vec![Part::Facts(facts), Part::Heading("Budgets".to_owned()), Part::Table(table)];
    Section { id: "guards", title: "Guards".to_owned(), folded: false, parts }
}

fn budget(budget: &Budget) -> Row {
    let percent = budget.used.saturating_mul(100).checked_div(budget.at_most).unwrap_or(100);
    let used = format!("{} of {}", budget.used, budget.at_most);
    vec![
        budget.owner.as_str().into(),
        budget.target.as_str().into(),
        Cell::meter(used, u8::try_from(percent.min(100)).unwrap_or(100)),
        budget.within.map_or_else(|| "at a time".to_owned(), length).into(),
    ]
}

/// The same for programs.
pub(in crate::service) fn answer(running: &Running, switches: &[Switch]) -> Value {
    let budget = |budget: &Budget| {
        json!({
            "owner": budget.owner, "target": budget.target, "used": budget.used, "at_most": budget.at_most,
            "within_s": budget.within.map(|within| within.as_secs()),
        })
    };
    json!({
        "kill_switches": switches.iter().map(|on| json!({"stops": on.stops, "reason": on.reason})).collect::<Vec<_>>(),
        "tripped": running.pipeline.tripped(),
        "nothing_starts": running.pipeline.halted(),
        "resets": running.pipeline.resets(),
        "budgets": running.pipeline.budgets().iter().map(budget).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_in_the_folder_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let all = folder.path().join("PAUSED");
        for (name, text) in [
            ("PAUSED", "maintenance\nmore"),
            ("PAUSED.condition.oozie", "noisy"),
            ("PAUSED.action.restart", "broken"),
            ("PAUSED.new", "a draft"),
            ("other", "nothing"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let found: Vec<_> = Switch::engaged(Some(&all)).into_iter().map(|on| (on.stops, on.reason)).collect();
        let wanted = [("action restart", "broken"), ("condition oozie", "noisy"), ("everything", "maintenance")];
        assert_eq!(found, wanted.map(|(stops, reason)| (stops.to_owned(), reason.to_owned())));
        assert_eq!(Switch::engaged(None), []);
    }
}
