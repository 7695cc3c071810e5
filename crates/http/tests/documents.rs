//! What the documents say is what the messages are: every property of a message is described, every described property
//! exists, and the examples of `docs/protocol.md` are messages whose sums and digests are right.
// A test may end where it finds what it did not expect, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic)]

use landbridge_core::message::{
    Account, Answered, Belief, Beliefs, Believed, Checked, Code, Compare, Compared, Deliveries, Delivery, Entry,
    LossRecorded, Lost, LostOf, Missing, Pull, Push, Receipt, Receipts, Refusal, Refused, Text, TextSum, Verify, WIRE,
    from_bytes, to_bytes,
};
use landbridge_core::{Digest, Fields, OriginSet};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn openapi() -> Value {
    serde_json::from_str(landbridge_http::OPENAPI).unwrap()
}

fn set(origins: &[&str]) -> OriginSet {
    let mut set = OriginSet::new();
    origins.iter().for_each(|o| set.insert(&o.parse().unwrap()));
    set
}

fn names() -> std::collections::BTreeMap<landbridge_core::SiteName, landbridge_core::ProblemId> {
    [("1".parse().unwrap(), "ABC".parse().unwrap())].into()
}

/// A delivery in which nothing is left out.
fn delivery() -> Delivery {
    let fields: Fields = [("author".to_owned(), Some("anna".to_owned())), ("team".to_owned(), None)].into();
    let entry = Entry {
        origin: "C/9".parse().unwrap(),
        text: Some("text".to_owned()),
        digest: Some(Digest::of("text")),
        fields: fields.clone(),
        onward: false,
    };
    Delivery {
        names: names(),
        home: Some("C/900".parse().unwrap()),
        fields,
        belief: Belief::of(&set(&["1/1", "1/2"])),
        entries: vec![entry],
    }
}

fn receipt() -> Receipt {
    let refusal = Refusal { code: Code::TextTooLong, limit: Some(4000) };
    Receipt {
        names: names(),
        holds: set(&["1/1", "1/2", "N/4"]),
        wanted: set(&["C/9"]),
        refused: vec![Refused { origin: "1/3".parse().unwrap(), refusal }],
        knows: Some(set(&["1/1"])),
    }
}

fn push() -> Push {
    let (from, to) = ("1".parse().unwrap(), "N".parse().unwrap());
    Push { wire: WIRE, from, to, history: "h".to_owned(), deliveries: vec![delivery()] }
}

fn pull() -> Pull {
    Pull {
        wire: WIRE,
        from: "N".parse().unwrap(),
        to: "1".parse().unwrap(),
        history: "h".to_owned(),
        batch: Some(Digest::of("batch")),
        receipts: vec![receipt()],
        wait_seconds: 30,
    }
}

fn text() -> Text {
    Text { origin: "N/6".parse().unwrap(), digest: Digest::of("text") }
}

fn account() -> Account {
    Account { names: names(), exchanged: set(&["1/1", "N/6"]), texts: vec![text()] }
}

fn missing() -> Missing {
    Missing { origins: set(&["1/4"]), texts: vec![text()], differing: vec![text()], alike: vec![text()] }
}

fn verify() -> Verify {
    let (from, to) = ("1".parse().unwrap(), "N".parse().unwrap());
    Verify { wire: WIRE, from, to, history: "h".to_owned(), after: Some("ABC".to_owned()), texts: true }
}

fn beliefs() -> Beliefs {
    let (belief, texts) = (Belief::of(&set(&["1/1"])), Some(TextSum::of([&text()])));
    let believed = Believed { names: names(), belief, compare: true, texts };
    Beliefs { problems: vec![believed], after: Some("ABC".to_owned()) }
}

fn comparing() -> Compare {
    let (from, to) = ("1".parse().unwrap(), "N".parse().unwrap());
    Compare { wire: WIRE, from, to, history: "h".to_owned(), problems: vec![account()] }
}

fn compared() -> Compared {
    Compared { problems: vec![Some(Answered { account: account(), lacks: missing() })] }
}

fn lost() -> Lost {
    let (from, to) = ("1".parse().unwrap(), "N".parse().unwrap());
    let problems = vec![LostOf { names: names(), lost: missing() }];
    Lost { wire: WIRE, from, to, history: "h".to_owned(), meant: true, problems }
}

