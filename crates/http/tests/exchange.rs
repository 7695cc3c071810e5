//! What works: messages arrive as they were sent, pulls wait and end, bodies are compressed.
// A test may end where it finds what it did not expect, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::sync::Arc;
use std::sync::Mutex;

use fixture::*;
use landbridge_core::message::{Account, Compare, Deliveries, Lost, LostOf, Missing, Verify, WIRE};
use landbridge_flow::error::PeerError;
use landbridge_flow::ports::{Compares, Peer};
use landbridge_http::Direction;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_push_arrives_as_it_was_sent_and_its_receipts_come_back() {
    let (server, peer) = pair().await;
    let sent = push(&["open ticket for analysis", "löse \u{1f600}\0"]);
    let receipts = peer.push(sent.clone()).await.unwrap();
    assert!(receipts.receipts[0].holds.contains(&origin("1/2")));
    assert_eq!(*server.fake.pushes.lock().unwrap(), [(site("1"), sent)]);
}

#[tokio::test]
async fn what_is_compared_and_what_was_lost_crosses_as_well() {
    let (_server, peer) = pair().await;
    let (from, to, history) = (site("1"), site("N"), "h".to_owned());
    let after = Some("ABC".to_owned());
    let (asks, asked, of) = (from.clone(), to.clone(), history.clone());
    let verify = Verify { wire: WIRE, from: asks, to: asked, history: of, after: after.clone(), texts: true };
    assert_eq!(peer.verify(verify).await.unwrap().after, after);

    let mut origins = landbridge_core::OriginSet::new();
    origins.insert(&origin("1/4"));
    let account = Account { exchanged: origins.clone(), ..Account::default() };
    let problems = vec![account.clone()];
    let compare = Compare { wire: WIRE, from: from.clone(), to: to.clone(), history: history.clone(), problems };
    assert_eq!(peer.compare(compare).await.unwrap().problems[0].as_ref().unwrap().account, account);

    let lost = Missing { origins, ..Missing::default() };
    let problems = vec![LostOf { names: Default::default(), lost }];
    let lost = Lost { wire: WIRE, from, to, history, meant: false, problems };
    assert_eq!(peer.lost(lost).await.unwrap().rows, [1]);
}

#[tokio::test]
async fn a_pull_without_waiting_is_answered_with_what_there_is() {
    let (server, peer) = pair().await;
    assert_eq!(peer.pull(pull(0)).await.unwrap(), Deliveries::new(Vec::new()));
    server.fake.owed.send_replace(vec![delivery(&["a"])]);
    assert_eq!(peer.pull(pull(0)).await.unwrap(), Deliveries::new(vec![delivery(&["a"])]));
}

#[tokio::test]
async fn a_pull_waits_and_is_answered_as_soon_as_there_is_something() {
    let (server, peer) = pair().await;
    let waiting = tokio::spawn(async move { peer.pull(pull(3600)).await });
    server.fake.wait_for_waiting(1).await;
    assert!(!waiting.is_finished());
    server.fake.owed.send_replace(vec![delivery(&["a"])]);
    assert_eq!(waiting.await.unwrap().unwrap().deliveries, [delivery(&["a"])]);
    // It asked for an hour, and the server allows a minute.
    assert_eq!(server.fake.pulls.lock().unwrap()[0].1.wait_seconds, 60);
}

