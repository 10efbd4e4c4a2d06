//! The claim protocol, explored exhaustively: replicas, one episode, the log, crashes, pauses, takeovers.
//!
//! What decides is the code that runs: [`Standing`], [`Lease`], [`Lives`]. The model adds what surrounds it: lines on their way, which
//! land in any order or, after a crash, late or never; replicas that stop between any two steps for as long as it takes
//! their lease to run out, and wake up with a renewal that was under way; crashes at any step, with requests still on the
//! network; work that is given up; a target that counts. The number of these faults is bounded, nothing else is. Checked in every
//! state that can be reached: the target was acted upon at most once, no attempt starts while another one may still arrive at
//! it, attempts start in their order. And from every state there is a way to the end of the episode.
//!
//! What is left out can make no difference: who reads a line late sends what builds on an old number of lines, which is what
//! a line on its way is; who hears a sign of life late only waits longer. Times are ages up to where age makes no difference any
//! more, and replicas have no names, so the number of states is finite. Between the last look at the lease and the first
//! byte of a request there is no step: that is what the margin of the lease is for.

use std::collections::hash_map::{DefaultHasher, Entry as Slot};
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::*;
use crate::ledger::entry::{Attempt, Intent, Origin, Outcome};

const TICK: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(2);
/// Later than everything that can make a difference.
const NOW: Duration = Duration::from_secs(6);
/// A request reaches its target, or never does, in less than so many ticks.
const FLIGHT: u8 = 2;

/// What a replica does about the episode.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Job {
    Idle,
    /// ATTEMPT is on its way; the right to start was had before.
    Starting(Turn, u32),
    /// The request is on the network.
    Flying,
    /// Claimed while an attempt of another was out: waits until that has arrived or never will.
    Settling(u8),
}

