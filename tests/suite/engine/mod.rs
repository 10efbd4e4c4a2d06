//! Ledger, actions and pipeline, with a source made for the purpose instead of a Kafka.

mod actions;
mod awx;
mod bigpanda;
mod books;
mod checks;
mod crashes;
mod escalations;
mod flow;
mod guards;
mod k8s_job;
mod rates;
mod reload;
mod rules;
mod screwdriver;
mod slack;
mod source;
mod starts;
mod unknown;
mod unread;
mod verify;
mod world;
