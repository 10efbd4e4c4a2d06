//! Incremental fetch sessions (KIP-227): which partitions to name in the next `Fetch` to one broker.
//!
//! One session per broker and connection, one fetch at a time: [`FetchSession::plan`] says what to send,
//! [`FetchSession::answered`] takes the head of the answer and says whether its partitions may be used. Whenever the
//! broker and we could disagree about the session, the next plan is a full fetch, so nothing is lost but bytes.
//! Absent: the fetch request itself; `P` is whatever the caller sends per partition.

use std::collections::BTreeMap;

use crate::error_code::ErrorCode;
use crate::id::TopicPartition;

/// What is sent per partition. Two equal values need not be sent twice within a session.
pub trait SessionPartition: Clone + PartialEq {
    /// Whether both mean the same incarnation of the topic (equal topic ids, KIP-516): a recreated topic leaves the
    /// session under its old id and enters it under the new one.
    fn same_topic(&self, other: &Self) -> bool;
}

/// The session with one broker.
#[derive(Clone, Debug)]
pub struct FetchSession<P> {
    state: SessionState,
    /// What the broker believes we want, in an open session.
    known: BTreeMap<TopicPartition, P>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    /// None; a full fetch asks for one.
    Closed,
    /// One that we do not trust any more; a full fetch that names it replaces it.
    Doubtful { id: i32 },
    /// One that both sides agree on; the next fetch has this epoch.
    Open { id: i32, epoch: i32 },
}

/// What to send. The epoch is 0 in a full fetch, which names every partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPlan<P> {
    /// `session_id`.
    pub session_id: i32,
    /// `session_epoch`.
    pub session_epoch: i32,
    /// The partitions to name: all in a full fetch, else the new and changed ones.
    pub partitions: Vec<(TopicPartition, P)>,
    /// The partitions to take out of the session, with what they were known as.
    pub forgotten: Vec<(TopicPartition, P)>,
    wanted: BTreeMap<TopicPartition, P>,
}

impl<P> FetchPlan<P> {
    /// Whether it is a full fetch.
    pub fn is_full(&self) -> bool {
        self.session_epoch <= 0
    }
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchHead {
    /// The error code of the whole answer.
    pub error: ErrorCode,
    /// `session_id`; 0 for none.
    pub session_id: i32,
    /// Whether the broker throttled us (KIP-219).
    pub throttled: bool,
    /// Partitions in the answer.
    pub partitions: usize,
}

/// What to do with the partitions of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchUse {
    /// Use them.
    Use,
    /// There are none: the broker only throttled. The session is as it was (fault O14).
    Throttled,
    /// The broker does not agree about the session; fetch again, in full.
    Refetch,
}

impl<P: SessionPartition> FetchSession<P> {
    /// No session yet.
    pub const fn new() -> Self {
        Self { state: SessionState::Closed, known: BTreeMap::new() }
    }

    /// What to send to get `wanted`.
    pub fn plan(&self, wanted: &BTreeMap<TopicPartition, P>) -> FetchPlan<P> {
        let (session_id, session_epoch) = match self.state {
            SessionState::Closed => (0, 0),
            SessionState::Doubtful { id } => (id, 0),
            SessionState::Open { id, epoch } => (id, epoch),
        };
        let wanted = wanted.clone();
        if session_epoch == 0 {
            let partitions = wanted.iter().map(|(tp, p)| (tp.clone(), p.clone())).collect();
            return FetchPlan { session_id, session_epoch, partitions, forgotten: Vec::new(), wanted };
        }
        let changed = wanted.iter().filter(|(tp, p)| self.known.get(*tp) != Some(*p));
        let gone = self.known.iter().filter(|(tp, known)| wanted.get(*tp).is_none_or(|p| !p.same_topic(known)));
        FetchPlan {
            session_id,
            session_epoch,
            partitions: changed.map(|(tp, p)| (tp.clone(), p.clone())).collect(),
            forgotten: gone.map(|(tp, p)| (tp.clone(), p.clone())).collect(),
            wanted,
        }
    }

