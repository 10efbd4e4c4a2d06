//! The guards around an attempt: facts are gathered, the books asked and entered, and what they keep is written.
//!
//! Promised: between the answer of [`crate::guard::check`] and the entry into the books nothing else is let through; the
//! charges are in the same write as the ATTEMPT; what was let through is handed back whatever becomes of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::action::{Network, read_again};
use crate::guard::switch::Scope;
use crate::guard::{
    Books, Change, Charge, Cleared, Engaged, Facts, Freshness, Guard, Own, Rates, Reading, Refusal, Reset, Rules, Then,
};
use crate::guard::{check, check_event};
use crate::ledger::{Note, Outcome, Terminal};
use crate::pipeline::PipelineError;
use crate::pipeline::desk::{guard_books, reset_at_rest};
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, LOOKS_EVERY, pass, pause, switched_on, unless_stopped};
use crate::pipeline::observe::Occurrence;
use crate::pipeline::rulebook::Edition;
use crate::pipeline::run::Run;
use crate::pipeline::{shown, trace};
use crate::plan::Step;

/// How often an incident is asked for that cannot be read, and the pause in between.
const READINGS: u32 = 3;
const READS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The guards of a running pipeline.
#[derive(Debug)]
pub(crate) struct Guards {
    books: Mutex<Books>,
    rates: Mutex<Rates>,
    /// Of storm mode, which is entered where nothing may wait.
    pending: Mutex<Vec<Note>>,
}

/// An attempt that may be made now. Dropped, it frees what it holds.
pub(crate) struct Pass {
    guards: Arc<Guards>,
    /// Those that let it through.
    rules: Arc<Edition>,
    cleared: Cleared,
    notes: Vec<Note>,
}

/// What the guards say.
pub(crate) enum Turn<'s> {
    /// Go on at once.
    Go(Pass, SemaphorePermit<'s>),
    /// The step ends here.
    Refused(Refusal),
}

impl Guards {
    /// The guards with what an earlier process left in the ledger.
    pub(crate) async fn load(domain: &Domain) -> Result<Arc<Self>, PipelineError> {
        let broken = |error: &dyn std::fmt::Display| PipelineError::Broken(error.to_string());
        let notes = domain.ledger.notes().await.map_err(|error| broken(&error))?;
        let now_ms = (domain.now_ms)();
        let books = guard_books(&notes, now_ms).map_err(|error| broken(&error))?;
        for tripped in books.tripped(now_ms) {
            tracing::error!(tripped, "a guard was tripped before the start and still is");
        }
        Ok(Arc::new(Self { books: Mutex::new(books), rates: Mutex::default(), pending: Mutex::default() }))
    }

    /// Notes a match. Never waits.
    pub(crate) fn matched(&self, rules: &Rules, now_ms: i64) {
        let Some(storm) = &rules.storm else { return };
        let change = self.books().matched(storm, now_ms);
        let notes = told(change);
        if !notes.is_empty() {
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).extend(notes);
        }
    }

    /// Writes what [`Self::matched`] left to be written, without waiting for it.
    pub(crate) fn flush(&self, domain: &Domain) {
        let notes = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if notes.is_empty() {
            return;
        }
        let ledger = domain.ledger.clone();
        tokio::spawn(async move {
            if let Err(error) = ledger.append_noting(Vec::new(), notes).await {
                tracing::error!(%error, "storm mode could not be recorded: a restart would not know of it");
            }
        });
    }

    /// Shows what is tripped, and what of the budgets is used.
    pub(crate) fn show(&self, domain: &Domain) {
        let (now_ms, books) = ((domain.now_ms)(), self.books());
        let mut tripped = books.tripped(now_ms);
        tripped.extend(self.rates().left_alone(Instant::now().into_std()));
        domain.status.trip(tripped);
        domain.status.reset(books.resets().cloned().collect());
        domain.status.spend(shown::budgets(domain, |owner, what| books.used(owner, what, now_ms)));
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what a person says; what is to be written about it, and what was forgotten.
    pub(crate) fn reset(&self, reset: &Reset) -> (Vec<Note>, String) {
        reset_at_rest(&mut self.books(), reset)
    }

    /// A service asks to be left alone. Gives for how long it will be.
    pub(crate) fn leave_alone(&self, service: &str, length: Duration) -> Duration {
        self.rates().leave_alone(service, length, Instant::now().into_std())
    }

    fn enter(self: &Arc<Self>, facts: &Facts, rules: Arc<Edition>, now_ms: i64) -> Result<Pass, Refusal> {
        let mut books = self.books();
        check(facts, &rules.guards, &books, now_ms)?;
        // The last question, because its answer counts as asking the service.
        self.rates().send(&facts.service, &rules.guards.rates, Instant::now().into_std())?;
        let (cleared, notes) = books.enter(facts, &rules.guards, now_ms);
        let notes = notes.into_iter().map(ledger_note).collect();
        Ok(Pass { guards: Arc::clone(self), rules, cleared, notes })
    }
}

