//! How notes become rows of the cache: many together, by a thread of their own. Every table is bounded.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landbridge_core::SiteName;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::bounds::{Diverged, Trouble, count_not_kept, make_room};
use super::file::{BUSY, open};
use super::note::Note;

/// Rows of this site that are kept as withheld; the oldest go.
const WITHHELD_MAX: i64 = 10_000;
/// How long notes are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(100);
/// How many at most.
const BATCH_MAX: usize = 10_000;

/// Writes what comes until nobody is left to send notes.
pub(super) fn write(path: &Path, notes: &Receiver<Note>) {
    let (mut writer, mut warned) = (None, false);
    while let Ok(first) = notes.recv() {
        let (batch, ended) = gather(first, notes);
        if let Err(e) = write_batch(&mut writer, path, &batch) {
            // Another try with the next notes; one warning is enough.
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!("the cache {} cannot be written ({e}); `status` shows less", path.display());
            }
            writer = None;
        }
        if ended {
            break;
        }
    }
}

/// The notes of the next moment, and whether these are the last.
fn gather(first: Note, notes: &Receiver<Note>) -> (Vec<Note>, bool) {
    let (mut batch, until) = (vec![first], Instant::now() + GATHER);
    while batch.len() < BATCH_MAX {
        match notes.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(note) => batch.push(note),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return (batch, true),
        }
    }
    (batch, false)
}

/// Writes into the file that is there now: somebody may have deleted the former one.
fn write_batch(writer: &mut Option<Writer>, path: &Path, batch: &[Note]) -> rusqlite::Result<()> {
    match writer {
        Some(writer) if path.exists() => writer.write(batch),
        _ => writer.insert(Writer::open(path)?).write(batch),
    }
}

struct Writer {
    connection: Connection,
    /// The problems with something under `diverged`, so that the many receipts that say nothing cost nothing.
    diverged: HashSet<Diverged>,
    version: i64,
}

impl Writer {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        Ok(Self { connection: open(path, BUSY)?, diverged: HashSet::new(), version: -1 })
    }

    fn write(&mut self, notes: &[Note]) -> rusqlite::Result<()> {
        let version = self.connection.query_row("pragma data_version", [], |r| r.get(0))?;
        if version != self.version {
            self.version = version;
            let mut all = self.connection.prepare("select peer, problem, here from diverged")?;
            self.diverged =
                all.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
        }
        let (now, txn) = (now(), self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?);
        for note in notes {
            keep(&txn, note, now, &mut self.diverged)?;
        }
        for gone in make_room(&txn, notes)? {
            self.diverged.remove(&gone);
        }
        if notes.iter().any(|note| matches!(note, Note::Withheld { .. })) {
            txn.execute(
                "delete from withheld where rowid <= (select rowid from withheld order by rowid desc limit 1 offset ?1)",
                [WITHHELD_MAX],
            )?;
        }
        txn.commit()
    }
}

