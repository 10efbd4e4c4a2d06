//! The range assignor, exactly as Kafka's: topic by topic, members in Kafka's order, contiguous ranges, the first
//! members one partition longer where it does not divide. A mixed group must agree on it to the last partition only
//! with itself (the leader alone computes), yet operators compare, so it is the same arithmetic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::assignor::{Assignment, GroupMember, PartitionCounts};
use crate::id::TopicPartition;

/// Assigns ranges of every topic to the members that subscribe to it.
pub(super) fn assign(members: &[GroupMember], counts: &PartitionCounts) -> Assignment {
    let mut ordered: Vec<&GroupMember> = members.iter().collect();
    ordered.sort_by(|a, b| a.kafka_order(b));
    let mut assignment: Assignment = members.iter().map(|m| (Arc::clone(&m.member_id), Vec::new())).collect();
    for (topic, takers) in takers_by_topic(&ordered) {
        let count = counts.get(&topic).copied().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let (each, extra) = (count / takers.len(), count % takers.len());
        let mut next: i32 = 0;
        for (place, member_id) in takers.iter().enumerate() {
            for _ in 0..each + usize::from(place < extra) {
                let partition = TopicPartition { topic: Arc::clone(&topic), partition: next };
                assignment.entry(Arc::clone(member_id)).or_default().push(partition);
                next += 1;
            }
        }
    }
    assignment
}

/// Per topic the ids of its subscribers, in the order given, each once. Never an empty list.
fn takers_by_topic(ordered: &[&GroupMember]) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut takers: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for member in ordered {
        if !seen.insert(&member.member_id) {
            continue;
        }
        let topics: BTreeSet<&Arc<str>> = member.subscription.topics.iter().collect();
        for topic in topics {
            takers.entry(Arc::clone(topic)).or_default().push(Arc::clone(&member.member_id));
        }
    }
    takers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignor::protocol::Subscription;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> GroupMember {
        GroupMember {
            member_id: id.into(),
            instance_id: instance.map(Into::into),
            subscription: Subscription::to(topics.iter().map(|t| Arc::from(*t))),
        }
    }

    fn counts(list: &[(&str, i32)]) -> PartitionCounts {
        list.iter().map(|(t, n)| (Arc::from(*t), *n)).collect()
    }

    fn shown(assignment: &Assignment, member: &str) -> String {
        assignment[member].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_members_take_the_remainder_of_each_topic() {
        let members = [member("b", None, &["t", "u"]), member("a", None, &["t", "u"])];
        let got = assign(&members, &counts(&[("t", 3), ("u", 3)]));
        assert_eq!(shown(&got, "a"), "t-0 t-1 u-0 u-1");
        assert_eq!(shown(&got, "b"), "t-2 u-2");
    }

    #[test]
    fn static_members_come_first_by_instance_id() {
        let members = [member("a", None, &["t"]), member("z", Some("i2"), &["t"]), member("y", Some("i3"), &["t"])];
        let got = assign(&members, &counts(&[("t", 3)]));
        assert_eq!((shown(&got, "z"), shown(&got, "y"), shown(&got, "a")), ("t-0".into(), "t-1".into(), "t-2".into()));
    }

    #[test]
    fn a_topic_goes_only_to_its_subscribers() {
        let members = [member("a", None, &["t"]), member("b", None, &["t", "u"]), member("c", None, &[])];
        let got = assign(&members, &counts(&[("t", 1), ("u", 2)]));
        assert_eq!(
            (shown(&got, "a"), shown(&got, "b"), shown(&got, "c")),
            ("t-0".into(), "u-0 u-1".into(), String::new())
        );
    }

    #[test]
    fn unknown_topics_and_impossible_counts_are_nobodys() {
        let members = [member("a", None, &["t", "gone", "negative"])];
        let got = assign(&members, &counts(&[("t", 0), ("negative", -1)]));
        assert_eq!(shown(&got, "a"), "");
    }

    #[test]
    fn more_members_than_partitions_leaves_the_last_with_nothing() {
        let members = [member("c", None, &["t"]), member("a", None, &["t"]), member("b", None, &["t"])];
        let got = assign(&members, &counts(&[("t", 2)]));
        assert_eq!((shown(&got, "a"), shown(&got, "b"), shown(&got, "c")), ("t-0".into(), "t-1".into(), String::new()));
    }
}
