//! Two different ticket systems in step: what each shows is what was written at the other, nothing confidential has left,
//! and the systems work on as if nobody had written beside them.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use super::is_soak;
use super::site::{PASSWORD, Site, Sites, TOKEN, texts};
use crate::kit::command::{CONFIGURATION, DONE, PERSON};
use crate::kit::server::{MariaDb, Postgres};
use crate::kit::systems::{Kind, Sqlite, System};
use crate::kit::wait::wait_until;

/// How many entries the people of each site write while the bridges run.
fn written() -> usize {
    if is_soak() { 120 } else { 6 }
}

/// How an administrator says which tickets belong together, besides one by one.
#[derive(Clone, Copy, PartialEq)]
enum Many {
    /// In a file.
    Csv,
    /// From the database.
    Query,
}

#[test]
fn redmine_on_mariadb_and_rt_on_postgres_are_in_step_with_no_more_rights_than_grants_prints() {
    let (Some(maria), Some(postgres)) = (MariaDb::start(), Postgres::start()) else { return };
    let (Some(redmine), Some(rt)) = (System::redmine(&maria), System::rt(&postgres)) else { return };
    let sites = Sites::new((Kind::Redmine, redmine), (Kind::Rt, rt));
    sites.a.restrict("landbridge", |sql| maria.sql("redmine", sql), &maria.url_as("landbridge", PASSWORD, "redmine"));
    sites.b.restrict("landbridge", |sql| postgres.sql("rt5", sql), &postgres.url_as("landbridge", PASSWORD, "rt5"));
    in_step(sites, Many::Query);
}

#[test]
fn redmine_on_postgres_and_django_helpdesk_on_sqlite_are_in_step() {
    let Some(postgres) = Postgres::start() else { return };
    let (Some(redmine), Some(helpdesk)) = (System::redmine(&postgres), System::django_helpdesk(Sqlite)) else { return };
    in_step(Sites::new((Kind::Redmine, redmine), (Kind::DjangoHelpdesk, helpdesk)), Many::Csv);
}

#[test]
fn django_helpdesk_gets_a_ticket_for_each_of_redmine_where_its_administrator_wants_it() {
    let Some(postgres) = Postgres::start() else { return };
    let (Some(redmine), Some(helpdesk)) = (System::redmine(&postgres), System::django_helpdesk(Sqlite)) else { return };
    let mut sites = Sites::new((Kind::Redmine, redmine), (Kind::DjangoHelpdesk, helpdesk));
    sites.a.take_offers();
    sites.b.take_offers();
    for site in [&sites.a, &sites.b] {
        site.run(&["check", "--offline"]).ends(DONE);
    }
    sites.start();
    let Sites { a, b, .. } = &mut sites;
    let subject = "Überhitzung 過熱 🔥";
    let here = a.system.new_ticket(subject);
    a.system.add(here, "INTERNAL at A", false);
    a.system.add(here, "„Grüße“ 日本語 💻", true);
    wait_until("the ticket is there", || b.system.find(subject).is_some());
    let there = b.system.find(subject).unwrap();
    b.wait_for(there, "„Grüße“ 日本語 💻");
    b.system.add(there, "Ventilator getauscht 🔥", true);
    a.wait_for(here, "Ventilator getauscht 🔥");
    // The seeded ones that have something for everybody got one as well, and the private one has none.
    a.system.add(3, "in a private ticket", true);
    let seeded = "Driver reinstalled.";
    wait_until("the other tickets are there", || b.system.rows().matches(seeded).count() > 1);
    follow(&mut sites, &[(here, there)]);
    compare(&mut sites, &[(here, there)]);
    let rows = sites.b.system.rows();
    assert_eq!(rows.matches(seeded).count(), 2, "its own and the copy");
    assert!(!rows.contains("INTERNAL at A") && !rows.contains("in a private ticket"));
}

#[test]
fn redmine_on_postgres_and_trac_on_sqlite_are_in_step() {
    let Some(postgres) = Postgres::start() else { return };
    let (Some(redmine), Some(trac)) = (System::redmine(&postgres), System::trac(Sqlite)) else { return };
    let sites = Sites::new((Kind::Redmine, redmine), (Kind::Trac, trac));
    sites.a.restrict(
        "landbridge",
        |sql| postgres.sql("redmine", sql),
        &postgres.url_as("landbridge", PASSWORD, "redmine"),
    );
    in_step(sites, Many::Csv);
}