fn keep(txn: &Transaction<'_>, note: &Note, now: i64, diverged: &mut HashSet<Diverged>) -> rusqlite::Result<()> {
    match note {
        Note::Begun { count } => {
            txn.execute("delete from withheld", [])?;
            if *count {
                txn.execute("delete from reload", [])?;
                txn.execute("update contact set since = ?1, sent = 0, received = 0", [now])?;
            }
        }
        Note::Sent { peer, entries } => {
            contact(txn, peer, now, "sent = sent + ?2", stored(*entries))?;
        }
        Note::Received { peer, entries } => {
            contact(txn, peer, now, "received = received + ?2", stored(*entries))?;
        }
        Note::Answered { peer } => {
            contact(txn, peer, now, "answered = ?2, failed = null", now)?;
        }
        Note::Failed { peer, error } => {
            contact(txn, peer, now, "failed = ?2", error)?;
        }
        Note::Certificate { peer, begins, ends, fingerprint } => {
            let values = params![peer.as_str(), now, stored(*begins), stored(*ends), fingerprint];
            txn.execute("insert or replace into certificate values (?1, ?2, ?3, ?4, ?5)", values)?;
        }
        Note::Reloaded { wish, faults } => {
            // The number of a wish is kept where the files are read again for another reason: somebody may wait for it.
            let values = params![wish, now, faults.join("\n")];
            txn.execute(
                "insert into reload (one, wish, at, faults) values (1, ?1, ?2, ?3) on conflict do update
                 set wish = coalesce(excluded.wish, wish), at = excluded.at, faults = excluded.faults",
                values,
            )?;
        }
        Note::RefusedThere { peer, problem, refused } => {
            let mut upsert = txn.prepare_cached(
                "insert into refused_there (peer, problem, origin, row, reason, tries) values (?1, ?2, ?3, ?4, ?5, 1)
                 on conflict do update set row = excluded.row, reason = excluded.reason, tries = tries + 1",
            )?;
            for (row, origin, refusal) in refused {
                let reason = refusal.to_string();
                upsert.execute(params![peer.as_str(), problem.as_str(), origin.to_string(), row.get(), reason])?;
            }
        }
        Note::RefusedHere { peer, problem, origin, refusal, detail } => {
            let values = params![peer.as_str(), problem.as_str(), origin.to_string(), refusal.to_string(), detail];
            txn.prepare_cached("insert or replace into refused_here values (?1, ?2, ?3, ?4, ?5)")?.execute(values)?;
        }
        Note::Diverged { peer, problem, missing, texts, alike, here } => {
            let key = (peer.as_str().to_owned(), problem.as_str().to_owned(), *here);
            if missing.is_empty() {
                if diverged.remove(&key) {
                    let delete = "delete from diverged where peer = ?1 and problem = ?2 and here = ?3";
                    txn.execute(delete, params![key.0, key.1, key.2])?;
                }
            } else {
                let insert = "insert or replace into diverged values (?1, ?2, ?3, ?4, ?5, ?6)";
                // Nothing in them fails to become JSON.
                let json = |texts| serde_json::to_string(texts).unwrap_or_else(|_| "[]".to_owned());
                txn.execute(insert, params![key.0, key.1, key.2, missing.to_string(), json(texts), json(alike)])?;
                diverged.insert(key);
            }
        }
        Note::Recorded { failed } => {
            txn.execute("delete from unrecorded", [])?;
            if let Some(why) = failed {
                txn.execute("insert into unrecorded values (?1)", [why])?;
            }
        }
        Note::NotKept { troubles } => {
            for ((peer, trouble), count) in troubles {
                count_not_kept(txn, peer.as_str(), *trouble, *count)?;
            }
        }
        Note::RecordHead { head, anew } => {
            // Several processes write to one record, and their notes may come in another order than their lines.
            txn.prepare_cached(
                "insert into record_head values (1, ?1, ?2) on conflict do update
                 set seq = excluded.seq, hash = excluded.hash where ?3 or excluded.seq > seq",
            )?
            .execute(params![stored(head.seq), head.hash.to_string(), anew])?;
        }
        Note::Violated { peer, violation, detail } => {
            // Peers and kinds are few; strangers have one name together.
            let peer = peer.as_ref().map_or("", SiteName::as_str);
            txn.prepare_cached(
                "insert into violation (peer, kind, count, first, last, detail) values (?1, ?2, 1, ?3, ?3, ?4)
                 on conflict do update set count = count + 1, last = excluded.last, detail = excluded.detail",
            )?
            .execute(params![peer, violation.word(), now, detail])?;
        }
        Note::Verified { peer } => {
            txn.execute("delete from diverged where peer = ?1", [peer.as_str()])?;
            for trouble in [Trouble::Diverged, Trouble::LostHere] {
                let delete = "delete from not_kept where peer = ?1 and what = ?2";
                txn.execute(delete, params![peer.as_str(), trouble.word()])?;
            }
            diverged.retain(|(of, ..)| of != peer.as_str());
        }
        Note::Withheld { problem, row, why } => {
            let values = params![problem.as_str(), row.get(), why];
            txn.execute("insert or replace into withheld values (?1, ?2, ?3)", values)?;
        }
    }
    Ok(())
}

