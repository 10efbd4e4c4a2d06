//! Secrets: unprintable, wiped on drop, fetched by name.
//!
//! A [`Secret`] shows as `***` wherever it is printed. A [`SecretText`] is a setting in which `$secret:NAME` may stand. [`Secrets`]
//! knows the provider of each name: a file, a variable, a command; the key server (`ckms_*`) is accepted as a setting and
//! gives a clear error when it is asked. A listener is told of every fetched value, so that logs can be scrubbed of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

/// What introduces a reference to a secret.
pub const MARK: &str = "$secret:";
/// No secret is larger; a provider that gives more is misconfigured.
const MAX_BYTES: u64 = 1024 * 1024;
/// How long a command may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// A value that is never printed and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A piece of a text with references in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// Text as it stands.
    Text(&'t str),
    /// The name of a secret.
    Secret(&'t str),
}

/// Splits a text at its `$secret:NAME` references. A name is of letters, digits, `_`, `-` and inner dots.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).unwrap_or(after.len());
        let name = after.get(..end).unwrap_or_default().trim_end_matches('.');
        let consumed = before.len().saturating_add(if name.is_empty() { MARK.len() } else { 0 });
        if let Some(before) = rest.get(..consumed).filter(|before| !before.is_empty()) {
            parts.push(Part::Text(before));
        }
        if !name.is_empty() {
            parts.push(Part::Secret(name));
        }
        rest = after.get(name.len()..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    parts
}

/// The names of the secrets that a text refers to.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Secret(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// A setting in which `$secret:NAME` may stand; it is as unprintable as what it may hold.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Secret);

impl SecretText {
    /// The setting as written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// The names of the secrets it refers to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(self.0.reveal())
    }

    /// The text itself, when it refers to no secret.
    pub fn plain(&self) -> Option<&str> {
        let text = self.0.reveal();
        names(text).next().is_none().then_some(text)
    }

    /// Its value, with every reference fetched.
    pub async fn resolve(&self, secrets: &Secrets) -> Result<Secret, SecretError> {
        let mut value = Zeroizing::new(String::new());
        for part in parts(self.0.reveal()) {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Secret(name) => value.push_str(secrets.resolve(name).await?.reveal()),
            }
        }
        Ok(Secret(value))
    }
}

impl fmt::Debug for SecretText {
    /// `$secret:NAME` is shown, since a name is no secret; text that was written out is not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in parts(self.0.reveal()) {
            match part {
                Part::Text(_) => f.write_str("***")?,
                Part::Secret(name) => write!(f, "{MARK}{name}")?,
            }
        }
        Ok(())
    }
}

/// Where the value of a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The content of a file, without the line end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What a program prints, without the line end: the program and its arguments, run without a shell.
    Command(Vec<String>),
    /// A key of the key server.
    Ckms {
        /// The key group.
        group: String,
        /// The key's name in it.
        key: String,
        /// The environment; `CKMS_ENV` when not given.
        environment: Option<String>,
    },
}

impl Provider {
    /// The name of the kind, as in the setting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Env(_) => "env",
            Self::Command(_) => "command",
            Self::Ckms { .. } => "ckms",
        }
    }
}

/// Why a secret could not be had. The value never appears.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such name under `secrets:`.
    #[error("no secret named `{name}` is configured under `secrets:`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The file cannot be read.
    #[error("secret `{name}`: cannot read the file {}: {source}", path.display())]
    File {
        /// The secret's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or is not text.
    #[error("secret `{name}`: the environment variable {variable} is not set")]
    Env {
        /// The secret's name.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The command could not be run, failed, or took too long.
    #[error("secret `{name}`: the command `{program}` {what}")]
    Command {
        /// The secret's name.
        name: String,
        /// The program, without its arguments.
        program: String,
        /// What happened.
        what: String,
    },
    /// There is a value, but not one that can be used.
    #[error("secret `{name}`: the value from {provider} {what}")]
    Value {
        /// The secret's name.
        name: String,
        /// The kind of provider.
        provider: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key server is not spoken to by this version.
    #[error(
        "secret `{name}` is key {key} of group {group} on the key server (CKMS), which this version cannot ask yet; \
         give it as `file`, `env` or `command` (for example ckms-remotecli)"
    )]
    CkmsUnsupported {
        /// The secret's name.
        name: String,
        /// The key group.
        group: String,
        /// The key.
        key: String,
    },
}

/// Every configured secret by name, with its provider. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Secrets {
    providers: Arc<BTreeMap<String, Provider>>,
    on_fetch: fn(&str),
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new([])
    }
}

impl Secrets {
    /// The providers by name.
    pub fn new(providers: impl IntoIterator<Item = (String, Provider)>) -> Self {
        Self { providers: Arc::new(providers.into_iter().collect()), on_fetch: |_| {} }
    }

    /// The configured names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// The provider of a name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }

    /// The same, with a listener that is told of every fetched value: whoever scrubs logs wants to know it.
    #[must_use]
    pub fn on_fetch(mut self, listener: fn(&str)) -> Self {
        self.on_fetch = listener;
        self
    }

    /// Fetches a value anew from its provider.
    pub async fn resolve(&self, name: &str) -> Result<Secret, SecretError> {
        let provider = self.provider(name).ok_or_else(|| SecretError::Unknown { name: name.to_owned() })?;
        let secret = fetch(name, provider).await?;
        (self.on_fetch)(secret.reveal());
        Ok(secret)
    }
}

