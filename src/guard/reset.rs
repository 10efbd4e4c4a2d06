//! The word of a person that what has tripped is forgotten: of which guards, by whom and why. It is kept.

use serde::{Deserialize, Serialize};

/// The longest name or reason that is kept.
const CHARS_MAX: usize = 500;

/// Which guards begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of them.
    All,
    /// What was charged to budgets and fleets.
    Budgets,
    /// Open circuits.
    Breakers,
    /// Storm mode.
    Storm,
}

impl Which {
    /// By its name, as in the API.
    pub fn named(name: &str) -> Option<Self> {
        [Self::All, Self::Budgets, Self::Breakers, Self::Storm].into_iter().find(|which| which.name() == name)
    }

    /// The name, as in the API and in the ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Budgets => "budgets",
            Self::Breakers => "breakers",
            Self::Storm => "storm",
        }
    }

    pub(super) fn covers(self, one: Self) -> bool {
        self == Self::All || self == one
    }
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Of which guards.
    pub which: Which,
    /// Who says so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When, milliseconds since the epoch.
    pub at: i64,
}

impl Reset {
    /// What was said, in one line each; the text says what is missing.
    pub fn new(which: Which, who: &str, why: &str, at: i64) -> Result<Self, String> {
        let (who, why) = (one_line(who), one_line(why));
        if who.is_empty() || why.is_empty() {
            return Err("who says so and why must be given: they are kept".to_owned());
        }
        Ok(Self { which, who, why, at })
    }
}

/// A name or a reason as it is kept: in one line, and not for ever long.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(CHARS_MAX).collect()
}
