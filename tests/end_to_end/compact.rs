//! `compact` beside bridges that exchange and people who write, killed at random moments: nothing is lost or doubled, and in
//! the end there are few markers, and those that were deleted say nothing when somebody pastes them.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::crowd::{
    WRITERS, all_ended, every_open_entry_is_at_the_other_site_once, no_copy_stands_without_its_marker,
    the_markers_name_every_entry,
};
use crate::kit::command::{DONE, LEFT, landbridge};
use crate::kit::desk::{Desk, is_marker};
use crate::kit::host::{At, Host};
use crate::kit::pair::Pair;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::wait::{LOOK, wait_until};
use crate::kit::writer::{self, Job, problem};

/// The markers that a folded problem may have: one for the peer, more where the text column is narrow, and one for what
/// somebody pasted.
const MARKERS_MAX: usize = 4;
/// The longest that a compacting process lives before it is killed, if it is.
const LIFE_MILLIS_MAX: u64 = 400;

#[test]
fn markers_are_folded_beside_writers_and_bridges_on_sqlite() {
    play("compact-files", &HELPDESK, &TICKETS, "");
}

#[test]
fn markers_are_folded_beside_writers_and_bridges_on_postgres_and_mariadb() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    play("compact-servers", HELPDESK.on(&postgres), HELPDESK.on(&mariadb), "");
}

#[test]
fn markers_are_folded_where_the_servers_give_out_the_numbers() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    play("compact-generated", COMMENTS.on(&mariadb), COMMENTS.on(&postgres), "");
}

/// Configures what `compact` wants, and more below [markers].
fn allow(desk: &Desk, markers: &str) {
    desk.reconfigure("[listen]", &format!("[markers]\ncompact = true\n{markers}[listen]"));
}

fn play(name: &str, one: impl Into<At>, n: impl Into<At>, markers: &str) {
    let soak = std::env::var("LANDBRIDGE_SOAK").is_ok_and(|v| v == "1");
    let (entries, problems) = if soak { (8_000, 80) } else { (360, 12) };
    let ids: Vec<_> = (0..problems).map(problem).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let pair = Pair::new(name, one, n, &ids);
    allow(&pair.one, markers);
    allow(&pair.n, markers);
    let seed = std::env::var("LANDBRIDGE_SEED").map_or_else(|_| fastrand::u64(..1 << 32), |s| s.parse().unwrap());
    println!("{name}: LANDBRIDGE_SEED={seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (_one, _n) = pair.start();

    let job = Job::new(entries / (2 * WRITERS), problems, seed);
    let mut writers: Vec<_> =
        [&pair.one, &pair.n].into_iter().flat_map(|desk| (0..WRITERS).map(|w| writer::start(desk, w, &job))).collect();
    let mut compactors = [Compactor::of(&pair.one), Compactor::of(&pair.n)];
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    while !all_ended(&mut writers) || compactors.iter().any(|c| c.killed < 2 || c.done == 0) {
        for compactor in &mut compactors {
            compactor.go_on(&mut dice);
        }
        let some = problem(dice.usize(..problems));
        no_copy_stands_without_its_marker(&pair.one, &pair.n, &some);
        no_copy_stands_without_its_marker(&pair.n, &pair.one, &some);
        for desk in [&pair.one, &pair.n] {
            let first = desk.rows(&some).into_iter().map(|row| row.text).find(|text| is_marker(text));
            first.map(|text| seen.entry((desk.site.to_owned(), some.clone())).or_insert(text));
        }
        std::thread::sleep(LOOK);
    }
    compactors.iter_mut().for_each(Compactor::wait);
    pair.wait_until_in_step();

    // Once more in peace: what is left is little, and everything is where it belongs.
    let mut deleted = 0;
    for desk in [&pair.one, &pair.n] {
        let all = desk.count("copy in system ");
        let said = desk.run(&["compact", "--json", "--min-markers", "1"]).ends(DONE).json();
        let number = |key: &str| usize::try_from(said[key].as_u64().unwrap()).unwrap();
        assert_eq!(number("problems_seen"), problems);
        assert_eq!(all - desk.count("copy in system "), number("markers_before") - number("markers_after"));
        deleted += number("rows_deleted");
        for id in &ids {
            let markers = desk.rows(id).iter().filter(|row| is_marker(&row.text)).count();
            assert!(markers <= MARKERS_MAX, "{markers} markers are left of {id} at site {}", desk.site);
        }
    }
    pair.wait_until_in_step();
    let tables = [(&pair.one, pair.one.all()), (&pair.n, pair.n.all())];
    let mut shared = 0;
    for (here, there) in [(0, 1), (1, 0)] {
        let ((desk, rows), (other, copies)) = (&tables[here], &tables[there]);
        shared += every_open_entry_is_at_the_other_site_once(desk, rows, other, copies, &job);
        the_markers_name_every_entry(desk, rows, copies, other);
    }
    let [one, n] = &compactors;
    println!(
        "{name}: {} entries of which {shared} shareable; compact ended {} times and was killed {} times, and deleted \
         {deleted} markers in the end",
        2 * WRITERS * job.rows,
        one.done + n.done,
        one.killed + n.killed,
    );
    what_is_pasted_says_nothing(&pair, &seen);
}

/// Markers from before come back by somebody's hand, and what is written behind them goes its way.
fn what_is_pasted_says_nothing(pair: &Pair, seen: &BTreeMap<(String, String), String>) {
    let entries = |desk: &Desk, id: &str| desk.entries(id).len();
    let mut pasted = 0;
    for ((site, id), text) in seen {
        let (desk, other) = if *site == pair.one.site { (&pair.one, &pair.n) } else { (&pair.n, &pair.one) };
        if desk.rows(id).iter().any(|row| row.text == *text) {
            continue;
        }
        let before = [entries(desk, id), entries(other, id)];
        desk.append(id, &[text, "behind what was pasted"]);
        pasted += 1;
        wait_until("what stands behind it arrives", || entries(other, id) > before[1]);
        assert_eq!([entries(desk, id), entries(other, id)], [before[0] + 1, before[1] + 1], "{text}");
    }
    assert!(pasted > 0, "no marker was seen before it was folded");
    pair.wait_until_in_step();
    for desk in [&pair.one, &pair.n] {
        assert_eq!(desk.status()["suspended"]["count"], 0);
    }
}

/// Somebody who folds the markers of a site again and again, in a process that is killed now and then.
struct Compactor<'a> {
    desk: &'a Desk,
    child: Option<(Child, Option<Instant>)>,
    done: usize,
    killed: usize,
}

