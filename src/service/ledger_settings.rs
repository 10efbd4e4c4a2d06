//! Whether a ledger topic that is there is set as a ledger has to be. Pure: the start and `doctor` ask, each in its way.

use std::collections::BTreeMap;

/// What is asked for, by Kafka's names.
pub(super) const NAMES: [&str; 2] = [POLICY, IN_SYNC];
const POLICY: &str = "cleanup.policy";
const IN_SYNC: &str = "min.insync.replicas";

/// Something that is not as it should be, with what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// What was done would be forgotten, and done again.
    Wrong(String),
    /// It works until a broker is lost.
    Risky(String),
}

/// Looks at the settings that are in force and at the smallest number of replicas that a partition has.
pub(super) fn judge(topic: &str, settings: &BTreeMap<String, String>, replicas: usize) -> Vec<Finding> {
    policy(topic, settings.get(POLICY)).into_iter().chain(copies(topic, settings.get(IN_SYNC), replicas)).collect()
}

fn policy(topic: &str, policy: Option<&String>) -> Option<Finding> {
    let Some(policy) = policy else { return Some(Finding::Risky(unread(topic, POLICY))) };
    let words = || policy.split(',').map(str::trim);
    if words().any(|word| word == "compact") && words().all(|word| word == "compact") {
        return None;
    }
    let alter = alter(topic, POLICY, "compact");
    Some(Finding::Wrong(format!(
        "the ledger topic `{topic}` has {POLICY}={policy}, so that brokers delete what was done, and it is done again, or keep all of \
         it for ever: {alter}"
    )))
}

fn copies(topic: &str, in_sync: Option<&String>, replicas: usize) -> Option<Finding> {
    let Some(in_sync) = in_sync.and_then(|text| text.trim().parse::<usize>().ok()) else {
        return Some(Finding::Risky(unread(topic, IN_SYNC)));
    };
    let trouble = if replicas < 2 {
        format!("one replica: what was done is lost with its broker, and done again; give it three, and {IN_SYNC}=2")
    } else if in_sync < 2 {
        let alter = alter(topic, IN_SYNC, "2");
        format!("{IN_SYNC}={in_sync}: what is acknowledged may be lost with one broker, and is done again; {alter}")
    } else if in_sync >= replicas {
        format!(
            "{IN_SYNC}={in_sync} and {replicas} replicas: nothing starts while one broker is down; give it another replica"
        )
    } else {
        return None;
    };
    Some(Finding::Risky(format!("the ledger topic `{topic}` has {trouble}")))
}

fn unread(topic: &str, name: &str) -> String {
    format!("the brokers do not say what {name} of the ledger topic `{topic}` is; see that {POLICY} is `compact`")
}

fn alter(topic: &str, name: &str, value: &str) -> String {
    format!("`kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &str, in_sync: &str, replicas: usize) -> Vec<Finding> {
        let settings = [(POLICY, policy), (IN_SYNC, in_sync)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        judge("ledger", &BTreeMap::from(settings), replicas)
    }

    #[test]
    fn a_compacted_topic_that_survives_a_broker_is_as_it_should_be() {
        assert_eq!(of("compact", "2", 3), []);
    }

    #[test]
    fn a_topic_from_which_brokers_delete_is_wrong_and_the_command_is_told() {
        for policy in ["delete", "compact,delete", "delete, compact", ""] {
            let found = of(policy, "2", 3);
            let [Finding::Wrong(what)] = found.as_slice() else { panic!("{policy}: {found:?}") };
            assert!(
                what.contains(policy) && what.contains("--entity-name ledger --add-config cleanup.policy=compact"),
                "{what}"
            );
        }
    }

    #[test]
    fn what_goes_with_one_broker_or_stops_with_it_is_told() {
        for (in_sync, replicas, expected) in
            [("1", 1, "one replica"), ("1", 3, "--add-config min.insync.replicas=2"), ("3", 3, "another replica")]
        {
            let found = of("compact", in_sync, replicas);
            let [Finding::Risky(what)] = found.as_slice() else { panic!("{in_sync} of {replicas}: {found:?}") };
            assert!(what.contains(expected), "{what}");
        }
        assert!(matches!(judge("ledger", &BTreeMap::new(), 3).as_slice(), [Finding::Risky(_), Finding::Risky(_)]));
    }
}