/// Each message, with nothing left out.
fn messages() -> Vec<(&'static str, Value)> {
    fn value(message: &impl Serialize) -> Value {
        serde_json::from_slice(&to_bytes(message)).unwrap()
    }
    vec![
        ("Push", value(&push())),
        ("Receipts", value(&Receipts { receipts: vec![receipt()] })),
        ("Pull", value(&pull())),
        ("Deliveries", value(&Deliveries::new(vec![delivery()]))),
        ("Verify", value(&verify())),
        ("Beliefs", value(&beliefs())),
        ("Compare", value(&comparing())),
        ("Compared", value(&compared())),
        ("Lost", value(&lost())),
        ("LossRecorded", value(&LossRecorded { rows: vec![3] })),
        ("Error", json!({"error": "a sentence"})),
    ]
}

/// Every schema that `schema` stands for: itself, what it refers to, and its alternatives.
fn meanings<'a>(openapi: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut all = vec![schema];
    if let Some(path) = schema["$ref"].as_str() {
        let target = openapi.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} is not there"));
        all.extend(meanings(openapi, target));
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        all.extend(meanings(openapi, alternative));
    }
    all
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether `value` has only what `schema` names. Where `whole`, it also has all that `schema` names.
fn compare(openapi: &Value, schema: &Value, value: &Value, place: &str, whole: bool) {
    let meanings = meanings(openapi, schema);
    let types: Vec<&str> = meanings
        .iter()
        .flat_map(|m| m["type"].as_array().cloned().unwrap_or_else(|| vec![m["type"].clone()]))
        .filter_map(|t| t.as_str().map(|t| &*t.to_owned().leak()))
        .collect();
    assert!(types.contains(&type_of(value)), "{place} is {value}, described as {types:?}");
    match value {
        Value::Object(members) => {
            let properties = |name: &str| meanings.iter().find_map(|m| m["properties"].get(name));
            let others = meanings.iter().find_map(|m| m.get("additionalProperties"));
            for (name, member) in members {
                let schema = properties(name).or(others).unwrap_or_else(|| panic!("{place}.{name} is not described"));
                compare(openapi, schema, member, &format!("{place}.{name}"), whole);
            }
            for meaning in meanings.into_iter().filter(|m| m.get("properties").is_some()) {
                for name in meaning["required"].as_array().into_iter().flatten() {
                    assert!(members.contains_key(name.as_str().unwrap()), "{place} has no {name}");
                }
                for name in meaning["properties"].as_object().into_iter().filter(|_| whole).flat_map(|p| p.keys()) {
                    assert!(members.contains_key(name), "{place}.{name} is described and does not exist");
                }
            }
        }
        Value::Array(items) => {
            let schema = meanings.iter().find_map(|m| m.get("items")).unwrap();
            items.iter().for_each(|item| compare(openapi, schema, item, &format!("{place}[]"), whole));
        }
        _ => {}
    }
}

#[test]
fn every_property_of_a_message_is_described_and_every_described_one_exists() {
    let openapi = openapi();
    for (name, message) in messages() {
        compare(&openapi, &openapi["components"]["schemas"][name], &message, name, true);
    }
}

/// Takes each required property out of each object in turn; what a reader does without is not called required, and
/// what it needs is.
#[test]
fn what_is_called_required_is_what_a_reader_needs() {
    fn needs<T: DeserializeOwned + Checked>(name: &str, message: &Value) {
        let openapi = openapi();
        let mut places = Vec::new();
        objects(&openapi, &openapi["components"]["schemas"][name], message, String::new(), &mut places);
        for (place, member, required) in places {
            let mut less = message.clone();
            less.pointer_mut(&place).unwrap().as_object_mut().unwrap().remove(&member);
            let read = from_bytes::<T>(less.to_string().as_bytes());
            assert_eq!(read.is_err(), required, "{name}{place}/{member}");
        }
    }
    for (name, message) in messages() {
        match name {
            "Push" => needs::<Push>(name, &message),
            "Receipts" => needs::<Receipts>(name, &message),
            "Pull" => needs::<Pull>(name, &message),
            "Deliveries" => needs::<Deliveries>(name, &message),
            "Verify" => needs::<Verify>(name, &message),
            "Beliefs" => needs::<Beliefs>(name, &message),
            "Compare" => needs::<Compare>(name, &message),
            "Compared" => needs::<Compared>(name, &message),
            "Lost" => needs::<Lost>(name, &message),
            "LossRecorded" => needs::<LossRecorded>(name, &message),
            _ => {}
        }
    }
}

