//! Records on their way to a report: at most `max.poll.records` at a time, cut where a batch is longer.
//!
//! Promised: nothing is reported of a partition that is not owned any more at that moment; it would be reported again by
//! its next owner.

use std::collections::VecDeque;

use kafka_consumer::client::{Commit, Offset, Records, TopicPartition};

use crate::events::{Consumed, Event};

/// Batches that were handed out, the first one perhaps reported in part.
#[derive(Default)]
pub(crate) struct Waiting {
    batches: VecDeque<(Records, usize)>,
}

/// One report, and what is to be committed for it.
pub(crate) struct Report {
    /// The records one by one, for `--verbose`.
    pub(crate) records: Vec<Event>,
    pub(crate) partitions: Vec<Consumed>,
    pub(crate) count: u64,
    /// Next offsets behind the last records: what Apache's tool commits.
    pub(crate) reported: Commit,
    /// The same, but behind whole batches and empty ones: what a periodic commit takes.
    pub(crate) position: Commit,
}

impl Waiting {
    pub(crate) fn push(&mut self, records: Records) {
        self.batches.push_back((records, 0));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many records wait.
    pub(crate) fn len(&self) -> usize {
        self.batches.iter().map(|(records, done)| records.len().saturating_sub(*done)).sum()
    }

    /// Takes up to `most` records.
    pub(crate) fn take(&mut self, most: usize, verbose: bool) -> Report {
        let mut report = Report::new();
        let mut room = most;
        while let Some((records, done)) = self.batches.front_mut() {
            if records.ownership().check().is_ok() {
                if room == 0 && records.len() > *done {
                    break;
                }
                let taken = report.add(records, *done, room, verbose);
                room = room.saturating_sub(taken);
                *done = done.saturating_add(taken);
                if *done < records.len() {
                    break;
                }
                report.position.processed(records);
            }
            self.batches.pop_front();
        }
        report
    }
}

impl Report {
    fn new() -> Self {
        Self { records: Vec::new(), partitions: Vec::new(), count: 0, reported: Commit::new(), position: Commit::new() }
    }

    /// Adds records of one batch after the first `done`; says how many.
    fn add(&mut self, records: &Records, done: usize, room: usize, verbose: bool) -> usize {
        let name = records.partition();
        let mut span: Option<(Offset, Offset)> = None;
        let mut taken = 0_usize;
        for record in records.batch().skip(done).take(room) {
            taken = taken.saturating_add(1);
            span = Some((span.map_or(record.offset, |(first, _)| first), record.offset));
            if verbose {
                let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                self.records.push(Event::RecordData {
                    key: text(record.key),
                    value: text(record.value),
                    topic: name.topic.to_string(),
                    partition: name.partition,
                    offset: record.offset.get(),
                });
            }
        }
        if let Some((first, last)) = span {
            self.count(name, taken as u64, first, last);
            let next = Offset(last.get().saturating_add(1));
            self.reported.add(records.ownership(), next, records.leader_epoch());
            self.position.add(records.ownership(), next, records.leader_epoch());
        }
        taken
    }

    /// One summary for each partition, whatever number of batches it comes from.
    fn count(&mut self, name: &TopicPartition, count: u64, first: Offset, last: Offset) {
        self.count = self.count.saturating_add(count);
        let same = |known: &&mut Consumed| known.partition == name.partition && *known.topic == *name.topic;
        if let Some(known) = self.partitions.iter_mut().find(same) {
            known.count = known.count.saturating_add(count);
            known.max_offset = last.get();
            return;
        }
        self.partitions.push(Consumed {
            topic: name.topic.to_string(),
            partition: name.partition,
            count,
            min_offset: first.get(),
            max_offset: last.get(),
        });
    }
}
