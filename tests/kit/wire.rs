//! What crosses the wire, as somebody between the bridges sees it: of every link and direction how many messages and bytes,
//! and of every entry how often its text went and how often only a digest. What that means is for the tests to say.
//!
//! It reads HTTP/1.1 and JSON by itself, compressed or not, and knows nothing of the bridges but their protocol.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

/// From one site to another.
pub type Way = (String, String);
/// An entry: what the sender calls the problem, and the origin.
pub type Entry = (String, String);

/// Everything that was heard.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    ways: BTreeMap<Way, Traffic>,
    /// The texts of what was handed out to a pull, until the receipts come.
    handed_out: HashMap<(Way, String), Vec<Entry>>,
    /// Receipts that were heard before what they are for: the two directions of a connection are heard side by side.
    early: HashSet<(Way, String)>,
    bodies: u64,
    faults: Vec<String>,
}

/// What went one way.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Requests and answers.
    pub messages: u64,
    /// Their bytes as they travelled, compressed and with their heads.
    pub bytes: u64,
    /// Each entry that was delivered.
    pub entries: HashMap<Entry, Crossings>,
}

/// How often an entry went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossings {
    /// With its text.
    pub bodies: u32,
    /// With a digest of it.
    pub digests: u32,
    /// Those of the bodies for which no receipt came back.
    pub unanswered: u32,
}

impl Wire {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap()
    }

    /// What went each way so far. Fails where something was heard that is no exchange of two bridges, or must not leave.
    pub fn ways(&self) -> BTreeMap<Way, Traffic> {
        let heard = self.heard();
        assert!(heard.faults.is_empty(), "heard on the wire: {:#?}", heard.faults);
        heard.ways.clone()
    }

    /// How many texts crossed so far, on all ways.
    pub fn bodies(&self) -> u64 {
        self.heard().bodies
    }

    /// A connection from the one who dials.
    pub fn connection(&self) -> Connection {
        Connection { wire: self.clone(), asked: Vec::new(), answered: Vec::new(), open: VecDeque::new() }
    }
}

impl Heard {
    fn way(&mut self, way: &Way) -> &mut Traffic {
        self.ways.entry(way.clone()).or_default()
    }

    fn carried(&mut self, way: &Way, bytes: usize) {
        let traffic = self.way(way);
        (traffic.messages, traffic.bytes) = (traffic.messages + 1, traffic.bytes + bytes as u64);
    }

    /// Counts the entries of these deliveries. Those that went with their texts.
    fn deliver(&mut self, way: &Way, deliveries: &Value) -> Vec<Entry> {
        let mut with_text = Vec::new();
        for delivery in deliveries.as_array().into_iter().flatten() {
            let problem = word(&delivery["names"][&way.0]);
            for entry in delivery["entries"].as_array().into_iter().flatten() {
                let key = (problem.clone(), word(&entry["origin"]));
                let crossings = self.way(way).entries.entry(key.clone()).or_default();
                if entry["text"].is_null() {
                    crossings.digests += 1;
                } else {
                    (crossings.bodies, crossings.unanswered) = (crossings.bodies + 1, crossings.unanswered + 1);
                    with_text.push(key);
                }
            }
        }
        self.bodies += with_text.len() as u64;
        with_text
    }

    fn receipts_came(&mut self, way: &Way, entries: Vec<Entry>) {
        for entry in entries {
            if let Some(crossings) = self.way(way).entries.get_mut(&entry) {
                crossings.unanswered -= 1;
            }
        }
    }
}

/// What is said on one connection. Requests are answered in their order.
pub struct Connection {
    wire: Wire,
    asked: Vec<u8>,
    answered: Vec<u8>,
    open: VecDeque<Asked>,
}

/// A request that has no answer yet.
struct Asked {
    /// From the one who asks to the one who is asked.
    way: Way,
    call: Call,
}

enum Call {
    Push(Vec<Entry>),
    Pull,
    Other,
}

impl Connection {
    /// Bytes of requests, before they go on.
    pub fn ask(&mut self, bytes: &[u8]) {
        self.asked.extend_from_slice(bytes);
        while let Some(message) = self.next(true) {
            let asked = self.asked(&message);
            self.wire.heard().carried(&asked.way, message.bytes);
            self.open.push_back(asked);
        }
    }

