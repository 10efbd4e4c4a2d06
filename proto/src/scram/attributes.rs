//! The `letter=value,letter=value` text of SCRAM's messages (RFC 5802 part 5.1, 7).
//!
//! A message that demands an extension, reports an error or names an attribute twice is refused as a whole before
//! anything is taken from it. Optional extensions behind the known attributes are left alone.

use crate::scram::ScramError;

/// The attributes that have not been taken yet, in their order.
pub(super) struct Attributes<'a> {
    rest: std::vec::IntoIter<(char, &'a str)>,
}

impl<'a> Attributes<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, ScramError> {
        let mut all: Vec<(char, &str)> = Vec::new();
        for (index, part) in text.split(',').enumerate() {
            let (name, value) = attribute(part).ok_or(ScramError::NotAnAttribute(index))?;
            match name {
                'm' => return Err(ScramError::MandatoryExtension),
                'e' if all.is_empty() => return Err(ScramError::Server(value.to_owned())),
                _ if all.iter().any(|(other, _)| *other == name) => return Err(ScramError::Duplicate(name)),
                _ => all.push((name, value)),
            }
        }
        Ok(Self { rest: all.into_iter() })
    }

    /// The value of the next attribute, which has to be this one.
    pub(super) fn expect(&mut self, expected: char) -> Result<&'a str, ScramError> {
        match self.rest.next() {
            Some((name, value)) if name == expected => Ok(value),
            Some((found, _)) if self.rest.any(|(name, _)| name == expected) => {
                Err(ScramError::OutOfOrder { expected, found })
            }
            _ => Err(ScramError::Missing(expected)),
        }
    }
}

fn attribute(part: &str) -> Option<(char, &str)> {
    let (name, value) = part.split_once('=')?;
    let mut letters = name.chars();
    let letter = letters.next().filter(char::is_ascii_alphabetic)?;
    letters.next().is_none().then_some((letter, value))
}