#[tokio::test]
async fn a_waiting_pull_ends_at_shutdown_and_so_does_the_server() {
    let (server, peer) = pair().await;
    let waiting = tokio::spawn(async move { peer.pull(pull(50)).await });
    server.fake.wait_for_waiting(1).await;
    server.shutdown.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(&error, PeerError::NotNow(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "cannot answer now: this bridge is being stopped, or the certificate of this connection has ended"
    );
    server.task.await.unwrap().unwrap();
    server.fake.wait_for_waiting(0).await;
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_the_server_from_ending() {
    let (server, peer) = pair().await;
    peer.push(push(&["a"])).await.unwrap();
    server.shutdown.cancel();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pull_whose_peer_goes_away_waits_no_longer() {
    let (server, peer) = pair().await;
    let waiting = tokio::spawn(async move { peer.pull(pull(50)).await });
    server.fake.wait_for_waiting(1).await;
    waiting.abort();
    server.fake.wait_for_waiting(0).await;
}

#[tokio::test]
async fn a_peer_without_a_token_is_known_by_its_name_on_every_loopback_name() {
    let server = server(&[("1", None)], |_| {}).await;
    for url in [server.url.clone(), server.url.replace("127.0.0.1", "localhost")] {
        client(&url, |options| options.token = None).push(push(&["a"])).await.unwrap();
    }
    assert_eq!(server.fake.pushes.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_tap_sees_every_body_in_clear() {
    let (server, _) = pair().await;
    let kept = Arc::new(Kept::default());
    let peer = client(&server.url, |options| options.tap = Some(kept.clone()));
    let long = "x".repeat(5000);
    for _ in 0..2 {
        peer.push(push(&["open", &long])).await.unwrap();
    }
    client(&server.url, |options| {
        options.tap = Some(kept.clone());
        options.token = token(OF_C);
    })
    .push(push(&["a"]))
    .await
    .unwrap_err();
    let seen = kept.0.lock().unwrap();
    let directions: Vec<_> = seen.iter().map(|(direction, _)| *direction).collect();
    assert_eq!(directions, [Direction::Request, Direction::Answer].repeat(3));
    assert!(seen[2].1.contains(&long) && seen[3].1.contains("\"holds\":{\"1\":\"1-2\"}"));
    assert!(seen[5].1.starts_with("{\"error\":"));
}

#[tokio::test]
async fn the_protocol_is_described_where_it_is_served() {
    let (server, _) = pair().await;
    let answer = http().get(format!("{}/v1/openapi.json", server.url)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.unwrap(), landbridge_http::OPENAPI);
}

#[tokio::test]
async fn bodies_are_compressed_both_ways_after_the_first_answer() {
    let (server, _) = pair().await;
    let (wire, url) = listening(&server.url).await;
    let peer = client(&url, |_| {});
    let text = "the same words over and over. ".repeat(1000);
    server.fake.owed.send_replace(vec![delivery(&[&text])]);

    // The first request cannot know that the server reads zstd; its answer is compressed, because it asked for it.
    peer.push(push(&[&text])).await.unwrap();
    let first = wire.take();
    assert!(first.up.contains("the same words") && !first.up.contains("content-encoding"));

    peer.push(push(&[&text])).await.unwrap();
    let second = wire.take();
    assert!(!second.up.contains("the same words") && second.up.contains("content-encoding: zstd"));
    assert!(second.up.len() < 2000, "{}", second.up.len());

    let answer = peer.pull(pull(0)).await.unwrap();
    assert_eq!(answer.deliveries, [delivery(&[&text])]);
    let third = wire.take();
    assert!(!third.down.contains("the same words") && third.down.contains("content-encoding: zstd"));
    // Small messages are left as they are.
    assert!(third.up.contains("\"wait_seconds\":0"));
    assert_eq!(server.fake.pushes.lock().unwrap().len(), 2);
    assert_eq!(server.fake.pushes.lock().unwrap()[1].1, push(&[&text]));
}

#[tokio::test]
async fn a_peer_that_no_longer_reads_zstd_is_sent_the_same_in_clear() {
    let (server, _) = pair().await;
    let text = "the same words over and over. ".repeat(100);
    let receipts = "{\"receipts\":[]}";
    let clear = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{receipts}", receipts.len());
    let offered = clear.replacen("\r\n", "\r\naccept-encoding: zstd\r\n", 1);
    let refused = "HTTP/1.1 415 Unsupported Media Type\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (url, requests) = scripted(vec![offered, refused, clear]).await;
    let peer = client(&url, |_| {});
    peer.push(push(&[&text])).await.unwrap();
    peer.push(push(&[&text])).await.unwrap();
    let requests = requests.lock().unwrap();
    let compressed: Vec<_> = requests.iter().map(|head| head.contains("content-encoding: zstd")).collect();
    assert_eq!(compressed, [false, true, false]);
    drop(server);
}

/// Answers each request on one connection with the next of `answers`; keeps the heads of the requests.
async fn scripted(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        for answer in answers {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|s| s.lines().next()).unwrap().parse().unwrap();
            connection.read_exact(&mut vec![0; length]).await.unwrap();
            kept.lock().unwrap().push(head);
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, heads)
}

/// What crossed a wire, as far as it can be read.
#[derive(Default)]
struct Crossed {
    up: String,
    down: String,
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Crossed>>);

impl Wire {
    fn take(&self) -> Crossed {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A wire to the server at `url` that can be listened to: what went up is kept before it is passed on, and so is what
/// comes down.
async fn listening(url: &str) -> (Wire, String) {
    let server = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    let wire = Wire::default();
    let kept = wire.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (mut near_read, mut near_write) = near.into_split();
            let (mut far_read, mut far_write) = TcpStream::connect(&server).await.unwrap().into_split();
            let (up, down) = (kept.clone(), kept.clone());
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = near_read.read(&mut bytes).await {
                    up.0.lock().unwrap().up.push_str(&String::from_utf8_lossy(&bytes[..n]));
                    far_write.write_all(&bytes[..n]).await.unwrap();
                }
            });
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = far_read.read(&mut bytes).await {
                    down.0.lock().unwrap().down.push_str(&String::from_utf8_lossy(&bytes[..n]));
                    near_write.write_all(&bytes[..n]).await.unwrap();
                }
            });
        }
    });
    (wire, here)
}