    /// Bytes of answers that have arrived.
    pub fn answer(&mut self, bytes: &[u8]) {
        self.answered.extend_from_slice(bytes);
        while let Some(message) = self.next(false) {
            let Some(asked) = self.open.pop_front() else {
                self.wire.heard().faults.push(format!("an answer to nothing: {}", message.first));
                continue;
            };
            self.answered(asked, &message);
        }
    }

    fn asked(&self, message: &Message) -> Asked {
        let mut heard = self.wire.heard();
        let way = (word(&message.json["from"]), word(&message.json["to"]));
        let call = match message.first.as_str() {
            "/v1/push" => Call::Push(heard.deliver(&way, &message.json["deliveries"])),
            "/v1/pull" => {
                // The receipts have arrived with the question; its answer may wait for news for a long time.
                let back = (way.1.clone(), way.0.clone());
                let batch = (back.clone(), word(&message.json["batch"]));
                if let Some(entries) = heard.handed_out.remove(&batch) {
                    heard.receipts_came(&back, entries);
                } else if !batch.1.is_empty() {
                    heard.early.insert(batch);
                }
                Call::Pull
            }
            _ => Call::Other,
        };
        Asked { way, call }
    }

    fn answered(&self, asked: Asked, message: &Message) {
        let mut heard = self.wire.heard();
        let back = (asked.way.1.clone(), asked.way.0.clone());
        heard.carried(&back, message.bytes);
        if message.first != "200" {
            return;
        }
        match asked.call {
            Call::Push(entries) => heard.receipts_came(&asked.way, entries),
            Call::Pull => {
                let entries = heard.deliver(&back, &message.json["deliveries"]);
                let batch = (back.clone(), word(&message.json["batch"]));
                if heard.early.remove(&batch) {
                    heard.receipts_came(&back, entries);
                } else if !entries.is_empty() {
                    heard.handed_out.insert(batch, entries);
                }
            }
            Call::Other => {}
        }
    }

    /// The next message that has arrived whole.
    fn next(&mut self, is_request: bool) -> Option<Message> {
        let buffer = if is_request { &mut self.asked } else { &mut self.answered };
        match Message::take(buffer, is_request)? {
            Ok(message) => Some(message),
            Err(fault) => {
                buffer.clear();
                self.wire.heard().faults.push(fault);
                None
            }
        }
    }
}

/// A message.
struct Message {
    /// The path that is asked, or the status of the answer.
    first: String,
    json: Value,
    /// As it travelled.
    bytes: usize,
}

impl Message {
    /// Takes a message from the beginning of `buffer`; nothing while it is not whole.
    fn take(buffer: &mut Vec<u8>, is_request: bool) -> Option<Result<Self, String>> {
        let (first, headers, head) = head(buffer, is_request)?;
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let Some(length) = header("content-length").map_or(Some(0), |length| length.parse::<usize>().ok()) else {
            return Some(Err(format!("{first}: its length is no number")));
        };
        if header("transfer-encoding").is_some() {
            return Some(Err(format!("{first}: this ear does not understand chunks")));
        }
        if buffer.len() < head + length {
            return None;
        }
        let message: Vec<u8> = buffer.drain(..head + length).collect();
        let clear = match header("content-encoding") {
            Some("zstd") => zstd::stream::decode_all(&message[head..]).map_err(|e| e.to_string()),
            Some(other) => Err(format!("compressed with {other}")),
            None => Ok(message[head..].to_vec()),
        };
        let read = clear.and_then(|clear| {
            let said = String::from_utf8_lossy(&clear);
            if let Some(what) = ["SECRET-of-", "; seal "].into_iter().find(|what| said.contains(what)) {
                return Err(format!("{what:?} has left its site: {said}"));
            }
            if clear.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&clear).map_err(|e| e.to_string()) }
        });
        let message = read.map(|json| Self { first: first.clone(), json, bytes: head + length });
        Some(message.map_err(|fault| format!("{first}: {fault}")))
    }
}

type Head = (String, Vec<(String, String)>, usize);

/// The path or status, the headers and the length of a head that is there whole.
fn head(buffer: &[u8], is_request: bool) -> Option<Head> {
    let end = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..end]);
    let mut lines = text.lines();
    let first = lines.next()?.split(' ').nth(1)?.to_owned();
    debug_assert!(is_request == first.starts_with('/'));
    let header = |line: &str| line.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    Some((first, lines.filter_map(header).collect(), end))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
