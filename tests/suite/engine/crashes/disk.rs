//! A disk that loses power: what was not made durable before the process died is lost, or some of it is.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kafka_broker_double::incidents::Seed;
use kafka_consumer::ledger::OpenDatabase;
use redb::{Database, DatabaseError, StorageBackend};

use crate::engine::crashes::fate::{Fate, Step};

/// One file of one process.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    fate: Arc<Fate>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a restart finds in any case.
    durable: Vec<u8>,
    /// What the process sees.
    seen: Vec<u8>,
    /// What it has written since the last time that it was made durable.
    pending: Vec<Write>,
    loaded: bool,
}

#[derive(Debug)]
enum Write {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                let end = at + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    pub(super) fn new(fate: &Arc<Fate>) -> Self {
        Self { fate: Arc::clone(fate), state: Arc::default() }
    }

    /// How the ledger opens its file on this disk; at first with what the file holds.
    pub(super) fn opener(&self) -> OpenDatabase {
        let disk = self.clone();
        Box::new(move |path: &Path| -> Result<Database, DatabaseError> {
            disk.load(path)?;
            Database::builder().set_check_integrity_on_open(true).create_with_backend(disk.clone())
        })
    }

    fn load(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock().expect("no panic while holding it");
        if !state.loaded {
            let held = std::fs::read(path)?;
            state.seen.clone_from(&held);
            state.durable = held;
            state.loaded = true;
        }
        Ok(())
    }

    /// What is left after the death: all that was durable, and of the rest whatever the disk got to, in any order. `None`
    /// where the process died before it had a file.
    pub(super) fn left(&self, seed: &mut Seed) -> Option<Vec<u8>> {
        let state = self.state.lock().expect("no panic while holding it");
        let mut left = state.durable.clone();
        let nothing = seed.below(2) == 0;
        for write in state.pending.iter().filter(|_| !nothing && seed.below(2) == 0) {
            write.apply(&mut left);
        }
        state.loaded.then_some(left)
    }

    fn alive(&self) -> io::Result<()> {
        if self.fate.is_dead() { Err(io::Error::other("the process is dead")) } else { Ok(()) }
    }

    fn write_down(&self, write: Write) -> io::Result<()> {
        self.alive()?;
        let mut state = self.state.lock().expect("no panic while holding it");
        write.apply(&mut state.seen);
        state.pending.push(write);
        Ok(())
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect("no panic while holding it").seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().expect("no panic while holding it");
        let at = place(offset);
        let bytes = state.seen.get(at..at + out.len()).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_down(Write::Length(place(len)))
    }

    fn sync_data(&self) -> io::Result<()> {
        if !self.fate.reach(Step::Syncing) {
            return self.alive();
        }
        let mut state = self.state.lock().expect("no panic while holding it");
        for write in std::mem::take(&mut state.pending) {
            write.apply(&mut state.durable);
        }
        drop(state);
        self.fate.reach(Step::Synced);
        self.alive()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_down(Write::Bytes(place(offset), data.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
