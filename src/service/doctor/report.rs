//! What the doctor found, as lines for people and as JSON for programs; and the exit code.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What is looked at, in this order. The exit code is that of the first layer in which something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Configuration,
    Certificate,
    Secrets,
    Names,
    Addresses,
    Tls,
    Versions,
    Login,
    Topics,
    Group,
    Ledger,
    Targets,
}

impl Layer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificate => "certificate",
            Self::Secrets => "secrets",
            Self::Names => "dns",
            Self::Addresses => "tcp",
            Self::Tls => "tls",
            Self::Versions => "api versions",
            Self::Login => "sasl",
            Self::Topics => "topics",
            Self::Group => "group",
            Self::Ledger => "ledger",
            Self::Targets => "targets",
        }
    }

    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Configuration => 2,
            Self::Certificate => 10,
            Self::Secrets => 11,
            Self::Names => 12,
            Self::Addresses => 13,
            Self::Tls => 14,
            Self::Versions => 15,
            Self::Login => 16,
            Self::Topics => 17,
            Self::Group => 18,
            Self::Ledger => 19,
            Self::Targets => 20,
        }
    }
}

/// What came of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should be.
    Good(String),
    /// Works, but somebody should know.
    Notable(String),
    /// Does not work, and what to do.
    Bad { what: String, advice: &'static str },
}

#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) layer: Layer,
    /// What was looked at: a broker, a file, a secret's name.
    pub(super) subject: String,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    pub(super) findings: Vec<Finding>,
}

impl Diagnosis {
    /// 0 when nothing is wrong; else the code of the first layer in which something is.
    pub fn exit_code(&self) -> u8 {
        self.first_bad().map_or(0, |finding| finding.layer.exit_code())
    }

    fn first_bad(&self) -> Option<&Finding> {
        let bad = self.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Bad { .. }));
        bad.min_by_key(|finding| finding.layer)
    }

    /// `{"healthy", "exit_code", "findings": [{"layer", "subject", "result", "what", "advice", "took_ms"}]}`.
    pub fn to_json(&self) -> String {
        let one = |finding: &Finding| {
            let (result, what, advice) = match &finding.outcome {
                Outcome::Good(what) => ("good", what, Value::Null),
                Outcome::Notable(what) => ("notable", what, Value::Null),
                Outcome::Bad { what, advice } => ("bad", what, Value::from(*advice)),
            };
            let took = u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX);
            json!({"layer": finding.layer.name(), "subject": finding.subject, "result": result, "what": what,
                   "advice": advice, "took_ms": took})
        };
        let findings: Vec<Value> = self.findings.iter().map(one).collect();
        json!({"healthy": self.exit_code() == 0, "exit_code": self.exit_code(), "findings": findings}).to_string()
    }
}

impl fmt::Display for Diagnosis {
    /// One line for each look; the advice under the first that is wrong.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first_bad();
        for finding in &self.findings {
            let (tick, what) = match &finding.outcome {
                Outcome::Good(what) => ('✓', what),
                Outcome::Notable(what) => ('!', what),
                Outcome::Bad { what, .. } => ('✗', what),
            };
            let (layer, subject, took) = (finding.layer.name(), &finding.subject, finding.took.as_millis());
            writeln!(f, "{tick} {layer:<13} {subject}: {what} ({took} ms)")?;
            if let (Outcome::Bad { advice, .. }, true) =
                (&finding.outcome, first.is_some_and(|bad| std::ptr::eq(bad, finding)))
            {
                writeln!(f, "  → {advice}")?;
            }
        }
        match first {
            None => f.write_str("nothing is wrong"),
            Some(bad) => write!(f, "the first thing that is wrong: {} of {}", bad.layer.name(), bad.subject),
        }
    }
}
