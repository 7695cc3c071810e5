//! The record of what leaves, kept by real bridges: it is what `preview` announced and what went over the wire, entry by
//! entry; nothing arrives that it does not have, whoever is killed; and where it cannot be written, nothing leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::kit::ask::post;
use crate::kit::bridge::Bridge;
use crate::kit::command::{DONE, LEFT, PERSON, USAGE};
use crate::kit::desk::{Desk, QUICK, is_marker};
use crate::kit::folder::Folder;
use crate::kit::host::{At, Host};
use crate::kit::mounts::with_mounts;
use crate::kit::pair::{Pair, TOKEN};
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::{LOOK, wait_until};
use crate::kit::writer::{self, Job};
use crate::systems::tap::Tap;

const RECORD: &str = "[audit]\nfile = \"egress.audit\"\n";
const TOKEN_OF_C: &str = "a-token-of-site-C-for-tests-only";

/// An entry that left: the problem here, its origin, the text or else the digest, the values of its shared columns.
type Left = (String, String, Option<String>, Option<String>, BTreeMap<String, Value>);

/// Site 1, which keeps a record with texts, and site N. Everything that is said on the way between them is heard.
struct Heard {
    one: Desk,
    n: Desk,
    way: Tap,
    pull: bool,
    _folder: Folder,
}

impl Heard {
    fn new(name: &str, one: impl Into<At>, n: impl Into<At>, problems: &[&str], pull: bool) -> Self {
        let (folder, way) = (Folder::new(name), Tap::new());
        let listen = "[listen]\naddress = \"127.0.0.1:0\"\n";
        let url = format!("url = \"http://{}\"\n", way.address);
        let peer = |name: &str, rest: &str| format!("[[peer]]\nname = \"{name}\"\ntoken = \"{TOKEN}\"\n{rest}");
        let (to_n, to_one) = if pull { ("", format!("{url}pull = true\n")) } else { (url.as_str(), String::new()) };
        let c = format!("[[peer]]\nname = \"C\"\ntoken = \"{TOKEN_OF_C}\"\n");
        let of_one = format!("{listen}{}relay = true\n{c}{RECORD}texts = true\n{QUICK}", peer("N", to_n));
        let of_n = format!("{listen}{}relay_from = [\"C\"]\n{QUICK}", peer("1", &to_one));
        let one = Desk::make(folder.path(), "1", one, problems, &of_one);
        let n = Desk::make(folder.path(), "N", n, problems, &of_n);
        Self { one, n, way, pull, _folder: folder }
    }

    fn start(&self) -> (Bridge, Bridge) {
        if self.pull {
            let one = Bridge::start(&self.one);
            self.way.lead_to(one.address);
            return (one, Bridge::start(&self.n));
        }
        let n = Bridge::start(&self.n);
        self.way.lead_to(n.address);
        (Bridge::start(&self.one), n)
    }

    /// What `preview` says would leave.
    fn preview(&self) -> Vec<Left> {
        let ran = self.one.run(&["preview", "--peer", "N", "--json"]);
        assert!(ran.code == LEFT || ran.code == DONE, "{}", ran.said());
        let deliveries = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        left(&deliveries)
    }

    /// What went over the wire for N, in its order.
    fn wire(&self) -> Vec<Left> {
        let begin = if self.pull { "{\"batch\":\"" } else { "{\"wire\":1," };
        let heard = self.way.heard();
        let message = |(at, _)| {
            let mut values = serde_json::Deserializer::from_str(&heard[at..]).into_iter::<Value>();
            values.next().unwrap().unwrap()
        };
        let messages = heard.match_indices(begin).map(message).filter(|m| self.pull || m["to"] == "N");
        let deliveries: Vec<_> =
            messages.flat_map(|m| m["deliveries"].as_array().cloned().unwrap_or_default()).collect();
        left(&deliveries)
    }

    /// What stands in the record.
    fn recorded(&self) -> Vec<Left> {
        let way = if self.pull { "pull" } else { "push" };
        let mut recorded = Vec::new();
        for line in lines(&self.one) {
            assert_eq!((&line["peer"], &line["way"]), (&"N".into(), &way.into()));
            for entry in line["entries"].as_array().unwrap() {
                let text = entry["text"].as_str().map(str::to_owned);
                let keyed = entry["digest"].as_str().unwrap().to_owned();
                assert_eq!(text.is_some(), entry["left"] == "text");
                let row = (line["problem"].as_str().unwrap().to_owned(), entry["origin"].as_str().unwrap().to_owned());
                let values = entry["values"].as_object().cloned().unwrap_or_default().into_iter().collect();
                recorded.push((row.0, row.1, text, Some(keyed), values));
            }
        }
        recorded
    }
}

