//! Three values: a field that is missing is neither true nor false.

use serde::Serialize;

/// What a test says. Ordered so that "all" is the least and "any" the greatest (Kleene's logic).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The field is there and does not pass.
    False,
    /// The field is not there (or is of a kind that the test cannot judge), so nothing is known. Never a match.
    Missing,
    /// The field is there and passes.
    True,
}

impl Verdict {
    /// True or false, from a test that could judge.
    pub fn from_bool(passes: bool) -> Self {
        if passes { Self::True } else { Self::False }
    }

    /// The opposite; what is missing stays missing.
    #[must_use]
    pub fn negate(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Missing => Self::Missing,
            Self::True => Self::False,
        }
    }

    /// All of them; true of none.
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut least = Self::True;
        for verdict in verdicts {
            least = least.min(verdict);
            if least == Self::False {
                break;
            }
        }
        least
    }

    /// Any of them; false of none.
    pub fn any(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut greatest = Self::False;
        for verdict in verdicts {
            greatest = greatest.max(verdict);
            if greatest == Self::True {
                break;
            }
        }
        greatest
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::False => "false",
            Self::Missing => "missing",
            Self::True => "true",
        })
    }
}
