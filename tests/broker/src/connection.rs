//! One connection of a client: frames in, frames out, one request in process at a time.
//!
//! Promised: the next request is read only when the answer to the one before has been sent, as Kafka mutes a socket; a
//! frame that cannot be understood closes the connection; faults are done here and nowhere else.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use crate::api::{self, Call};
use crate::batch::int;
use crate::fault::Damage;
use crate::journal::SeenRequest;
use crate::sasl::{Login, Verdict};
use crate::state::Shared;
use crate::wire::{Request, Response, WireError};

/// `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 << 20;
/// Length, correlation id and tags of a response's header.
const RESPONSE_HEADER_BYTES_MAX: usize = 16;
/// Key, version and correlation id, which every header begins with.
const HEADER_BYTES_MIN: usize = 8;

/// Why a connection ended, other than by the client closing it between two frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("frame of {0} bytes")]
    FrameLength(i32),
    #[error("header does not decode")]
    Header,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{0:?} v{1} is not offered")]
    Version(ApiKey, i16),
    #[error("closed as the broker must: {0}")]
    Closed(&'static str),
}

/// One request with what its header said.
struct Incoming {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<String>,
    request: Request,
}

/// What goes back.
struct Outgoing {
    response: Option<Response>,
    close: bool,
    /// How long the socket stays muted afterwards (KIP-219).
    mute: Duration,
}

impl Outgoing {
    fn of(response: impl Into<Option<Response>>) -> Self {
        Self { response: response.into(), close: false, mute: Duration::ZERO }
    }

    fn then_close(mut self) -> Self {
        self.close = true;
        self
    }
}

/// Waits while the node is frozen.
pub(crate) async fn thawed(shared: &Shared, node: i32) {
    let frozen = shared.lock().nodes.get(&node).map(crate::node::Node::watch_frozen);
    if let Some(mut frozen) = frozen {
        // An error is the node's end; the task is aborted then.
        let _ended = frozen.wait_for(|frozen| !frozen).await;
    }
}

/// Talks to one client until either side has enough.
pub(crate) async fn serve<S>(shared: &Arc<Shared>, node: i32, id: u64, mut stream: S) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let login = Login::new(shared.lock().logins.required);
    let mut conversation = Conversation { shared, node, id, login };
    while let Some(frame) = read_frame(&mut stream).await? {
        thawed(shared, node).await;
        if let Some(incoming) = conversation.read(frame, &mut stream).await? {
            conversation.process(incoming, &mut stream).await?;
        }
    }
    Ok(())
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Bytes>, ConnectionError> {
    let length = match stream.read_i32().await {
        Ok(length) => length,
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(cause) => return Err(cause.into()),
    };
    let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= FRAME_BYTES_MAX);
    let bytes = bytes.ok_or(ConnectionError::FrameLength(length))?;
    let mut frame = BytesMut::with_capacity(bytes.min(1 << 20));
    let mut limited = stream.take(u64::try_from(bytes).unwrap_or(u64::MAX));
    while frame.len() < bytes {
        if limited.read_buf(&mut frame).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(Some(frame.freeze()))
}

struct Conversation<'a> {
    shared: &'a Arc<Shared>,
    node: i32,
    id: u64,
    login: Login,
}

