//! Shadow mode: the flow with every step taken for done. Nothing is sent; the ledger keeps what would have been.

use crate::ledger::{Entry, Outcome, State, Terminal};
use crate::pipeline::feed::Right;
use crate::pipeline::guard::Interrupt;
use crate::pipeline::observe::IncidentEnd;
use crate::pipeline::run::Run;
use crate::plan::{Next, Plan, Standing, next};

impl<R: Right> Run<'_, R> {
    /// Records what would be done, for every episode that nothing is known of. A later live run is not kept from anything.
    pub(crate) async fn shadow(&self, plan: &Plan) -> Result<IncidentEnd, Interrupt> {
        let states = self.states(plan).await?;
        let mut standings = vec![Standing::Waiting; plan.steps.len()];
        let mut records = Vec::new();
        loop {
            let (index, how) = match next(plan, &standings) {
                Next::Run(index) => {
                    let Some(step) = plan.steps.get(index) else { break };
                    let (how, reason) = match &step.request {
                        Ok(request) => (Terminal::Succeeded, format!("would be done: {request}")),
                        Err(why) => (Terminal::Failed, format!("would fail: {why}")),
                    };
                    tracing::info!(episode = %step.episode, reason, "shadow");
                    if states.get(index) == Some(&State::Absent) {
                        records.push(self.record_of(&step.key, Entry::Outcome(Outcome::Shadow { reason })));
                    }
                    (index, how)
                }
                Next::Skip { step, .. } => (step, Terminal::Skipped),
                Next::Wait | Next::Finished(_) => break,
            };
            if let Some(standing) = standings.get_mut(index) {
                *standing = Standing::Ended(how);
            }
        }
        if !records.is_empty() {
            self.append_all(records, Vec::new()).await?;
        }
        Ok(IncidentEnd::Shadow)
    }
}
