//! The provider that runs a program and takes what it prints.
//!
//! The program gets a cleaned environment: the few variables that programs need to find their way, never the others of this
//! process, among which there may be secrets.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

use super::SecretError;
use super::fetch::MAX_BYTES;

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a child inherits. `CKMS_ENV` is for ckms-remotecli.
const INHERITED: [&str; 8] = ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "CKMS_ENV", "SSL_CERT_FILE"];

/// Runs it and gives what it printed.
pub(super) async fn run(name: &str, command: &[String]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let program = command.first().cloned().unwrap_or_default();
    let failed = |what: String| SecretError::Command { name: name.to_owned(), program: program.clone(), what };
    let mut child = tokio::process::Command::new(&program)
        .args(command.iter().skip(1))
        .env_clear()
        .envs(inherited())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What it complains of could hold the secret; its exit status says enough for the log.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    let mut printed = Zeroizing::new(Vec::new());
    let output = child.stdout.take();
    let work = async {
        if let Some(output) = output {
            output.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut printed).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(DEADLINE, work).await {
        Err(_) => Err(failed(format!("did not finish within {} s", DEADLINE.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("could not be waited for: {error}"))),
        Ok(Ok(status)) if !status.success() => Err(failed(format!("failed: {status}"))),
        Ok(Ok(_)) => Ok(printed),
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_gives_what_it_prints_and_fails_with_its_status() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(*run("key", &words(&["printf", "%s\\n", "hunter22"])).await.expect("printed"), b"hunter22\n");
        let failing = run("key", &words(&["false"])).await.expect_err("fails");
        assert!(failing.to_string().contains("the command `false` failed"), "{failing}");
    }

    #[tokio::test]
    async fn a_command_sees_nothing_of_this_process_environment_but_what_it_needs() {
        // Cargo sets variables of its own for every test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let seen = run("key", &["env".to_owned()]).await.expect("printed");
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert!(seen.lines().any(|line| line.starts_with("PATH=")), "{seen}");
        let others = seen.lines().filter(|line| !INHERITED.iter().any(|name| line.starts_with(&format!("{name}="))));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
