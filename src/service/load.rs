//! From a path to a configuration with its rules compiled, or everything that is wrong with it.
//!
//! Nothing but the file is touched: no network, no ledger, no secret's value.

use std::io;
use std::path::{Path, PathBuf};

use crate::action::{Definitions, Flow, Scope, Surroundings};
use crate::condition::Conditions;
use crate::config::{BigPanda, Config, Overrides, Settings};
use crate::guard;
use crate::pipeline::Edition;
use crate::yaml::{self, Mistake, Mistakes, Node};

use super::check::{Checked, InFile, check};
use super::keys;
use super::options::{ConfigPath, Options};
use super::unused;

/// A valid configuration.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// The text of the file, and what it says.
    pub(super) text: String,
    pub(super) document: Node,
    pub(super) config: Config,
    pub(super) conditions: Conditions,
    pub(super) actions: Definitions,
    /// The predecessor's history, to be imported before the work begins.
    pub(super) action_history_file: Option<PathBuf>,
    /// What is accepted and has no effect, or not the one that is meant.
    pub(super) warnings: Vec<Mistake>,
}

/// There is no valid configuration.
#[derive(Debug)]
pub(super) enum LoadError {
    /// The file cannot be read.
    Unreadable { config: ConfigPath, source: io::Error },
    /// The file is wrong.
    Wrong { file: PathBuf, mistakes: Vec<Mistake>, warnings: Vec<Mistake> },
}

impl std::fmt::Display for LoadError {
    /// One line for each mistake.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { config, source } => {
                write!(f, "cannot read the configuration {config}: {source}; is it mounted there?")
            }
            Self::Wrong { file, mistakes, .. } => {
                for (index, mistake) in mistakes.iter().enumerate() {
                    let end = if index == 0 { "" } else { "\n" };
                    write!(f, "{end}{}", InFile(file, mistake, ""))?;
                }
                Ok(())
            }
        }
    }
}

/// Reads the file and compiles what is in it; all mistakes are found in one go.
pub(super) fn load(options: &Options) -> Result<Loaded, LoadError> {
    load_text(options, read(&options.config)?)
}

/// What the file holds.
pub(super) fn read(config: &ConfigPath) -> Result<String, LoadError> {
    std::fs::read_to_string(config.path()).map_err(|source| LoadError::Unreadable { config: config.clone(), source })
}

/// The same of what the file holds.
pub(super) fn load_text(options: &Options, text: String) -> Result<Loaded, LoadError> {
    let file = options.config.path();
    let mistakes = Mistakes::default();
    let overrides = Overrides {
        consumer_name: options.consumer_name.clone(),
        storage_backend: options.storage_backend.clone(),
        ckms_env: options.ckms_env.clone(),
    };
    let read = yaml::parse(&text, &mistakes).map(|document| {
        let config = Config::new(Settings { document: &document, overrides: &overrides }, &mistakes);
        let (conditions, actions) = rules(&config, &mistakes);
        if mistakes.is_empty() {
            unused::warn(&document, &conditions, &actions, &mistakes);
        }
        if let Err(error) = keys::wire(&config.ckms).check() {
            let at = document.as_map().and_then(|entries| entries.iter().find(|entry| entry.key == "ckms"));
            mistakes.add("ckms", at.map_or(yaml::Position::default(), |entry| entry.at), error.to_string());
        }
        (document, config, conditions, actions)
    });
    let warnings = mistakes.warnings();
    match (read, mistakes.into_result()) {
        (Some((document, config, conditions, actions)), Ok(())) => {
            let action_history_file = options.action_history_file.clone();
            Ok(Loaded { text, document, config, conditions, actions, action_history_file, warnings })
        }
        (None, Ok(())) => {
            let empty = Mistake::at("", yaml::Position::default(), "there is nothing in it");
            Err(LoadError::Wrong { file: file.to_owned(), mistakes: vec![empty], warnings })
        }
        (_, Err(mistakes)) => Err(LoadError::Wrong { file: file.to_owned(), mistakes, warnings }),
    }
}

