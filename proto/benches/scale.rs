//! What a large group costs its leader: dividing 10,000 partitions, and the bytes that say so.
//!
//! `cargo bench -p kafka-proto --bench scale`. Each line is the best of a few runs: at a first assignment, and when one
//! member of those who already own everything goes.

#![expect(clippy::disallowed_methods, reason = "measuring time is what a benchmark is for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_proto::assignor::protocol::{Subscription, encode_assignment};
use kafka_proto::assignor::{AssignorKind, GroupMember, PartitionCounts, assign};

const ROUNDS: u32 = 5;

fn main() {
    println!("assignor            members partitions    first  one goes  assignments");
    for kind in [AssignorKind::Range, AssignorKind::Sticky, AssignorKind::CooperativeSticky] {
        for (members, partitions) in [(3, 100), (10, 1_000), (100, 1_000), (100, 10_000)] {
            measure(kind, members, partitions);
        }
    }
}

fn measure(kind: AssignorKind, members: usize, partitions: i32) {
    let counts = PartitionCounts::from([(Arc::from("incidents"), partitions)]);
    let group: Vec<_> = (0..members).map(member).collect();
    let (first, assignment) = best(|| assign(kind, &group, &counts));
    let bytes: usize = assignment.values().map(|owned| encode_assignment(owned).len()).sum();
    let mut settled = group;
    for member in &mut settled {
        member.subscription.owned = assignment.get(&member.member_id).cloned().unwrap_or_default();
    }
    settled.pop();
    let (again, _) = best(|| assign(kind, &settled, &counts));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{:<19} {members:>7} {partitions:>10} {:>5.1} ms {:>6.1} ms {bytes:>10} B",
        kind.name(),
        ms(first),
        ms(again)
    );
}

fn member(number: usize) -> GroupMember {
    GroupMember {
        member_id: Arc::from(format!("consumer-{number:04}").as_str()),
        instance_id: None,
        subscription: Subscription::to([Arc::from("incidents")]),
    }
}

fn best<T>(work: impl Fn() -> T) -> (Duration, T) {
    let mut best = Duration::MAX;
    for _ in 1..ROUNDS {
        let begun = Instant::now();
        std::hint::black_box(work());
        best = best.min(begun.elapsed());
    }
    let begun = Instant::now();
    let result = work();
    (best.min(begun.elapsed()), result)
}
