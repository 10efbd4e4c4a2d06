//! One matched record, from its plan to its last outcome.
//!
//! Promised: nothing is sent before an ATTEMPT is durable, and nothing is sent after the right to the partition is gone;
//! what was sent gets its outcome recorded even then. An attempt of unknown fate is reconciled, repeated or held as its
//! action says, and never silently repeated.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use kafka_proto::id::{Offset, TopicPartition};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use crate::action::Network;
use crate::condition::Match;
use crate::incident::Incident;
use crate::ledger::{
    Entry, EpisodeKey, HoldError, Intent, LedgerError, Note, Origin, Outcome, Record, State, Terminal,
};
use crate::pipeline::busy::Busy;
use crate::pipeline::cleared::Cleared;
use crate::pipeline::domain::Domain;
use crate::pipeline::feed::Right;
use crate::pipeline::guard::{Interrupt, Passed, pass, pause, unless_stopped};
use crate::pipeline::guards::Guards;
use crate::pipeline::imported::Imported;
use crate::pipeline::left::Left;
use crate::pipeline::lookback::Lookback;
use crate::pipeline::newest::{Newest, Standing};
use crate::pipeline::observe::{IncidentEnd, Occurrence};
use crate::pipeline::order;
use crate::pipeline::rulebook::{Edition, keep_up};
use crate::pipeline::trace;
use crate::pipeline::work::News;
use crate::plan::{self as flow, Next, Plan, Step, Tally, next};

/// Wait before an unreadable ledger is asked again.
pub(crate) const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Wait before an incident is begun anew whose episode another replica has.
const BEGINS_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// For letting go of what was left undone.
const LETS_GO_WITHIN: Duration = Duration::from_secs(1);

/// A matched record on its way.
pub(crate) struct Job<R> {
    pub(crate) incident: Arc<str>,
    pub(crate) updated_on: Option<i64>,
    /// `None`: it matches nothing, but something of its incident was left open.
    pub(crate) matched: Option<Match>,
    /// The rules it was decided by.
    pub(crate) rules: Arc<Edition>,
    pub(crate) value: Vec<u8>,
    /// What happens to it, for OpenTelemetry.
    pub(crate) span: Span,
    pub(crate) offset: Offset,
    pub(crate) right: R,
    /// Which assignment of the partition, counted by the pipeline.
    pub(crate) assignment: u64,
    pub(crate) stop: CancellationToken,
    pub(crate) arrived: Instant,
}

impl<R: Right> Job<R> {
    pub(crate) fn partition(&self) -> &TopicPartition {
        self.right.partition()
    }

    /// The name of the condition that matched, for logs and metrics.
    pub(crate) fn condition(&self) -> &str {
        self.matched.as_ref().map_or("none", |matched| matched.condition.name.as_str())
    }
}

impl<R> order::Job for Job<R> {
    fn incident(&self) -> &Arc<str> {
        &self.incident
    }

    fn bytes(&self) -> usize {
        self.value.len()
    }
}

/// What all running jobs share.
pub(crate) struct Shared {
    pub(crate) domain: Arc<Domain>,
    pub(crate) newest: Newest,
    pub(crate) left: Left,
    pub(crate) actions: Semaphore,
    pub(crate) guards: Arc<Guards>,
    pub(crate) imported: Imported,
    pub(crate) lookback: Lookback,
    pub(crate) cleared: Cleared,
}

impl Shared {
    /// Whether something of an incident was left open that no record has led to yet.
    pub(crate) fn may_be_left(&self, incident: &str) -> bool {
        self.left.contains(incident) || self.domain.ledger.may_be_left(incident)
    }
}