/// The rules of a new configuration in the surroundings of the one that runs: its secrets and its `bigpanda`.
pub(super) fn anew(new: &Loaded, running: &Loaded, file: &Path) -> Result<Edition, LoadError> {
    let mut config = running.config.clone();
    config.rules.clone_from(&new.config.rules);
    config.guards.clone_from(&new.config.guards);
    let mistakes = Mistakes::default();
    let (conditions, definitions) = rules(&config, &mistakes);
    if config.guards.freshness.is_some() && config.bigpanda.is_none() {
        let what = "needs `bigpanda`, which this process was not started with";
        mistakes.add("limits.freshness", yaml::Position::default(), what);
    }
    let guards = guards(&config);
    match mistakes.into_result() {
        Ok(()) => Ok(Edition { conditions, definitions, guards }),
        Err(mut mistakes) => {
            let hint = "the rules were compiled with the `secrets` and the `bigpanda` that the process was started with; \
                        what is new there needs a restart first";
            mistakes.push(Mistake::at("", yaml::Position::default(), hint));
            Err(LoadError::Wrong { file: file.to_owned(), mistakes, warnings: Vec::new() })
        }
    }
}

/// The guards for all, as the configuration has them.
pub(super) fn guards(config: &Config) -> guard::Rules {
    let mut rules = config.guards.clone();
    if let (Some(freshness), Some(bigpanda)) = (&mut rules.freshness, &config.bigpanda) {
        freshness.service_account.clone_from(&bigpanda.service_account_id);
    }
    rules
}

/// Other rules in the surroundings of a configuration: its secrets, its `bigpanda`, and its actions where the file lists none. Of
/// a whole configuration only the rules count.
pub(super) fn candidate(file: &Path, current: &Loaded) -> Result<(Conditions, Definitions), String> {
    let wrong = |mistakes| LoadError::Wrong { file: file.to_owned(), mistakes, warnings: Vec::new() }.to_string();
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read the rules {}: {error}", file.display()))?;
    let mistakes = Mistakes::default();
    let document = yaml::parse(&text, &mistakes);
    let Some(document) = document.filter(|document| document.get("incident_conditions").is_some()) else {
        mistakes.add("incident_conditions", yaml::Position::default(), "is missing: this file holds no rules");
        return Err(wrong(mistakes.all()));
    };
    let mut config = current.config.clone();
    config.rules.incident_conditions = document.get("incident_conditions").cloned();
    for (own, key) in
        [(&mut config.rules.incident_actions, "incident_actions"), (&mut config.rules.alert_actions, "alert_actions")]
    {
        if let Some(node) = document.get(key) {
            *own = Some(node.clone());
        }
    }
    let read = rules(&config, &mistakes);
    mistakes.into_result().map(|()| read).map_err(wrong)
}

/// The files without which the service cannot fetch its secrets: the certificate and its key, where a secret comes from the
/// key server or from a command that is handed them. The error is what [`super::check`] says of the configuration.
pub fn files_to_wait_for(options: &Options) -> Result<Vec<PathBuf>, Checked> {
    let config = match load(options) {
        Ok(loaded) => loaded.config,
        Err(_) => return Err(check(options)),
    };
    let files = keys::pair_files(&config);
    Ok(if keys::needs_certificate(&config) { vec![files.certificate, files.key] } else { Vec::new() })
}

/// Without an account of its own the service has nobody to assign incidents to.
fn flow(bigpanda: &BigPanda) -> Flow {
    let assign = bigpanda.flow.assign && bigpanda.service_account_id.is_some();
    Flow { assign, split: bigpanda.flow.split, resolve: bigpanda.flow.resolve }
}

fn rules(config: &Config, mistakes: &Mistakes) -> (Conditions, Definitions) {
    let rules = &config.rules;
    let conditions = Conditions::compile(rules.incident_conditions.as_ref(), "incident_conditions", mistakes);
    let surroundings = Surroundings {
        bigpanda: config.bigpanda.is_some(),
        secrets: config.secrets.names().map(str::to_owned).collect(),
        flow: config.bigpanda.as_ref().map(flow).unwrap_or_default(),
    };
    let (of_incidents, of_alerts) = (rules.incident_actions.as_ref(), rules.alert_actions.as_ref());
    let actions = Definitions::read(of_incidents, of_alerts, &surroundings, mistakes);
    let names = |scope| actions.names(scope).collect::<Vec<_>>();
    conditions.check_actions(&names(Scope::Incident), &names(Scope::Alert), mistakes);
    (conditions, actions)
}
