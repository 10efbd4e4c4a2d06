//! Which path shows what.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::api::{Change, Question, Trouble};
use super::limits::BODY_BYTES_MAX;
use super::page::{Asked, STYLE, Status, render};
use super::{api, host};

/// Whether the service can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can, and this is what it does.
    Ready(String),
    /// It cannot, for these reasons, one line each.
    NotReady(Vec<String>),
}

/// What the listener shows. The calls come from requests: they must answer at once.
pub trait Surface: Send + Sync + 'static {
    /// `Err` holds the reason why the process should be replaced.
    fn alive(&self) -> Result<(), String>;
    /// Whether the service can do its work, and if not, why.
    fn readiness(&self) -> Readiness;
    /// The page for people; of one incident, when it is named. With `disk` it may read the disk, and is not asked on the runtime.
    fn status(&self, incident: Option<&str>, disk: bool) -> Status;
    /// The body of `/metrics` and its content type.
    fn metrics(&self) -> (String, &'static str);
    /// The answer to a question; may read the disk, and is not asked on the runtime.
    fn answer(&self, question: &Question) -> Result<Value, Trouble>;
    /// Changes something, for whoever had the token; may write to the disk.
    fn change(&self, change: &Change) -> Result<(), Trouble>;
    /// The token that changing needs, as its file is now; `None`: nothing can be changed.
    fn token(&self) -> Option<String>;
    /// Names of this host, beside addresses and `localhost`.
    fn host_names(&self) -> Vec<String>;
}

/// Headers of every answer: nothing is framed, sniffed, cached or loaded from elsewhere, no style but the page's own counts.
fn security() -> [(HeaderName, HeaderValue); 5] {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    );
    [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        ),
    ]
}

/// How long the page waits for what is on the disk. Platforms probe it, and give up after a second.
const DISK_PATIENCE: Duration = Duration::from_millis(600);

pub(super) fn router(surface: Arc<dyn Surface>) -> Router {
    let names: Arc<[String]> = surface.host_names().into();
    let api = api::router(Arc::clone(&surface));
    let security: Arc<[(HeaderName, HeaderValue)]> = Arc::new(security());
    Router::new()
        .route("/", get(status))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status.html", get(status))
        .route("/metrics", get(metrics))
        .with_state(surface)
        .merge(api)
        .fallback(not_found)
        .layer(middleware::from_fn(move |request, next| {
            guard(Arc::clone(&names), Arc::clone(&security), request, next)
        }))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Refuses what changes things or brings a body, and adds the headers to whatever is answered.
async fn guard(
    names: Arc<[String]>,
    security: Arc<[(HeaderName, HeaderValue)]>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let changes = *request.method() == Method::POST && request.uri().path().starts_with("/api/v1/");
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let mut response = if !host::is_ours(host, &names) {
        (StatusCode::MISDIRECTED_REQUEST, "the Host of the request is not this one; http.hosts lists more\n")
            .into_response()
    } else if !reads && !changes {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD here\n").into_response()
    } else if brings_a_body(&request) {
        (StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body\n").into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().extend(security.iter().cloned());
    response
}

fn brings_a_body(request: &Request) -> bool {
    let headers = request.headers();
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

async fn livez(State(surface): State<Arc<dyn Surface>>) -> (StatusCode, String) {
    match surface.alive() {
        Ok(()) => (StatusCode::OK, "alive\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn readyz(State(surface): State<Arc<dyn Surface>>) -> (StatusCode, String) {
    match surface.readiness() {
        Readiness::Ready(what) => (StatusCode::OK, format!("ready: {what}\n")),
        Readiness::NotReady(reasons) => {
            let lines: Vec<String> = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
            (StatusCode::SERVICE_UNAVAILABLE, lines.concat())
        }
    }
}

/// What is asked of the page.
#[derive(Deserialize)]
struct Search {
    incident: Option<String>,
    refresh: Option<u32>,
}

/// Omega's default probe asks for this page, so its status code says whether the service is ready.
async fn status(State(surface): State<Arc<dyn Surface>>, Query(search): Query<Search>) -> (StatusCode, Html<String>) {
    let readiness = surface.readiness();
    let code = match &readiness {
        Readiness::Ready(_) => StatusCode::OK,
        Readiness::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let asked = Asked {
        incident: search.incident.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        refresh_s: search.refresh.map(|seconds| seconds.clamp(5, 3600)),
    };
    let page = whole(&surface, asked.incident.clone()).await;
    (code, Html(render(&readiness, &page, &asked)))
}

/// With what is on the disk, if that can be had in time.
async fn whole(surface: &Arc<dyn Surface>, incident: Option<String>) -> Status {
    let (from_disk, wanted) = (Arc::clone(surface), incident.clone());
    let read = tokio::task::spawn_blocking(move || from_disk.status(wanted.as_deref(), true));
    match tokio::time::timeout(DISK_PATIENCE, read).await {
        Ok(Ok(page)) => page,
        Ok(Err(_)) | Err(_) => surface.status(incident.as_deref(), false),
    }
}

async fn metrics(State(surface): State<Arc<dyn Surface>>) -> Response {
    let (body, content_type) = surface.metrics();
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "here are /livez, /readyz, /status.html, /metrics and /api/v1/{health,group,incidents,actions,guards,decisions,episodes}\n",
    )
}