impl Pass {
    /// What belongs into the write of the ATTEMPT.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Whether the service works, as the attempt has seen. What is to be written about it.
    pub(crate) fn report(&mut self, works: bool, now_ms: i64) -> Vec<Note> {
        let change = self.guards.books().report(&mut self.cleared, works, &self.rules.guards, now_ms);
        told(change)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.guards.books().leave(&self.cleared);
    }
}

fn told(change: Change) -> Vec<Note> {
    for news in change.news {
        tracing::error!(news, "guard");
    }
    change.notes.into_iter().map(ledger_note).collect()
}

pub(crate) fn ledger_note(note: crate::guard::Note) -> Note {
    Note { key: note.key, value: note.value }
}

impl<R: Right> Run<'_, R> {
    /// Asks every guard, waiting where waiting helps.
    pub(crate) async fn turn(&self, step: &Step, network: &Network) -> Result<Turn<'_>, Interrupt> {
        let span = trace::guard();
        let turn = self.ask(step, network).instrument(span.clone()).await?;
        trace::judged(
            &span,
            match &turn {
                Turn::Go(..) => None,
                Turn::Refused(refusal) => Some(refusal),
            },
        );
        Ok(turn)
    }

    async fn ask(&self, step: &Step, network: &Network) -> Result<Turn<'_>, Interrupt> {
        let (job, action) = (self.job, &step.definition.action);
        let mut told = None;
        self.wait_parked(step, self.until_turn(step)).await?;
        loop {
            unless_stopped(&job.stop, action.admitted(network)).await?;
            let permit = unless_stopped(&job.stop, self.shared.actions.acquire()).await?;
            let permit = permit.map_err(|closed| Interrupt::Broken(closed.to_string()))?;
            pass(self.domain, &job.right, &job.stop).await?;
            match self.clear(step, network).await? {
                Ok(passed) => return Ok(Turn::Go(passed, permit)),
                Err(refusal) => {
                    let wait = match refusal.then {
                        Then::Wait => LOOKS_EVERY,
                        Then::WaitFor(length) => length,
                        Then::Skip | Then::Hold | Then::Fail => return Ok(Turn::Refused(refusal)),
                    };
                    drop(permit);
                    if told != Some(refusal.guard) {
                        tracing::warn!(episode = %step.episode, guard = refusal.guard.name(), why = refusal.why, "waits");
                        told = Some(refusal.guard);
                    }
                    match refusal.guard {
                        Guard::RateLimit => self.wait_parked(step, wait).await?,
                        _ => pause(wait, &job.stop).await?,
                    }
                }
            }
        }
    }

    /// Takes the next turn at the service of the step: how long until it comes.
    pub(crate) fn until_turn(&self, step: &Step) -> Duration {
        let (rules, now) = (self.domain.rulebook.now(), Instant::now().into_std());
        let turn = self.shared.guards.rates().reserve(&step.service(), &rules.guards.rates, now);
        turn.saturating_duration_since(now)
    }

    /// Waits for a turn that was taken. The slot among the incidents goes to others meanwhile.
    pub(crate) async fn wait_parked(&self, step: &Step, wait: Duration) -> Result<(), Interrupt> {
        let _parked = (!wait.is_zero()).then(|| self.busy.wait());
        self.wait_for_turn(step, wait).await
    }

    /// The same for a step that is parked already.
    pub(crate) async fn wait_for_turn(&self, step: &Step, wait: Duration) -> Result<(), Interrupt> {
        if wait.is_zero() {
            return Ok(());
        }
        tracing::debug!(episode = %step.episode, ?wait, service = step.service(), "waits for its turn");
        pause(wait, &self.job.stop).await?;
        let action_type = step.definition.type_name;
        self.domain.observer.observe(&Occurrence::Waited { key: &step.key, action_type, took: wait });
        Ok(())
    }

    /// Records that a guard stopped the step.
    pub(crate) async fn refused(&self, step: &Step, refusal: Refusal) -> Result<Terminal, Interrupt> {
        let reason = format!("stopped by {refusal}");
        let guard = refusal.guard.name();
        if refusal.guard == Guard::Budget {
            tracing::error!(episode = %step.episode, guard, why = refusal.why, "a guard stopped an action");
        } else {
            tracing::warn!(episode = %step.episode, guard, why = refusal.why, "a guard stopped an action");
        }
        self.domain.observer.observe(&Occurrence::Refused { key: &step.key, guard });
        match refusal.then {
            Then::Skip => self.end(step, Outcome::Skipped { reason }, Terminal::Skipped).await,
            Then::Hold => self.end(step, Outcome::Held { reason }, Terminal::Held).await,
            // Whoever waits is never told to end; in doubt it has failed, so that somebody hears of it.
            Then::Fail | Then::Wait | Then::WaitFor(_) => {
                self.end(step, Outcome::Failed { reason }, Terminal::Failed).await
            }
        }
    }

    async fn clear(&self, step: &Step, network: &Network) -> Result<Result<Pass, Refusal>, Interrupt> {
        let (guards, rules) = (&self.shared.guards, self.domain.rulebook.now());
        let mut facts = self.facts(step, &rules.guards).await;
        if let Err(refusal) = check_event(&facts, (self.domain.now_ms)()) {
            return Ok(Err(refusal));
        }
        if step.is_harmless() {
            facts.reading = Reading::NotNeeded;
        } else if let Some(freshness) = &rules.guards.freshness {
            facts.reading = self.reading(step, freshness, network).await?;
            // That took a while.
            pass(self.domain, &self.job.right, &self.job.stop).await?;
            facts.switch = self.switch(step).await;
        }
        Ok(guards.enter(&facts, rules, (self.domain.now_ms)()))
    }

    /// What something that was let through by an earlier process counts against now.
    pub(crate) async fn occupied(&self, step: &Step) -> Pass {
        let (guards, rules) = (&self.shared.guards, self.domain.rulebook.now());
        let facts = self.facts(step, &rules.guards).await;
        let cleared = guards.books().occupy(&facts);
        Pass { guards: Arc::clone(guards), rules, cleared, notes: Vec::new() }
    }

    async fn facts(&self, step: &Step, rules: &Rules) -> Facts {
        let context = step.context(1);
        let incident = context.incident();
        let definition = &step.definition;
        let condition = self.job.matched.as_ref().map(|matched| &matched.condition);
        let all = &rules.all;
        let mut charges: Vec<_> = charges(step, all, "limits").collect();
        let mut ages = vec![all.max_event_age, definition.guards.max_event_age];
        if let Some(condition) = condition {
            charges.extend(self::charges(step, &condition.guards, &format!("condition {}", condition.name)));
            ages.push(condition.guards.max_event_age);
        }
        let owner = format!("{} {}", definition.scope.key(), definition.name);
        charges.extend(self::charges(step, &definition.guards, &owner));
        if step.is_of_flow() || step.is_harmless() {
            charges.clear();
        }
        if step.is_harmless() {
            ages.clear();
        }
        Facts {
            switch: self.switch(step).await,
            event_at_s: incident.updated_on.or(incident.changed_on).or(incident.started_on),
            max_event_age: ages.into_iter().flatten().min(),
            reading: Reading::NotAsked,
            charges,
            notify: definition.notify,
            service: step.service(),
        }
    }

    /// The kill switch of the step's condition or action.
    async fn switch(&self, step: &Step) -> Option<Engaged> {
        let all = self.domain.kill_switch_file.as_deref()?;
        let condition = Scope::Condition(step.key.condition.clone());
        for scope in [condition, Scope::Action(step.definition.name.to_string())] {
            if let Some(reason) = switched_on(&scope.file(all)).await {
                return Some(Engaged { scope, reason });
            }
        }
        None
    }

    async fn reading(&self, step: &Step, rule: &Freshness, network: &Network) -> Result<Reading, Interrupt> {
        let mut reading = Reading::NotAsked;
        for tried in 1..=READINGS {
            let read = read_again(network, &step.key.incident, rule.hold_comment.is_some(), rule.timeout);
            reading = unless_stopped(&self.job.stop, read).await?;
            if matches!(reading, Reading::Is(_)) || tried == READINGS {
                break;
            }
            pause(READS_AGAIN_AFTER, &self.job.stop).await?;
        }
        Ok(reading)
    }
}

fn charges<'o>(step: &'o Step, own: &'o Own, owner: &'o str) -> impl Iterator<Item = Charge> + 'o {
    own.counts.iter().map(move |count| {
        let target = count.by.as_deref().map(|by| step.value_of(by).unwrap_or_else(|| format!("(without {by})")));
        let owner = format!("{owner} {}", count.what.key());
        Charge { owner, target: target.unwrap_or_default(), what: count.what, over: count.over }
    })
}
