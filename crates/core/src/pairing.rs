//! Whether a problem here is the one that a delivery speaks of (DESIGN §5), where sites number differently.
//!
//! A name counts only where this site's own markers say it too. Numbers are given out again after a restore, so a
//! peer that should know this site's name and does not, or names a problem that knows nothing of it, speaks of another.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ProblemId, ProblemName, SiteName};
use crate::judge::Verdict;
use crate::ledger::Ledger;
use crate::message::{Belief, Code, Delivery};

/// How a problem here and the sender's are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Both sites say so.
    Known,
    /// Nothing was exchanged yet; this delivery links them.
    New,
    /// Only this site says so: the sender had no receipt yet, or its problem is another one under the same number.
    /// [`is_remembered`] decides once the entries are judged.
    Forgotten,
}

/// The sites whose names of a problem `from` may state: its own and those that it may speak for.
pub fn believed(
    names: &BTreeMap<SiteName, ProblemId>,
    from: &SiteName,
    relay_from: &BTreeSet<SiteName>,
) -> BTreeMap<SiteName, ProblemId> {
    let may = |site: &SiteName| site == from || relay_from.contains(site);
    names.iter().filter(|(site, _)| may(site)).map(|(site, problem)| (site.clone(), problem.clone())).collect()
}

/// This site's own name of the problem, as the sender says it: the receiver's name, or the home name where the problem
/// was first seen here.
pub fn own_name<'a>(site: &SiteName, delivery: &'a Delivery) -> Option<&'a ProblemId> {
    let home = || delivery.home.as_ref().filter(|home| home.site == *site).map(|home| &home.problem);
    delivery.names.get(site).or_else(home)
}

/// Whether the problem of `ledger` is the one that `from` delivers to. `home` is what its link column says.
///
/// # Errors
/// [`Code::Unpaired`] where the sender does not say what it calls the problem itself, [`Code::Conflict`] where this
/// problem is linked with another one of the sender's, [`Code::LinkLost`] where the sender thinks that entries were
/// exchanged and this site knows nothing of it.
pub fn confirm(
    ledger: &Ledger,
    home: Option<&ProblemName>,
    from: &SiteName,
    delivery: &Delivery,
) -> Result<Link, Code> {
    let theirs = delivery.names.get(from).ok_or(Code::Unpaired)?;
    let named = own_name(ledger.site(), delivery) == Some(ledger.problem());
    if ledger.own_name_of(from).is_some_and(|known| known != theirs) {
        return Err(Code::Conflict);
    }
    match ledger.name_of(from).filter(|known| *known == theirs) {
        Some(_) if named => Ok(Link::Known),
        Some(_) => Ok(Link::Forgotten),
        None if delivery.belief != Belief::default() => Err(Code::LinkLost),
        None if home.is_some_and(|home| home.site == *from && home.problem != *theirs) => Err(Code::Conflict),
        None => Ok(Link::New),
    }
}

