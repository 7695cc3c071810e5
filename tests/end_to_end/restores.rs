//! Databases that are restored from a backup (DESIGN §2, F6; §5): what is gone at one side and held by the other comes back
//! on an operator's word, and not without it; what was purged on purpose stays away.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::thread;

use serde_json::json;

use crate::kit::backup::{Backup, purge};
use crate::kit::command::{DONE, LEFT, PERSON, landbridge};
use crate::kit::desk::{Desk, QUICK, is_marker};
use crate::kit::host::{At, Host};
use crate::kit::pair::{Dialling, Pair};
use crate::kit::schema::{COMMENTS, HELPDESK};
use crate::kit::wait::wait_until;

const PROBLEMS: [&str; 2] = ["ABC", "XYZ"];

/// Pairs of databases of all vendors and both numberings, as far as the servers are here.
fn pairs(name: &str) -> Vec<Pair> {
    let mut pairs = vec![Pair::new(&format!("{name}-files"), &HELPDESK, &COMMENTS, &PROBLEMS)];
    if let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) {
        let mut pair = |name: String, one: At, n: At| pairs.push(Pair::new(&name, one, n, &PROBLEMS));
        pair(format!("{name}-pg-my"), HELPDESK.on(&postgres), COMMENTS.on(&mariadb));
        pair(format!("{name}-my-pg"), HELPDESK.on(&mariadb), COMMENTS.on(&postgres));
    }
    pairs
}

/// Each text of the history without markers, and how often it is there.
fn texts(desk: &Desk) -> BTreeMap<String, usize> {
    let mut texts = BTreeMap::new();
    for row in desk.all().into_iter().filter(|row| !is_marker(&row.text)) {
        *texts.entry(format!("{} {}", row.problem, row.text)).or_default() += 1;
    }
    texts
}

/// Both sites have each of these once, and nothing else.
fn both_have(pair: &Pair, expected: &[&str]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|text| ((*text).to_owned(), 1)).collect();
    for desk in [&pair.one, &pair.n] {
        assert_eq!(texts(desk), expected, "{desk:?}");
    }
}

/// As a person does who cleans up internal notes.
fn delete_markers(desk: &Desk, problem: &str) {
    for row in desk.rows(problem).into_iter().filter(|row| is_marker(&row.text)) {
        desk.delete(problem, row.work);
    }
}

fn other<'a>(pair: &'a Pair, desk: &Desk) -> &'a Desk {
    if desk.site == "1" { &pair.n } else { &pair.one }
}

#[test]
fn what_a_restored_site_lost_comes_back_when_its_operator_repairs() {
    for restored in ["1", "N"] {
        for pair in pairs(&format!("restored-{restored}")) {
            restored_site_repairs(&pair, restored);
        }
    }
}

/// The site wrote and received, was restored, and gave out old numbers again.
fn restored_site_repairs(pair: &Pair, restored: &str) {
    let (one, n) = pair.start();
    pair.one.append("ABC", &["first of 1"]);
    pair.n.append("ABC", &["first of N"]);
    pair.wait_until_in_step();
    let desk = if restored == "1" { &pair.one } else { &pair.n };
    let backup = Backup::of(desk);
    pair.one.append("ABC", &["since, of 1"]);
    pair.n.append("ABC", &["since, of N"]);
    pair.n.append("XYZ", &["since, of N"]);
    pair.wait_until_in_step();

    let (stopped, stays) = if restored == "1" { (one, n) } else { (n, one) };
    stopped.kill();
    backup.restore(desk);
    // The numbers that peers know are given out again.
    desk.append("ABC", &["after the restore", "and another"]);
    let _bridges = (stays, if restored == "1" { pair.start_one() } else { pair.start_n() });
    let late = "ABC after the restore".to_owned();
    wait_until("what was written since arrives", || texts(other(pair, desk)).contains_key(&late));
    wait_until("it is marked", || desk.pending() == 0 && other(pair, desk).pending() == 0);
    assert!(!texts(desk).contains_key("ABC since, of 1"), "nothing comes back by itself: {desk:?}");

    let (here, there) = (desk.site, other(pair, desk).site);
    let seen = desk.run(&["verify", "--json"]).ends(PERSON).json();
    assert_eq!(seen[0]["state"], "differs", "{seen}");
    assert!(!seen[0]["findings"][0]["lost_here"][there].is_null(), "{seen}");
    let status = desk.status();
    assert!(status["peers"][0]["lost_here"]["count"].as_u64().unwrap() >= 1, "{status}");
    let told = other(pair, desk).run(&["verify", "--json"]).ends(PERSON).json();
    assert!(!told[0]["findings"][0]["lost_there"][there].is_null(), "{told}");

    let before = texts(desk);
    desk.run(&["repair", "--peer", there, "--dry-run"]).ends(PERSON);
    assert_eq!(texts(desk), before);
    let said = desk.run(&["repair", "--peer", there, "--yes"]).ends(DONE).out;
    assert!(said.contains("Both agree now"), "{said}");
    let all = [
        "ABC first of 1",
        "ABC first of N",
        "ABC since, of 1",
        "ABC since, of N",
        "XYZ since, of N",
        "ABC after the restore",
        "ABC and another",
    ];
    both_have(pair, &all);
    for desk in [&pair.one, &pair.n] {
        desk.run(&["verify"]).ends(DONE);
        let status = desk.status();
        let peer = &status["peers"][0];
        let quiet = [&peer["pending"], &peer["diverged"]["count"], &peer["lost_here"]["count"]];
        assert_eq!(quiet, [&json!(0), &json!(0), &json!(0)], "{here}: {status}");
    }
    pair.one.append("ABC", &["life goes on"]);
    wait_until("it arrives", || texts(&pair.n).contains_key("ABC life goes on"));
}

