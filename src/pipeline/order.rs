//! Which incident may run now. Pure.
//!
//! Promised: jobs of one incident run one after the other in the order they came in, whatever partition or assignment
//! they came from; different incidents run side by side up to a limit; what waits is counted in jobs and bytes, so that
//! the partitions can be paused in time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Something to be done for an incident.
pub(crate) trait Job {
    /// The incident.
    fn incident(&self) -> &Arc<str>;
    /// The memory it holds, bytes.
    fn bytes(&self) -> usize;
}

/// The lanes of all incidents that have work.
#[derive(Debug)]
pub(crate) struct Order<J> {
    lanes: HashMap<Arc<str>, Lane<J>>,
    /// Incidents whose first waiting job may start.
    ready: VecDeque<Arc<str>>,
    running: usize,
    running_max: usize,
    parked: usize,
    waiting: usize,
    waiting_bytes: usize,
}

/// The work of one incident.
#[derive(Debug)]
enum Lane<J> {
    /// Nothing runs; the lane stands in `ready` once.
    Ready(VecDeque<J>),
    /// One job runs; these wait for it.
    Running(VecDeque<J>),
    /// One job only waits for something long at a target, and these wait for it. It takes no slot.
    Parked(VecDeque<J>),
}

impl<J: Job> Order<J> {
    pub(crate) fn new(running_max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            running: 0,
            running_max: running_max.max(1),
            parked: 0,
            waiting: 0,
            waiting_bytes: 0,
        }
    }

    /// Adds a job behind those of its incident.
    pub(crate) fn push(&mut self, job: J) {
        self.waiting += 1;
        self.waiting_bytes += job.bytes();
        let incident = Arc::clone(job.incident());
        match self.lanes.get_mut(&incident) {
            Some(Lane::Ready(jobs) | Lane::Running(jobs) | Lane::Parked(jobs)) => jobs.push_back(job),
            None => {
                self.lanes.insert(Arc::clone(&incident), Lane::Ready(VecDeque::from([job])));
                self.ready.push_back(incident);
            }
        }
    }

    /// The next job to start, if one may.
    pub(crate) fn start(&mut self) -> Option<J> {
        while self.running < self.running_max {
            let incident = self.ready.pop_front()?;
            let Some(Lane::Ready(mut jobs)) = self.lanes.remove(&incident) else { continue };
            let Some(job) = jobs.pop_front() else { continue };
            self.waiting -= 1;
            self.waiting_bytes -= job.bytes();
            self.running += 1;
            self.lanes.insert(incident, Lane::Running(jobs));
            return Some(job);
        }
        None
    }

    /// The running job of an incident has ended.
    pub(crate) fn finished(&mut self, incident: &Arc<str>) {
        let jobs = match self.lanes.remove(incident) {
            Some(Lane::Running(jobs)) => {
                self.running -= 1;
                jobs
            }
            Some(Lane::Parked(jobs)) => {
                self.parked -= 1;
                jobs
            }
            Some(ready @ Lane::Ready(_)) => {
                self.lanes.insert(Arc::clone(incident), ready);
                return;
            }
            None => return,
        };
        if !jobs.is_empty() {
            self.lanes.insert(Arc::clone(incident), Lane::Ready(jobs));
            self.ready.push_back(Arc::clone(incident));
        }
    }

    /// The running job of an incident waits for something long: another incident may take its slot.
    pub(crate) fn park(&mut self, incident: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(incident) else { return };
        if let Lane::Running(jobs) = lane {
            *lane = Lane::Parked(std::mem::take(jobs));
            self.running -= 1;
            self.parked += 1;
        }
    }

    /// It goes on at once, be the slots taken or not: what it has begun must end.
    pub(crate) fn resume(&mut self, incident: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(incident) else { return };
        if let Lane::Parked(jobs) = lane {
            *lane = Lane::Running(std::mem::take(jobs));
            self.parked -= 1;
            self.running += 1;
        }
    }

    /// Forgets waiting jobs; how many. Running ones stay.
    pub(crate) fn forget(&mut self, unwanted: impl Fn(&J) -> bool) -> usize {
        let before = self.waiting;
        let (waiting, bytes) = (&mut self.waiting, &mut self.waiting_bytes);
        self.lanes.retain(|_, lane| {
            let (Lane::Ready(jobs) | Lane::Running(jobs) | Lane::Parked(jobs)) = lane;
            jobs.retain(|job| {
                let keep = !unwanted(job);
                if !keep {
                    *waiting -= 1;
                    *bytes -= job.bytes();
                }
                keep
            });
            matches!(lane, Lane::Running(_) | Lane::Parked(_)) || !jobs_of(lane).is_empty()
        });
        let lanes = &self.lanes;
        self.ready.retain(|incident| lanes.contains_key(incident));
        before - self.waiting
    }

    /// Jobs that wait for something long at a target. As many as there are unfinished records, which is bounded.
    pub(crate) fn parked(&self) -> usize {
        self.parked
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The memory that waiting jobs hold, bytes.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Jobs that run.
    pub(crate) fn running(&self) -> usize {
        self.running
    }
}

