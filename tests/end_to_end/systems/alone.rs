//! The real systems of the kit by themselves, without a bridge: what they show after their seed, and after their people's
//! work.

use crate::kit::server::{MariaDb, Postgres};
use crate::kit::systems::{Sqlite, System};

/// What is true of every system: the seed, an entry, a confidential one that becomes public, a new ticket.
fn story(system: &mut System, has_confidential: bool) {
    let schema = system.schema();
    assert!(schema.to_lowercase().contains("create table"), "{schema}");
    let seeded = system.read(1);
    let texts: Vec<_> = seeded.iter().map(|entry| &*entry.text).collect();
    assert!(texts.contains(&"Reseated; now 'beeps' 3x.  Emoji: 💻🔥 and CJK: 日本語"), "{texts:?}");
    for entry in &seeded {
        assert_eq!(entry.public, !entry.text.starts_with("INTERNAL"), "{entry:?}");
    }
    assert_eq!(seeded.iter().filter(|entry| !entry.public).count(), usize::from(has_confidential));

    let ticket = system.new_ticket("Überhitzung 過熱 🔥");
    let said = "„Grüße“ & <b>日本語</b> 🔥\nsecond line";
    let open = system.add(ticket, said, true);
    let closed = system.add(ticket, "between us", false);
    let shown = system.read(ticket);
    let shown: Vec<_> = shown.iter().map(|e| (e.work, &*e.text, e.public, e.author.as_deref())).collect();
    assert_eq!(shown, [(open, said, true, Some("alice")), (closed, "between us", !has_confidential, Some("alice"))]);
    system.publish(ticket, closed);
    assert!(system.read(ticket).iter().all(|entry| entry.public));
    assert_eq!(system.schema(), schema);
}

#[test]
fn redmine_on_mariadb_shows_its_notes() {
    let Some(server) = MariaDb::start() else { return };
    let Some(mut system) = System::redmine(&server) else { return };
    story(&mut system, true);
}

#[test]
fn redmine_on_postgres_shows_its_notes_and_does_so_after_a_crash_of_the_server() {
    let Some(mut server) = Postgres::start() else { return };
    let Some(mut system) = System::redmine(&server) else { return };
    story(&mut system, true);
    let before = system.read(1);
    server.kill();
    server.restart();
    assert_eq!(system.read(1), before);
}

#[test]
fn rt_on_postgres_shows_its_notes() {
    let Some(server) = Postgres::start() else { return };
    let Some(mut system) = System::rt(&server) else { return };
    story(&mut system, true);
}

#[test]
fn django_helpdesk_on_sqlite_shows_its_notes() {
    let Some(mut system) = System::django_helpdesk(Sqlite) else { return };
    story(&mut system, true);
}

#[test]
fn trac_on_sqlite_shows_its_notes() {
    let Some(mut system) = System::trac(Sqlite) else { return };
    story(&mut system, false);
}