#[test]
fn both_sites_restored_to_different_days_have_all_that_either_still_has() {
    for pair in pairs("both-restored") {
        let (one, n) = pair.start();
        pair.one.append("ABC", &["monday at 1"]);
        pair.n.append("ABC", &["monday at N"]);
        pair.wait_until_in_step();
        let monday = Backup::of(&pair.one);
        pair.one.append("ABC", &["tuesday at 1"]);
        pair.n.append("ABC", &["tuesday at N"]);
        pair.wait_until_in_step();
        let tuesday = Backup::of(&pair.n);
        pair.one.append("ABC", &["wednesday at 1"]);
        pair.n.append("XYZ", &["wednesday at N"]);
        pair.wait_until_in_step();
        one.kill();
        n.kill();
        monday.restore(&pair.one);
        tuesday.restore(&pair.n);
        pair.one.append("ABC", &["thursday at 1"]);
        pair.n.append("ABC", &["thursday at N"]);
        let (_one, _n) = pair.start();
        wait_until("both have thursday", || {
            let thursday = |desk: &Desk| texts(desk).keys().filter(|text| text.contains("thursday")).count();
            thursday(&pair.one) == 2 && thursday(&pair.n) == 2 && pair.one.pending() + pair.n.pending() == 0
        });
        thread::scope(|scope| {
            for (desk, peer) in [(&pair.one, "N"), (&pair.n, "1")] {
                scope.spawn(move || desk.run(&["repair", "--peer", peer, "--yes"]).ends(DONE));
            }
        });
        // Wednesday is nowhere any more, as far as the sites know.
        let all = ["monday at 1", "monday at N", "tuesday at 1", "tuesday at N", "thursday at 1", "thursday at N"];
        let all: Vec<_> = all.iter().map(|text| format!("ABC {text}")).collect();
        both_have(&pair, &all.iter().map(String::as_str).collect::<Vec<_>>());
        pair.one.run(&["verify"]).ends(DONE);
    }
}

