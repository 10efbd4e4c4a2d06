//! A client of nothing but kafka-protocol and a blocking socket, so that no code of ours stands on both sides.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_broker_double::ApiKey;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

/// One connection; a request waits for its answer.
pub(crate) struct Raw<S = TcpStream> {
    stream: S,
    correlation_id: i32,
}

impl Raw {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Self::over(stream)
    }
}

impl<S: Read + Write> Raw<S> {
    /// Speaks over any stream.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    /// Sends a request.
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        let api = ApiKey::try_from(R::KEY).expect("a known key");
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("raw")))
            .encode(&mut frame, api.request_header_version(version))
            .expect("a header");
        request.encode(&mut frame, version).expect("a request");
        self.send_frame(&frame)
    }

    /// Sends a frame of any content.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut whole = BytesMut::new();
        whole.put_u32(u32::try_from(frame.len()).expect("a small frame"));
        whole.put_slice(frame);
        self.stream.write_all(&whole)?;
        self.stream.flush()
    }

    /// Reads the answer to the request sent last.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        let mut frame = self.receive_frame()?;
        let api = ApiKey::try_from(R::KEY).expect("a known key");
        let header =
            ResponseHeader::decode(&mut frame, api.response_header_version(version)).map_err(io::Error::other)?;
        if header.correlation_id != self.correlation_id {
            return Err(io::Error::other("another correlation id"));
        }
        let response = R::Response::decode(&mut frame, version).map_err(io::Error::other)?;
        assert!(!frame.has_remaining(), "bytes behind the response");
        Ok(response)
    }

    /// Reads a frame of any content.
    pub(crate) fn receive_frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a length")];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }
}
