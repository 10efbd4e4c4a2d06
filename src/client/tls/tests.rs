//! Files, names and the stream; refused handshakes are in the suite, against the broker double.

use kafka_broker_double::{Authority, Certificate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::server::TlsStream as ServerStream;

use super::*;

const DEADLINE: Duration = Duration::from_mins(1);

/// Both ends of a session; rustls' own buffers are at the other.
async fn session() -> (TlsStream, ServerStream<TcpStream>) {
    let authority = Authority::new();
    let settings = TlsSettings { ca_pem: Some(authority.pem().to_owned()), ..TlsSettings::default() };
    let acceptor = authority.identity(&[], Certificate::Valid).acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let tls = Tls::new(settings).unwrap();
    let (ours, theirs) = tokio::join!(tls.connect(tcp, "localhost", DEADLINE), acceptor.accept(accepted));
    (ours.unwrap(), theirs.unwrap())
}

/// Bytes that do not repeat with a record's or a buffer's length.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// Reads to the end, asking for `piece` bytes at a time.
async fn read_in_pieces(stream: &mut TlsStream, piece: usize) -> std::io::Result<Vec<u8>> {
    let (mut read, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(read),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
}

#[tokio::test]
async fn bytes_arrive_as_they_were_sent_however_they_are_asked_for() {
    for piece in [1, 7, 16_384, 3_000_000] {
        let (mut ours, mut theirs) = session().await;
        let sent = bytes(if piece == 1 { 40_000 } else { 2_000_000 });
        let (read, ()) = tokio::join!(read_in_pieces(&mut ours, piece), async {
            theirs.write_all(&sent).await.unwrap();
            theirs.shutdown().await.unwrap();
        });
        assert!(read.unwrap() == sent, "asked for {piece} at a time");
    }
}

#[tokio::test]
async fn both_sides_may_talk_at_once() {
    let (ours, theirs) = session().await;
    let sent = bytes(3_000_000);
    let ((mut our_half, mut our_writer), (mut their_half, mut their_writer)) =
        (tokio::io::split(ours), tokio::io::split(theirs));
    let (mut read_here, mut read_there) = (vec![0; sent.len()], vec![0; sent.len()]);
    let all = futures::future::try_join4(
        our_half.read_exact(&mut read_here),
        their_half.read_exact(&mut read_there),
        async {
            our_writer.write_all(&sent).await?;
            our_writer.flush().await
        },
        async {
            their_writer.write_all(&sent).await?;
            their_writer.flush().await
        },
    );
    all.await.unwrap();
    assert!(read_here == sent && read_there == sent);
}

#[tokio::test]
async fn an_end_that_the_peer_did_not_announce_is_an_error() {
    let (mut ours, mut theirs) = session().await;
    theirs.write_all(b"cut").await.unwrap();
    theirs.flush().await.unwrap();
    let (tcp, _) = theirs.into_inner();
    drop(tcp);
    let error = read_in_pieces(&mut ours, 100).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn new_keys_in_the_middle_change_nothing() {
    let (mut ours, mut theirs) = session().await;
    for round in 0..3_u8 {
        theirs.get_mut().1.refresh_traffic_keys().unwrap();
        let sent = vec![round; 50_000];
        theirs.write_all(&sent).await.unwrap();
        theirs.flush().await.unwrap();
        let mut read = vec![0; 50_000];
        ours.read_exact(&mut read).await.unwrap();
        ours.write_all(&[round]).await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!((read, theirs.read_u8().await.unwrap()), (sent, round));
    }
}

#[tokio::test]
async fn the_peer_learns_that_the_session_is_closed() {
    let (mut ours, mut theirs) = session().await;
    ours.write_all(b"last words").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
}

#[tokio::test]
async fn the_peer_learns_why_it_is_not_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let settings = TlsSettings { ca_pem: Some(stranger.pem().to_owned()), ..TlsSettings::default() };
    let acceptor = authority.identity(&[], Certificate::Valid).acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let tls = Tls::new(settings).unwrap();
    let (ours, theirs) = tokio::join!(tls.connect(tcp, "localhost", DEADLINE), acceptor.accept(accepted));
    assert!(matches!(ours.err(), Some(TlsError::UnknownAuthority(_) | TlsError::WrongSignature(_))));
    let told = theirs.err().unwrap();
    let told = told.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    assert!(matches!(told, Some(rustls::Error::AlertReceived(_))), "{told:?}");
}

#[test]
fn a_trailing_dot_is_not_part_of_the_certificates_name() {
    assert_eq!(server_name("broker1.example.").unwrap().to_str(), "broker1.example");
    assert!(matches!(server_name("127.0.0.1").unwrap(), ServerName::IpAddress(_)));
    assert_eq!(server_name("not a name"), Err(TlsError::ServerName("not a name".into())));
}

#[test]
fn a_missing_authority_file_is_named() {
    let error = Tls::new(TlsSettings::with_ca("/nonexistent/ca.pem")).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent/ca.pem: "), "{error}");
}

#[test]
fn a_file_without_a_certificate_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "no PEM in here\n").unwrap();
    let error = Tls::new(TlsSettings::with_ca(&path)).err().unwrap();
    assert_eq!(error, TlsError::File { path, what: "holds no PEM certificate".into() });
}

#[test]
fn a_file_that_turned_bad_keeps_the_certificates_loaded_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, kafka_broker_double::Authority::new().pem()).unwrap();
    let tls = Tls::new(TlsSettings::with_ca(&path)).unwrap();
    let first = tls.config();
    assert!(Arc::ptr_eq(&first, &tls.config()), "an unchanged file is not read again");
    std::fs::write(&path, "torn").unwrap();
    assert!(Arc::ptr_eq(&first, &tls.config()));
    let both = [kafka_broker_double::Authority::new(), kafka_broker_double::Authority::new()];
    std::fs::write(&path, [both[0].pem(), both[1].pem()].concat()).unwrap();
    assert!(!Arc::ptr_eq(&first, &tls.config()), "a good file is taken");
}

#[test]
fn this_machines_processor_is_enough() {
    assert_eq!(check_processor(), Ok(()));
}