#[test]
fn one_number_with_another_text_at_each_site_is_found_and_an_operator_says_what_it_is() {
    for pair in pairs("two-texts") {
        let (one, n) = pair.start();
        pair.n.append("ABC", &["first"]);
        pair.wait_until_in_step();
        let before = Backup::of(&pair.n);
        pair.n.append("ABC", &["old"]);
        pair.wait_until_in_step();
        let with_old = Backup::of(&pair.one);
        n.kill();
        before.restore(&pair.n);
        pair.n.append("ABC", &["new"]);
        let _n = pair.start_n();
        wait_until("the number is here with both texts", || texts(&pair.one).contains_key("ABC new"));
        wait_until("it is marked", || pair.n.pending() == 0);
        one.kill();
        with_old.restore(&pair.one);
        let _one = pair.start_one();

        // By the origins all agrees, and yet each site lacks what the other has.
        pair.one.run(&["verify", "--without-texts"]).ends(DONE);
        for (desk, other) in [(&pair.one, &pair.n), (&pair.n, &pair.one)] {
            let seen = desk.run(&["verify", "--json"]).ends(PERSON).json();
            let finding = &seen[0]["findings"][0];
            assert!(finding["other_text"]["N"].is_string(), "{seen}");
            assert_eq!([&finding["lost_here"], &finding["lost_there"]], [&json!({}), &json!({})], "{seen}");
            // It may have been edited: nothing comes of it by itself.
            let before = (texts(desk), texts(other));
            let said = desk.run(&["repair", "--peer", other.site, "--yes"]).ends(PERSON).out;
            assert!(said.contains("Nothing is lacking") && said.contains("repair --texts"), "{said}");
            assert_eq!((texts(desk), texts(other)), before);
        }
        pair.n.run(&["repair", "--peer", "1", "--texts", "--yes"]).ends(DONE);
        both_have(&pair, &["ABC first", "ABC old", "ABC new"]);
        for desk in [&pair.one, &pair.n] {
            desk.run(&["verify"]).ends(DONE);
            assert_eq!(desk.status()["differs"]["count"], 1, "both texts wait for a person");
        }
    }
}

#[test]
fn what_an_operator_says_was_edited_is_no_difference_until_it_is_edited_again() {
    for pair in pairs("edited") {
        let (_one, _n) = pair.start();
        pair.one.append("ABC", &["a wrod"]);
        pair.n.append("XYZ", &["kept"]);
        pair.wait_until_in_step();
        pair.one.edit("ABC", 1, "a word");
        for verb in [&["verify"][..], &["repair", "--peer", "N", "--yes"]] {
            pair.one.run(verb).ends(PERSON);
        }

        let said = pair.one.run(&["verify", "--acknowledge"]).ends(DONE).out;
        assert!(said.contains("Acknowledged as edited: 1 entry"), "{said}");
        for verb in [&["verify"][..], &["verify", "--peer", "N", "ABC"], &["repair", "--peer", "N", "--yes"]] {
            pair.one.run(verb).ends(DONE);
        }
        let seen = pair.one.run(&["verify", "--json"]).ends(DONE).json();
        assert_eq!((&seen[0]["edits_seen"], &seen[0]["findings"]), (&json!(1), &json!([])), "{seen}");
        // Each site has its own operator.
        pair.n.run(&["verify"]).ends(PERSON);

        // What was seen is neither another edit, nor a loss.
        pair.one.edit("ABC", 1, "another word");
        pair.one.run(&["verify"]).ends(PERSON);
        pair.one.run(&["verify", "--acknowledge", "--peer", "N", "ABC"]).ends(DONE);
        purge(&pair.n, "XYZ");
        let seen = pair.one.run(&["verify", "--json"]).ends(PERSON).json();
        assert_eq!((&seen[0]["edits_seen"], &seen[0]["findings"][0]["problem"]), (&json!(1), &json!("XYZ")), "{seen}");
        pair.one.run(&["repair", "--peer", "N", "--texts", "--dry-run"]).ends(PERSON);
    }
}

#[test]
fn what_was_purged_on_purpose_does_not_come_back() {
    for pair in pairs("purged") {
        let (_one, _n) = pair.start();
        pair.one.append("ABC", &["old", "older"]);
        pair.n.append("ABC", &["of N"]);
        pair.one.append("XYZ", &["kept"]);
        pair.wait_until_in_step();
        // A row alone, with the marker still there: nobody misses it.
        let number = pair.n.rows("XYZ").iter().find(|row| row.text == "kept").unwrap().work;
        pair.n.delete("XYZ", number);
        pair.one.run(&["verify", "--peer", "N"]).ends(DONE);

        purge(&pair.n, "ABC");
        pair.one.append("ABC", &["news"]);
        wait_until("the news arrive", || texts(&pair.n).contains_key("ABC news"));
        wait_until("the loss is seen with the receipt", || pair.one.status()["peers"][0]["diverged"]["count"] == 1);
        assert_eq!(texts(&pair.n), [("ABC news".to_owned(), 1)].into(), "and nothing more came");
        let said = pair.one.run(&["status"]).ends(PERSON).out;
        assert!(said.contains("landbridge repair --peer N"), "{said}");

        let said = pair.one.run(&["repair", "--peer", "N", "--accept", "--yes"]).ends(DONE).out;
        assert!(said.contains("Recorded as meant: 3 rows"), "{said}");
        pair.one.run(&["status"]).ends(DONE);
        for desk in [&pair.one, &pair.n] {
            desk.run(&["verify"]).ends(DONE);
        }

        pair.one.append("ABC", &["more news"]);
        wait_until("life goes on", || texts(&pair.n).contains_key("ABC more news"));
        assert_eq!(texts(&pair.n).len(), 2);
        pair.wait_until_in_step();
    }
}

