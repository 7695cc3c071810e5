//! The configuration as a whole: every sentence that a fault may say, and what a file without faults becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landbridge_flow::Pairing;
use landbridge_stores::mapping::{Numbering, ProblemTable, Source};
use landbridge_stores::{Database, TableName};

use super::checked::{Limits, Pace, WATCH_DEFAULT};
use super::keys::{Key, ROOT, Shape};
use super::*;

mod form;
mod statements;
mod values;

const EXAMPLE: &str = include_str!("../../../../../landbridge.example.toml");
const TOKEN: &str = "hunter2-hunter2-hunter2";

const GOOD: &str = r#"site = "1"
key_file = "landbridge.key"
[database]
url = "sqlite:helpdesk.db"
[history]
name = "work_history"
table = "WORK_HISTORY"
problem = "PROBLEM_ID"
work = "WORK_ID"
text = "TEXT"
numbering = "generated"
fields = { author = "OPERATOR" }
[listen]
address = "127.0.0.1:7420"
[[peer]]
name = "N"
url = "http://127.0.0.1:7421"
token = "hunter2-hunter2-hunter2"
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "LANDBRIDGE_TOKEN_N" => Some(TOKEN.to_owned()),
        "FOLDER" => Some("secret-folder".to_owned()),
        "NAME" => Some("hunter2".to_owned()),
        "BAD" => Some("hunter2 'hunter2".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, Faults> {
    check(text, Path::new("landbridge.toml"), &env)
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The faults of `text`, a line each.
fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Ok(config) => panic!("no fault in\n{text}\n{config:?}"),
        Err(faults) => faults.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The good file with the line that begins with `key` replaced by `line`.
fn with(key: &str, line: &str) -> String {
    assert!(GOOD.lines().any(|l| l.starts_with(key)), "{key}");
    let lines = GOOD.lines().map(|l| if l.starts_with(key) { line } else { l });
    lines.filter(|l| !l.is_empty()).map(|l| format!("{l}\n")).collect()
}

/// The good file with `lines` behind the header `section`.
fn under(section: &str, lines: &str) -> String {
    assert!(GOOD.contains(section), "{section}");
    GOOD.replace(section, &format!("{section}\n{lines}"))
}

/// The good file with `lines` at its end.
fn and(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

/// `text` has exactly these faults, `expected` without the first file name.
#[track_caller]
fn assert_fault(text: &str, expected: &str) {
    let expected = format!("landbridge.toml:{expected}");
    assert_eq!(faults(text), expected.lines().collect::<Vec<_>>(), "\n{text}");
}

#[test]
fn a_file_without_faults_becomes_a_checked_value_with_every_default() {
    let config = check(GOOD, Path::new("/etc/bridge/landbridge.toml"), &env).unwrap();
    assert_eq!(config.site.as_str(), "1");
    assert_eq!(config.key_file, PathBuf::from("/etc/bridge/landbridge.key"));
    assert_eq!(config.database.shown(), "/etc/bridge/helpdesk.db");
    assert_eq!((config.database.busy(), config.password_file.as_ref()), (Duration::from_secs(30), None));
    assert_eq!((config.mapping.numbering(), config.pairing), (Numbering::Generated, Pairing::SameId));
    assert_eq!(config.mapping.phrases, ["copy in system"]);
    assert_eq!((config.mapping.within.as_ref(), config.mapping.problems.as_ref()), (None, None));
    assert_eq!((config.pace.clone(), config.limits.clone()), (Pace::default(), Limits::default()));
    let peer = config.peer(&"N".parse().unwrap()).unwrap();
    assert_eq!((peer.pull, peer.relay, peer.onward, peer.paused), (false, false, true, false));
    assert_eq!(config.mapping.peers[&peer.name], None);
    assert_eq!(config.notes(), ["no `share` holds anything back from N: every row of the history goes there"]);
}

/// The parts of the example that stand for others: lines that begin with `#|`.
fn alternative() -> String {
    EXAMPLE.lines().filter_map(|line| line.strip_prefix("#|")).map(|line| format!("{}\n", line.trim_start())).collect()
}

#[test]
fn the_example_has_every_known_key_and_no_fault() {
    let config = good(EXAMPLE);
    assert_eq!((config.pace.clone(), config.limits.clone()), (Pace::default(), Limits::default()));
    assert_eq!((config.database.busy(), config.notes()), (Duration::from_secs(30), vec![]));
    assert_eq!(
        config.mapping.problems,
        Some(ProblemTable {
            name: TableName::plain("PROBLEM"),
            id: "PROBLEM_ID".into(),
            share: Some("SHARED = 1".into()),
            fields: BTreeMap::from([("title".into(), "TITLE".into())]),
            link: Some("EXTERNAL_REF".into()),
            create: Some(BTreeMap::from([("STATUS".into(), "'open'".into())])),
        })
    );
    assert_eq!(config.pairing, Pairing::Linked { create: true });
    let other = good(&format!("site = \"1\"\nkey_file = \"k\"\n{}", alternative()));
    assert!(matches!(other.database, Database::Postgres(_)) && other.password_file.is_some());
    assert!(other.mapping.statements().is_some() && other.mapping.markers.is_some());
    let tls = other.tls.as_ref().unwrap();
    assert_eq!((tls.warn, tls.watch), (WARN_DEFAULT, WATCH_DEFAULT));
    assert!(other.peers[0].token.is_none() && other.peers[0].ca.is_some());
    fn covers(tables: &[&toml::Table], keys: &[Key], section: &str) {
        for key in keys {
            let values: Vec<&toml::Value> = tables.iter().filter_map(|table| table.get(key.name)).collect();
            let name = key.name;
            assert_eq!(values.is_empty(), matches!(key.shape, Shape::Later(_)), "{section}{name}");
            match &key.shape {
                Shape::Table(keys) => {
                    let tables: Vec<_> = values.iter().filter_map(|v| v.as_table()).collect();
                    covers(&tables, keys, &format!("{name}."));
                }
                Shape::Tables(keys) => {
                    let all = values.iter().filter_map(|v| v.as_array()).flatten();
                    let tables: Vec<_> = all.map(|table| table.as_table().unwrap()).collect();
                    covers(&tables, keys, &format!("{name}."));
                }
                _ => {}
            }
        }
    }
    covers(&[&EXAMPLE.parse().unwrap(), &alternative().parse().unwrap()], ROOT, "");
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    let text = r#"site = "one site"
frobnicate = 1
[database]
url = "oracle://u:hunter2@db/x"
[history]
shre = "A = 1"
table = "T"
problem = "P"
work = "p"
text = "X"
where = "(A = 1"
numbering = "by-hand"
[[peer]]
name = "N"
pull = "yes"
[pace]
sweep = 5
[limits]
batch_entries_max = 0
"#;
    let expected = "\
landbridge.toml:1:1: `key_file` is missing at the top of the file; write `key_file = \"landbridge.key\"`; `landbridge init` makes the file
landbridge.toml:1:8: \"one site\" is no name of a site; write 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit
landbridge.toml:2:1: unknown key `frobnicate`; what may stand here is `site`, `key_file`, `database`, `history`, `problem`, `markers`, `listen`, `tls`, `peer`, `pace`, `limits`, `audit`
landbridge.toml:4:7: `url` names a kind of database that is not known; write `url = \"sqlite:FILE\"`, \"postgres://USER@HOST/DATABASE\" or \"mysql://USER@HOST/DATABASE\"
landbridge.toml:5:1: `name` is missing in [history]; write `name = \"work_history\"`, the same at all sites
landbridge.toml:6:1: unknown key `shre` in [history]; did you mean `share`?
landbridge.toml:9:8: `work` and `problem` name the same column \"p\"; name three different columns
landbridge.toml:11:9: the condition `where`: a parenthesis is never closed; close it
landbridge.toml:12:13: `numbering` = \"by-hand\" is not known; write \"per-problem\" (the highest number of the problem and one more, as the application does it) or \"generated\" (the database gives out the number)
landbridge.toml:13:1: peer N has no `url`, so it has to dial us, and there is no [listen]; write its `url`, or `[listen]` with `address = \"127.0.0.1:7420\"`
landbridge.toml:13:1: `token` is missing in [[peer]]; write `token = \"${NAME}\"`, the same random text at both sites, such as `openssl rand -hex 32` gives
landbridge.toml:15:8: `pull` in [[peer]] is a text; write `pull = true` or `pull = false`, without quotes
landbridge.toml:17:9: `sweep` in [pace] is a whole number; a duration is a number and a unit, such as \"200ms\", \"1s\", \"5m\", \"1h\" or \"1d\"
landbridge.toml:19:21: `batch_entries_max` = 0 is out of bounds; write 1 to 1000000";
    assert_eq!(faults(text), expected.lines().collect::<Vec<_>>());
}

#[test]
fn an_empty_file_says_what_a_file_must_have() {
    let found = faults("");
    assert_eq!(found.len(), 4, "{found:#?}");
    for what in ["`site` is missing", "`key_file` is missing", "[database] is missing", "[history] is missing"] {
        assert!(found.iter().any(|f| f.starts_with("landbridge.toml:1:1: ") && f.contains(what)), "{what}: {found:#?}");
    }
}

#[test]
fn the_environment_is_read_and_never_shown() {
    let config = good(&with("token", "token = \"${LANDBRIDGE_TOKEN_N}\""));
    assert_eq!(config.peers[0].token.as_ref().unwrap().reveal(), TOKEN);
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert_fault(
        &with("table", "table = \"a ${MISSING}\""),
        "7:9: the environment has no variable MISSING (or it is no UTF-8); set it before the start, or write $${MISSING} \
         where these characters are meant",
    );
    assert_fault(
        &with("table", "table = \"${\""),
        "7:9: `${` is not followed by the name of a variable and `}`; write `${NAME}`, or `$${` where these characters are meant",
    );
    assert_fault(
        &with("name = \"N", "name = \"${NAME}\"\npull = true").replace("url = \"http://127.0.0.1:7421\"\n", ""),
        "17:8: peer ${NAME} has `pull = true` and no `url` to pull from; write its `url`, or take `pull` out: it pulls from us",
    );
    // The same value in every place where a value may stand and be wrong.
    for key in
        ["site", "url = \"sqlite", "name = \"w", "table", "numbering", "address", "name = \"N", "url = \"http", "token"]
    {
        let name = key.split(' ').next().unwrap();
        let text = with(key, &format!("{name} = \"${{BAD}}\""));
        if let Err(faults) = read(&text) {
            assert!(!format!("{faults} {faults:?}").contains("hunter2"), "{faults}");
        }
    }
    for lines in [
        "relay_from = [\"${BAD}\"]",
        "share = \"${BAD}\"",
        "[pace]\nsweep = \"${BAD}\"",
        "[limits]\nbatch_bytes_max = \"${BAD}\"",
        "[history.insert]\nA = \"${BAD}\"",
        "[problem]\npairing = \"${BAD}\"",
    ] {
        let faults = read(&and(lines)).unwrap_err();
        assert!(!format!("{faults} {faults:?}").contains("hunter2"), "{faults}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let missing = load(Path::new("/nowhere/landbridge.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/landbridge.toml: cannot be opened: "), "{missing}");
    assert!(missing.ends_with("; write one with `landbridge init`, or name another with `--config`"), "{missing}");
    let folder = load(Path::new("/")).unwrap_err().to_string();
    assert!(folder.starts_with("/: cannot be read: "), "{folder}");
}

/// A small generator of numbers: the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn no_text_panics_and_every_fault_has_a_place_in_the_file() {
    let words = [
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "=",
        "\n",
        "\r",
        "{",
        "}",
        "#",
        ".",
        "\u{0}",
        "😀",
        "\u{feff}",
        "${",
        "${NO}",
        "true",
        "1",
        "1.5",
        "-9223372036854775808",
        "99999999999999999999",
        "1979-05-27",
        "[peer]",
        "[[peer]]\n",
        "[history]\n",
        "peer = []\n",
        "peer = [1]\n",
        "history.x.y = 1\n",
        "\"\" = \"\"\n",
        "\"\"\"",
        "--",
        "/*",
        "(",
        "';'",
        "inf",
    ];
    let mut dice = Dice(1);
    for round in 0..4000 {
        let mut text: Vec<char> = if round % 2 == 0 { EXAMPLE } else { GOOD }.chars().collect();
        for _ in 0..=dice.below(4) {
            let from = dice.below(text.len() + 1);
            let to = (from + [0, 1, 5, 200][dice.below(4)]).min(text.len());
            let word = words[dice.below(words.len())];
            text.splice(from..to, word.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(faults) = read(&text) {
            assert!(faults.iter().count() > 0, "{text}");
            for fault in faults.iter() {
                let place = fault.place.unwrap();
                assert!(place.line <= text.matches('\n').count() + 1 && place.column > 0, "{fault}\n{text}");
                assert_ne!(fault.what, UNREADABLE, "{fault}\n{text}");
                assert!(!fault.to_string().contains('\n') && !fault.to_string().contains("hunter2"), "{fault}\n{text}");
            }
        }
    }
}
