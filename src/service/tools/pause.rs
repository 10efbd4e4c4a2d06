//! `pause` and `resume`: the kill switch that a running service watches. Global; nothing starts while its file exists.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Answer, Options, Refused, Told, cannot, loaded};

/// Engages the kill switch; `why` becomes the reason that the service tells. A reason given before is replaced.
pub fn pause(options: &Options, why: Option<&str>, out: &mut dyn Write) -> Answer {
    let file = kill_switch(options)?;
    let text = format!("{}\n", why.unwrap_or("paused by hand"));
    engage(&file, &text).map_err(|error| cannot(format_args!("{} cannot be written: {error}", file.display())))?;
    writeln!(out, "paused: {} exists, so nothing new starts; what is on the network ends by itself", file.display())?;
    Ok(Told::Yes)
}

/// Releases the kill switch.
pub fn resume(options: &Options, out: &mut dyn Write) -> Answer {
    let file = kill_switch(options)?;
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

fn kill_switch(options: &Options) -> Result<PathBuf, Refused> {
    let missing = || {
        Refused::Wrong(
            "the configuration has no kill_switch_file, so the service watches none; add it and restart the service"
                .to_owned(),
        )
    };
    loaded(options)?.config.kill_switch_file.ok_or_else(missing)
}