/// Runs a job to its end. A panic is an [`Interrupt::Broken`]: the record is neither done nor forgotten.
pub(crate) async fn run<R: Right>(
    job: &mut Job<R>,
    shared: &Shared,
    tell: UnboundedSender<News<R>>,
) -> Result<IncidentEnd, Interrupt> {
    let busy = Busy::new(Arc::clone(&job.incident), tell);
    let whole = async {
        keep_up(job, shared).await?;
        Run { job, shared, domain: &shared.domain, busy }.to_the_end().await
    };
    let ended = std::panic::AssertUnwindSafe(whole).catch_unwind().await;
    let ended =
        ended.unwrap_or_else(|_| Err(Interrupt::Broken("an incident's task panicked; see the log above".to_owned())));
    let how = *ended.as_ref().unwrap_or(&IncidentEnd::Dropped);
    if ended.is_err() {
        // Its record may come back to this process at a time when it matches nothing any more.
        shared.left.add(Arc::clone(&job.incident));
        // Another replica may go on with it. What cannot be let go in time is taken over a lease later.
        let _ = tokio::time::timeout(LETS_GO_WITHIN, shared.domain.ledger.let_go(&job.incident)).await;
    }
    let condition = job.condition();
    shared.domain.observer.observe(&Occurrence::IncidentEnded { condition, how, took: job.arrived.elapsed() });
    trace::dealt_with(&job.span, &ended);
    match &ended {
        Ok(how) => tracing::info!(result = how.name(), "incident dealt with"),
        Err(Interrupt::Dropped(reason) | Interrupt::Again(reason)) => {
            tracing::info!(reason, "incident left to whoever reads it next");
        }
        Err(Interrupt::Broken(reason)) => tracing::error!(reason, "incident cannot be dealt with"),
    }
    ended
}

pub(crate) struct Run<'a, R> {
    pub(crate) job: &'a Job<R>,
    pub(crate) shared: &'a Shared,
    pub(crate) domain: &'a Domain,
    pub(crate) busy: Busy<R>,
}

