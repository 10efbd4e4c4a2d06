//! Which path shows what.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::limits::BODY_BYTES_MAX;
use super::page::{Status, render};

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
    /// The page for people.
    fn status(&self) -> Status;
    /// The body of `/metrics` and its content type.
    fn metrics(&self) -> (String, &'static str);
}

/// Headers of every answer: nothing is framed, sniffed, cached or loaded from elsewhere.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ),
];

pub(super) fn router(surface: Arc<dyn Surface>) -> Router {
    Router::new()
        .route("/", get(status))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status.html", get(status))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .layer(middleware::from_fn(guard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(surface)
}

/// Refuses what changes things or brings a body, and adds the headers to whatever is answered.
async fn guard(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !reads {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], "only GET and HEAD here\n").into_response()
    } else if brings_a_body(&request) {
        (StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body\n").into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().extend(SECURITY);
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

/// Omega's default probe asks for this page, so its status code says whether the service is ready.
async fn status(State(surface): State<Arc<dyn Surface>>) -> (StatusCode, Html<String>) {
    let readiness = surface.readiness();
    let code = match &readiness {
        Readiness::Ready(_) => StatusCode::OK,
        Readiness::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Html(render(&readiness, &surface.status())))
}

async fn metrics(State(surface): State<Arc<dyn Surface>>) -> Response {
    let (body, content_type) = surface.metrics();
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "here are /livez, /readyz, /status.html and /metrics\n")
}