/// The lines of a record that say that something leaves.
fn lines(desk: &Desk) -> Vec<Value> {
    let text = std::fs::read_to_string(desk.folder.join("egress.audit")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["kind"] == "leaving").collect()
}

fn left(deliveries: &[Value]) -> Vec<Left> {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let mut left = Vec::new();
    for delivery in deliveries {
        for entry in delivery["entries"].as_array().unwrap() {
            let values = entry["fields"].as_object().cloned().unwrap_or_default().into_iter().collect();
            let problem = word(&delivery["names"]["1"]).unwrap();
            left.push((problem, word(&entry["origin"]).unwrap(), word(&entry["text"]), word(&entry["digest"]), values));
        }
    }
    left
}

/// The same with the digests keyed as the record has them: of the text, or of the digest that left.
fn keyed(heard: &Heard, left: Vec<Left>) -> Vec<Left> {
    let told = heard.one.run(&["audit", "key"]).ends(DONE).out;
    let digits = told.split_whitespace().nth(1).unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let key: Vec<u8> = (0..64).step_by(2).map(byte).collect();
    let key: [u8; 32] = key.try_into().unwrap();
    let digest = |of: &str| Some(blake3::keyed_hash(&key, of.as_bytes()).to_hex().to_string());
    let keyed = |(problem, origin, text, bare, values): Left| {
        let digest = digest(text.as_ref().or(bare.as_ref()).unwrap());
        (problem, origin, text, digest, values)
    };
    left.into_iter().map(keyed).collect()
}

/// Before anything leaves `preview` is asked; then it leaves; then the three are compared.
fn preview_is_record_is_wire(heard: &Heard, announced: usize, texts_follow: usize) {
    let preview = heard.preview();
    assert_eq!(preview.len(), announced, "{preview:?}");
    let (_one, _n) = heard.start();
    wait_until("N holds everything", || {
        heard.one.run(&["status", "--json"]).json()["peers"][0]["pending"] == 0 && heard.preview().is_empty()
    });
    let (wire, recorded) = (heard.wire(), heard.recorded());
    assert_eq!(keyed(heard, wire.clone()), recorded, "the record is what went over the wire, in its order");
    assert_eq!(wire.len(), announced + texts_follow);
    let sorted = |mut some: Vec<Left>| {
        some.sort_by(|a, b| (&a.0, &a.1, &a.2).cmp(&(&b.0, &b.1, &b.2)));
        some
    };
    assert_eq!(sorted(preview), sorted(wire[..announced].to_vec()), "what was announced is what left first");
    heard.one.run(&["audit", "verify"]).ends(DONE);
    let rows: BTreeSet<_> = heard.one.all().into_iter().map(|row| (row.problem, row.work)).collect();
    for line in lines(&heard.one) {
        for entry in line["entries"].as_array().unwrap() {
            let row = (line["problem"].as_str().unwrap().to_owned(), entry["row"].as_i64().unwrap());
            assert!(rows.contains(&row), "the record names a row that is not here: {row:?}");
        }
    }
    let against = heard.one.run(&["audit", "verify", "--against-database", "--json"]).ends(DONE).json();
    assert_eq!(against["database"]["same"], announced + texts_follow, "{against}");
}

/// Entries of two tickets, an internal note, and two entries of C that site 1 passes on: before the last of its own.
fn write_and_relay(heard: &Heard) {
    heard.one.append("ABC", &["first", "second: \"quoted\" \u{1f525}\nand a line"]);
    heard.one.append_internal("ABC", "SECRET-of-1 note");
    heard.one.append("XYZ", &["of another ticket"]);
    let one = Bridge::start(&heard.one);
    let entries = [1, 2].map(|n| serde_json::json!({"origin": format!("C/{n}"), "text": format!("written at C {n}")}));
    let push = serde_json::json!({"wire": 1, "from": "C", "to": "1", "history": "work_history", "deliveries": [
        {"names": {"C": "ABC"}, "belief": {"count": 0, "sum": "0000000000000000"}, "entries": entries}]});
    let (status, answer) = post(one.address.unwrap(), TOKEN_OF_C, "/v1/push", &push);
    assert_eq!((status, &answer["receipts"][0]["holds"]["C"]), (200, &"1-2".into()), "{answer}");
    one.stop();
    // It could not reach N, and has recorded what it tried to send: the story begins with a new record.
    for file in ["egress.audit", "landbridge.toml.cache"] {
        let _ = std::fs::remove_file(heard.one.folder.join(file));
    }
    heard.one.append("ABC", &["behind those of C"]);
}

