//! The records of the ledger topic as keys and JSON.
//!
//! | key | value |
//! |---|---|
//! | `line/N/SESSION/EPISODE` | a line about an episode; N is used once by its session, so that no line ever replaces another |
//! | `alive/SESSION` | when it was sent, on the clock of its session |
//! | `note/KEY` | text; the last one counts |

use serde::{Deserialize, Serialize};

use crate::ledger::claim::{Line, Said, Session};
use crate::ledger::entry::{Entry, Note, Outcome, Stored, decode, encode};
use crate::ledger::episode::EpisodeKey;
use crate::ledger::shared::topic::TopicRecord;
use crate::ledger::store::Heard;

/// What a record of the topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// For the copy.
    Copy(Heard),
    /// A session lives, and says when it sent this, in milliseconds on its own clock.
    Alive(Session, u64),
    /// A session has ended.
    Ended(Session),
}

#[derive(Serialize, Deserialize)]
struct LineValue {
    after: u64,
    at: i64,
    said: Said,
}

impl Stored for LineValue {
    fn version(&self) -> u8 {
        match &self.said {
            Said::Entry(Entry::Started(_) | Entry::Outcome(Outcome::Found { .. } | Outcome::Shadow { .. })) => 2,
            Said::Entry(Entry::Intent(_) | Entry::Attempt(_) | Entry::Outcome(_)) | Said::Claim | Said::Release => 1,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct AliveValue {
    sent_ms: u64,
}

impl Stored for AliveValue {
    fn version(&self) -> u8 {
        1
    }
}

/// The name of a line: what its key has beside the episode.
pub(crate) fn name(number: u64, session: &Session) -> String {
    format!("{number}/{session}")
}

/// The record that removes a line.
pub(crate) fn removal(name: &str, episode: &str) -> TopicRecord {
    TopicRecord { key: format!("line/{name}/{episode}"), value: None }
}

pub(crate) fn line(number: u64, key: &EpisodeKey, at_ms: i64, line: &Line) -> TopicRecord {
    let value = LineValue { after: line.after, at: at_ms, said: line.said.clone() };
    TopicRecord { key: format!("line/{}/{key}", name(number, &line.by)), value: Some(encode(&value)) }
}

pub(crate) fn alive(session: &Session, sent_ms: u64) -> TopicRecord {
    TopicRecord { key: format!("alive/{session}"), value: Some(encode(&AliveValue { sent_ms })) }
}

pub(crate) fn ended(session: &Session) -> TopicRecord {
    TopicRecord { key: format!("alive/{session}"), value: None }
}

pub(crate) fn note(note: Note) -> TopicRecord {
    TopicRecord { key: format!("note/{}", note.key), value: note.value.map(String::into_bytes) }
}

/// Reads a record. The error is for people.
pub(crate) fn read(record: &TopicRecord) -> Result<Word, String> {
    let TopicRecord { key, value } = record;
    let strange = || format!("its record `{key}` is not what this program writes");
    let (kind, rest) = key.split_once('/').ok_or_else(strange)?;
    match kind {
        "line" => {
            let mut parts = rest.splitn(3, '/');
            let (Some(number), Some(session), Some(episode)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(strange());
            };
            let name = format!("{number}/{session}");
            let Some(value) = value else {
                return Ok(Word::Copy(Heard::Gone { episode: episode.to_owned(), name }));
            };
            let LineValue { after, at, said } = decode(value).map_err(|error| format!("{}: {error}", strange()))?;
            let key = episode.parse().map_err(|_| strange())?;
            let line = Box::new(Line { by: Session::new(session), after, said });
            Ok(Word::Copy(Heard::Line { key, at_ms: at, name, line }))
        }
        "alive" => match value {
            Some(value) => {
                let AliveValue { sent_ms } = decode(value).map_err(|error| format!("{}: {error}", strange()))?;
                Ok(Word::Alive(Session::new(rest), sent_ms))
            }
            None => Ok(Word::Ended(Session::new(rest))),
        },
        "note" => {
            let value = value.as_ref().map(|value| String::from_utf8(value.clone())).transpose();
            Ok(Word::Copy(Heard::Note(Note { key: rest.to_owned(), value: value.map_err(|_| strange())? })))
        }
        _ => Err(strange()),
    }
}

/// The partition of an episode: its FNV-1a hash, which is the same in every version of this program.
pub(crate) fn partition(episode: &str, partitions: u32) -> u32 {
    let hash = episode
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u32::try_from(hash.checked_rem(u64::from(partitions)).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entry::Attempt;

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        let (key, by): (EpisodeKey, _) = ("i/a%2Fb/5/c/x".parse().unwrap(), Session::new("pod-1 7"));
        let said = Line { by: by.clone(), after: 3, said: Said::Entry(Entry::Attempt(Attempt { number: 2 })) };
        let record = line(9, &key, 77, &said);
        let heard = Heard::Line { key, at_ms: 77, name: "9/pod-1 7".into(), line: Box::new(said) };
        assert_eq!(read(&record), Ok(Word::Copy(heard)));
        let gone = Heard::Gone { episode: "i/a%2Fb/5/c/x".into(), name: "9/pod-1 7".into() };
        assert_eq!(read(&removal("9/pod-1 7", "i/a%2Fb/5/c/x")), Ok(Word::Copy(gone)));
        assert_eq!(read(&alive(&by, 12)), Ok(Word::Alive(by.clone(), 12)));
        assert_eq!(read(&ended(&by)), Ok(Word::Ended(by)));
        let kept = Note { key: "budget/x".into(), value: Some("{}".into()) };
        assert_eq!(read(&note(kept.clone())), Ok(Word::Copy(Heard::Note(kept))));
    }

    #[test]
    fn the_form_in_the_topic_stays() {
        let line = Line { by: Session::new("s"), after: 0, said: Said::Claim };
        let record = super::line(1, &"i/-/5/c/x".parse().unwrap(), 7, &line);
        assert_eq!(record.key, "line/1/s/i/-/5/c/x");
        assert_eq!(record.value.as_deref(), Some(&br#"{"v":1,"after":0,"at":7,"said":"claim"}"#[..]));
        assert_eq!((partition("i/-/5/c/x", 1), partition("", 16)), (0, 5));
    }

    #[test]
    fn what_is_foreign_is_an_error_that_names_it() {
        for key in ["", "line/1", "line/1/s/no-episode", "hello/world"] {
            let error = read(&TopicRecord { key: key.into(), value: Some(b"{}".to_vec()) }).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        let newer = TopicRecord { key: "alive/s".into(), value: Some(br#"{"v":9}"#.to_vec()) };
        assert!(read(&newer).unwrap_err().contains("newer version"));
    }
}
