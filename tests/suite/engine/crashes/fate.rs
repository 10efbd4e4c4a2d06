//! When the process dies: at a step of the ledger, the network or the source, counted from its start.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a process can be killed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The ledger's writes are about to be made durable: they are lost, or some of them are.
    Syncing,
    /// They are durable, and nobody was told.
    Synced,
    /// A request has arrived, and nothing was done about it.
    Arrived,
    /// It was done, and there is no answer.
    Done,
    /// An offset is about to be committed.
    Committing,
    /// It is committed, and nobody was told.
    Committed,
}

impl Step {
    pub(super) const ALL: [Self; 6] =
        [Self::Syncing, Self::Synced, Self::Arrived, Self::Done, Self::Committing, Self::Committed];
}

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At its step of this number, from 1.
    Number(usize),
    /// At its first step of this kind.
    First(Step),
}

/// The life of one process.
pub(super) struct Fate {
    dies: Option<When>,
    reached: AtomicUsize,
    dead: AtomicBool,
    died_at: Mutex<Option<Step>>,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dies at {:?}, reached {}", self.dies, self.steps())
    }
}

impl Fate {
    /// It dies then, or lives.
    pub(super) fn new(dies: Option<When>) -> Self {
        let (reached, dead) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { dies, reached, dead, died_at: Mutex::new(None), then: Mutex::new(None) }
    }

    /// What makes the death real.
    pub(super) fn when_it_dies(&self, then: impl FnOnce() + Send + 'static) {
        *self.then.lock().expect("no panic while holding it") = Some(Box::new(then));
    }

    /// It dies here.
    pub(super) fn die(&self, step: Step) {
        let mut died_at = self.died_at.lock().expect("no panic while holding it");
        if died_at.is_none() {
            *died_at = Some(step);
            self.dead.store(true, Ordering::SeqCst);
            if let Some(then) = self.then.lock().expect("no panic while holding it").take() {
                then();
            }
        }
    }

    /// The process has reached a step: whether it lives on. The dead reach nothing.
    pub(super) fn reach(&self, step: Step) -> bool {
        if self.is_dead() {
            return false;
        }
        let number = self.reached.fetch_add(1, Ordering::SeqCst) + 1;
        let dies = self.dies == Some(When::Number(number)) || self.dies == Some(When::First(step));
        if dies {
            self.die(step);
        }
        !dies
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(super) fn died_at(&self) -> Option<Step> {
        *self.died_at.lock().expect("no panic while holding it")
    }

    /// How many steps it took.
    pub(super) fn steps(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

/// How often it died at which kind of step.
#[derive(Debug, Default)]
pub(super) struct Deaths(pub(super) BTreeMap<Step, usize>);

impl Deaths {
    pub(super) fn add(&mut self, step: Step) {
        *self.0.entry(step).or_default() += 1;
    }
}