impl Conversation<'_> {
    /// Reads header and body; a version of ApiVersions that is not spoken is answered here, as it cannot be decoded.
    async fn read<S: AsyncWrite + Unpin>(
        &mut self,
        mut frame: Bytes,
        stream: &mut S,
    ) -> Result<Option<Incoming>, ConnectionError> {
        if frame.len() < HEADER_BYTES_MIN {
            return Err(ConnectionError::Header);
        }
        let mut peek = frame.clone();
        let (key, version, correlation_id) = (peek.get_i16(), peek.get_i16(), peek.get_i32());
        let api = ApiKey::try_from(key).map_err(|()| WireError::UnknownApi(key))?;
        let offered = self.shared.lock().offered.get(&api).copied();
        if offered.is_none_or(|range| version < range.min || version > range.max) {
            if api != ApiKey::ApiVersions {
                return Err(ConnectionError::Version(api, version));
            }
            let answer = api::api_versions::unsupported(&self.shared.lock());
            stream.write_all(&frame_of(api, 0, correlation_id, &answer.into())?).await?;
            stream.flush().await?;
            return Ok(None);
        }
        let header = RequestHeader::decode(&mut frame, api.request_header_version(version))
            .map_err(|_| ConnectionError::Header)?;
        let client_id = header.client_id.map(|id| id.to_string());
        let request = Request::decode(api, version, &mut frame)?;
        Ok(Some(Incoming { api, version, correlation_id, client_id, request }))
    }

    /// Notes the request, lets a fault or a handler answer it, sends the answer.
    async fn process<S: AsyncWrite + Unpin>(
        &mut self,
        incoming: Incoming,
        stream: &mut S,
    ) -> Result<(), ConnectionError> {
        let damage = self.note(&incoming);
        let Incoming { api, version, correlation_id, .. } = incoming;
        let mut outgoing = match &damage {
            Some(Damage::Error(error)) => Outgoing::of(api::refusal::refuse(&incoming.request, version, *error)),
            Some(Damage::Disconnect) => return Err(ConnectionError::Closed("a planted fault")),
            Some(Damage::Silence) => future::pending().await,
            Some(Damage::Respond(answer)) => Outgoing::of(answer(&incoming.request, version)),
            Some(Damage::DelayRequest(delay)) => {
                sleep(*delay).await;
                self.answer(incoming).await?
            }
            _ => self.answer(incoming).await?,
        };
        match &damage {
            Some(Damage::ApplyThenDisconnect) => return Err(ConnectionError::Closed("a planted fault")),
            Some(Damage::ApplyThenSilence) => future::pending().await,
            Some(Damage::DelayResponse(delay)) => sleep(*delay).await,
            Some(Damage::Edit(change)) => outgoing.response.iter_mut().for_each(|response| change(response)),
            _ => {}
        }
        thawed(self.shared, self.node).await;
        if let Some(response) = &outgoing.response {
            let frame = frame_of(api, version, correlation_id, response)?;
            send(stream, frame, damage.as_ref()).await?;
        }
        if outgoing.close {
            return Err(ConnectionError::Closed("the login was refused or ran out"));
        }
        sleep(outgoing.mute).await;
        Ok(())
    }

    fn note(&self, incoming: &Incoming) -> Option<Damage> {
        let seen = SeenRequest {
            at: Instant::now(),
            broker: self.node,
            connection: self.id,
            version: incoming.version,
            correlation_id: incoming.correlation_id,
            client_id: incoming.client_id.clone(),
            request: incoming.request.clone(),
        };
        let mut state = self.shared.lock();
        let damage = state.faults.take(&seen);
        state.journal.note(seen);
        damage
    }

    /// What a broker in good health answers.
    async fn answer(&mut self, incoming: Incoming) -> Result<Outgoing, ConnectionError> {
        let Incoming { api, version, client_id, request, .. } = incoming;
        let verdict = self.login.judge(&self.shared.lock().logins, &request, version, Instant::now());
        match verdict {
            Verdict::Process => {}
            Verdict::Answer(response) => return Ok(Outgoing::of(*response)),
            Verdict::AnswerThenClose(response) => return Ok(Outgoing::of(*response).then_close()),
            Verdict::Refuse(error) => {
                return Ok(Outgoing::of(api::refusal::refuse(&request, version, error)).then_close());
            }
            Verdict::Close(why) => return Err(ConnectionError::Closed(why)),
        }
        let throttle = self.shared.lock().throttles.get(&api).copied().unwrap_or_default();
        if !throttle.is_zero() && api == ApiKey::Fetch {
            let response = api::fetch::throttled(throttle);
            return Ok(Outgoing { response: Some(response.into()), close: false, mute: throttle });
        }
        let call = Call { shared: self.shared, node: self.node, version, client_id: client_id.unwrap_or_default() };
        let mut response = api::answer(&call, request).await;
        if let Some(response) = response.as_mut().filter(|_| !throttle.is_zero()) {
            api::throttle::set(response, throttle);
        }
        Ok(Outgoing { response, close: false, mute: throttle })
    }
}

/// The frame without the length in front.
fn frame_of(api: ApiKey, version: i16, correlation_id: i32, response: &Response) -> Result<BytesMut, WireError> {
    let mut frame = BytesMut::with_capacity(response.size(version) + RESPONSE_HEADER_BYTES_MAX);
    frame.put_i32(0);
    ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(&mut frame, api.response_header_version(version))
        .map_err(|cause| WireError::Malformed { api, version, cause: cause.to_string() })?;
    response.encode(version, &mut frame)?;
    let length = int(frame.len() - 4);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Sends a frame, damaged where a fault says so.
async fn send<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut frame: BytesMut,
    damage: Option<&Damage>,
) -> Result<(), ConnectionError> {
    match damage {
        Some(Damage::Corrupt(change)) => {
            let mut body = frame.split_off(4).to_vec();
            change(&mut body);
            frame = BytesMut::new();
            frame.put_i32(int(body.len()));
            frame.put_slice(&body);
        }
        Some(Damage::FrameLength(length)) => frame[..4].copy_from_slice(&length.to_be_bytes()),
        Some(Damage::WrongCorrelation) => {
            for byte in &mut frame[4..8] {
                *byte ^= 0x55;
            }
        }
        Some(Damage::TruncateFrame) => frame.truncate(frame.len() / 2),
        _ => {}
    }
    stream.write_all(&frame).await?;
    stream.flush().await?;
    if matches!(damage, Some(Damage::TruncateFrame)) {
        return Err(ConnectionError::Closed("a planted fault"));
    }
    Ok(())
}
