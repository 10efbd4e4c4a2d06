//! What is wrong with a document, and where: collected, so that all of it is told at once.

use std::cell::RefCell;
use std::fmt;

use crate::yaml::Position;

/// One thing that is wrong (or, as a warning, without effect).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path of the setting, such as `kafka.topics[0]`; empty for the document itself.
    pub path: String,
    /// The line, from 1; 0 when there is no place in a document.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
    /// The known name that is nearest to an unknown one.
    pub nearest: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

/// Everything found while a document is read. Shared by all readers of one document, hence the inner mutability.
#[derive(Debug, Default)]
pub struct Mistakes {
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<Mistake>>,
}

impl Mistakes {
    /// Notes a mistake at a place.
    pub fn add(&self, path: impl Into<String>, at: Position, what: impl Into<String>) {
        self.push(Mistake::at(path, at, what));
    }

    /// Notes a mistake.
    pub fn push(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Notes something that does no harm but has no effect either.
    pub fn warn(&self, path: impl Into<String>, at: Position, what: impl Into<String>) {
        self.warnings.borrow_mut().push(Mistake::at(path, at, what));
    }

    /// Nothing is wrong so far (warnings do not count).
    pub fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    /// How many mistakes there are so far: a reader compares before and after to know whether its part is sound.
    pub fn len(&self) -> usize {
        self.mistakes.borrow().len()
    }

    /// The warnings so far, in the order of the document.
    pub fn warnings(&self) -> Vec<Mistake> {
        in_order(self.warnings.borrow().clone())
    }

    /// The mistakes so far, in the order of the document.
    pub fn all(&self) -> Vec<Mistake> {
        in_order(self.mistakes.borrow().clone())
    }

    /// All mistakes in the order of the document, or nothing.
    pub fn into_result(self) -> Result<(), Vec<Mistake>> {
        let mistakes = in_order(self.mistakes.into_inner());
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }
}

impl fmt::Display for Mistakes {
    /// One mistake a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.all().iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl Mistake {
    /// A mistake without a suggestion.
    pub fn at(path: impl Into<String>, at: Position, what: impl Into<String>) -> Self {
        Self { path: path.into(), line: at.line, column: at.column, what: what.into(), nearest: None }
    }

    /// The same with the nearest of `known` to `name`, when one is near.
    #[must_use]
    pub fn suggest<'k>(mut self, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        self.nearest = nearest(name, known).map(str::to_owned);
        self
    }
}

fn in_order(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes
}

/// The known name nearest to `name`: at most a third of its letters away, letter case aside.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wanted = name.to_ascii_lowercase();
    let furthest = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= furthest)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_place_path_and_suggestion() {
        let mistake = Mistake::at("kafka.brokerz", Position { line: 3, column: 5 }, "unknown key")
            .suggest("brokerz", ["topics", "brokers"]);
        assert_eq!(mistake.to_string(), "line 3, column 5: kafka.brokerz: unknown key (did you mean `brokers`?)");
    }

    #[test]
    fn a_name_far_from_all_known_ones_gets_no_suggestion() {
        assert_eq!(nearest("zebra", ["topics", "brokers"]), None);
        assert_eq!(nearest("Topic", ["topics", "brokers"]), Some("topics"));
    }
}
