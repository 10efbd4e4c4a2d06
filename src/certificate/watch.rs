//! Looks at the files of a pair again and again, by their content, and keeps the pair that is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::files::Looks;

use super::pair::{Pair, PairError, PairFiles};
use super::watched::{News, Urgency, Watched};

/// Between two looks, unless something is amiss.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What to watch.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// The two files.
    pub files: PairFiles,
    /// The common name that the certificate must have; `None`: the one of the first pair.
    pub common_name: Option<String>,
    /// Between two looks.
    pub every: Duration,
}

impl WatchSettings {
    /// The usual watch over two files.
    pub fn new(files: PairFiles, common_name: Option<String>) -> Self {
        Self { files, common_name, every: LOOK_EVERY }
    }
}

/// The pair in use and what is wrong with its files.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// The last good pair.
    pub pair: Option<Arc<Pair>>,
    /// Why the files hold no better one, once that lasts.
    pub trouble: Option<String>,
}

/// The pair in use, for whoever shows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shown {
    now: watch::Receiver<Watching>,
    renewals: Arc<AtomicU64>,
    files: PairFiles,
}

impl Shown {
    /// As it is now; never waits.
    pub fn now(&self) -> Watching {
        self.now.borrow().clone()
    }

    /// How often a pair took the place of an earlier one.
    pub fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }

    /// In one line: whose certificate and until when, or why there is none.
    pub fn described(&self) -> String {
        match self.now() {
            Watching { pair: Some(pair), .. } => {
                format!("certificate of {} until {}", pair.certificate.common_name, pair.certificate.ends_at())
            }
            Watching { trouble: Some(trouble), .. } => format!("no certificate: {trouble}"),
            Watching { .. } => format!("no certificate yet from {}", self.files.certificate.display()),
        }
    }
}

/// The watch. It looks once when it is made, then whenever [`CertificateWatch::run`] is polled.
#[derive(Debug)]
pub struct CertificateWatch {
    settings: WatchSettings,
    looks: Looks<Result<Pair, PairError>>,
    watched: Watched,
    shown: watch::Sender<Watching>,
    renewals: Arc<AtomicU64>,
}

impl CertificateWatch {
    /// Looks for the first time.
    pub async fn begin(settings: WatchSettings) -> Self {
        let watched = Watched::new(settings.files.clone(), settings.common_name.clone());
        let (shown, renewals) = (watch::Sender::new(Watching::default()), Arc::default());
        let files = settings.files.clone();
        let looks = Looks::new(move || Pair::read(&files));
        let mut this = Self { settings, looks, watched, shown, renewals };
        let found = this.looks.now().await;
        this.take(found);
        this
    }

    /// A view of the pair in use.
    pub fn shown(&self) -> Shown {
        let files = self.settings.files.clone();
        Shown { now: self.shown.subscribe(), renewals: Arc::clone(&self.renewals), files }
    }

    /// Looks until dropped.
    pub async fn run(mut self) {
        loop {
            let found = self.looks.after(self.watched.next_look(Instant::now(), self.settings.every)).await;
            self.take(found);
        }
    }

    fn take(&mut self, found: Option<Result<Pair, PairError>>) {
        let Some(found) = found else { return };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_s = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        for news in self.watched.take(Instant::now(), now_s, found) {
            self.tell(&news);
        }
        let trouble = self.watched.lasting_trouble().map(ToString::to_string);
        self.shown.send_replace(Watching { pair: self.watched.good.clone(), trouble });
    }

    fn tell(&self, news: &News) {
        let file = self.settings.files.certificate.display();
        match news {
            News::InUse { pair, again } => {
                let certificate = &pair.certificate;
                let (common_name, until) = (&certificate.common_name, certificate.ends_at());
                if *again {
                    self.renewals.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(%file, common_name, until, "the certificate was renewed");
                } else {
                    tracing::info!(%file, common_name, until, "a certificate is in use");
                }
            }
            News::Trouble(error) => {
                let kept = self.watched.good.is_some();
                tracing::warn!(
                    kept,
                    "the certificate's files cannot be used: {error}; {}",
                    if kept {
                        "the last good pair stays in use"
                    } else {
                        "there is none in use: is the certificate container (sia) running?"
                    }
                );
            }
            News::Healed => tracing::info!(%file, "the certificate's files are as they should be again"),
            News::Ending { urgency: Urgency::Late | Urgency::Fine, left_s } => {
                let hours = left_s / 3600;
                tracing::warn!(%file, left_s, "the certificate has less than {} h left and was not renewed: look at the certificate container (sia)", hours.saturating_add(1));
            }
            News::Ending { urgency: Urgency::NearlyOver, left_s } => {
                tracing::error!(%file, left_s, "the certificate has less than an hour left and was not renewed: look at the certificate container (sia)");
            }
            News::Ending { urgency: Urgency::Over, left_s } => {
                tracing::error!(%file, left_s, "the certificate has expired: the key server will refuse it; look at the certificate container (sia)");
            }
        }
    }
}