/// How a replica keeps its lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pace {
    /// Gives a sign of life with every tick, and has it acknowledged at once.
    Prompt,
    /// Stopped, slow or cut off until its lease has run out. It may have sent a sign of life meanwhile, whose acknowledgement it
    /// sees when it wakes up; its job may do single steps all the same.
    Silent { sent: Option<Duration> },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Replica {
    session: Session,
    lease: Lease,
    lives: Lives,
    pace: Pace,
    /// A line on its way to the log.
    wire: Option<Line>,
    job: Job,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
struct Flight {
    attempt: u32,
    age: u8,
    /// Its replica, unless that has crashed.
    of: Option<usize>,
    arrived: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    standing: Standing,
    replicas: Vec<Replica>,
    /// Lines of replicas that have crashed.
    orphans: Vec<Line>,
    flights: Vec<Flight>,
    faults: u8,
    effects: u8,
    started: u32,
}

thread_local! {
    /// More than replicas and faults.
    static NAMES: Vec<Session> = (0..8).map(session).collect();
}

fn session(number: u8) -> Session {
    Session::new(&number.to_string())
}

impl Replica {
    /// One that has just started and has read the log.
    fn new(session: Session, standing: &Standing) -> Self {
        let mut lives = Lives::new(LEASE);
        if let Some(holder) = &standing.holder {
            lives.named(holder, NOW);
        }
        Self { session, lease: Lease::new(LEASE), lives, pace: Pace::Prompt, wire: None, job: Job::Idle }
    }

    /// One that has been there for a while, among as many.
    fn settled(number: u8, among: u8) -> Self {
        let mut settled = Self::new(session(number), &Standing::default());
        settled.lease.acknowledged(NOW, NOW);
        settled.lives.marked(NOW);
        for other in (0..among).filter(|other| *other != number) {
            settled.lives.heard(&session(other), NOW);
        }
        settled
    }

    fn send(&mut self, after: u64, said: Said) {
        self.wire = Some(Line { by: self.session.clone(), after, said });
    }
}

fn intent() -> Said {
    let origin = Origin { topic: String::new(), partition: 0, offset: 0, generation: 0 };
    let (action_type, request, by) = (String::new(), String::new(), String::new());
    Said::Entry(Entry::Intent(Intent { action_type, request, origin, by, because: Vec::new() }))
}

fn outcome(outcome: Outcome) -> Said {
    Said::Entry(Entry::Outcome(outcome))
}

fn retrying() -> Said {
    outcome(Outcome::Retrying { reason: String::new() })
}

fn succeeded() -> Said {
    outcome(Outcome::Succeeded { detail: String::new() })
}

impl World {
    fn new(replicas: u8, faults: u8) -> Self {
        Self {
            standing: Standing::default(),
            replicas: (0..replicas).map(|number| Replica::settled(number, replicas)).collect(),
            orphans: Vec::new(),
            flights: Vec::new(),
            faults,
            effects: 0,
            started: 0,
        }
    }

    /// Nothing can start or arrive any more.
    fn quiet(&self) -> bool {
        let starts = self.replicas.iter().any(|replica| matches!(replica.job, Job::Starting(..)));
        !starts && self.flights.iter().all(|flight| flight.arrived)
    }

    /// Replicas differ in nothing but their names: the same world with them in another order is this one.
    fn alike(mut self) -> Self {
        for replica in &mut self.replicas {
            if !matches!(replica.job, Job::Starting(..)) {
                replica.lease.forget_lapses();
            }
        }
        let kind = |at: &usize| {
            let Replica { session, lease, lives, pace, wire, job } = &self.replicas[*at];
            let wire = wire.as_ref().map(|line| (line.after, &line.said));
            let holds = self.standing.holder.as_ref() == Some(session);
            let flight = self.flights.iter().find(|flight| flight.of == Some(*at));
            let flight = flight.map(|flight| (flight.attempt, flight.age, flight.arrived));
            let mut hasher = DefaultHasher::new();
            (holds, lease, lives.mark(), pace, wire, job, flight).hash(&mut hasher);
            hasher.finish()
        };
        let mut order: Vec<usize> = (0..self.replicas.len()).collect();
        order.sort_by_cached_key(kind);
        let mut names: Vec<Session> = order.iter().map(|at| self.replicas[*at].session.clone()).collect();
        // The dead are remembered as long as they hold something, or have something on its way.
        for dead in self.standing.holder.iter().chain(self.orphans.iter().map(|line| &line.by)) {
            if !names.contains(dead) {
                names.push(dead.clone());
            }
        }
        let number = |name: &Session| {
            let at = names.iter().position(|known| known == name)?;
            Some(NAMES.with(|names| names[at].clone()))
        };
        let rename = |name: &Session| number(name).expect("everybody who is named has a number");
        let line = |line: &Line| Line { by: rename(&line.by), after: line.after, said: line.said.clone() };
        let replica = |at: &usize| {
            let of = &self.replicas[*at];
            let (session, lives, wire) = (rename(&of.session), of.lives.renamed(number), of.wire.as_ref().map(line));
            Replica { session, lives, wire, ..of.clone() }
        };
        let place = |at: usize| order.iter().position(|was| *was == at);
        let mut flights: Vec<Flight> =
            self.flights.iter().map(|flight| Flight { of: flight.of.and_then(place), ..*flight }).collect();
        flights.sort_unstable();
        Self {
            standing: Standing { holder: self.standing.holder.as_ref().map(rename), ..self.standing.clone() },
            replicas: order.iter().map(replica).collect(),
            orphans: self.orphans.iter().map(line).collect(),
            flights,
            ..self
        }
    }

    /// A line lands in the log and is read by all; its writer goes by what became of it.
    fn log(&mut self, line: &Line) {
        let accepted = self.standing.apply(line).map(|standing| self.standing = standing).is_ok();
        for replica in &mut self.replicas {
            if replica.session != line.by {
                replica.lives.heard(&line.by, NOW);
            } else if replica.wire.as_ref() == Some(line) {
                replica.wire = None;
                if !accepted {
                    replica.job = Job::Idle;
                }
            }
        }
    }

    /// Every world that may come next.
    fn next(&self) -> Vec<Self> {
        let mut found = Vec::new();
        found.extend(self.tick());
        for at in 0..self.orphans.len() {
            let mut next = self.clone();
            let line = next.orphans.remove(at);
            next.log(&line);
            found.push(next);
        }
        for at in 0..self.flights.len() {
            found.extend(self.arrive(at));
        }
        for at in 0..self.replicas.len() {
            found.extend(self.land(at));
            found.extend(self.pace(at));
            found.extend(self.work(at));
            if self.faults > 0 {
                found.push(self.crash(at));
                found.extend(self.give_up(at));
            }
        }
        found.into_iter().map(Self::alike).collect()
    }

    /// Everything becomes a tick older, and who is prompt gives a sign of life.
    fn tick(&self) -> Option<Self> {
        if self.flights.iter().any(|flight| !flight.arrived && flight.age + 1 >= FLIGHT) {
            return None;
        }
        let mut next = self.clone();
        for replica in &mut next.replicas {
            replica.lease.aged(TICK, NOW);
            replica.lives.aged(TICK, NOW);
            if let Pace::Silent { sent: Some(sent) } = &mut replica.pace {
                *sent = sent.saturating_sub(TICK).max(NOW.saturating_sub(LEASE));
            }
            if let Job::Settling(waited) = &mut replica.job {
                *waited = FLIGHT.min(*waited + 1);
            }
        }
        for flight in &mut next.flights {
            flight.age = FLIGHT.min(flight.age + 1);
        }
        for at in 0..self.replicas.len() {
            if self.replicas[at].pace == Pace::Prompt {
                next.sign(at);
                next.replicas[at].lease.acknowledged(NOW, NOW);
            }
        }
        Some(next)
    }

    /// A sign of life is read by all: who reads it later only waits longer.
    fn sign(&mut self, at: usize) {
        let session = self.replicas[at].session.clone();
        for (other, replica) in self.replicas.iter_mut().enumerate() {
            if other == at {
                replica.lives.marked(NOW);
            } else {
                replica.lives.heard(&session, NOW);
            }
        }
    }

    /// Falls silent, gives a sign of life all the same, wakes up.
    fn pace(&self, at: usize) -> Vec<Self> {
        let mut next = self.clone();
        match self.replicas[at].pace {
            Pace::Prompt if self.faults > 0 => {
                next.replicas[at].pace = Pace::Silent { sent: None };
                next.faults -= 1;
                vec![next]
            }
            Pace::Prompt => Vec::new(),
            Pace::Silent { sent } => {
                let mut found = Vec::new();
                if self.replicas[at].lease.left(NOW).is_none() {
                    let mut awake = self.clone();
                    awake.replicas[at].lease.acknowledged(sent.unwrap_or(NOW), NOW);
                    awake.replicas[at].pace = Pace::Prompt;
                    if sent.is_none() {
                        awake.sign(at);
                    }
                    found.push(awake);
                }
                if sent.is_none() {
                    next.sign(at);
                    next.replicas[at].pace = Pace::Silent { sent: Some(NOW) };
                    found.push(next);
                }
                found
            }
        }
    }

    /// A request reaches its target; that of a replica that has crashed may also be lost.
    fn arrive(&self, at: usize) -> Vec<Self> {
        let flight = self.flights[at];
        if flight.arrived {
            return Vec::new();
        }
        let mut arrived = self.clone();
        arrived.effects += 1;
        if flight.of.is_some() {
            arrived.flights[at].arrived = true;
            return vec![arrived];
        }
        arrived.flights.remove(at);
        let mut lost = self.clone();
        lost.flights.remove(at);
        vec![arrived, lost]
    }

    /// A line that was sent lands.
    fn land(&self, at: usize) -> Option<Self> {
        let line = self.replicas[at].wire.clone()?;
        let mut next = self.clone();
        next.log(&line);
        Some(next)
    }

    /// The next step of the job: what the pipeline does.
    fn work(&self, at: usize) -> Option<Self> {
        let (replica, standing) = (&self.replicas[at], &self.standing);
        if replica.wire.is_some() {
            return None;
        }
        let mut next = self.clone();
        let (own, after) = (&mut next.replicas[at], standing.lines);
        match &replica.job {
            Job::Idle => {
                let turn = replica.lease.turn(NOW)?;
                match standing.course(&replica.session, &replica.lives) {
                    Course::Ended | Course::Wait => return None,
                    Course::Claim => own.send(after, Said::Claim),
                    Course::Write => match &standing.state {
                        State::Absent | State::Shadowed { .. } => own.send(after, intent()),
                        State::Intended { attempts } => {
                            let number = attempts + 1;
                            own.send(after, Said::Entry(Entry::Attempt(Attempt { number })));
                            own.job = Job::Starting(turn, number);
                        }
                        State::Attempting { .. } => own.job = Job::Settling(0),
                        // The target is asked; by now it knows.
                        State::Unknown { .. } if self.effects > 0 => own.send(after, succeeded()),
                        State::Unknown { .. } => own.send(after, retrying()),
                        State::Started { .. } | State::Finished { .. } => return None,
                    },
                }
            }
            Job::Starting(turn, number) if replica.lease.holds(*turn, NOW) => {
                assert!(*number > self.started, "attempt {number} starts again, or late: {self:#?}");
                let out = self.flights.iter().any(|flight| !flight.arrived);
                assert!(!out, "attempt {number} starts while another may still arrive: {self:#?}");
                own.job = Job::Flying;
                next.started = *number;
                next.flights.push(Flight { attempt: *number, age: 0, of: Some(at), arrived: false });
            }
            Job::Starting(..) => {
                own.job = Job::Idle;
                own.send(after, retrying());
            }
            Job::Flying => {
                let flight = self.flights.iter().position(|flight| flight.of == Some(at) && flight.arrived)?;
                own.job = Job::Idle;
                own.send(after, succeeded());
                next.flights.remove(flight);
            }
            // Another has claimed it meanwhile.
            Job::Settling(_) if standing.holder.as_ref() != Some(&replica.session) => own.job = Job::Idle,
            Job::Settling(waited) if *waited >= FLIGHT => {
                own.job = Job::Idle;
                own.send(after, outcome(Outcome::Unknown { reason: String::new() }));
            }
            Job::Settling(_) => return None,
        }
        Some(next)
    }

    /// Dead, and started again as another session, which reads the log up to its end before it does anything.
    fn crash(&self, at: usize) -> Self {
        let mut next = self.clone();
        next.orphans.extend(self.replicas[at].wire.clone());
        for flight in &mut next.flights {
            flight.of = flight.of.filter(|of| *of != at);
        }
        next.flights.retain(|flight| flight.of.is_some() || !flight.arrived);
        next.replicas[at] = Replica::new(Session::new("new"), &self.standing);
        next.faults -= 1;
        next
    }

    /// The partition goes elsewhere: what was not begun is let go.
    fn give_up(&self, at: usize) -> Option<Self> {
        let replica = &self.replicas[at];
        let held = self.standing.holder.as_ref() == Some(&replica.session);
        let free = matches!(replica.job, Job::Idle | Job::Settling(_)) && replica.wire.is_none();
        (held && free).then(|| {
            let mut next = self.clone();
            next.replicas[at].send(self.standing.lines, Said::Release);
            next.replicas[at].job = Job::Idle;
            next.faults -= 1;
            next
        })
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Goes through everything that can happen; how many states that are.
fn explore(replicas: u8, faults: u8) -> usize {
    let first = World::new(replicas, faults);
    let mut known: HashMap<u64, u32> = [(fingerprint(&first), 0)].into();
    let mut before: Vec<Vec<u32>> = vec![Vec::new()];
    let mut ends = Vec::new();
    let mut waiting = VecDeque::from([(0_u32, first)]);
    while let Some((number, world)) = waiting.pop_front() {
        assert!(world.effects <= 1, "the target was acted upon twice: {world:#?}");
        if world.standing.ended() {
            ends.push(number);
            if world.quiet() {
                continue;
            }
        }
        for next in world.next() {
            let to = match known.entry(fingerprint(&next)) {
                Slot::Occupied(slot) => *slot.get(),
                Slot::Vacant(slot) => {
                    let fresh = u32::try_from(before.len()).expect("few enough");
                    slot.insert(fresh);
                    before.push(Vec::new());
                    waiting.push_back((fresh, next));
                    fresh
                }
            };
            before[to as usize].push(number);
        }
    }
    let mut leads_there = vec![false; before.len()];
    let mut back = ends;
    while let Some(number) = back.pop() {
        if !std::mem::replace(&mut leads_there[number as usize], true) {
            back.extend(&before[number as usize]);
        }
    }
    let stuck = leads_there.iter().filter(|leads| !**leads).count();
    assert_eq!(stuck, 0, "of {} states {stuck} have no way to the end of the episode", before.len());
    before.len()
}

#[test]
fn two_replicas_never_start_an_attempt_twice_and_never_leave_an_episode() {
    let begun = std::time::Instant::now();
    let states = explore(2, 2);
    println!("2 replicas: {states} states in {:?}", begun.elapsed());
}

#[test]
fn three_replicas_never_start_an_attempt_twice_and_never_leave_an_episode() {
    let begun = std::time::Instant::now();
    let states = explore(3, 1);
    println!("3 replicas: {states} states in {:?}", begun.elapsed());
}