fn objects(openapi: &Value, schema: &Value, value: &Value, place: String, found: &mut Vec<(String, String, bool)>) {
    let meanings = meanings(openapi, schema);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let Some(schema) = meanings.iter().find_map(|m| m["properties"].get(name)) else { continue };
                let required = meanings
                    .iter()
                    .filter(|m| m.get("properties").is_some())
                    .any(|m| m["required"].as_array().into_iter().flatten().any(|r| r == name));
                found.push((place.clone(), name.clone(), required));
                objects(openapi, schema, member, format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            let schema = meanings.iter().find_map(|m| m.get("items")).unwrap();
            for (i, item) in items.iter().enumerate() {
                objects(openapi, schema, item, format!("{place}/{i}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_code_is_described() {
    // A match without a rest, so that a new code is not forgotten here.
    let next = |code| match code {
        Code::TextTooLong => Some(Code::NullInColumn),
        Code::NullInColumn => Some(Code::Constraint),
        Code::Constraint => Some(Code::Trigger),
        Code::Trigger => Some(Code::Value),
        Code::Value => Some(Code::UnknownProblem),
        Code::UnknownProblem => Some(Code::NotAllowed),
        Code::NotAllowed => Some(Code::MarkerText),
        Code::MarkerText => Some(Code::Suspended),
        Code::Suspended => Some(Code::Unpaired),
        Code::Unpaired => Some(Code::LinkLost),
        Code::LinkLost => Some(Code::Conflict),
        Code::Conflict => Some(Code::Echo),
        Code::Echo => Some(Code::Other),
        Code::Other => None,
    };
    let codes: Vec<_> = std::iter::successors(Some(Code::TextTooLong), |code| next(*code)).collect();
    assert_eq!(openapi()["components"]["schemas"]["Code"]["enum"], serde_json::to_value(codes).unwrap());
}

#[test]
fn the_wire_version_is_the_described_one() {
    assert_eq!(openapi()["components"]["schemas"]["Wire"]["const"], WIRE);
    assert!(PROTOCOL.contains(&format!("`wire` is {WIRE}.")));
}

#[test]
fn the_examples_of_the_protocol_are_messages_with_right_sums_and_digests() {
    fn read<T: DeserializeOwned + Checked>(schema: &str, example: &str) -> T {
        let openapi = openapi();
        let value: Value = serde_json::from_str(example).unwrap();
        compare(&openapi, &openapi["components"]["schemas"][schema], &value, schema, false);
        from_bytes(example.as_bytes()).unwrap()
    }
    let examples: Vec<&str> =
        PROTOCOL.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [pushed, receipts, deliveries, pulled, comparing, compared] = examples[..] else {
        panic!("{} examples", examples.len())
    };

    let push: Push = read("Push", pushed);
    let belief = Belief::of(&set(&["1/1", "1/2"]));
    assert_eq!(push.deliveries[0].belief, belief);
    let sum = format!("{:016x}", belief.sum);
    assert!(PROTOCOL.contains(&format!("For `1/1` and `1/2` it is `{sum}`")), "{sum}");
    assert_eq!(push.deliveries[0].entries[1].digest, Some(Digest::of("written at C")));

    let receipts: Receipts = read("Receipts", receipts);
    assert_eq!(receipts.receipts[0].wanted, set(&["C/9", "1/5"]));
    let deliveries: Deliveries = read("Deliveries", deliveries);
    assert_eq!(deliveries, Deliveries::new(deliveries.deliveries.clone()));
    let pull: Pull = read("Pull", pulled);
    assert_eq!(pull.batch, Some(deliveries.batch));

    let comparing: Compare = read("Compare", comparing);
    assert_eq!(comparing.problems[0].exchanged, set(&["1/1", "1/2", "1/4", "N/6"]));
    let compared: Compared = read("Compared", compared);
    assert_eq!(compared.problems[0].as_ref().unwrap().lacks.origins, set(&["1/4", "N/6"]));
}
