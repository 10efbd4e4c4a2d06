//! `/api/v1/`: what the page shows, for programs; and pause, resume, reset and settle, for whoever holds the token.
//!
//! Reading needs nothing. Changing needs `Authorization: Bearer TOKEN`, where the token is what a file holds at the moment;
//! without such a file these do not exist. Questions that read the disk are answered off the runtime, one at a time.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::routes::Surface;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether the service is ready, and why not.
    Health,
    /// The group and its partitions.
    Group,
    /// The connections, the counts and the flight recorder of the consumer.
    Client,
    /// Incidents of the last hour, by condition and outcome.
    Incidents,
    /// Actions that run, are held or unknown, with their age.
    Actions,
    /// Kill switches, budgets, circuits, storm mode.
    Guards,
    /// What was decided lately; of one incident, when it is named.
    Decisions {
        /// Its id.
        incident: Option<String>,
    },
    /// Episodes as the ledger has them, a page of them.
    Episodes(Wanted),
    /// Every record of one episode.
    Episode {
        /// Its key.
        key: String,
    },
}

/// Which episodes are wanted; what is `None` is not asked. Texts as they came: what they mean is the surface's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Wanted {
    /// Of this incident.
    pub incident: Option<String>,
    /// Of this condition.
    pub condition: Option<String>,
    /// Standing like this.
    pub outcome: Option<String>,
    /// Last heard of at this time or later, milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// Last heard of before this time.
    pub to_ms: Option<i64>,
    /// Beyond this episode in the order of the ledger.
    pub after: Option<String>,
}

/// Why there is no answer, or nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// What was asked makes no sense: 400.
    Wrong(String),
    /// It makes sense, and not at the moment: 409 for a change, 503 for a question.
    NotNow(String),
}

/// What may be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing new starts, for this reason.
    Pause {
        /// For people.
        reason: String,
    },
    /// It starts again.
    Resume,
    /// The guards forget what has tripped.
    Reset {
        /// `all`, `budgets`, `breakers` or `storm`.
        what: String,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
    },
    /// What a person knows of an episode that waits for one.
    Settle {
        /// Its key.
        key: String,
        /// `succeeded`, `failed` or `retry`.
        how: String,
        /// Who says so.
        who: String,
        /// How it is known.
        why: String,
    },
}

/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 200;
const REASON: &str = "paused over HTTP";

/// One look at the disk at a time: a second reader waits here and not on the ledger.
type Turn = Arc<Mutex<()>>;

#[derive(Clone)]
struct Shared {
    surface: Arc<dyn Surface>,
    turn: Turn,
}

#[derive(Deserialize)]
struct Of {
    incident: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    key: String,
}

#[derive(Deserialize)]
struct Word {
    key: String,
    how: String,
    who: String,
    why: String,
}

#[derive(Deserialize)]
struct Forget {
    what: Option<String>,
    who: String,
    why: String,
}

#[derive(Deserialize)]
struct Because {
    reason: Option<String>,
}

pub(super) fn router(surface: Arc<dyn Surface>) -> Router {
    let shared = Shared { surface, turn: Turn::default() };
    let fixed = |question: Question| get(move |State(shared): State<Shared>| answer(shared, question.clone()));
    Router::new()
        .route("/api/v1/health", fixed(Question::Health))
        .route("/api/v1/group", fixed(Question::Group))
        .route("/api/v1/client", fixed(Question::Client))
        .route("/api/v1/incidents", fixed(Question::Incidents))
        .route("/api/v1/actions", fixed(Question::Actions))
        .route("/api/v1/guards", fixed(Question::Guards))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/incidents/{id}", get(one_incident))
        .route("/api/v1/episodes", get(episodes))
        .route("/api/v1/episode", get(episode))
        .route("/api/v1/settle", post(settle))
        .route("/api/v1/pause", post(pause))
        .route("/api/v1/reset", post(reset))
        .route("/api/v1/resume", post(resume))
        .with_state(shared)
}

async fn answer(shared: Shared, question: Question) -> Response {
    let _turn = shared.turn.lock().await;
    let surface = Arc::clone(&shared.surface);
    let asked = tokio::task::spawn_blocking(move || surface.answer(&question)).await;
    match asked.unwrap_or_else(|error| Err(Trouble::NotNow(format!("the look failed: {error}")))) {
        Ok(value) => Json(value).into_response(),
        Err(Trouble::Wrong(why)) => refuse(StatusCode::BAD_REQUEST, &why),
        Err(Trouble::NotNow(why)) => refuse(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

async fn episodes(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    answer(shared, Question::Episodes(wanted)).await
}

async fn episode(State(shared): State<Shared>, Query(named): Query<Named>) -> Response {
    answer(shared, Question::Episode { key: named.key }).await
}

async fn decisions(State(shared): State<Shared>, Query(of): Query<Of>) -> Response {
    answer(shared, Question::Decisions { incident: of.incident.filter(|id| !id.is_empty()) }).await
}

async fn one_incident(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    answer(shared, Question::Decisions { incident: Some(id) }).await
}

async fn pause(State(shared): State<Shared>, headers: HeaderMap, Query(because): Query<Because>) -> Response {
    let given = because.reason.unwrap_or_default();
    let reason: String = given.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    let reason = if reason.trim().is_empty() { REASON.to_owned() } else { reason };
    change(shared, &headers, Change::Pause { reason }).await
}

async fn settle(State(shared): State<Shared>, headers: HeaderMap, Query(word): Query<Word>) -> Response {
    let Word { key, how, who, why } = word;
    change(shared, &headers, Change::Settle { key, how, who, why }).await
}

async fn reset(State(shared): State<Shared>, headers: HeaderMap, Query(forget): Query<Forget>) -> Response {
    let Forget { what, who, why } = forget;
    change(shared, &headers, Change::Reset { what: what.unwrap_or_else(|| "all".to_owned()), who, why }).await
}

async fn resume(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    change(shared, &headers, Change::Resume).await
}

async fn change(shared: Shared, headers: &HeaderMap, change: Change) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let _turn = shared.turn.lock().await;
    let done = tokio::task::spawn_blocking(move || {
        let Some(token) = shared.surface.token() else {
            return refuse(
                StatusCode::NOT_FOUND,
                "there is no such path: http.admin_token_file is not set or not readable",
            );
        };
        if !given.is_some_and(|given| same(given.trim(), token.trim())) {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "needs the token of http.admin_token_file as Authorization: Bearer",
            );
        }
        match shared.surface.change(&change) {
            Ok(()) => Json(json!({"done": true})).into_response(),
            Err(Trouble::Wrong(why)) => refuse(StatusCode::BAD_REQUEST, &why),
            Err(Trouble::NotNow(why)) => refuse(StatusCode::CONFLICT, &why),
        }
    });
    done.await.unwrap_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

/// Compared as digests, so that the time taken says nothing of the token. An empty token opens nothing.
fn same(given: &str, token: &str) -> bool {
    !token.is_empty() && Sha256::digest(given) == Sha256::digest(token)
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({"error": why}))).into_response()
}