#[test]
fn preview_record_and_wire_are_one_where_this_site_pushes_and_relays() {
    let heard = Heard::new("audit-push", &HELPDESK, &TICKETS, &["ABC", "XYZ"], false);
    write_and_relay(&heard);
    // Those of C and what stands behind them go as digests first; then their texts follow, being wanted.
    preview_is_record_is_wire(&heard, 6, 3);
    let line = &lines(&heard.one)[0];
    assert_eq!(line["entries"][0]["fields"], serde_json::json!(["author"]));
    assert!(!std::fs::read_to_string(heard.one.folder.join("egress.audit")).unwrap().contains("SECRET"));
}

#[test]
fn preview_record_and_wire_are_one_where_the_peer_pulls() {
    let heard = Heard::new("audit-pull", &HELPDESK, &COMMENTS, &["ABC", "XYZ"], true);
    write_and_relay(&heard);
    preview_is_record_is_wire(&heard, 6, 3);
}

#[test]
fn preview_record_and_wire_are_one_where_tickets_are_linked_and_created() {
    let Some(postgres) = Host::postgres() else { return };
    let queue = &crate::kit::schema::postgres::QUEUE;
    for pull in [false, true] {
        let heard = Heard::new("audit-linked", queue.on(&postgres), queue.on(&postgres), &["17", "18"], pull);
        heard.n.administer("delete from tickets");
        heard.n.reconfigure("link = \"external_ref\"\n", "link = \"external_ref\"\ncreate = true\n");
        heard.n.reconfigure("[listen]", "[problem.insert]\nstatus = \"'new'\"\n[listen]");
        heard.one.append("17", &["the disk is full", "and the other one too"]);
        heard.one.append("18", &["another"]);
        // Of a ticket that N may not have no text leaves before N wants it.
        preview_is_record_is_wire(&heard, 3, 3);
        let all = lines(&heard.one);
        let with_title = all.iter().filter(|line| line["problem_fields"] == serde_json::json!(["title"])).count();
        assert_eq!(with_title, 2, "each title left once, with the first texts: {all:?}");
        let named = all.iter().filter(|line| line["home"].is_string()).count();
        assert_eq!(named, all.len(), "the home name leaves with each");
    }
}

/// Site 1 keeps a record.
fn recording(name: &str, problems: &[&str]) -> Pair {
    let pair = Pair::new(name, &HELPDESK, &TICKETS, problems);
    pair.one.reconfigure("[pace]", &format!("{RECORD}[pace]"));
    pair
}

/// Every entry of site 1 that is at N stands in the record with its text, and the record is as it was written.
fn nothing_left_unrecorded(pair: &Pair) -> usize {
    let arrived: Vec<_> = pair.n.all().into_iter().filter(|row| row.text.starts_with("1/")).collect();
    pair.one.run(&["audit", "verify"]).ends(DONE);
    let own: BTreeMap<_, _> = pair.one.all().into_iter().map(|row| ((row.problem, row.text), row.work)).collect();
    let mut recorded = BTreeSet::new();
    for line in lines(&pair.one) {
        for entry in line["entries"].as_array().unwrap().iter().filter(|entry| entry["left"] == "text") {
            recorded.insert((line["problem"].as_str().unwrap().to_owned(), entry["row"].as_i64().unwrap()));
        }
    }
    for row in &arrived {
        let work = own[&(row.problem.clone(), row.text.clone())];
        assert!(recorded.contains(&(row.problem.clone(), work)), "{row:?} left unrecorded");
    }
    arrived.len()
}

