//! O: batches that are broken, foreign or hostile. Each may cost its own partition, and nothing else.

use bytes::Bytes;
use kafka_broker_double::{ApiKey, Batch, Cluster, Record, Response};
use kafka_consumer::client::{CorruptBatchPolicy, Event, ParkCause};
use kafka_proto::compression::Codec;

use super::park_cause;
use crate::client_consumer::{Reader, builder, numbers, texts};

/// Where the checksum stands in a batch, and where what it covers begins.
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const RECORD_COUNT_AT: usize = 57;
const RECORDS_AT: usize = 61;

/// CRC-32C, bit by bit: slow, and nobody else's.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// A batch changed and then sealed again, to stand at `base` in a log.
fn forged(batch: &Batch, base: i64, change: impl Fn(&mut Vec<u8>)) -> Bytes {
    let mut bytes = batch.encode().to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    change(&mut bytes);
    let length = i32::try_from(bytes.len() - 12).expect("a small batch");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn set_attributes(bytes: &mut [u8], attributes: i16) {
    bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
}

/// Three numbers, the broken batch at 3 to 5, three numbers more; partition 1 has three of its own.
fn with_in_the_middle(broken: &Bytes) -> Cluster {
    let cluster = Cluster::builder().topic("t", 2).start();
    cluster.produce("t", 0, numbers(0, 3));
    cluster.append_verbatim("t", 0, broken).expect("kept as it is");
    cluster.produce("t", 0, numbers(6, 3));
    cluster.produce("t", 1, numbers(0, 3));
    cluster
}

/// Partition 0 is parked at the broken batch, partition 1 goes on.
async fn parks_alone(cluster: &Cluster, policy: CorruptBatchPolicy) -> ParkCause {
    let mut reader = Reader::from(builder(cluster).configure(|config| {
        config.corrupt_batch_policy = policy;
        config.decompressed_batch_max_bytes = 1 << 20;
    }));
    reader.until_read(6).await;
    reader.until("the partition is parked", |reader| park_cause(reader, 0).is_some()).await;
    cluster.produce("t", 1, numbers(3, 3));
    reader.until_read(9).await;
    assert_eq!((&reader.values[&0], &reader.values[&1]), (&texts(0, 3), &texts(0, 6)));
    let cause = park_cause(&reader, 0).expect("still parked");
    assert!(matches!(&cause, ParkCause::Corrupt { offset, .. } if offset.get() == 3), "{cause:?}");
    reader.commit().await;
    assert_eq!(cluster.committed("g", "t", 0), Some(3), "nothing past the broken batch is committed");
    reader.close().await;
    cause
}

/// The broken batch is passed over with an event that says from where to where.
async fn is_skipped(cluster: &Cluster) {
    let mut reader = Reader::from(builder(cluster).configure(|config| {
        config.corrupt_batch_policy = CorruptBatchPolicy::Skip;
        config.decompressed_batch_max_bytes = 1 << 20;
    }));
    reader.until_read(9).await;
    assert_eq!(reader.values[&0], [texts(0, 3), texts(6, 3)].concat());
    assert!(reader.has_event(&["Skipped", "first: Offset(3), last: Offset(5)"]), "{:?}", reader.events);
    assert_eq!(reader.handle.snapshot().counters.skipped_batches, 1);
    reader.close().await;
}

#[tokio::test]
async fn o09_a_bit_that_flipped_on_the_way_costs_one_more_fetch_and_nothing_else() {
    let cluster = Cluster::builder().topic("t", 1).start();
    cluster.produce("t", 0, numbers(0, 5));
    let fault = cluster.on(ApiKey::Fetch).edit(|response| {
        let Response::Fetch(fetch) = response else { return };
        for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let mut bytes = partition.records.clone().unwrap_or_default().to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            partition.records = Some(bytes.into());
        }
    });
    let mut reader = Reader::of(&cluster);
    reader.until_read(5).await;
    assert_eq!((fault.hits(), &reader.values[&0]), (1, &texts(0, 5)));
    assert!(!reader.has_event(&["Skipped"]), "{:?}", reader.events);
    reader.close().await;
}

#[tokio::test]
async fn o09_a_batch_that_passes_its_checksum_and_cannot_be_opened_parks_or_is_skipped() {
    let gzip_that_is_none = forged(&Batch::of(numbers(3, 3)), 3, |bytes| set_attributes(bytes, 1));
    parks_alone(&with_in_the_middle(&gzip_that_is_none), CorruptBatchPolicy::Park).await;
    is_skipped(&with_in_the_middle(&gzip_that_is_none)).await;
}

