//! What is refused, and with which sentence: strangers, bodies that are too large or too slow, what is no message, and
//! addresses that others could hear.
// A test may end where it finds what it did not expect, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::sync::Arc;
use std::time::Duration;

use fixture::*;
use landbridge_core::message::to_bytes;
use landbridge_flow::error::{PeerError, ServeError};
use landbridge_flow::ports::Peer;
use landbridge_http::{Auth, Door, HttpPeer, ListenLimits, ServerError, ServerOptions, router, serve};
use reqwest::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as another program would send it.
async fn raw(server: &Server, path: &str, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Response {
    let mut request = http().request(Method::POST, format!("{}{path}", server.url)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// The status and the sentence of a refusal.
async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    (status, body["error"].as_str().unwrap().to_owned())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn strangers_and_wrong_tokens_are_answered_alike() {
    let server = server(&[("1", Some(OF_1)), ("C", None)], |_| {}).await;
    let body = |from: &str| to_bytes(&push(&["a"])).into_text().replace("\"from\":\"1\"", from);
    let wrong = bearer("no-such-token-abcdef");
    let mut answers = Vec::new();
    for (from, headers) in [
        ("\"from\":\"1\"", vec![("authorization", wrong.as_str())]),
        ("\"from\":\"1\"", vec![]),
        ("\"from\":\"X\"", vec![]),
        ("\"from\":\"X\"", vec![("authorization", wrong.as_str())]),
        ("\"from\":\"C\"", vec![("authorization", wrong.as_str())]),
    ] {
        let answer = raw(&server, "/v1/push", body(from), &headers).await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        answers.push(refusal(answer).await);
    }
    answers.dedup();
    assert_eq!(answers, [(401, "this site has no such peer, or the token is not that peer's".to_owned())]);
    assert!(server.fake.pushes.lock().unwrap().is_empty());
    assert_eq!(raw(&server, "/v1/push", body("\"from\":\"C\""), &[]).await.status(), 200);
}

#[tokio::test]
async fn a_site_cannot_speak_as_another() {
    let server = server(&[("1", Some(OF_1)), ("C", Some(OF_C)), ("D", None)], |_| {}).await;
    let peer = client(&server.url, |options| options.token = token(OF_C));
    let error = peer.push(push(&["a"])).await.unwrap_err();
    assert!(matches!(error, PeerError::Denied(_)));
    assert_eq!(
        error.to_string(),
        "does not accept this site: the message is from 1, and who sends it has shown that it is C"
    );
    assert!(matches!(peer.pull(pull(0)).await.unwrap_err(), PeerError::Denied(_)));
    assert!(server.fake.pushes.lock().unwrap().is_empty() && server.fake.pulls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_sender_of_much_hears_the_refusal() {
    let server = server(&[("1", Some(OF_1))], |options| options.body_bytes_max = 8 * BYTES_MAX).await;
    // Simple peers send everything before they listen; this is more than fits into the buffers between the two.
    let much = vec![b'x'; 24 * BYTES_MAX];
    for (path, secret, status) in [("v1/push", OF_C, 401), ("v1/push", OF_1, 413), ("elsewhere", OF_1, 404)] {
        let mut connection = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        let head =
            format!("POST /{path} HTTP/1.1\r\nhost: n\r\nauthorization: Bearer {secret}\r\nconnection: close\r\n");
        let head = format!("{head}content-length: {}\r\n\r\n", much.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&much).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_web_page_cannot_speak_to_the_bridge() {
    let server = server(&[("1", None)], |_| {}).await;
    let headers = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    let (status, sentence) = refusal(raw(&server, "/v1/push", to_bytes(&push(&["a"])), &headers).await).await;
    assert_eq!((status, sentence.as_str()), (403, "a browser's page cannot speak to a bridge"));
}

#[tokio::test]
async fn what_the_service_says_reaches_the_peer() {
    let (server, peer) = pair().await;
    let mut told = Vec::new();
    let errors: [fn() -> ServeError; 3] = [
        || ServeError::Malformed("this is site N, not X".to_owned()),
        || ServeError::Denied("this site is paused".to_owned()),
        || ServeError::NotNow,
    ];
    for error in errors {
        *server.fake.fails.lock().unwrap() = Some(error);
        told.push(peer.push(push(&["a"])).await.unwrap_err());
        told.push(peer.pull(pull(0)).await.unwrap_err());
    }
    assert!(matches!(&told[1], PeerError::Protocol(s) if s == "this is site N, not X"), "{:?}", told[1]);
    assert!(matches!(&told[2], PeerError::Denied(s) if s == "this site is paused"));
    assert!(matches!(&told[5], PeerError::NotNow(s) if s == "the database at this site does not answer now"));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whoever_notices_first() {
    let (server, peer) = pair().await;
    for bytes in [BYTES_MAX, 3 * BYTES_MAX] {
        let error = peer.push(push(&[&"x".repeat(bytes)])).await.unwrap_err();
        assert!(matches!(error, PeerError::TooLarge), "{error}");
    }
    let careful = client(&server.url, |options| options.body_bytes_max = 1000);
    assert!(matches!(careful.push(push(&[&"x".repeat(1000)])).await.unwrap_err(), PeerError::TooLarge));
    assert!(server.fake.pushes.lock().unwrap().is_empty());
    // The connection is still good for a smaller one.
    peer.push(push(&["a"])).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_taken() {
    let (server, _) = pair().await;
    let peer = client(&server.url, |options| options.body_bytes_max = 1000);
    for text in ["y".repeat(5000), random_text(5000)] {
        server.fake.owed.send_replace(vec![delivery(&[&text])]);
        let error = peer.pull(pull(0)).await.unwrap_err();
        assert!(matches!(&error, PeerError::Violation(s) if s.ends_with("larger than 1000 bytes")), "{error}");
    }
    let url = answering(format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{}", "y".repeat(5000))).await;
    let error = client(&url, |options| options.body_bytes_max = 1000).pull(pull(0)).await.unwrap_err();
    assert!(matches!(&error, PeerError::Violation(s) if s.ends_with("larger than 1000 bytes")), "{error}");
}

/// A text that compresses to no less than 1000 bytes.
fn random_text(chars: usize) -> String {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    };
    (0..chars).map(|_| next()).collect()
}

#[tokio::test]
async fn a_gigabyte_of_zeros_in_a_small_body_takes_no_memory() {
    let (server, _) = pair().await;
    let mut part = Vec::new();
    let zeros = std::io::Read::take(std::io::repeat(0), 1 << 26);
    zstd::stream::copy_encode(zeros, &mut part, 1).unwrap();
    let bomb = part.repeat(16);
    assert!(bomb.len() < BYTES_MAX / 4);
    let before = peak_memory();
    let bearer = bearer(OF_1);
    let headers = [("authorization", bearer.as_str()), ("content-encoding", "zstd")];
    let (status, sentence) = refusal(raw(&server, "/v1/push", bomb, &headers).await).await;
    assert_eq!((status, sentence), (413, format!("the body is larger than {BYTES_MAX} bytes once it is decompressed")));
    assert!(peak_memory() - before < 64 << 20, "{before} to {}", peak_memory());
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_body_in_another_coding_or_a_damaged_one_is_refused() {
    let (server, _) = pair().await;
    let bearer = bearer(OF_1);
    let coded = |coding: &'static str| [("authorization", bearer.clone()), ("content-encoding", coding.to_owned())];
    for (coding, status) in [("gzip", 415), ("zstd", 400)] {
        let headers = coded(coding);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = raw(&server, "/v1/push", to_bytes(&push(&["a"])), &headers).await;
        assert_eq!(answer.headers()["accept-encoding"], "zstd");
        assert_eq!(refusal(answer).await.0, status, "{coding}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_a_sentence() {
    let (server, _) = pair().await;
    let bearer = bearer(OF_1);
    let headers = [("authorization", bearer.as_str())];
    for garbage in ["", "hello", "{", "[]", "{\"wire\":1}", "\u{1b}[2J", "{\"wire\":1,\"from\":3}"] {
        for path in ["/v1/push", "/v1/pull"] {
            let (status, sentence) = refusal(raw(&server, path, garbage, &headers).await).await;
            assert_eq!(status, 400);
            assert!(sentence.starts_with("the message is not of the expected form: "), "{sentence}");
        }
    }
    let twice = to_bytes(&push(&["a", "b"])).into_text().replace("1/2", "1/1");
    let (status, sentence) = refusal(raw(&server, "/v1/push", twice, &headers).await).await;
    assert_eq!((status, sentence.as_str()), (400, "the delivery names 1/1 twice"));
}

#[tokio::test]
async fn another_wire_version_is_answered_with_both_versions() {
    let (server, peer) = pair().await;
    let mut later = push(&["a"]);
    later.wire = 7;
    let error = peer.push(later).await.unwrap_err();
    let sentence = "the message is of wire version 7; this bridge speaks 1";
    assert!(matches!(&error, PeerError::Protocol(s) if s == sentence), "{error}");
    // Also where the later version has another form altogether.
    let bearer = bearer(OF_1);
    let answer = raw(&server, "/v1/pull", "{\"wire\":7,\"who\":{}}", &[("authorization", &bearer)]).await;
    assert_eq!(refusal(answer).await, (400, sentence.to_owned()));
}

#[tokio::test]
async fn a_path_or_method_that_is_not_served_is_refused_in_json() {
    let (server, _) = pair().await;
    for path in ["/", "/v1", "/v1/push/", "/v2/push", "/v1/openapi"] {
        assert_eq!(refusal(raw(&server, path, "{}", &[]).await).await.0, 404, "{path}");
    }
    let answer = http().get(format!("{}/v1/push", server.url)).send().await.unwrap();
    assert_eq!(answer.headers()["allow"], "POST");
    assert_eq!(refusal(answer).await.0, 405);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let server = server(&[("1", Some(OF_1))], |o| o.body_time_max = Duration::from_millis(50)).await;
    for token in [OF_1, OF_C] {
        let mut connection = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        let head = format!("POST /v1/push HTTP/1.1\r\nhost: n\r\nauthorization: Bearer {token}\r\n");
        connection.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let status = if token == OF_1 { "HTTP/1.1 408" } else { "HTTP/1.1 401" };
        assert!(answer.starts_with(status), "{answer}");
        if token == OF_1 {
            assert!(answer.ends_with("{\"error\":\"the body did not arrive within 50ms\"}"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_body_that_stands_still_does_not_hold_up_the_end() {
    let (server, _) = pair().await;
    let mut connection = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let head = format!("POST /v1/push HTTP/1.1\r\nhost: n\r\nauthorization: Bearer {OF_1}\r\nexpect: 100-continue\r\n");
    connection.write_all(format!("{head}content-length: 100\r\n\r\n").as_bytes()).await.unwrap();
    // The server asks for the body when it begins to read it.
    connection.read_exact(&mut [0; 25]).await.unwrap();
    server.shutdown.cancel();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (server, _) = pair().await;
    let location = format!("{}/v1/push", server.url);
    let url =
        answering(format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
    let url = url.await;
    let error = client(&url, |_| {}).push(push(&["a"])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "answered what this bridge does not understand: {url} points elsewhere (307 Temporary Redirect), which is \
             not followed"
        )
    );
    assert!(server.fake.pushes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_bridge_is_told_apart_from_one_that_is_away() {
    let told = async |answer: &str| {
        let url = answering(answer.to_owned()).await;
        client(&url, |_| {}).push(push(&["a"])).await.unwrap_err()
    };
    let body = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let error = told(&body("404 Not Found", "<html>")).await;
    assert!(matches!(&error, PeerError::Protocol(s) if s.ends_with("404 Not Found; it may be no bridge")), "{error}");
    let error = told(&body("200 OK", "<html>")).await;
    assert!(matches!(&error, PeerError::Violation(s) if s.contains("not of the expected form")), "{error}");
    assert!(matches!(told(&body("429 Too Many Requests", "")).await, PeerError::NotNow(_)));
    assert!(matches!(told(&body("502 Bad Gateway", "")).await, PeerError::Unreachable(_)));
    assert!(matches!(told("SSH-2.0-OpenSSH_9.2\r\n").await, PeerError::Unreachable(_)));
    let error = told("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
    assert!(matches!(&error, PeerError::Unreachable(_)), "{error}");
    let error = told(&body("400 Bad Request", "{\"error\":\"a\\u001b[31m\\nb\"}")).await;
    assert!(matches!(&error, PeerError::Protocol(s) if s == "a [31m b"), "{error}");
}

/// A socket that answers every connection with the same bytes and closes it.
async fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                request.push(connection.read_u8().await.unwrap());
                if request.ends_with(b"\r\n\r\n") {
                    let mut body = [0; 4096];
                    let _ = connection.read(&mut body).await.unwrap();
                    break;
                }
            }
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_peer_that_is_gone_is_unreachable_in_a_readable_sentence() {
    let (server, peer) = pair().await;
    peer.push(push(&["a"])).await.unwrap();
    server.shutdown.cancel();
    server.task.await.unwrap().unwrap();
    let error = peer.push(push(&["a"])).await.unwrap_err();
    assert!(matches!(error, PeerError::Unreachable(_)));
    assert_eq!(error.to_string(), format!("cannot be reached: no connection to {}: nothing listens there", server.url));
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let peer = client(&url, |options| options.timeout = Duration::from_millis(50));
    let error = peer.push(push(&["a"])).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot be reached: no answer from {url} within 50ms"));
}

#[tokio::test]
async fn the_server_does_not_listen_where_others_could_hear() {
    let (server, _) = pair().await;
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Arc::clone(&server.fake) as _, ServerOptions::new(Auth::default()));
    let error = serve(listener, router, Default::default()).await.unwrap_err();
    assert!(matches!(error, ServerError::NotLoopback(_)));
    assert_eq!(
        error.to_string(),
        format!(
            "{address} is no loopback address, and without TLS others could hear; give the configuration a [tls] section, \
             or listen on 127.0.0.1 or [::1]"
        )
    );
}

#[tokio::test]
async fn strangers_who_say_nothing_keep_no_peer_out() {
    let limits = ListenLimits { strangers_max: 4, ..ListenLimits::default() };
    let (server, peer) = guarded(limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap());
        peer.push(push(&["a"])).await.unwrap();
    }
    // All but the newest were shown out.
    let mut first = silent.remove(0);
    assert_eq!(first.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(server.fake.pushes.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn a_head_that_comes_slowly_or_never_ends_is_given_up() {
    let short = Duration::from_millis(200);
    let limits = ListenLimits { header_time_max: short, header_bytes_max: 8 << 10, ..ListenLimits::default() };
    let (server, peer) = guarded(limits).await;
    let connect = || TcpStream::connect(server.url.trim_start_matches("http://").to_owned());
    let (mut slow, mut long) = (connect().await.unwrap(), connect().await.unwrap());
    slow.write_all(b"POST /v1/push HTTP/1.1\r\nhost: n\r\nx-slow: ").await.unwrap();
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer).await;
    assert!(!answer.contains("200"), "{answer}");
    let head = format!("POST /v1/push HTTP/1.1\r\nhost: n\r\nx-long: {}\r\n\r\n", "x".repeat(20 << 10));
    let _ = long.write_all(head.as_bytes()).await;
    let mut answer = String::new();
    let _ = long.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    peer.push(push(&["a"])).await.unwrap();
}

#[tokio::test]
async fn a_connection_on_which_nothing_happens_is_ended_and_a_waiting_pull_is_not() {
    let limits = ListenLimits { idle_time_max: Duration::from_millis(300), ..ListenLimits::default() };
    let (server, peer) = guarded(limits).await;
    let mut idle = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let asked = tokio::spawn(async move { peer.pull(pull(1)).await });
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0, "it is ended");
    assert!(asked.await.unwrap().unwrap().deliveries.is_empty());
}

/// A server with other limits, and the client of its peer.
async fn guarded(limits: ListenLimits) -> (Server, HttpPeer) {
    let server = server_with(&[("1", Some(OF_1))], |_| {}, Door::new(None, limits, None)).await;
    let peer = client(&server.url, |_| {});
    (server, peer)
}

/// The text of what was serialized.
trait IntoText {
    fn into_text(self) -> String;
}

impl IntoText for Vec<u8> {
    fn into_text(self) -> String {
        String::from_utf8(self).unwrap()
    }
}