fn jobs_of<J>(lane: &Lane<J>) -> &VecDeque<J> {
    let (Lane::Ready(jobs) | Lane::Running(jobs) | Lane::Parked(jobs)) = lane;
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Work(Arc<str>, usize);

    impl Job for Work {
        fn incident(&self) -> &Arc<str> {
            &self.0
        }
        fn bytes(&self) -> usize {
            10
        }
    }

    fn work(incident: &str, number: usize) -> Work {
        Work(Arc::from(incident), number)
    }

    #[test]
    fn one_incident_is_serial_and_others_pass_it() {
        let mut order = Order::new(8);
        for job in [work("a", 1), work("a", 2), work("b", 3)] {
            order.push(job);
        }
        assert_eq!(order.start(), Some(work("a", 1)));
        assert_eq!(order.start(), Some(work("b", 3)));
        assert_eq!(order.start(), None);
        order.finished(&Arc::from("a"));
        assert_eq!(order.start(), Some(work("a", 2)));
    }

    #[test]
    fn no_more_run_than_the_limit_allows() {
        let mut order = Order::new(2);
        for number in 0..5 {
            order.push(work(&number.to_string(), number));
        }
        assert!(order.start().is_some() && order.start().is_some());
        assert_eq!(order.start(), None);
        order.finished(&Arc::from("0"));
        assert!(order.start().is_some());
        assert_eq!((order.running(), order.waiting(), order.waiting_bytes()), (2, 2, 20));
    }

    #[test]
    fn a_parked_job_gives_its_slot_to_another_incident_and_keeps_its_lane() {
        let mut order = Order::new(1);
        for job in [work("a", 1), work("a", 2), work("b", 3), work("c", 4)] {
            order.push(job);
        }
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        assert_eq!(order.start(), Some(work("a", 1)));
        order.park(&a);
        order.park(&a);
        assert_eq!(order.start(), Some(work("b", 3)), "its own next job waits");
        order.resume(&a);
        assert_eq!((order.running(), order.parked(), order.start()), (2, 0, None));
        order.park(&a);
        order.finished(&b);
        assert_eq!(order.start(), Some(work("c", 4)));
        order.finished(&a);
        assert_eq!((order.running(), order.parked()), (1, 0));
        order.finished(&Arc::from("c"));
        assert_eq!(order.start(), Some(work("a", 2)));
    }

    #[test]
    fn forgotten_jobs_never_start_and_a_running_one_keeps_its_lane() {
        let mut order = Order::new(8);
        order.push(work("a", 1));
        order.push(work("b", 2));
        let running = order.start().unwrap();
        order.push(work("a", 3));
        assert_eq!(order.forget(|_| true), 2);
        order.push(work("a", 4));
        assert_eq!(order.start(), None, "{running:?} still runs");
        order.finished(&Arc::from("a"));
        assert_eq!(order.start(), Some(work("a", 4)));
    }

    proptest! {
        #[test]
        fn every_job_runs_once_and_in_order(incidents in proptest::collection::vec(0_u8..4, 0..60), limit in 1_usize..4) {
            let mut order = Order::new(limit);
            for (number, incident) in incidents.iter().enumerate() {
                order.push(work(&incident.to_string(), number));
            }
            let (mut running, mut seen): (VecDeque<Work>, Vec<Work>) = (VecDeque::new(), Vec::new());
            loop {
                while let Some(job) = order.start() {
                    prop_assert!(running.iter().all(|other| other.0 != job.0));
                    running.push_back(job);
                    prop_assert!(running.len() <= limit);
                }
                let Some(done) = running.pop_front() else { break };
                order.finished(&done.0);
                seen.push(done);
            }
            prop_assert_eq!(seen.len(), incidents.len());
            for pair in seen.iter().enumerate().flat_map(|(i, a)| seen.iter().skip(i + 1).map(move |b| (a, b))) {
                prop_assert!(pair.0.0 != pair.1.0 || pair.0.1 < pair.1.1);
            }
        }
    }
}