#[tokio::test]
async fn o09_a_record_that_cannot_be_read_in_a_sound_batch_parks_or_is_skipped() {
    let record_of_impossible_length = forged(&Batch::of(numbers(3, 3)), 3, |bytes| bytes[RECORDS_AT] = 0x7e);
    parks_alone(&with_in_the_middle(&record_of_impossible_length), CorruptBatchPolicy::Park).await;
    is_skipped(&with_in_the_middle(&record_of_impossible_length)).await;
}

#[tokio::test]
async fn o10_an_unknown_codec_parks_its_partition_whatever_the_policy() {
    for codec in [5, 7] {
        let foreign = forged(&Batch::of(numbers(3, 3)), 3, |bytes| set_attributes(bytes, codec));
        let cause = parks_alone(&with_in_the_middle(&foreign), CorruptBatchPolicy::Skip).await;
        assert!(format!("{cause:?}").contains(&codec.to_string()), "{cause:?}");
    }
}

#[tokio::test]
async fn o10_an_unknown_control_type_is_passed_over() {
    for key in [[0, 0, 0, 9], [0, 7, 0, 9]] {
        let marker = Batch::of([Record::new("note").key(key.to_vec())]).producer(77, 0, -1);
        let marker = forged(&marker, 3, |bytes| set_attributes(bytes, 0x30));
        let cluster = Cluster::builder().topic("t", 1).start();
        cluster.produce("t", 0, numbers(0, 3));
        cluster.append_verbatim("t", 0, &marker).expect("kept as it is");
        cluster.produce("t", 0, numbers(4, 3));
        let mut reader = Reader::of(&cluster);
        reader.until_read(6).await;
        assert_eq!(reader.values[&0], [texts(0, 3), texts(4, 3)].concat());
        assert_eq!(park_cause(&reader, 0), None);
        reader.close().await;
    }
}

#[tokio::test]
async fn o11_a_decompression_bomb_costs_its_partition_and_no_memory() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let three = [vec![0_u8; 2 << 20], vec![0; 10], vec![0; 10]];
        let bomb = forged(&Batch::of(three).codec(codec), 3, |_| {});
        let cause = parks_alone(&with_in_the_middle(&bomb), CorruptBatchPolicy::Park).await;
        assert!(matches!(cause, ParkCause::Corrupt { .. }), "{codec:?}");
    }
}

#[tokio::test]
async fn o11_a_record_count_of_two_billion_is_an_error_of_its_batch() {
    let boast = forged(&Batch::of(numbers(3, 3)), 3, |bytes| {
        bytes[RECORD_COUNT_AT..RECORDS_AT].copy_from_slice(&i32::MAX.to_be_bytes());
    });
    parks_alone(&with_in_the_middle(&boast), CorruptBatchPolicy::Park).await;
}

#[tokio::test]
async fn o12_times_of_the_broker_nulls_and_doubled_headers_arrive_as_they_are() {
    let cluster = Cluster::builder().topic("t", 1).start();
    let headers = Record::new("b")
        .header("k", Some(Bytes::from_static(b"1")))
        .header("k", None)
        .header("k", Some(Bytes::from_static(b"1")));
    let records = [Record::tombstone("a").at(1_000), headers.at(2_000), Record::new("c").at(1_500)];
    cluster.append("t", 0, &Batch::of(records).log_append_time());
    let mut consumer = builder(&cluster).build().expect("a valid configuration");
    let read = async {
        loop {
            if let Event::Records(records) = consumer.next().await.expect("no fatal error")
                && !records.is_empty()
            {
                break records;
            }
        }
    };
    let records = tokio::time::timeout(crate::client_consumer::PATIENCE, read).await.expect("records come");
    let all: Vec<_> = records.batch().collect();
    assert!(all.iter().all(|record| record.timestamp_ms == 2_000), "the time of the batch");
    assert_eq!((all[0].key, all[0].value), (Some(&b"a"[..]), None));
    assert_eq!((all[1].key, all[1].value), (None, Some(&b"b"[..])));
    let headers: Vec<_> = all[1].headers().map(|header| header.expect("sound").value).collect();
    assert_eq!(headers, [Some(&b"1"[..]), None, Some(&b"1"[..])]);
}
