//! Every configured secret by name.
//!
//! Files and variables are read anew each time. What costs a process or the network is kept for [`KEPT`] and asked for by one
//! caller at a time; a value that was refused is fetched anew at its next use. When a fetch fails the value that is kept
//! is used on, so that a key server that is away stops nothing that works.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{KeyName, Provider, Secret, SecretError, command};

/// No secret is larger; a provider that gives more is misconfigured.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;
/// How long a value that costs something is used before it is fetched again: a rotated one is picked up by then.
const KEPT: Duration = Duration::from_mins(5);

/// Whoever fetches keys of the key server.
pub trait KeyServer: Send + Sync + fmt::Debug {
    /// The value of a key; the error says why not, under which certificate, and what to look at.
    fn fetch<'k>(&'k self, key: &'k KeyName) -> BoxFuture<'k, Result<Zeroizing<Vec<u8>>, String>>;
}

/// Every configured secret by name, with its provider. Cheap to clone; clones share what they keep.
#[derive(Clone, Debug)]
pub struct Secrets {
    providers: Arc<BTreeMap<String, Provider>>,
    key_server: Option<Arc<dyn KeyServer>>,
    kept: Arc<Kept>,
    on_fetch: fn(&str),
}

#[derive(Default)]
struct Kept {
    values: Mutex<BTreeMap<String, Value>>,
    /// Held while something costly is asked for: whoever waits finds the value.
    asking: tokio::sync::Mutex<()>,
}

struct Value {
    secret: Secret,
    at: Instant,
    /// Somebody was refused with it.
    refused: bool,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(***)")
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new([])
    }
}

impl Secrets {
    /// The providers by name.
    pub fn new(providers: impl IntoIterator<Item = (String, Provider)>) -> Self {
        let providers = Arc::new(providers.into_iter().collect());
        Self { providers, key_server: None, kept: Arc::default(), on_fetch: |_| {} }
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

    /// The same, with somebody to ask for keys of the key server.
    #[must_use]
    pub fn with_key_server(mut self, server: Arc<dyn KeyServer>) -> Self {
        self.key_server = Some(server);
        self
    }

    /// The value: of a file or a variable as it is now, else one that is kept or fetched.
    pub async fn resolve(&self, name: &str) -> Result<Secret, SecretError> {
        let provider = self.provider(name).ok_or_else(|| SecretError::Unknown { name: name.to_owned() })?;
        if !provider.is_costly() {
            return self.fetch(name, provider).await;
        }
        if let Some(kept) = self.fresh(name) {
            return Ok(kept);
        }
        let _one_at_a_time = self.kept.asking.lock().await;
        if let Some(kept) = self.fresh(name) {
            return Ok(kept);
        }
        match self.fetch(name, provider).await {
            Ok(secret) => {
                self.keep(name, &secret);
                Ok(secret)
            }
            Err(error) => {
                let Some(old) = self.old(name) else { return Err(error) };
                tracing::warn!(secret = name, "{error}; the value from before is used on");
                Ok(old)
            }
        }
    }

    /// Somebody was refused with this value: it is fetched anew at its next use.
    pub fn refused(&self, name: &str) {
        if let Some(value) = self.values().get_mut(name) {
            value.refused = true;
        }
    }

    async fn fetch(&self, name: &str, provider: &Provider) -> Result<Secret, SecretError> {
        let bytes = self.bytes(name, provider).await?;
        let secret = checked(&bytes).map_err(|what| SecretError::Value {
            name: name.to_owned(),
            provider: provider.kind(),
            what,
        })?;
        (self.on_fetch)(secret.reveal());
        Ok(secret)
    }

    async fn bytes(&self, name: &str, provider: &Provider) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        match provider {
            Provider::File(path) => read_file(path).await.map_err(|source| SecretError::File {
                name: name.to_owned(),
                path: path.clone(),
                source,
            }),
            Provider::Env(variable) => from_environment(name, variable),
            Provider::Command(words) => command::run(name, words).await,
            Provider::Ckms(key) => {
                let fetched = match &self.key_server {
                    Some(server) => server.fetch(key).await,
                    None => Err("nobody was set up to ask it".to_owned()),
                };
                fetched.map_err(|what| SecretError::Ckms { name: name.to_owned(), key: key.clone(), what })
            }
        }
    }