/// Whether a sender that does not know this site's name still speaks of the linked problem: then it thinks that nothing
/// was ever exchanged, so what it gave us comes again, and it never confirmed anything of ours. One entry that comes
/// with another text speaks against it: where each ticket begins alike, another customer's has the same first entry.
pub fn is_remembered(ledger: &Ledger, from: &SiteName, verdicts: &[Verdict]) -> bool {
    let exchanged = ledger.exchanged(from);
    let ours = exchanged.by_site().any(|(site, _)| site == ledger.site());
    let differs = verdicts.iter().any(|v| matches!(v, Verdict::Differs(_)));
    exchanged.is_empty() || (!ours && !differs && verdicts.iter().any(|v| matches!(v, Verdict::Known(_))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Marker;
    use crate::entry::Row;
    use crate::id::WorkId;
    use crate::scribe::Scribe;
    use crate::seal::Keyring;

    fn site(s: &str) -> SiteName {
        s.parse().unwrap()
    }

    /// Problem 4711 at site N, with these markers.
    fn ledger(markers: &[&str]) -> Ledger {
        let scribe = Scribe::new(site("N"), "h", vec![], Keyring::new([1; 32]), None);
        let problem: ProblemId = "4711".parse().unwrap();
        let row = |(i, text): (usize, &&str)| {
            let marker = Marker::parse(text, "copy in system").unwrap();
            let text = scribe.write(&problem, marker, &Default::default()).unwrap().remove(0);
            Row { work: WorkId::new(10 + i as i64).unwrap(), marker: Some(text), open: false, bytes: 1 }
        };
        let rows: Vec<_> = markers.iter().enumerate().map(row).collect();
        Ledger::fold(&scribe, &problem, &rows)
    }

    fn delivery(names: &[(&str, &str)], exchanged: u64) -> Delivery {
        Delivery {
            names: names.iter().map(|(s, p)| (site(s), p.parse().unwrap())).collect(),
            home: None,
            fields: Default::default(),
            belief: Belief { count: exchanged, sum: exchanged },
            entries: vec![],
        }
    }

    fn confirmed(markers: &[&str], names: &[(&str, &str)], exchanged: u64) -> Result<Link, Code> {
        confirm(&ledger(markers), None, &site("1"), &delivery(names, exchanged))
    }

    #[test]
    fn a_name_counts_where_our_own_markers_say_it_too() {
        let both = [("1", "17"), ("N", "4711")];
        assert_eq!(confirmed(&["copy in system 1 as 17: 1"], &both, 1), Ok(Link::Known));
        assert_eq!(confirmed(&["copy in system 1 as 18: 1"], &both, 1), Err(Code::Conflict));
        assert_eq!(confirmed(&[], &both, 0), Ok(Link::New));
        assert_eq!(confirmed(&[], &both, 3), Err(Code::LinkLost));
        assert_eq!(confirmed(&["copy in system 1 as 17: 1"], &[("1", "17")], 0), Ok(Link::Forgotten));
        assert_eq!(confirmed(&[], &[("N", "4711")], 0), Err(Code::Unpaired));
    }

    #[test]
    fn a_link_column_that_names_another_problem_is_a_conflict() {
        let other: ProblemName = "1/18".parse().unwrap();
        let delivery = delivery(&[("1", "17")], 0);
        assert_eq!(confirm(&ledger(&[]), Some(&other), &site("1"), &delivery), Err(Code::Conflict));
        let third: ProblemName = "C/900".parse().unwrap();
        assert_eq!(confirm(&ledger(&[]), Some(&third), &site("1"), &delivery), Ok(Link::New));
    }

    #[test]
    fn a_sender_that_had_no_receipt_sends_again_what_is_known_here() {
        let known = [Verdict::Fresh, Verdict::Known(WorkId::MIN)];
        let one = site("1");
        let linked = ledger(&["copy in system 1 as 17"]);
        let gave = ledger(&["copy in system 1 as 17: 1-2 from 1-2"]);
        let confirmed = ledger(&["copy in system 1 as 17: 1-2 from 1-2", "copy in system 1 as 17: 3"]);
        assert!(is_remembered(&linked, &one, &[Verdict::Fresh]));
        assert!(is_remembered(&gave, &one, &known) && !is_remembered(&gave, &one, &[Verdict::Fresh]));
        assert!(!is_remembered(&confirmed, &one, &known), "it confirmed an entry of ours, so it knew our name");
    }

    #[test]
    fn a_peer_names_only_itself_and_whom_it_may_speak_for() {
        let names = delivery(&[("1", "17"), ("C", "900"), ("D", "5")], 0).names;
        let heard = believed(&names, &site("1"), &[site("C")].into());
        assert_eq!(heard.keys().map(SiteName::as_str).collect::<Vec<_>>(), ["1", "C"]);
    }

    #[test]
    fn the_home_name_is_our_own_where_we_saw_the_problem_first() {
        let mut delivery = delivery(&[("1", "17")], 0);
        assert_eq!(own_name(&site("N"), &delivery), None);
        delivery.home = Some("N/4711".parse().unwrap());
        assert_eq!(own_name(&site("N"), &delivery).map(ProblemId::as_str), Some("4711"));
    }
}