fn contact(
    txn: &Transaction<'_>,
    peer: &SiteName,
    now: i64,
    set: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    txn.prepare_cached("insert into contact (peer, since) values (?1, ?2) on conflict do nothing")?
        .execute(params![peer.as_str(), now])?;
    txn.prepare_cached(&format!("update contact set {set} where peer = ?1"))?.execute(params![peer.as_str(), value])?;
    Ok(())
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| stored(since.as_secs()))
}

/// As SQLite keeps numbers.
pub(super) fn stored(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use landbridge_core::OriginSet;

    use std::sync::mpsc::sync_channel;

    use landbridge_core::message::{Code, Refusal};
    use landbridge_core::{ProblemId, WorkId};

    use landbridge_flow::Violation;

    use super::super::bounds::Bounded;
    use super::super::learnt::{Learnt, Violated, read};
    use super::super::wishes::{Wish, Wishes, acknowledge, wish};
    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("landbridge-cache-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> std::path::PathBuf {
            self.0.join("a.toml.cache")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn write_all(path: &Path, notes: Vec<Note>) {
        let (sender, receiver) = sync_channel(100);
        notes.into_iter().for_each(|n| sender.send(n).unwrap());
        drop(sender);
        write(path, &receiver);
    }

    fn refused(tries: usize) -> Vec<Note> {
        let one = || Note::RefusedThere {
            peer: "N".parse().unwrap(),
            problem: "ABC".parse().unwrap(),
            refused: vec![(WorkId::MIN, "1/1".parse().unwrap(), Refusal::of(Code::Constraint))],
        };
        (0..tries).map(|_| one()).collect()
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let folder = Folder::new("read");
        let (peer, problem): (SiteName, ProblemId) = ("N".parse().unwrap(), "ABC".parse().unwrap());
        let mut notes = refused(3);
        notes.push(Note::Sent { peer: peer.clone(), entries: 5 });
        notes.push(Note::Sent { peer: peer.clone(), entries: 2 });
        notes.push(Note::Failed { peer: peer.clone(), error: "cannot be reached".into() });
        notes.push(Note::Diverged {
            peer: peer.clone(),
            problem: problem.clone(),
            missing: "1/2-3".parse().unwrap(),
            texts: vec![],
            alike: vec![],
            here: false,
        });
        write_all(&folder.file(), notes);
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.refused_there[0].tries, learnt.refused_there[0].reason.as_str()), (3, "constraint"));
        let contact = &learnt.contact[&peer];
        assert_eq!((contact.sent, contact.failed.as_deref()), (7, Some("cannot be reached")));
        assert_eq!(learnt.diverged.len(), 1);
        assert_eq!(learnt.diverged[0].entries.to_string(), "1/2-3");

        let shown = |ends| Note::Certificate { peer: peer.clone(), begins: 1, ends, fingerprint: "AB".into() };
        let faulty = Note::Reloaded { wish: Some(7), faults: vec!["one".into(), "two".into()] };
        write_all(&folder.file(), vec![shown(5), shown(9), faulty]);
        let learnt = read(&folder.file()).unwrap();
        assert_eq!(learnt.certificates[&peer].ends, 9);
        let reload = learnt.reload.unwrap();
        assert_eq!((reload.wish, reload.faults.len()), (Some(7), 2));
        write_all(&folder.file(), vec![Note::Reloaded { wish: None, faults: vec![] }]);
        let reload = read(&folder.file()).unwrap().reload.unwrap();
        assert_eq!((reload.wish, reload.faults.len()), (Some(7), 0));

        let answered = Note::Answered { peer: peer.clone() };
        let healed = Note::Diverged {
            peer: peer.clone(),
            problem,
            missing: OriginSet::new(),
            texts: vec![],
            alike: vec![],
            here: false,
        };
        write_all(&folder.file(), vec![answered, healed, Note::Begun { count: true }]);
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.contact[&peer].sent, &learnt.contact[&peer].failed), (0, &None));
        assert!(learnt.contact[&peer].answered.is_some() && learnt.diverged.is_empty());
    }

    #[test]
    fn a_missing_or_damaged_file_is_no_failure() {
        let folder = Folder::new("damaged");
        assert_eq!(read(&folder.file()).unwrap(), Learnt::default());
        std::fs::write(folder.file(), "this is no database, and long enough to be seen as none".repeat(100)).unwrap();
        assert!(read(&folder.file()).is_err());
        write_all(&folder.file(), refused(1));
        assert_eq!(read(&folder.file()).unwrap().refused_there.len(), 1);
    }

    #[test]
    fn whoever_makes_the_file_at_the_same_time_waits_for_the_others() {
        let folder = Folder::new("together");
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| Writer::open(&folder.file()).and_then(|mut w| w.write(&refused(1))).unwrap());
                }
            });
            assert_eq!(read(&folder.file()).unwrap().refused_there[0].tries, 4);
            for file in std::fs::read_dir(&folder.0).unwrap() {
                std::fs::remove_file(file.unwrap().path()).unwrap();
            }
        }
    }

    #[test]
    fn a_deleted_file_is_made_again() {
        let (folder, mut writer) = (Folder::new("deleted"), None);
        for _ in 0..2 {
            write_batch(&mut writer, &folder.file(), &refused(1)).unwrap();
            assert_eq!(read(&folder.file()).unwrap().refused_there.len(), 1);
            std::fs::remove_file(folder.file()).unwrap();
        }
    }

    #[test]
    fn violations_are_counted_and_what_came_after_a_look_is_still_unseen() {
        let folder = Folder::new("violations");
        let note = |peer: Option<&str>| Note::Violated {
            peer: peer.map(|peer| peer.parse().unwrap()),
            violation: Violation::Receipt,
            detail: "forged".into(),
        };
        write_all(&folder.file(), (0..5).map(|_| note(Some("N"))).chain([note(None)]).collect());
        let look = || read(&folder.file()).unwrap().violated;
        let of_n = |violated: &[Violated]| {
            violated.iter().find(|v| v.peer.is_some()).map(|v| (v.kind, v.count, v.unseen)).unwrap()
        };
        let before = look();
        assert_eq!((before.len(), of_n(&before)), (2, ("receipt", 5, 5)));
        write_all(&folder.file(), vec![note(Some("N"))]);
        acknowledge(&folder.file(), &before, [], []).unwrap();
        assert_eq!(of_n(&look()), ("receipt", 6, 1));
    }

    #[test]
    fn entries_that_differ_are_seen_with_the_rows_that_they_have_and_a_daemon_that_starts_forgets_none() {
        let folder = Folder::new("differs-seen");
        let (problem, origin) = ("ABC".parse().unwrap(), "M/7".parse().unwrap());
        acknowledge(&folder.file(), [], [(&problem, &origin, &[7, 9][..])], []).unwrap();
        acknowledge(&folder.file(), [], [(&problem, &origin, &[7, 9, 12][..])], []).unwrap();
        write_all(&folder.file(), vec![Note::Begun { count: true }]);
        let seen = read(&folder.file()).unwrap().differs_seen;
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [((problem, origin), vec![7, 9, 12])]);
    }

    #[test]
    fn a_wish_is_noticed_once() {
        let folder = Folder::new("wish");
        let mut wishes = Wishes::from_now(&folder.file());
        wish(&folder.file(), &Wish::Retry(None), None).unwrap();
        assert_eq!(wishes.next(), [(1, Wish::Retry(None))]);
        assert_eq!(wishes.next(), []);
        let of_n = Wish::Retry(Some("N".parse().unwrap()));
        wish(&folder.file(), &of_n, None).unwrap();
        assert_eq!(wish(&folder.file(), &Wish::Reload, None).unwrap(), 3);
        assert_eq!(wishes.next(), [(2, of_n), (3, Wish::Reload)]);
        assert_eq!(Wishes::from_now(&folder.file()).next(), []);
    }

    fn refused_here(peer: &str, n: i64) -> Note {
        Note::RefusedHere {
            peer: peer.parse().unwrap(),
            problem: "ABC".parse().unwrap(),
            origin: format!("{peer}/{n}").parse().unwrap(),
            refusal: Refusal::of(Code::Trigger),
            detail: "no".into(),
        }
    }

    fn lost(peer: &str, problem: i64, here: bool) -> Note {
        let (peer, problem) = (peer.parse().unwrap(), format!("P{problem}").parse().unwrap());
        Note::Diverged { peer, problem, missing: "1/2-3".parse().unwrap(), texts: vec![], alike: vec![], here }
    }

    #[test]
    fn no_peer_pushes_out_what_is_kept_of_another_and_what_is_not_kept_is_counted() {
        let folder = Folder::new("bounded");
        let max = Bounded::RefusedHere.of_peer_max();
        let mut writer = Writer::open(&folder.file()).unwrap();
        writer.write(&[refused_here("C", 1), refused_here("C", 2)]).unwrap();
        for some in (1..=max + 5).collect::<Vec<_>>().chunks(400) {
            writer.write(&some.iter().map(|n| refused_here("N", *n)).collect::<Vec<_>>()).unwrap();
        }
        let learnt = read(&folder.file()).unwrap();
        let (of_c, of_n): (Vec<_>, Vec<_>) = learnt.refused_here.iter().partition(|r| r.peer.as_str() == "C");
        assert_eq!((of_c.len(), of_n.len() as i64, of_n[0].origin.to_string().as_str()), (2, max, "N/6"));
        let n: SiteName = "N".parse().unwrap();
        assert_eq!(learnt.not_kept, [((n.clone(), Trouble::RefusedHere), 5)].into());

        // A person has seen that, and then it is so once more.
        writer.write(&[refused_here("N", max + 6)]).unwrap();
        acknowledge(&folder.file(), [], [], [(&n, Trouble::RefusedHere, 5)]).unwrap();
        let look = || read(&folder.file()).unwrap().not_kept;
        assert_eq!(look(), [((n.clone(), Trouble::RefusedHere), 6)].into(), "it is not what was seen");
        acknowledge(&folder.file(), [], [], [(&n, Trouble::RefusedHere, 6)]).unwrap();
        assert_eq!(look(), [].into());
    }

    #[test]
    fn of_all_peers_together_only_whoever_has_most_loses_the_oldest() {
        let folder = Folder::new("bounded-for-all");
        let (of_peer, of_all) = (Bounded::RefusedHere.of_peer_max(), Bounded::RefusedHere.of_all_max());
        let mut writer = Writer::open(&folder.file()).unwrap();
        writer.write(&[refused_here("small", 1)]).unwrap();
        let large = of_all / of_peer + 1;
        for peer in 1..=large {
            let peer = format!("large-{peer}");
            writer.write(&(1..=of_peer).map(|n| refused_here(&peer, n)).collect::<Vec<_>>()).unwrap();
        }
        let learnt = read(&folder.file()).unwrap();
        assert_eq!(learnt.refused_here.len() as i64, of_all);
        let count = |peer: &str| learnt.refused_here.iter().filter(|r| r.peer.as_str() == peer).count() as i64;
        assert_eq!(count("small"), 1);
        assert!((1..=large).all(|peer| count(&format!("large-{peer}")) >= of_peer / 2));
        assert!(learnt.not_kept.keys().all(|(peer, _)| peer.as_str() != "small"), "{:?}", learnt.not_kept);
    }

    #[test]
    fn what_was_lost_and_is_not_kept_is_known_until_a_comparison_is_through() {
        let folder = Folder::new("bounded-losses");
        let max = Bounded::Diverged.of_peer_max();
        let mut writer = Writer::open(&folder.file()).unwrap();
        let there = (1..=2).map(|n| lost("N", n, false));
        writer.write(&there.chain((1..=max).map(|n| lost("N", n, true))).collect::<Vec<_>>()).unwrap();
        let n: SiteName = "N".parse().unwrap();
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.diverged.len(), learnt.lost_here.len() as i64), (0, max));
        assert_eq!(learnt.not_kept, [((n.clone(), Trouble::Diverged), 2)].into());
        assert_eq!(writer.diverged.len() as i64, max, "what is not kept is not remembered here either");
        writer.write(&[Note::Verified { peer: n }, lost("N", 1, false)]).unwrap();
        let learnt = read(&folder.file()).unwrap();
        assert_eq!((learnt.diverged.len(), learnt.lost_here.len(), learnt.not_kept.len()), (1, 0, 0));
    }
}