#[test]
fn a_site_takes_back_what_it_wrote_only_while_its_operator_repairs() {
    let pair = Pair::new("door", &HELPDESK, &COMMENTS, &PROBLEMS);
    let (_one, n) = pair.start();
    pair.one.append("ABC", &["kept"]);
    pair.wait_until_in_step();
    let backup = Backup::of(&pair.n);
    pair.n.append("ABC", &["written at N"]);
    pair.wait_until_in_step();
    n.kill();
    backup.restore(&pair.n);
    let _n = pair.start_n();

    // The operator of site 1 alone: N refuses what it is said to have written.
    let left = pair.one.run(&["repair", "--peer", "N", "--yes", "--wait", "1"]);
    assert!(left.out.contains("only while its operator runs"), "{}", left.out);
    let refused = || pair.one.status()["peers"][0]["refused"]["first"][0]["reason"].as_str().map(str::to_owned);
    wait_until("it is refused", || refused().as_deref() == Some("not allowed"));
    assert!(!texts(&pair.n).contains_key("ABC written at N"));

    // A repair that is killed leaves no door open.
    let config = pair.n.config.to_str().unwrap();
    let mut killed = landbridge(["--config", config, "repair", "--peer", "1", "--yes", "--wait", "100"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    let came = texts(&pair.n).contains_key("ABC written at N");
    if !came {
        pair.one.run(&["retry"]).ends(DONE);
        wait_until("it is refused again", || refused().is_some());
    }
    pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(DONE);
    assert_eq!(texts(&pair.n)["ABC written at N"], 1);
    pair.wait_until_in_step();
}

#[test]
fn a_site_whose_markers_were_deleted_doubles_nothing_and_recognises_its_rows() {
    for pair in pairs("cleaned") {
        // What comes back comes later than both sites say that they agree: what is recorded as lost is in no account.
        pair.one.reconfigure("gather = \"20ms\"", "gather = \"700ms\"");
        let (_one, _n) = pair.start();
        pair.one.append("ABC", &["of 1", "and of 1"]);
        pair.n.append("ABC", &["of N"]);
        pair.wait_until_in_step();
        // Somebody cleans up the internal notes at N.
        delete_markers(&pair.n, "ABC");
        pair.n.append("ABC", &["news"]);
        wait_until("the news arrive", || texts(&pair.one).contains_key("ABC news"));
        let refused = || pair.n.status()["peers"][0]["refused"]["first"][0]["reason"].as_str().map(str::to_owned);
        wait_until("the echo is refused", || refused().as_deref() == Some("echo"));
        let all = ["ABC of 1", "ABC and of 1", "ABC of N", "ABC news"];
        both_have(&pair, &all);

        // A repair at either site, without a word about these rows, does nothing and says what to say.
        for (desk, other) in [(&pair.n, "1"), (&pair.one, "N")] {
            let said = desk.run(&["verify"]).ends(PERSON).out;
            assert!(said.contains("landbridge repair --peer") && said.contains("--recognise"), "{said}");
            for repair in [&["repair", "--peer", other, "--yes"][..], &["repair", "--peer", other, "--accept", "--yes"]]
            {
                let said = desk.run(repair).ends(PERSON).out;
                assert!(said.contains("--recognise") && said.contains("--distinct"), "{said}");
            }
        }
        both_have(&pair, &all);

        let would = pair.n.run(&["repair", "--peer", "1", "--recognise", "--dry-run", "--json"]).ends(PERSON).json();
        assert_eq!(
            [&would["dry_run"], &would["recognised"], &would["rows_back"]],
            [&json!(true), &json!(2), &json!(0)]
        );
        let said = pair.n.run(&["repair", "--peer", "1", "--recognise", "--yes"]).ends(DONE).out;
        assert!(said.contains("2 rows here recognised"), "{said}");
        both_have(&pair, &all);
        pair.n.append("ABC", &["life goes on"]);
        wait_until("it arrives", || texts(&pair.one).contains_key("ABC life goes on"));
        pair.wait_until_in_step();
        pair.one.run(&["verify"]).ends(DONE);
        assert_eq!((texts(&pair.one), texts(&pair.n).len()), (texts(&pair.n), 5));
    }
}

#[test]
fn markers_that_are_deleted_after_a_repair_double_nothing_either() {
    for pair in pairs("cleaned-repaired") {
        let (_one, n) = pair.start();
        pair.n.append("ABC", &["a1"]);
        pair.one.append("ABC", &["b1"]);
        pair.wait_until_in_step();
        let backup = Backup::of(&pair.n);
        pair.one.append("ABC", &["b2"]);
        pair.n.append("ABC", &["a2"]);
        pair.wait_until_in_step();
        n.kill();
        backup.restore(&pair.n);
        let _n = pair.start_n();
        pair.one.append("ABC", &["b3"]);
        wait_until("it arrives", || texts(&pair.n).contains_key("ABC b3"));
        pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(DONE);
        pair.wait_until_in_step();
        let all = ["ABC a1", "ABC b1", "ABC b2", "ABC a2", "ABC b3"];
        both_have(&pair, &all);

        // Numbers of N stand for other entries by now, and one of its own entries is a copy.
        delete_markers(&pair.n, "ABC");
        pair.n.append("ABC", &["a3"]);
        wait_until("the news arrive", || texts(&pair.one).contains_key("ABC a3"));
        pair.one.append("ABC", &["b4"]);
        wait_until("and these", || texts(&pair.n).contains_key("ABC b4"));
        pair.n.run(&["repair", "--peer", "1", "--recognise", "--yes"]).ends(DONE);
        pair.wait_until_in_step();
        both_have(&pair, &[&all[..], &["ABC a3", "ABC b4"]].concat());
        pair.one.run(&["verify"]).ends(DONE);
    }
}

#[test]
fn what_a_person_wrote_once_more_after_a_restore_comes_beside_what_was_lost() {
    let pair = Pair::new("distinct", &HELPDESK, &COMMENTS, &PROBLEMS);
    let (_one, n) = pair.start();
    pair.one.append("ABC", &["first"]);
    pair.wait_until_in_step();
    let backup = Backup::of(&pair.n);
    pair.one.append("ABC", &["ok"]);
    pair.wait_until_in_step();
    n.kill();
    backup.restore(&pair.n);
    let _n = pair.start_n();
    pair.n.append("ABC", &["ok"]);
    pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(PERSON);
    pair.n.run(&["repair", "--peer", "1", "--distinct", "--yes"]).ends(DONE);
    pair.wait_until_in_step();
    for desk in [&pair.one, &pair.n] {
        assert_eq!(texts(desk)["ABC ok"], 2, "{desk:?}");
        desk.run(&["verify"]).ends(DONE);
    }
}

#[test]
fn a_site_that_is_dialled_recognises_its_rows_too() {
    for cleaned in ["1", "N"] {
        let pair = Pair::with(&format!("dialled-{cleaned}"), &HELPDESK, &COMMENTS, &PROBLEMS, Dialling::OnlyN, QUICK);
        let (_one, _n) = pair.start();
        pair.one.append("ABC", &["of 1"]);
        pair.n.append("ABC", &["of N"]);
        pair.wait_until_in_step();
        let desk = if cleaned == "1" { &pair.one } else { &pair.n };
        let other = other(&pair, desk);
        delete_markers(desk, "ABC");
        desk.append("ABC", &["news"]);
        wait_until("the news arrive", || texts(other).contains_key("ABC news"));
        pair.n.run(&["verify"]).ends(PERSON);
        if cleaned == "1" {
            wait_until("it knows", || {
                pair.one.run(&["repair", "--peer", "N", "--dry-run"]).out.contains("--recognise")
            });
            pair.one.run(&["repair", "--peer", "N", "--yes"]).ends(PERSON);
        }
        pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(PERSON);
        both_have(&pair, &["ABC of 1", "ABC of N", "ABC news"]);
        desk.run(&["repair", "--peer", other.site, "--recognise", "--yes"]);
        pair.n.run(&["verify"]).ends(DONE);
        pair.wait_until_in_step();
        both_have(&pair, &["ABC of 1", "ABC of N", "ABC news"]);
    }
}

#[test]
fn a_site_without_an_open_port_repairs_from_its_end() {
    let pair = Pair::with("dials", &HELPDESK, &COMMENTS, &PROBLEMS, Dialling::OnlyN, QUICK);
    let (_one, n) = pair.start();
    pair.one.append("ABC", &["of 1"]);
    pair.n.append("ABC", &["of N"]);
    pair.wait_until_in_step();
    let backup = Backup::of(&pair.n);
    pair.one.append("ABC", &["lost, of 1"]);
    pair.n.append("ABC", &["lost, of N"]);
    pair.wait_until_in_step();
    n.kill();
    backup.restore(&pair.n);

    let said = pair.one.run(&["verify"]).ends(LEFT).out;
    assert!(said.contains("dials this site"), "{said}");
    // No bridge runs at N: the repair is one until all has come.
    pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(DONE);
    both_have(&pair, &["ABC of 1", "ABC of N", "ABC lost, of 1", "ABC lost, of N"]);
    let _n = pair.start_n();
    pair.wait_until_in_step();
}

#[test]
fn a_site_that_is_dialled_takes_back_what_was_compared_and_its_operator_agreed_to() {
    let pair = Pair::with("dialled", &HELPDESK, &COMMENTS, &PROBLEMS, Dialling::OnlyN, QUICK);
    let (one, _n) = pair.start();
    pair.one.append("ABC", &["of 1"]);
    pair.wait_until_in_step();
    let backup = Backup::of(&pair.one);
    pair.one.append("ABC", &["lost, of 1"]);
    pair.n.append("ABC", &["lost, of N"]);
    pair.wait_until_in_step();
    one.kill();
    backup.restore(&pair.one);
    let _one = pair.start_one();

    let unknown = pair.one.run(&["repair", "--peer", "N", "--yes"]).ends(LEFT);
    assert!(unknown.err.contains("`landbridge verify --peer 1`"), "{}", unknown.err);
    pair.n.run(&["verify"]).ends(PERSON);
    wait_until("site 1 has noted it", || pair.one.status()["peers"][0]["lost_here"]["count"] == 1);
    // N's operator is first, and alone: site 1 does not take back what it wrote.
    pair.n.run(&["repair", "--peer", "1", "--yes", "--wait", "1"]).ends(LEFT);
    let said = pair.one.run(&["repair", "--peer", "N", "--dry-run"]).ends(PERSON).out;
    assert!(said.contains("this site lacks 1 entry of 1 problem"), "{said}");
    thread::scope(|scope| {
        scope.spawn(|| pair.one.run(&["repair", "--peer", "N", "--yes"]).ends(DONE));
        let door = format!("{}.repair-N", pair.one.config.display());
        wait_until("the operator of 1 repairs", || fs::read(&door).is_ok_and(|named| !named.is_empty()));
        pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(DONE);
    });
    both_have(&pair, &["ABC of 1", "ABC lost, of 1", "ABC lost, of N"]);
    pair.wait_until_in_step();
    assert_eq!(pair.one.status()["peers"][0]["lost_here"]["count"], 0);
}

#[test]
fn what_cannot_come_back_after_a_restore_keeps_no_later_entry_out() {
    let pair = Pair::new("gone-since", &HELPDESK, &COMMENTS, &PROBLEMS);
    let (_one, n) = pair.start();
    pair.one.append("ABC", &["ok"]);
    pair.wait_until_in_step();
    let backup = Backup::of(&pair.n);
    let slipped = pair.one.append("ABC", &["slipped out"]);
    pair.wait_until_in_step();
    n.kill();
    backup.restore(&pair.n);
    // Meanwhile somebody takes it away at site 1, which is recorded there as what N lost, and never comes.
    pair.one.delete("ABC", slipped[0]);
    let _n = pair.start_n();
    pair.n.run(&["repair", "--peer", "1", "--yes"]).ends(DONE);

    // A person at N writes what stands above already. That is no echo.
    pair.n.append("ABC", &["ok"]);
    wait_until("it arrives", || texts(&pair.one).get("ABC ok") == Some(&2));
    pair.wait_until_in_step();
    assert_eq!(texts(&pair.n), [("ABC ok".to_owned(), 2)].into());
}