    /// Takes in the head of the answer to `plan`.
    pub fn answered(&mut self, plan: FetchPlan<P>, head: FetchHead) -> FetchUse {
        if head.error != ErrorCode::None {
            self.refused(&plan, head.error);
            return FetchUse::Refetch;
        }
        let empty_throttle = head.throttled && head.partitions == 0;
        if plan.is_full() {
            if empty_throttle && head.session_id == 0 {
                // The broker did not open a session; an older one in doubt stays in doubt.
                return FetchUse::Throttled;
            }
            self.agree(head.session_id, 1, plan.wanted);
            return FetchUse::Use;
        }
        if head.session_id == 0 && !empty_throttle {
            self.close();
            return FetchUse::Use;
        }
        if head.session_id != plan.session_id && head.session_id != 0 {
            self.state = SessionState::Doubtful { id: plan.session_id };
            return FetchUse::Refetch;
        }
        self.agree(plan.session_id, next_epoch(plan.session_epoch), plan.wanted);
        if empty_throttle { FetchUse::Throttled } else { FetchUse::Use }
    }

    /// The answer was lost on a connection that still stands, or could not be read: whether the broker counted the
    /// epoch is unknown.
    pub fn failed(&mut self) {
        if let SessionState::Open { id, .. } = self.state {
            self.state = SessionState::Doubtful { id };
        }
        self.known.clear();
    }

    /// The connection is gone, and with it the session as far as we care.
    pub fn close(&mut self) {
        self.state = SessionState::Closed;
        self.known.clear();
    }

    /// The last request of a session, to free the broker's memory. Send it with a real `max_wait`. `None` if there is
    /// no session.
    pub fn farewell(&mut self) -> Option<FetchPlan<P>> {
        let (SessionState::Doubtful { id } | SessionState::Open { id, .. }) = self.state else { return None };
        self.close();
        let (partitions, forgotten, wanted) = (Vec::new(), Vec::new(), BTreeMap::new());
        Some(FetchPlan { session_id: id, session_epoch: -1, partitions, forgotten, wanted })
    }

    fn refused(&mut self, plan: &FetchPlan<P>, error: ErrorCode) {
        self.known.clear();
        self.state = match error {
            ErrorCode::FetchSessionIdNotFound => SessionState::Closed,
            // INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR, and whatever else: replace it.
            _ if plan.session_id != 0 => SessionState::Doubtful { id: plan.session_id },
            _ => SessionState::Closed,
        };
    }

    fn agree(&mut self, id: i32, epoch: i32, wanted: BTreeMap<TopicPartition, P>) {
        if id == 0 {
            return self.close();
        }
        self.state = SessionState::Open { id, epoch };
        self.known = wanted;
    }
}

