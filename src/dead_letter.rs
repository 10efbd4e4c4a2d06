//! What could not be parsed, kept.
//!
//! JSON lines `{topic, partition, offset, timestamp_ms, reason, key_base64, value_base64}`. [`DeadLetters::keep`] returns when the lines
//! are on disk, so that the offset may count as done. A last line that a crash tore off is closed with a line end and
//! left for the reader to skip. Redelivery may write a record twice; topic, partition and offset tell.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// One record that is not an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The record's time, milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// What is wrong with it.
    pub reason: String,
    /// The key; `None` when the record has none.
    #[serde(with = "base64_bytes")]
    pub key_base64: Option<Vec<u8>>,
    /// The value; `None` when the record has none.
    #[serde(with = "base64_bytes")]
    pub value_base64: Option<Vec<u8>>,
    /// The headers, names and values; only a topic takes them.
    #[serde(skip)]
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

mod base64_bytes {
    use base64::Engine as _;

    use super::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text).map_err(D::Error::custom)).transpose()
    }
}

/// Why a dead letter could not be kept. The record stays undone, and so does its offset.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// No space or quota left.
    #[error("dead letters cannot be kept in {path}: {source}; free space on its volume")]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Read-only file system or missing permission.
    #[error(
        "dead letters cannot be kept in {path}: {source}; mount its directory read-write and let this user write to it"
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The disk said no, in another way.
    #[error("dead letters cannot be kept in {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// The file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl DeadLetters {
    /// Opens or creates the file, so that a wrong path is found at start. Blocks on disk.
    pub fn open(path: &Path) -> Result<Self, DeadLetterError> {
        let file = open(path).map_err(|error| sort(path, error))?;
        Ok(Self { inner: Arc::new(Inner { path: path.to_path_buf(), file: Mutex::new(Some(file)) }) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Appends the letters and returns when they are durable: one fsync for all of them.
    pub async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), DeadLetterError> {
        let inner = Arc::clone(&self.inner);
        let written = tokio::task::spawn_blocking(move || {
            let result = inner.append(&letters);
            result.map_err(|error| sort(&inner.path, error))
        });
        written.await.unwrap_or_else(|panic| Err(sort(self.path(), io::Error::other(panic))))
    }
}

impl Inner {
    fn append(&self, letters: &[DeadLetter]) -> io::Result<()> {
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
        }
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failure the file is opened again, which closes a line that was torn by it.
        let mut file = match slot.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        file.write_all(&lines)?;
        file.sync_data()?;
        *slot = Some(file);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if ends_torn(&mut file)? {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8; 1];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn sort(path: &Path, source: io::Error) -> DeadLetterError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DeadLetterError::Full { path, source },
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            DeadLetterError::NotWritable { path, source }
        }
        _ => DeadLetterError::Io { path, source },
    }
}

/// Reads the letters of a file, skipping lines that are not whole; how many were skipped.
pub fn read(path: &Path) -> io::Result<(Vec<DeadLetter>, usize)> {
    let text = std::fs::read(path)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (mut letters, mut skipped) = (Vec::new(), 0);
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(letter) => letters.push(letter),
            Err(_) => skipped += 1,
        }
    }
    Ok((letters, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64) -> DeadLetter {
        DeadLetter {
            topic: "sre".into(),
            partition: 3,
            offset,
            timestamp_ms: 1,
            reason: "not JSON".into(),
            key_base64: None,
            value_base64: Some(b"{\xff".to_vec()),
            headers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn letters_are_kept_as_the_contract_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        DeadLetters::open(&path).unwrap().keep(vec![letter(7)]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"topic\":\"sre\",\"partition\":3,\"offset\":7,\"timestamp_ms\":1,\"reason\":\"not JSON\",\"key_base64\":null,\"value_base64\":\"e/8=\"}\n"
        );
    }

    #[tokio::test]
    async fn a_torn_last_line_spoils_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dead.jsonl");
        DeadLetters::open(&path).unwrap().keep(vec![letter(7)]).await.unwrap();
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"topic\":\"sr");
        std::fs::write(&path, torn).unwrap();
        DeadLetters::open(&path).unwrap().keep(vec![letter(8)]).await.unwrap();
        let (letters, skipped) = read(&path).unwrap();
        assert_eq!((letters, skipped), (vec![letter(7), letter(8)], 1));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = DeadLetters::open(Path::new("/nowhere/dead.jsonl")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/dead.jsonl"), "{error}");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_as_such() {
        let error = match DeadLetters::open(Path::new("/dev/full")) {
            Ok(letters) => letters.keep(vec![letter(1)]).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, DeadLetterError::Full { .. }), "{error}");
    }
}