impl<'a> Compactor<'a> {
    fn of(desk: &'a Desk) -> Self {
        Self { desk, child: None, done: 0, killed: 0 }
    }

    fn go_on(&mut self, dice: &mut fastrand::Rng) {
        let Some((child, dies)) = &mut self.child else {
            let config = self.desk.config.to_str().unwrap();
            let mut command = landbridge(["--config", config, "compact", "--min-markers", "2"]);
            let child = command.stdout(Stdio::null()).spawn().unwrap();
            let dies = dice.bool().then(|| Instant::now() + Duration::from_millis(dice.u64(..LIFE_MILLIS_MAX)));
            self.child = Some((child, dies));
            return;
        };
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(DONE), "site {}", self.desk.site);
            self.done += 1;
            self.child = None;
        } else if dies.is_some_and(|dies| dies <= Instant::now()) {
            child.kill().unwrap();
            child.wait().unwrap();
            self.killed += 1;
            self.child = None;
        }
    }

    fn wait(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Compactor<'_> {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn markers_in_a_table_of_their_own_are_folded_there() {
    let pair = Pair::new("compact-apart", &COMMENTS, &HELPDESK, &["ABC"]);
    pair.one.administer(
        "create table landbridge_markers (problem text not null, number integer primary key autoincrement, text text not null)",
    );
    allow(&pair.one, "table = \"landbridge_markers\"\n");
    let (_one, _n) = pair.start();
    for n in 0..4 {
        pair.one.append("ABC", &[&format!("entry {n}")]);
        pair.wait_until_in_step();
    }
    let markers = || pair.one.query("select text from landbridge_markers order by number");
    let (before, history) = (markers(), pair.one.all());
    assert_eq!(before.len(), 4);
    let dry = pair.one.run(&["compact", "--min-markers", "3", "--dry-run"]).ends(DONE).out;
    assert!(dry.contains("4 before, 1 afterwards, 4 rows would be deleted"), "{dry}");
    assert_eq!(markers(), before);
    pair.one.run(&["compact", "ABC", "--min-markers", "3"]).ends(DONE);
    let after = markers();
    assert_eq!(after.len(), 1);
    assert!(after[0][0].as_ref().unwrap().starts_with("copy in system N: 1-4 era 1; seal "), "{after:?}");
    assert_eq!(pair.one.all(), history, "the history was not touched");

    // What was deleted there is pasted into the history.
    pair.one.append("ABC", &[before[0][0].as_ref().unwrap(), "behind it"]);
    wait_until("what stands behind it arrives", || pair.n.entries("ABC").len() == 5);
    pair.wait_until_in_step();
    assert_eq!(markers().len(), 2);
    pair.one.run(&["status"]).ends(DONE);
}

#[test]
fn a_trigger_that_keeps_markers_is_named_and_nothing_is_changed() {
    let pair = Pair::new("compact-kept", &TICKETS, &COMMENTS, &["ABC", "XYZ"]);
    allow(&pair.one, "");
    let (_one, _n) = pair.start();
    for n in 0..4 {
        pair.one.append("ABC", &[&format!("entry {n}")]);
        pair.one.append("XYZ", &[&format!("entry {n}")]);
        pair.wait_until_in_step();
    }
    pair.one.administer(
        "create trigger keep before delete on ticket_comments when old.ticket = 'ABC' begin select raise(ignore); end",
    );
    let before = pair.one.rows("ABC");
    let ran = pair.one.run(&["compact", "--min-markers", "2"]).ends(LEFT);
    assert!(
        ran.out.contains("The markers of 1 problem folded: 4 before, 1 afterwards, 4 rows deleted."),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("ABC") && ran.out.contains("a trigger"), "{}", ran.out);
    let ran = pair.one.run(&["compact", "ABC", "--min-markers", "2"]).ends(4);
    assert!(ran.err.contains("of 4 markers that it was told to delete the database deleted 0"), "{}", ran.err);
    assert_eq!(pair.one.rows("ABC"), before);
    assert_eq!(pair.one.table("XYZ").len(), 5);
    pair.wait_until_in_step();
}