/// Site A has Redmine.
fn in_step(mut sites: Sites, many: Many) {
    let schemas = [sites.a.system.schema(), sites.b.system.schema()];
    let confidential = [sites.b.system.rows(), sites.a.system.rows()].map(|rows| rows.matches("INTERNAL").count());

    // The same customers' cases, under numbers of their own at each site.
    let (at_a, at_b) = (sites.a.system.new_ticket("Case 1 of B"), sites.b.system.new_ticket("Case 1 of A"));
    let second = sites.b.system.new_ticket("Case 2 of A");
    let linked = [(1, at_b), (at_a, 1), (2, second)];
    link(&sites.a, &linked, many);
    // Redmine's ticket 3 is private as a whole.
    sites.a.system.add(3, "INTERNAL at A, in a ticket that nobody else may see", true);
    sites.a.run(&["link", "3", "B", "3"]).ends(PERSON);

    sites.start();
    for site in [&sites.a, &sites.b] {
        site.run(&["check"]).ends(DONE);
    }
    let kept = write(&mut sites, &linked);
    follow(&mut sites, &linked);
    compare(&mut sites, &linked);
    fold(&mut sites.a);
    fold(&mut sites.b);

    reveal(&mut sites.a, &mut sites.b, kept[0], linked[0]);
    reveal(&mut sites.b, &mut sites.a, kept[1], (linked[1].1, linked[1].0));
    moves(&mut sites.a, &mut sites.b, linked[0]);
    moves(&mut sites.b, &mut sites.a, (linked[0].1, linked[0].0));
    // Whatever a bridge has learnt is not needed: everything stands in the tickets.
    sites.a.kill();
    sites.b.kill();
    sites.start();
    follow(&mut sites, &linked);
    compare(&mut sites, &linked);

    let (a, b) = (&mut sites.a, &mut sites.b);
    for (site, other, before) in [(&mut *a, "B", confidential[1]), (&mut *b, "A", confidential[0])] {
        let rows = site.system.rows();
        assert!(rows.contains(&format!("PUBLIC at {other}")), "the rows of site {} are not all there", site.name);
        assert!(!rows.contains(&format!("INTERNAL at {other}")), "site {} has got what is confidential", site.name);
        let own = rows.matches("INTERNAL").count() - rows.matches(&format!("INTERNAL at {}", site.name)).count();
        assert_eq!(own, before, "site {} has got what is confidential", site.name);
        let heard = site.way.heard();
        assert!(heard.contains(&format!("PUBLIC at {other}")), "{heard}");
        for never in ["INTERNAL", "; seal "] {
            assert!(!heard.contains(never), "{never}: {heard}");
        }
        let said = site.said();
        for never in ["INTERNAL", "PUBLIC", PASSWORD, TOKEN, "panic"] {
            assert!(!said.contains(never), "{never}: {said}");
        }
    }
    for (site, before) in [(&mut *a, &schemas[0]), (&mut *b, &schemas[1])] {
        site.stop();
        assert_eq!(&site.system.schema(), before, "the schema at {} is another one", site.name);
    }
}

/// The bridge's own markers become fewer while it runs; what the system shows besides is compared later.
fn fold(site: &mut Site) {
    if matches!(site.kind, Kind::Trac) {
        // Trac numbers a ticket's comments by their rows, so its preset says nothing of taking one away.
        let told = site.run(&["compact", "--min-markers", "1"]).ends(CONFIGURATION).err;
        assert!(told.contains("does not say how"), "{told}");
        return;
    }
    let markers = |site: &mut Site| site.system.rows().matches("; seal ").count();
    let before = markers(site);
    let said = site.run(&["compact", "--min-markers", "1", "--json"]).ends(DONE).json();
    let less = said["markers_before"].as_u64().unwrap() - said["markers_after"].as_u64().unwrap();
    assert!(less > 0, "{said}");
    assert_eq!(before - usize::try_from(less).unwrap(), markers(site), "{said}");
}

/// The first by itself, the others all at once.
fn link(a: &Site, linked: &[(i64, i64)], many: Many) {
    let (here, there) = linked[0];
    a.run(&["link", &here.to_string(), "B", &there.to_string()]).ends(DONE);
    match many {
        Many::Csv => {
            let lines: Vec<_> = linked[1..].iter().map(|(here, there)| format!("{here},{there}")).collect();
            let input = format!("problem,B\n{}\n", lines.join("\n"));
            a.run_with_input(&["link", "--peer", "B", "--csv", "-"], &input).ends(DONE);
        }
        Many::Query => {
            let cases: String = linked[1..].iter().map(|(here, there)| format!(" when {here} then {there}")).collect();
            let query =
                format!("select id, case id{cases} end from issues where id in ({}, {})", linked[1].0, linked[2].0);
            a.run(&["link", "--peer", "B", "--query", &query]).ends(DONE);
        }
    }
}