#[test]
fn nothing_leaves_unrecorded_whoever_is_killed_at_any_moment() {
    let soak = std::env::var("LANDBRIDGE_SOAK").is_ok_and(|v| v == "1");
    let (entries, kills) = if soak { (6000, 40) } else { (600, 6) };
    let problems: Vec<_> = (0..30).map(writer::problem).collect();
    let problems: Vec<_> = problems.iter().map(String::as_str).collect();
    let pair = recording("audit-killed", &problems);
    let seed = std::env::var("LANDBRIDGE_SEED").map_or_else(|_| fastrand::u64(..1 << 32), |s| s.parse().unwrap());
    println!("LANDBRIDGE_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut one, mut n) = pair.start();
    let job = Job::new(entries / 2, 30, seed);
    let mut writers: Vec<_> = (0..2).map(|number| writer::start(&pair.one, number, &job)).collect();
    let mut due: Vec<_> = (0..kills).map(|_| dice.usize(1..entries / 2)).collect();
    due.sort_unstable();
    for due in due {
        let ended = |writers: &mut Vec<std::process::Child>| {
            writers.iter_mut().all(|writer| writer.try_wait().unwrap().is_some())
        };
        while pair.n.count("1/") < due && !ended(&mut writers) {
            std::thread::sleep(LOOK);
        }
        if dice.u8(..4) == 0 {
            n.kill();
            n = pair.start_n();
            continue;
        }
        one.kill();
        nothing_left_unrecorded(&pair);
        one = pair.start_one();
    }
    writers.iter_mut().for_each(|writer| assert!(writer.wait().unwrap().success()));
    pair.wait_until_in_step();
    let arrived = nothing_left_unrecorded(&pair);
    let verified = pair.one.run(&["audit", "verify", "--json"]).ends(DONE).json();
    println!(
        "{arrived} entries arrived, {} recorded as leaving, {} writes torn",
        verified["entries"], verified["torn"]
    );
    assert!(arrived > entries / 2);
}

#[test]
fn a_daemon_and_a_sync_write_one_record() {
    let pair = recording("audit-both", &["ABC", "XYZ"]);
    let (_one, _n) = pair.start();
    for round in 0..15 {
        pair.one.append("ABC", &[&format!("1/ first {round}")]);
        pair.one.append("XYZ", &[&format!("1/ second {round}")]);
        pair.one.run(&["sync"]);
    }
    pair.wait_until_in_step();
    assert_eq!(nothing_left_unrecorded(&pair), 30);
}

#[test]
fn rotated_by_a_rename_or_by_the_command_the_record_goes_on() {
    let pair = recording("audit-rotated", &["ABC"]);
    let record = pair.one.folder.join("egress.audit");
    let (one, _n) = pair.start();
    let arrives = |text: &str| {
        pair.one.append("ABC", &[text]);
        wait_until("it arrives", || pair.n.entries("ABC").contains(&text.to_owned()));
    };
    arrives("1/ one");
    let head = pair.one.run(&["audit", "head"]).ends(DONE).out.trim().to_owned();
    let renamed = pair.one.folder.join("egress.audit.1");
    std::fs::rename(&record, &renamed).unwrap();
    arrives("1/ two");
    pair.one.run(&["audit", "rotate"]).ends(DONE);
    arrives("1/ three");
    wait_until("its receipt is recorded, or it would leave again", || pair.one.pending() == 0);
    // Nobody who saw the last rename is alive.
    one.kill();
    let last = pair.one.folder.join("egress.audit-20261125");
    std::fs::rename(&record, &last).unwrap();
    let _one = pair.start_one();
    arrives("1/ four");
    let rotated = pair.one.folder.join("egress.audit.4");
    let files: Vec<PathBuf> = vec![renamed, rotated, last, record];
    let mut args = vec!["audit", "verify", "--head", &head];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let said = pair.one.run(&args).ends(DONE).out;
    assert!(said.contains("4 entries that left") && said.contains("It goes on from the head given"), "{said}");
    args.remove(5);
    pair.one.run(&args).ends(PERSON);
}

#[test]
fn where_the_record_was_cut_or_cannot_be_written_nothing_leaves_and_what_comes_is_taken() {
    let pair = recording("audit-closed", &["ABC"]);
    let record = pair.one.folder.join("egress.audit");
    let (_one, _n) = pair.start();
    pair.one.append("ABC", &["1/ first"]);
    pair.wait_until_in_step();

    let whole = std::fs::read(&record).unwrap();
    let cut = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
    std::fs::OpenOptions::new().write(true).open(&record).unwrap().set_len(cut as u64 + 1).unwrap();
    pair.one.append("ABC", &["1/ second"]);
    let told = || pair.one.status()["record"]["error"].as_str().unwrap_or_default().to_owned();
    wait_until("the cut is shown", || told().contains("replaced or cut"));
    let status = pair.one.run(&["status"]).ends(PERSON).out;
    assert!(status.contains("Nothing leaves:") && status.contains("egress.audit"), "{status}");
    pair.n.append("ABC", &["from N"]);
    wait_until("what comes is taken", || pair.one.entries("ABC").contains(&"from N".to_owned()));
    assert_eq!(pair.n.entries("ABC").iter().filter(|text| !is_marker(text)).count(), 2, "nothing has left");

    // Put back as it was, it goes on by itself.
    std::fs::write(&record, &whole).unwrap();
    wait_until("it leaves", || pair.n.entries("ABC").contains(&"1/ second".to_owned()));
    pair.wait_until_in_step();
    pair.one.run(&["audit", "verify"]).ends(DONE);
}

#[test]
fn on_a_full_disk_nothing_leaves_and_with_room_it_goes_on_by_itself() {
    let pair = recording("audit-full", &["ABC"]);
    pair.one.reconfigure("egress.audit", "../small/egress.audit");
    let _n = pair.start_n();
    pair.one.append("ABC", &["1/ first", "1/ second"]);
    let script = "mkdir -p \"$1/small\" && mount -t tmpfs -o size=64k tmpfs \"$1/small\" || exit 77
         dd if=/dev/zero of=\"$1/small/filler\" bs=4096 2> /dev/null
         site() { \"$program\" --config \"$folder/site-1/landbridge.toml\" \"$@\"; }
         program=$0 folder=$1
         \"$0\" --config \"$1/site-1/landbridge.toml\" run > /dev/null 2> \"$1/run.err\" & bridge=$!
         waits() { n=0; until \"$@\"; do n=$((n + 1)); test $n -lt 600 || { kill $bridge; exit 99; }; sleep 0.1; done; }
         full() { site status | grep -q 'free room on its disk'; }
         in_step() { site status > /dev/null; }
         waits full
         site status > /dev/null; test $? = 6 || exit 98
         site audit head > /dev/null; test $? = 3 || exit 97
         site history ABC --json > \"$1/history\"
         rm \"$1/small/filler\"
         waits in_step
         kill $bridge; wait $bridge
         site audit verify";
    let Some(ran) = with_mounts(pair.folder.path(), script) else { return };
    let said = ran.ends(DONE).out;
    assert!(said.contains("2 entries that left"), "{said}");
    let before = std::fs::read_to_string(pair.folder.path().join("history")).unwrap();
    assert!(!before.contains("copy in system N"), "nothing had left: {before}");
    assert_eq!(pair.n.entries("ABC"), ["1/ first", "1/ second"]);
}

#[test]
fn while_the_peer_is_away_the_record_grows_by_a_line_with_each_attempt_and_not_by_the_batch() {
    let pair = recording("audit-away", &["ABC"]);
    let texts: Vec<_> = (0..500).map(|n| format!("1/ {n}")).collect();
    pair.one.append("ABC", &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let _one = pair.start_one();
    wait_until("the record is begun", || pair.one.folder.join("egress.audit").exists());
    let verify = || pair.one.run(&["audit", "verify", "--json"]).ends(DONE).json();
    wait_until("it was tried again and again", || verify()["repeated"].as_u64().is_some_and(|times| times >= 4));
    let verified = verify();
    assert_eq!((&verified["entries"], &verified["deliveries"]), (&500.into(), &1.into()), "{verified}");
    let shown = pair.one.run(&["audit", "show"]).ends(DONE).out;
    assert!(shown.contains("number 2 once more"), "{}", shown.lines().last().unwrap());
    let of = |problem: &str| pair.one.run(&["audit", "show", "--problem", problem]).ends(DONE);
    assert!(of("ABC").out.contains("number 2 once more"));
    let nothing = of("XYZ");
    assert!(!nothing.out.contains("once more") && nothing.err.contains("names problem XYZ"), "{}", nothing.err);
    pair.one.run(&["audit", "show", "--peer", "Z"]).ends(USAGE);
    let _n = pair.start_n();
    pair.wait_until_in_step();
    assert_eq!(nothing_left_unrecorded(&pair), 500);
}
