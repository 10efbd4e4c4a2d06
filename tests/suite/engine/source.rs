//! A source whose every word the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kafka_consumer::pipeline::{Batch, Commit, CommitFailed, Control, Feed, NotOurs, Right, Source, SourceError};
use kafka_proto::compression::Decompressor;
use kafka_proto::id::{Generation, LeaderEpoch, Offset, TopicPartition};
use kafka_proto::record::{Batches, EncodeOptions, NewRecord, Record, encode_batch};
use tokio::sync::{mpsc, oneshot};

/// The right to a partition, which the test can take away.
#[derive(Clone, Debug)]
pub(super) struct Owned(Arc<(TopicPartition, AtomicBool)>);

impl Owned {
    pub(super) fn new(partition: i32) -> Self {
        Self(Arc::new((TopicPartition::new("sre", partition), AtomicBool::new(true))))
    }

    pub(super) fn take_away(&self) {
        self.0.1.store(false, Ordering::SeqCst);
    }
}

impl Right for Owned {
    fn partition(&self) -> &TopicPartition {
        &self.0.0
    }
    fn generation(&self) -> Generation {
        Generation(3)
    }
    fn check(&self) -> Result<(), NotOurs> {
        if self.0.1.load(Ordering::SeqCst) { Ok(()) } else { Err(NotOurs("taken away".to_owned())) }
    }
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Records under one right.
pub(super) struct Written {
    right: Owned,
    batch: kafka_proto::record::Batch,
}

impl Written {
    /// A batch whose first record stands at `base`.
    pub(super) fn new(right: &Owned, base: i64, values: &[String]) -> Self {
        let records = values.iter().map(|value| NewRecord {
            timestamp_ms: 1_769_755_540_000,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[],
            offset_delta: None,
        });
        let options =
            EncodeOptions { base_offset: Offset(base), leader_epoch: LeaderEpoch(1), ..EncodeOptions::default() };
        let mut bytes = Vec::new();
        encode_batch(&options, records, &mut bytes).expect("encodes");
        let raw = Batches::new(Bytes::from(bytes)).next().expect("one batch").expect("sound");
        let batch = raw.open(&mut Decompressor::new(64 << 20)).expect("opens");
        Self { right: right.clone(), batch }
    }
}

impl Batch for Written {
    type Right = Owned;
    fn right(&self) -> &Owned {
        &self.right
    }
    fn first_offset(&self) -> Offset {
        self.batch.header().base_offset
    }
    fn next_offset(&self) -> Offset {
        self.batch.header().next_offset()
    }
    fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(1)
    }
    fn size(&self) -> usize {
        self.batch.size()
    }
    fn each(&self, visit: &mut dyn FnMut(Record<'_>)) {
        for record in self.batch.records() {
            visit(record.expect("sound"));
        }
    }
}

pub(super) type Said = Feed<Written, oneshot::Sender<()>>;

/// Says what the test sends.
pub(super) struct Script {
    said: mpsc::UnboundedReceiver<Said>,
    control: Remote,
}

/// What the pipeline asked for.
#[derive(Clone, Default)]
pub(super) struct Remote(Arc<Mutex<Asked>>);

/// Is asked before and after (`true`) a commit is stored whether the one who commits still lives.
pub(super) type Witness = Arc<dyn Fn(bool) -> bool + Send + Sync>;

#[derive(Default)]
pub(super) struct Asked {
    witness: Option<Witness>,
    pub(super) committed: BTreeMap<i32, i64>,
    pub(super) pauses: usize,
    pub(super) resumes: usize,
    pub(super) refuse_commits: bool,
}

impl Remote {
    /// One whose commits somebody watches.
    pub(super) fn witnessed(witness: Witness) -> Self {
        Self(Arc::new(Mutex::new(Asked { witness: Some(witness), ..Asked::default() })))
    }

    pub(super) fn asked<T>(&self, look: impl FnOnce(&mut Asked) -> T) -> T {
        look(&mut self.0.lock().expect("no panic while holding it"))
    }
}

impl Script {
    pub(super) fn new(control: Remote) -> (Self, mpsc::UnboundedSender<Said>) {
        let (say, said) = mpsc::unbounded_channel();
        (Self { said, control }, say)
    }
}

impl Source for Script {
    type Right = Owned;
    type Batch = Written;
    type Guard = oneshot::Sender<()>;
    type Control = Remote;

    async fn next(&mut self) -> Result<Said, SourceError> {
        self.said.recv().await.ok_or_else(|| SourceError("the test said goodbye".to_owned()))
    }

    fn control(&self) -> Remote {
        self.control.clone()
    }
}

impl Control for Remote {
    type Right = Owned;

    fn pause(&self, _: &[TopicPartition]) {
        self.asked(|asked| asked.pauses += 1);
    }

    fn resume(&self, _: &[TopicPartition]) {
        self.asked(|asked| asked.resumes += 1);
    }

    async fn commit(&self, offsets: Vec<Commit<Owned>>) -> Result<(), CommitFailed> {
        self.asked(|asked| {
            let lives = |stored| asked.witness.as_ref().is_none_or(|witness| witness(stored));
            if asked.refuse_commits || !lives(false) {
                return Err(CommitFailed("not now".to_owned()));
            }
            for commit in offsets {
                let before = asked.committed.insert(commit.right.partition().partition, commit.next.get());
                assert!(before.is_none_or(|before| before <= commit.next.get()), "a commit went back");
            }
            let lives = asked.witness.as_ref().is_none_or(|witness| witness(true));
            if lives { Ok(()) } else { Err(CommitFailed("nobody hears it".to_owned())) }
        })
    }
}