async fn fetch(name: &str, provider: &Provider) -> Result<Secret, SecretError> {
    let bytes = match provider {
        Provider::File(path) => read_file(path).await.map_err(|source| SecretError::File {
            name: name.to_owned(),
            path: path.clone(),
            source,
        })?,
        Provider::Env(variable) => from_environment(name, variable)?,
        Provider::Command(command) => run(name, command).await?,
        Provider::Ckms { group, key, .. } => {
            return Err(SecretError::CkmsUnsupported { name: name.to_owned(), group: group.clone(), key: key.clone() });
        }
    };
    let wrong = |what| SecretError::Value { name: name.to_owned(), provider: provider.kind(), what };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(wrong("is larger than 1 MiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not UTF-8 text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(wrong("is empty")) } else { Ok(Secret::new(text)) }
}

async fn read_file(path: &PathBuf) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the setting names a variable: reading it is the provider's work")]
fn from_environment(name: &str, variable: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    std::env::var(variable)
        .map(|value| Zeroizing::new(value.into_bytes()))
        .map_err(|_| SecretError::Env { name: name.to_owned(), variable: variable.to_owned() })
}

async fn run(name: &str, command: &[String]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let program = command.first().cloned().unwrap_or_default();
    let failed = |what: String| SecretError::Command { name: name.to_owned(), program: program.clone(), what };
    let mut child = tokio::process::Command::new(&program)
        .args(command.iter().skip(1))
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
    match tokio::time::timeout(COMMAND_DEADLINE, work).await {
        Err(_) => Err(failed(format!("did not finish within {} s", COMMAND_DEADLINE.as_secs()))),
        Ok(Err(error)) => Err(failed(format!("could not be waited for: {error}"))),
        Ok(Ok(status)) if !status.success() => Err(failed(format!("failed: {status}"))),
        Ok(Ok(_)) => Ok(printed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(provider: Provider) -> Secrets {
        Secrets::new([("key".to_owned(), provider)])
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("hunter22");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(format!("{:?}", SecretText::new("Bearer $secret:a.b")), "***$secret:a.b");
    }

    #[test]
    fn references_are_found_inside_any_text() {
        assert_eq!(parts("Bearer $secret:a-b_c.d."), [Part::Text("Bearer "), Part::Secret("a-b_c.d"), Part::Text(".")]);
        assert_eq!(parts("$secret:a$secret:b"), [Part::Secret("a"), Part::Secret("b")]);
        assert_eq!(parts("cost $secret: none"), [Part::Text("cost $secret:"), Part::Text(" none")]);
        assert_eq!(parts("plain"), [Part::Text("plain")]);
        assert_eq!(parts(""), []);
    }

    #[tokio::test]
    async fn a_file_gives_its_content_without_the_line_end_and_is_read_anew() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "first\n").expect("write");
        let secrets = secrets(Provider::File(file.path().to_owned()));
        assert_eq!(secrets.resolve("key").await.expect("secret").reveal(), "first");
        std::fs::write(file.path(), "second").expect("write");
        assert_eq!(secrets.resolve("key").await.expect("secret").reveal(), "second");
    }

    #[tokio::test]
    async fn a_command_gives_what_it_prints() {
        let command = ["printf", "%s\\n", "hunter22"].map(str::to_owned).to_vec();
        assert_eq!(secrets(Provider::Command(command)).resolve("key").await.expect("secret").reveal(), "hunter22");
        let failing = secrets(Provider::Command(vec!["false".to_owned()])).resolve("key").await.expect_err("fails");
        assert!(failing.to_string().contains("the command `false` failed"), "{failing}");
    }

    #[tokio::test]
    async fn every_failure_names_the_secret_and_the_place() {
        for (provider, expected) in [
            (Provider::File("/nonexistent/x".into()), "secret `key`: cannot read the file /nonexistent/x: "),
            (
                Provider::Env("NO_SUCH_VARIABLE_HERE".into()),
                "secret `key`: the environment variable NO_SUCH_VARIABLE_HERE is not set",
            ),
            (
                Provider::Ckms { group: "g".into(), key: "k".into(), environment: None },
                "secret `key` is key k of group g",
            ),
            (Provider::File("/dev/null".into()), "secret `key`: the value from file is empty"),
        ] {
            let error = secrets(provider).resolve("key").await.expect_err("no value").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let unknown = secrets(Provider::Env("A".into())).resolve("other").await.expect_err("unknown").to_string();
        assert_eq!(unknown, "no secret named `other` is configured under `secrets:`");
    }

    #[tokio::test]
    async fn a_text_is_resolved_with_its_references_and_the_listener_is_told_of_each_value() {
        static TOLD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        let secrets = secrets(Provider::Command(vec!["echo".to_owned(), "hunter22".to_owned()]))
            .on_fetch(|value| TOLD.lock().expect("lock").push(value.to_owned()));
        let value = SecretText::new("Bearer $secret:key").resolve(&secrets).await.expect("resolved");
        assert_eq!(value.reveal(), "Bearer hunter22");
        assert_eq!(*TOLD.lock().expect("lock"), ["hunter22"]);
    }
}
