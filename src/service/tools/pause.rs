//! `pause` and `resume`: the kill switches that a running service watches, of everything, of one condition or of one action.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::action::Scope as Of;
use crate::guard::switch::Scope;

use super::{Answer, Options, Refused, Told, cannot, loaded};

/// Engages the kill switch; `why` becomes the reason that the service tells. A reason given before is replaced.
pub fn pause(options: &Options, scope: &Scope, why: Option<&str>, out: &mut dyn Write) -> Answer {
    let file = kill_switch(options, scope)?;
    let text = format!("{}\n", why.unwrap_or("paused by hand"));
    engage(&file, &text).map_err(|error| cannot(format_args!("{} cannot be written: {error}", file.display())))?;
    let effect = match scope {
        Scope::All => "nothing new starts".to_owned(),
        Scope::Condition(_) | Scope::Action(_) => format!("steps of {scope} are skipped"),
    };
    writeln!(out, "paused: {} exists, so {effect}; what is on the network ends by itself", file.display())?;
    Ok(Told::Yes)
}

/// Releases the kill switch.
pub fn resume(options: &Options, scope: &Scope, out: &mut dyn Write) -> Answer {
    let file = kill_switch(options, scope)?;
    match fs::remove_file(&file) {
        Ok(()) => writeln!(out, "resumed: {} is removed", file.display())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => writeln!(out, "was not paused")?,
        Err(error) => return Err(cannot(format_args!("{} cannot be removed: {error}", file.display()))),
    }
    Ok(Told::Yes)
}

/// Under another name and then renamed: the service never reads half a reason.
fn engage(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    fs::write(&draft, text)?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, file)
}

fn kill_switch(options: &Options, scope: &Scope) -> Result<PathBuf, Refused> {
    let missing = || {
        Refused::Wrong(
            "the configuration has no kill_switch_file, so the service watches none; add it and restart the service"
                .to_owned(),
        )
    };
    let rules = loaded(options)?;
    let known = match scope {
        Scope::All => true,
        Scope::Condition(name) => rules.conditions.iter().any(|condition| condition.name == *name),
        Scope::Action(name) => {
            [Of::Incident, Of::Alert].into_iter().any(|of| rules.actions.names(of).any(|known| known == name))
        }
    };
    if !known {
        return Err(Refused::Wrong(format!("the configuration has no {scope}")));
    }
    Ok(scope.file(&rules.config.kill_switch_file.ok_or_else(missing)?))
}