impl<R: Right> Run<'_, R> {
    /// Begins anew as often as another replica was faster: what that one has done is recognised then.
    async fn to_the_end(&self) -> Result<IncidentEnd, Interrupt> {
        loop {
            match self.record().await {
                Err(Interrupt::Again(reason)) => {
                    tracing::info!(reason, "another replica was faster: begun anew from where the ledger stands");
                    pause(BEGINS_AGAIN_AFTER, &self.job.stop).await?;
                }
                ended => return ended,
            }
        }
    }

    async fn record(&self) -> Result<IncidentEnd, Interrupt> {
        let job = self.job;
        let incident = Incident::parse_within(&job.value, &self.domain.incident_limits)
            .map_err(|error| Interrupt::Broken(format!("a record that was parsed before is malformed now: {error}")))?;
        let incident = incident.into_owned();
        let Some(matched) = &job.matched else {
            self.settle_left_over(&incident, None).await?;
            return Ok(IncidentEnd::Settled);
        };
        if self.shared.may_be_left(&job.incident) {
            self.settle_left_over(&incident, Some(&matched.condition.name)).await?;
        }
        let plan = Plan::new(incident, matched, &job.rules.definitions);
        let network = self.domain.way_out(&plan.condition);
        if let Standing::Stale { newest } = self.shared.newest.standing(&job.incident, job.updated_on) {
            if let Some(network) = network {
                self.settle_what_was_begun(&plan, network).await?;
            }
            tracing::info!(updated_on = job.updated_on, newest, "skipped: a later snapshot of the incident was seen");
            return Ok(IncidentEnd::Stale);
        }
        match network {
            Some(network) => self.flow(&plan, network).await,
            None => self.shadow(&plan).await,
        }
    }

    async fn flow(&self, plan: &Plan, network: &Network) -> Result<IncidentEnd, Interrupt> {
        let mut states = self.states(plan).await?;
        let recognised = self.recognise(plan, &mut states).await?;
        let mut standings: Vec<_> = states.iter().map(standing).collect();
        let known = standings.clone();
        let mut running = FuturesUnordered::new();
        // From here on, because an alert may clear before anybody looks.
        let verified = plan.steps.iter().filter(|step| step.is_verification()).map(|step| step.context(1));
        let heard = verified.map(|context| self.shared.cleared.wait(context.incident(), context.alert_id()));
        let _heard: Vec<_> = heard.collect();
        loop {
            let (index, how) = match next(plan, &standings) {
                Next::Run(index) => {
                    let Some(step) = plan.steps.get(index) else {
                        return Err(Interrupt::Broken("the plan names a step it does not have".to_owned()));
                    };
                    running
                        .push(async move { (index, self.step(step, network).await) }.instrument(trace::action(step)));
                    (index, flow::Standing::Running)
                }
                Next::Skip { step: index, reason } => match plan.steps.get(index) {
                    Some(step) => {
                        let how = if let Some(how) = self.hold(&step.key).await?.terminal() {
                            how
                        } else {
                            let skipped = self.end(step, Outcome::Skipped { reason }, Terminal::Skipped);
                            skipped.instrument(trace::action(step)).await?
                        };
                        (index, flow::Standing::Ended(how))
                    }
                    None => return Err(Interrupt::Broken("the plan names a step it does not have".to_owned())),
                },
                Next::Wait => match running.next().await {
                    Some((index, Ok(how))) => (index, flow::Standing::Ended(how)),
                    Some((_, Err(interrupt))) => {
                        // What has begun beside it ends and is recorded.
                        while running.next().await.is_some() {}
                        return Err(interrupt);
                    }
                    None => return Err(Interrupt::Broken("the flow waits for nothing".to_owned())),
                },
                Next::Finished(tally) if standings == known => {
                    tracing::info!(
                        steps = plan.steps.len(),
                        "skipped: every action of this episode was dealt with before"
                    );
                    return Ok(if tally.held > 0 { IncidentEnd::Held } else { IncidentEnd::AlreadyDone });
                }
                Next::Finished(tally) => return Ok(summed_up(tally.without_skipped(recognised))),
            };
            if let Some(standing) = standings.get_mut(index) {
                *standing = how;
            }
        }
    }

    pub(crate) async fn states(&self, plan: &Plan) -> Result<Vec<State>, Interrupt> {
        loop {
            match self.domain.ledger.states(plan.keys()).await {
                Ok(states) => return Ok(states),
                Err(LedgerError::Unreadable { .. }) => pause(ASKS_AGAIN_AFTER, &self.job.stop).await?,
                Err(error) => return Err(Interrupt::Broken(error.to_string())),
            }
        }
    }

    /// Where an episode stands, as soon as it is this process's to go on with. Another replica's work is waited for.
    pub(crate) async fn hold(&self, key: &EpisodeKey) -> Result<State, Interrupt> {
        loop {
            match unless_stopped(&self.job.stop, self.domain.ledger.hold(key)).await? {
                Ok(state) => return Ok(state),
                Err(HoldError::Read(LedgerError::Unreadable { .. })) => pause(ASKS_AGAIN_AFTER, &self.job.stop).await?,
                Err(HoldError::Read(error)) => return Err(Interrupt::Broken(error.to_string())),
                Err(HoldError::Claim(error)) => return Err(error.into()),
            }
        }
    }

    /// Takes a step from wherever the ledger says it stands to its end.
    async fn step(&self, step: &Step, network: &Network) -> Result<Terminal, Interrupt> {
        let _flying = self.busy.fly();
        let state = self.hold(&step.key).await?;
        if let Some(how) = state.terminal() {
            return Ok(how);
        }
        // Before anything can fail the step: a snapshot that lacks what the template needs undoes no attempt.
        if let Some(how) = self.settle_begun(step, &state, network).await? {
            return Ok(how);
        }
        let request = match &step.request {
            Ok(request) => request.clone(),
            Err(reason) => return self.end(step, Outcome::Failed { reason: reason.clone() }, Terminal::Failed).await,
        };
        if state.is_new() {
            if let Some(how) = self.still_wanted(step).await? {
                return Ok(how);
            }
            self.append(step, Entry::Intent(self.intent(step, request))).await?;
        }
        self.attempts(step, state.attempts(), network).await
    }

    /// After a pause the incident may have aged out of its condition, or the condition may have been changed: then the step is skipped.
    async fn still_wanted(&self, step: &Step) -> Result<Option<Terminal>, Interrupt> {
        match pass(self.domain, &self.job.right, &self.job.stop).await? {
            Passed::AtOnce => Ok(None),
            Passed::AfterPause => {
                let incident = step.context(1);
                let (rules, now) = (self.domain.rulebook.now(), self.domain.now_s());
                let decision = self.shared.lookback.decide_again(&rules.conditions, incident.incident(), now);
                if decision.matched.is_some_and(|matched| matched.condition.name == self.job.condition()) {
                    return Ok(None);
                }
                let reason = "after the pause the incident did not match the condition any more".to_owned();
                self.end(step, Outcome::Skipped { reason }, Terminal::Skipped).await.map(Some)
            }
        }
    }

    pub(crate) async fn end(&self, step: &Step, outcome: Outcome, how: Terminal) -> Result<Terminal, Interrupt> {
        let (action_type, reason) = (step.definition.type_name, outcome.reason().to_owned());
        trace::ended(&outcome, how);
        self.append(step, Entry::Outcome(outcome)).await?;
        tracing::info!(episode = %step.episode, action = %step.definition.name, outcome = how.name(), reason, "episode ended");
        self.domain.observer.observe(&Occurrence::StepEnded { key: &step.key, action_type, how });
        Ok(how)
    }

    pub(crate) async fn append(&self, step: &Step, entry: Entry) -> Result<(), Interrupt> {
        self.append_to(&step.key, entry).await
    }

    pub(crate) async fn append_to(&self, key: &EpisodeKey, entry: Entry) -> Result<(), Interrupt> {
        self.append_all(vec![self.record_of(key, entry)], Vec::new()).await
    }

    pub(crate) fn record_of(&self, key: &EpisodeKey, entry: Entry) -> Record {
        Record { key: key.clone(), at_ms: (self.domain.now_ms)(), entry }
    }

    pub(crate) async fn append_all(&self, records: Vec<Record>, notes: Vec<Note>) -> Result<(), Interrupt> {
        let span = trace::ledger(records.iter().map(|record| &record.entry));
        Ok(self.domain.ledger.append_noting(records, notes).instrument(span).await?)
    }

    fn intent(&self, step: &Step, request: String) -> Intent {
        let partition = self.job.partition();
        Intent {
            action_type: step.definition.type_name.to_owned(),
            request,
            origin: Origin {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                offset: self.job.offset.get(),
                generation: self.job.right.generation().get(),
            },
            by: self.domain.name.clone(),
            because: self.because(step),
        }
    }

    /// What the condition sees, for whoever asks later why this was done.
    fn because(&self, step: &Step) -> Vec<String> {
        let context = step.context(1);
        let matched = self.job.matched.as_ref();
        let explain = |matched| self.shared.lookback.explain(matched, context.incident(), self.domain.now_s()).seen();
        matched.map_or_else(Vec::new, explain)
    }
}

fn standing(state: &State) -> flow::Standing {
    state.terminal().map_or(flow::Standing::Waiting, flow::Standing::Ended)
}

fn summed_up(tally: Tally) -> IncidentEnd {
    match tally {
        Tally { held: 1.., .. } => IncidentEnd::Held,
        Tally { found: 1.., failed: 0, .. } => IncidentEnd::Found,
        Tally { failed: 0, skipped: 0, .. } => IncidentEnd::Succeeded,
        Tally { .. } => IncidentEnd::Failed,
    }
}

/// For jitter; without entropy the pauses are merely equal.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
