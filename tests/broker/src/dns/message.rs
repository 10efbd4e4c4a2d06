//! DNS messages (RFC 1035): one question in, an answer out.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};

use super::QueryType;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const HEADER_BYTES: usize = 12;
/// Response, recursion desired and available.
const FLAGS_RESPONSE: u16 = 0x8180;
const FLAG_TRUNCATED: u16 = 0x0200;

/// The question of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) kind: QueryType,
    /// The question's own bytes, to be repeated in the answer.
    raw: Vec<u8>,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Address { name: String, address: IpAddr },
    Cname { name: String, target: String },
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Truncated,
    ServFail,
    NxDomain,
    Refused,
}

impl Status {
    fn flags(self) -> u16 {
        FLAGS_RESPONSE
            | match self {
                Self::Ok => 0,
                Self::Truncated => FLAG_TRUNCATED,
                Self::ServFail => 2,
                Self::NxDomain => 3,
                Self::Refused => 5,
            }
    }
}

impl Question {
    /// Reads a query; `None` where it is none with exactly one question.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let id = u16::from_be_bytes(message.get(..2)?.try_into().ok()?);
        if message.get(4..6)? != [0, 1] {
            return None;
        }
        let mut labels = Vec::new();
        let mut at = HEADER_BYTES;
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // A pointer cannot stand in the first name of a message.
            let label = message.get(at..at + length).filter(|_| length < 64)?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += length;
        }
        let kind = match u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?) {
            TYPE_A => QueryType::A,
            TYPE_AAAA => QueryType::Aaaa,
            other => QueryType::Other(other),
        };
        let raw = message.get(HEADER_BYTES..at + 4)?.to_vec();
        Some(Self { id, name: labels.join("."), kind, raw })
    }

    /// Writes an answer to it.
    pub(super) fn answer(&self, id: u16, status: Status, answers: &[Answer], ttl_s: u32) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_u16(id);
        out.put_u16(status.flags());
        out.put_u16(1);
        out.put_u16(u16::try_from(answers.len()).expect("a small answer"));
        out.put_u32(0);
        out.put_slice(&self.raw);
        for answer in answers {
            put_answer(&mut out, answer, ttl_s);
        }
        out.to_vec()
    }
}

fn put_answer(out: &mut BytesMut, answer: &Answer, ttl_s: u32) {
    let (name, kind, data) = match answer {
        Answer::Address { name, address: IpAddr::V4(address) } => (name, TYPE_A, address.octets().to_vec()),
        Answer::Address { name, address: IpAddr::V6(address) } => (name, TYPE_AAAA, address.octets().to_vec()),
        Answer::Cname { name, target } => (name, TYPE_CNAME, name_bytes(target)),
    };
    out.put_slice(&name_bytes(name));
    out.put_u16(kind);
    out.put_u16(CLASS_IN);
    out.put_u32(ttl_s);
    out.put_u16(u16::try_from(data.len()).expect("short data"));
    out.put_slice(&data);
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label of less than 64 bytes"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(name_bytes(name));
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        message
    }

    #[test]
    fn a_question_is_read_in_lower_case() {
        let question = Question::read(&query("B-1.Kafka.Test", TYPE_AAAA)).expect("a question");
        assert_eq!((question.id, question.name.as_str(), question.kind), (0xabcd, "b-1.kafka.test", QueryType::Aaaa));
    }

    #[test]
    fn a_message_cut_anywhere_is_no_question() {
        let whole = query("a.b", TYPE_A);
        for length in 0..whole.len() {
            assert_eq!(Question::read(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn an_answer_repeats_the_question_and_holds_the_record() {
        let question = Question::read(&query("a.b", TYPE_A)).expect("a question");
        let record = Answer::Address { name: "a.b".to_owned(), address: IpAddr::from([127, 0, 0, 1]) };
        let answer = question.answer(1, Status::Ok, &[record], 5);
        assert_eq!(answer[..12], [0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[answer.len() - 10..], [0, 0, 0, 5, 0, 4, 127, 0, 0, 1]);
    }
}