    fn values(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.kept.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, name: &str) -> Option<Secret> {
        let values = self.values();
        let value = values.get(name).filter(|value| !value.refused && value.at.elapsed() < KEPT)?;
        Some(value.secret.clone())
    }

    /// Also one that is old or was refused.
    fn old(&self, name: &str) -> Option<Secret> {
        self.values().get(name).map(|value| value.secret.clone())
    }

    fn keep(&self, name: &str, secret: &Secret) {
        let value = Value { secret: secret.clone(), at: Instant::now(), refused: false };
        self.values().insert(name.to_owned(), value);
    }
}

/// A value as text, without the line end.
fn checked(bytes: &[u8]) -> Result<Secret, &'static str> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err("is larger than 1 MiB");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err("is empty") } else { Ok(Secret::new(text)) }
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

#[cfg(test)]
mod tests {
    use super::super::SecretText;
    use super::*;

    fn secrets(provider: Provider) -> Secrets {
        Secrets::new([("key".to_owned(), provider)])
    }

    fn key() -> KeyName {
        KeyName { group: "g".into(), key: "k".into(), environment: "aws".into() }
    }

    /// Answers in turn, then with the last for ever.
    #[derive(Debug)]
    struct Answers(Mutex<Vec<Result<&'static str, &'static str>>>);

    impl KeyServer for Answers {
        fn fetch<'k>(&'k self, _: &'k KeyName) -> BoxFuture<'k, Result<Zeroizing<Vec<u8>>, String>> {
            let mut answers = self.0.lock().expect("lock");
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
            let answer = answer.map(|text| Zeroizing::new(text.as_bytes().to_vec())).map_err(str::to_owned);
            Box::pin(async move { answer })
        }
    }

    fn served(answers: &[Result<&'static str, &'static str>]) -> Secrets {
        secrets(Provider::Ckms(key())).with_key_server(Arc::new(Answers(Mutex::new(answers.to_vec()))))
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
    async fn every_failure_names_the_secret_and_the_place() {
        for (provider, expected) in [
            (Provider::File("/nonexistent/x".into()), "secret `key`: cannot read the file /nonexistent/x: "),
            (
                Provider::Env("NO_SUCH_VARIABLE_HERE".into()),
                "secret `key`: the environment variable NO_SUCH_VARIABLE_HERE is not set",
            ),
            (
                Provider::Ckms(key()),
                "secret `key`: key k of group g (environment aws) could not be fetched from CKMS: ",
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
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let secrets = secrets(Provider::Command(vec!["echo".to_owned(), "hunter22".to_owned()]))
            .on_fetch(|value| TOLD.lock().expect("lock").push(value.to_owned()));
        let value = SecretText::new("Bearer $secret:key").resolve(&secrets).await.expect("resolved");
        assert_eq!(value.reveal(), "Bearer hunter22");
        assert_eq!(*TOLD.lock().expect("lock"), ["hunter22"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_kept_for_a_while_and_fetched_anew_when_it_is_old_or_was_refused() {
        let secrets = served(&[Ok("one"), Ok("two"), Ok("three")]);
        let value = async || secrets.resolve("key").await.expect("a value").reveal().to_owned();
        assert_eq!((value().await, value().await), ("one".to_owned(), "one".to_owned()));
        tokio::time::advance(KEPT).await;
        assert_eq!(value().await, "two");
        secrets.clone().refused("key");
        assert_eq!((value().await, value().await), ("three".to_owned(), "three".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_server_that_is_away_stops_nothing_that_works() {
        let secrets = served(&[Ok("one"), Err("away"), Ok("two")]);
        assert_eq!(secrets.resolve("key").await.expect("a value").reveal(), "one");
        tokio::time::advance(KEPT).await;
        assert_eq!(secrets.resolve("key").await.expect("the old value").reveal(), "one");
        assert_eq!(secrets.resolve("key").await.expect("a value").reveal(), "two");
        let never = served(&[Err("away")]).resolve("key").await.expect_err("no value").to_string();
        assert!(never.ends_with("from CKMS: away"), "{never}");
    }
}
