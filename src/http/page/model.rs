//! What the page shows, without a word of HTML.

use crate::http::chart::Chart;

/// The page below its headline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The name of the program and of this consumer.
    pub title: String,
    /// Version, mode, how long it is up.
    pub subtitle: String,
    /// What an operator should know at once, beside readiness: a pause, an open circuit.
    pub warnings: Vec<String>,
    /// The few numbers that matter most.
    pub tiles: Vec<Fact>,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// A part of the page with a heading and a place in its navigation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Its anchor; a plain word.
    pub id: &'static str,
    /// Its heading.
    pub title: String,
    /// Shown only when asked for.
    pub folded: bool,
    /// What is in it.
    pub parts: Vec<Part>,
}

/// What a section holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A table.
    Table(Table),
    /// Names and values.
    Facts(Vec<Fact>),
    /// The last hour.
    Chart(Chart),
    /// A paragraph.
    Text(String),
    /// A heading within the section.
    Heading(String),
    /// Lines as they are, such as a command to copy.
    Lines(String),
    /// The form that looks for an incident.
    Search {
        /// What was looked for.
        value: String,
    },
}

/// A name and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What is told.
    pub name: &'static str,
    /// What it is now.
    pub value: Cell,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows, where the heading does not say it.
    pub caption: Option<String>,
    /// The heads of its columns.
    pub columns: &'static [&'static str],
    /// Which columns are numbers, by their heads.
    pub numbers: &'static [&'static str],
    /// Its rows, each as long as `columns`; the first cell names the row.
    pub rows: Vec<Row>,
    /// What stands there when there is no row.
    pub empty: &'static str,
}

/// One row of a table.
pub type Row = Vec<Cell>;

/// A value, and how it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its text.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
    /// How full something is, in percent.
    pub full: Option<u8>,
    /// The incident whose decisions it leads to.
    pub incident: Option<String>,
}

/// How a value is meant. Never by colour alone: the text says it too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// A value.
    #[default]
    Plain,
    /// A state.
    Neutral,
    /// As it should be.
    Good,
    /// Somebody should look.
    Warn,
    /// Wrong.
    Bad,
}

impl Cell {
    /// A text with a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, ..Self::default() }
    }

    /// A text beside how full something is.
    pub fn meter(text: impl Into<String>, percent: u8) -> Self {
        Self { text: text.into(), full: Some(percent.min(100)), ..Self::default() }
    }

    /// An incident's id that leads to its decisions.
    pub fn incident(id: impl Into<String>) -> Self {
        let id = id.into();
        Self { incident: Some(id.clone()), text: id, ..Self::default() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}
