//! Numbers that a database gives out before the transaction ends: committed in another order, or never. Whoever looks for
//! "what is above the last one" loses these.

use crate::kit::desk::{Desk, New, secret};
use crate::kit::host::Host;
use crate::kit::pair::Pair;
use crate::kit::schema::COMMENTS;
use crate::kit::sql::Sql;
use crate::kit::wait::wait_until;

const ROUNDS: usize = 6;
const WRITERS: usize = 5;

#[test]
fn transactions_that_commit_in_reverse_or_not_at_all_lose_nothing() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    let pair = Pair::new("sequences", COMMENTS.on(&postgres), COMMENTS.on(&mariadb), &["ABC", "XYZ"]);
    let (_one, _n) = pair.start();
    let mut committed = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (site, desk, other) in [(0, &pair.one, &pair.n), (1, &pair.n, &pair.one)] {
            let mut open: Vec<_> = (0..WRITERS).map(|writer| hold(desk, round, writer)).collect();
            // One that began later is through before all of them.
            let later = format!("{}/{round} later", desk.site);
            desk.append("ABC", &[&later]);
            wait_until("it arrives", || other.entries("ABC").contains(&later));
            committed[site].push(later);
            while let Some((mut sql, writer, text)) = open.pop() {
                // Every other time it is gone again, and its number with it.
                if (writer + round) % 3 == 0 {
                    sql.rollback().unwrap();
                    continue;
                }
                sql.commit().unwrap();
                // The lower numbers are still open when this one is through.
                wait_until("it arrives", || other.entries("ABC").contains(&text));
                committed[site].push(text);
            }
        }
    }
    pair.wait_until_in_step();
    for (desk, other, should) in [(&pair.one, &pair.n, &committed[0]), (&pair.n, &pair.one, &committed[1])] {
        let begins = format!("{}/", desk.site);
        let there: Vec<_> = other.entries("ABC").into_iter().filter(|text| text.starts_with(&begins)).collect();
        assert_eq!(&there, should, "in the order in which they were committed, each once");
        let mut own: Vec<_> = desk.entries("ABC").into_iter().filter(|text| text.starts_with(&begins)).collect();
        let mut should = should.clone();
        own.sort();
        should.sort();
        assert_eq!(own, should);
    }
}

/// A transaction that has its number and is not committed.
fn hold(desk: &Desk, round: usize, writer: usize) -> (Sql, usize, String) {
    let mut sql = desk.connect();
    let (text, confidential) = (format!("{}/{round} {writer}", desk.site), &secret(desk.site));
    sql.begin().unwrap();
    let new = New { problem: "ABC", text: &text, author: None, public: true, confidential };
    new.append(&mut sql, desk.schema).unwrap();
    (sql, writer, text)
}