impl<P: SessionPartition> Default for FetchSession<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// Epochs count from 1 and wrap to 1: 0 would open a new session.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topic incarnation and offset.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct At(u8, i64);

    impl SessionPartition for At {
        fn same_topic(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    type Wanted = BTreeMap<TopicPartition, At>;

    fn tp(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn wanted(list: &[(i32, At)]) -> Wanted {
        list.iter().map(|(p, at)| (tp(*p), *at)).collect()
    }

    fn ok(session_id: i32) -> FetchHead {
        FetchHead { error: ErrorCode::None, session_id, throttled: false, partitions: 1 }
    }

    fn names(list: &[(TopicPartition, At)]) -> Vec<i32> {
        list.iter().map(|(tp, _)| tp.partition).collect()
    }

    /// A session 77 in which partitions 0 and 1 are known at offset 5.
    fn open() -> (FetchSession<At>, Wanted) {
        let mut session = FetchSession::new();
        let both = wanted(&[(0, At(1, 5)), (1, At(1, 5))]);
        let plan = session.plan(&both);
        assert!(plan.is_full());
        assert_eq!((plan.session_id, plan.session_epoch, names(&plan.partitions)), (0, 0, vec![0, 1]));
        assert_eq!(session.answered(plan, ok(77)), FetchUse::Use);
        (session, both)
    }

    #[test]
    fn an_open_session_names_only_what_is_new_changed_or_forgotten() {
        let (mut session, both) = open();
        let plan = session.plan(&both);
        assert_eq!((plan.session_id, plan.session_epoch), (77, 1));
        assert!(plan.partitions.is_empty() && plan.forgotten.is_empty());
        session.answered(plan, ok(77));
        let plan = session.plan(&wanted(&[(1, At(1, 6)), (2, At(1, 0))]));
        assert_eq!((plan.session_epoch, names(&plan.partitions), names(&plan.forgotten)), (2, vec![1, 2], vec![0]));
    }

    #[test]
    fn a_recreated_topic_leaves_and_enters_the_session() {
        let (session, _) = open();
        let plan = session.plan(&wanted(&[(0, At(2, 0)), (1, At(1, 5))]));
        assert_eq!((names(&plan.partitions), plan.forgotten.clone()), (vec![0], vec![(tp(0), At(1, 5))]));
    }

    #[test]
    fn o14_session_errors_lead_to_a_full_fetch() {
        for (error, id) in [
            (ErrorCode::FetchSessionIdNotFound, 0),
            (ErrorCode::InvalidFetchSessionEpoch, 77),
            (ErrorCode::FetchSessionTopicIdError, 77),
        ] {
            let (mut session, both) = open();
            let plan = session.plan(&both);
            let head = FetchHead { error, session_id: 0, throttled: false, partitions: 0 };
            assert_eq!(session.answered(plan, head), FetchUse::Refetch);
            let plan = session.plan(&both);
            assert!(plan.is_full());
            assert_eq!((plan.session_id, names(&plan.partitions)), (id, vec![0, 1]), "{error:?}");
        }
    }

    #[test]
    fn o14_a_throttled_empty_answer_with_session_id_zero_is_not_a_loss() {
        let (mut session, both) = open();
        let throttled = FetchHead { error: ErrorCode::None, session_id: 0, throttled: true, partitions: 0 };
        let plan = session.plan(&both);
        assert_eq!(session.answered(plan, throttled), FetchUse::Throttled);
        let plan = session.plan(&both);
        assert_eq!((plan.session_id, plan.session_epoch, plan.partitions.len()), (77, 2, 0));
    }

    #[test]
    fn a_throttled_full_fetch_is_asked_again_in_full() {
        let mut session = FetchSession::new();
        let both = wanted(&[(0, At(1, 5))]);
        let plan = session.plan(&both);
        let throttled = FetchHead { error: ErrorCode::None, session_id: 0, throttled: true, partitions: 0 };
        assert_eq!(session.answered(plan, throttled), FetchUse::Throttled);
        assert!(session.plan(&both).is_full());
    }

    #[test]
    fn a_broker_without_room_for_sessions_gets_full_fetches() {
        let mut session = FetchSession::new();
        let both = wanted(&[(0, At(1, 5))]);
        let plan = session.plan(&both);
        assert_eq!(session.answered(plan, ok(0)), FetchUse::Use);
        assert!(session.plan(&both).is_full());
    }

    #[test]
    fn a_lost_answer_puts_the_session_in_doubt_and_a_lost_connection_ends_it() {
        let (mut session, both) = open();
        session.failed();
        let plan = session.plan(&both);
        assert_eq!((plan.session_id, plan.session_epoch), (77, 0));
        session.close();
        assert_eq!(session.plan(&both).session_id, 0);
        assert_eq!(session.farewell(), None);
    }

    #[test]
    fn the_farewell_names_the_session_once() {
        let (mut session, _) = open();
        let plan = session.farewell().expect("a session is open");
        assert_eq!((plan.session_id, plan.session_epoch), (77, -1));
        assert_eq!(session.farewell(), None);
    }

    #[test]
    fn epochs_wrap_past_zero() {
        assert_eq!(next_epoch(i32::MAX), 1);
    }
}