/// People of both sites write at the same time, in every ticket, for everybody and for the staff. The last entry for the
/// staff of each in the ticket that is linked first with one of the other's, where the system knows such a thing.
fn write(sites: &mut Sites, linked: &[(i64, i64)]) -> [Option<i64>; 2] {
    let Sites { a, b, .. } = sites;
    let tickets = |side: fn(&(i64, i64)) -> i64| linked.iter().map(side).collect::<Vec<_>>();
    let (of_a, of_b) = (tickets(|t| t.0), tickets(|t| t.1));
    thread::scope(|scope| {
        let a = scope.spawn(move || write_at(a, &of_a, of_a[0]));
        let b = scope.spawn(move || write_at(b, &of_b, of_b[1]));
        [a.join().unwrap(), b.join().unwrap()]
    })
}

fn write_at(site: &mut Site, tickets: &[i64], kept_in: i64) -> Option<i64> {
    let mut kept = None;
    for n in 0..written() {
        let ticket = tickets[n % tickets.len()];
        let text = format!("PUBLIC at {} {n}: „Grüße“ & <b>日本語</b> 💻🔥\nsecond line", site.name);
        site.system.add(ticket, &text, true);
        if site.has_confidential() {
            let text = format!("INTERNAL at {} {n}: über den Vertrag", site.name);
            site.system.add(ticket, &text, false);
        }
    }
    if site.has_confidential() {
        kept = Some(site.system.add(kept_in, &format!("Now PUBLIC at {}: 契約", site.name), false));
    }
    kept
}

/// What was kept from the other site becomes public, and follows.
fn reveal(from: &mut Site, to: &mut Site, kept: Option<i64>, (here, there): (i64, i64)) {
    let Some(kept) = kept else { return };
    let text = from.system.read(here).into_iter().find(|entry| entry.work == kept).unwrap().text;
    assert!(to.view(there).copies.iter().all(|entry| entry.text != text));
    from.system.publish(here, kept);
    to.wait_for(there, &text);
}

/// A ticket was last changed when something came from the other site.
fn moves(from: &mut Site, to: &mut Site, (here, there): (i64, i64)) {
    let before = to.system.changed(there);
    // Some systems know whole seconds only.
    wait_until("the next second begins", || now() >= before.floor() + 1.0);
    let begun = now().floor();
    let text = format!("And this at {begun}");
    from.system.add(here, &text, true);
    to.wait_for(there, &text);
    let (changed, now) = (to.system.changed(there), now());
    assert!((begun..=now).contains(&changed), "at {now} {} said {changed}, before {before}", to.name);
}

/// One more entry in every ticket at both sites, and the wait for them: everything before them has arrived then.
fn follow(sites: &mut Sites, linked: &[(i64, i64)]) {
    let Sites { a, b, .. } = sites;
    for &(in_a, in_b) in linked {
        let text = format!("Over to you: {}", now());
        a.system.add(in_a, &format!("{text}, B"), true);
        b.system.add(in_b, &format!("{text}, A"), true);
        a.wait_for(in_a, &format!("{text}, A"));
        b.wait_for(in_b, &format!("{text}, B"));
    }
}

/// What was written for everybody at one site stands exactly once at the other, and so the other way round.
fn compare(sites: &mut Sites, linked: &[(i64, i64)]) {
    for &(in_a, in_b) in linked {
        let (of_a, of_b) = (sites.a.view(in_a), sites.b.view(in_b));
        assert_eq!(texts(&of_b.copies), texts(&of_a.open), "ticket {in_a} of A, at B");
        assert_eq!(texts(&of_a.copies), texts(&of_b.open), "ticket {in_b} of B, at A");
        for (view, site) in [(&of_a, &sites.a), (&of_b, &sites.b)] {
            assert!(view.copies.iter().all(|entry| entry.public), "{view:?}");
            assert!(!view.markers.is_empty(), "{view:?}");
            assert!(view.markers.iter().all(|entry| entry.public != site.has_confidential()), "{view:?}");
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
