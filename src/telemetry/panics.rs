//! A panic is a bug. It is logged where it happens, and it ends the process with its cause.
//!
//! The runtime catches the panic of a task, so without this a detached task would die and nobody would know. The hook
//! runs for every panic in every thread, logs it, and wakes the service, which drains what it can and exits non-zero.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tokio::sync::watch;

/// The first panic of the process, when there was one.
#[derive(Debug, Clone)]
pub struct Panics(watch::Receiver<Option<String>>);

impl Panics {
    /// Installs the hook (once for the process) and returns a view of it.
    pub fn watch() -> Self {
        static FIRST: OnceLock<watch::Sender<Option<String>>> = OnceLock::new();
        let sender = FIRST.get_or_init(|| {
            let sender = watch::Sender::new(None);
            let of_hook = sender.clone();
            std::panic::set_hook(Box::new(move |info| {
                let what = describe(info);
                tracing::error!(panic = what, "a panic: this is a bug of this program");
                of_hook.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(what);
                    is_first
                });
            }));
            sender
        });
        Self(sender.subscribe())
    }

    /// Waits for the first panic and returns what it said and where. Cancel-safe.
    pub async fn first(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await {
            Ok(first) => first.clone().unwrap_or_default(),
            // The sender is static: it is never dropped.
            Err(_) => std::future::pending().await,
        }
    }
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = text_of(info.payload());
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed").to_owned();
    match info.location() {
        Some(place) => format!("`{message}` at {}:{} in thread {thread}", place.file(), place.line()),
        None => format!("`{message}` in thread {thread}"),
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is not text".to_owned())
}
