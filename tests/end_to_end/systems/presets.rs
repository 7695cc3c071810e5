//! Every preset on the database of a real system, of every vendor: `init` and `check` find nothing, `grants` can tell what
//! is needed, and the system shows what was appended. Most of these databases are for full counts only: making each for
//! the first time takes up to a minute.

use super::is_soak;
use super::site::{PASSWORD, Site};
use crate::kit::command::DONE;
use crate::kit::folder::Folder;
use crate::kit::server::{MariaDb, Postgres};
use crate::kit::systems::{Kind, On, Sqlite, System};

const KINDS: [Kind; 4] = [Kind::Redmine, Kind::Rt, Kind::DjangoHelpdesk, Kind::Trac];

#[test]
fn every_preset_is_sound_on_postgres() {
    if !is_soak() {
        return eprintln!("SKIPPED: only with LANDBRIDGE_SOAK=1");
    }
    let Some(server) = Postgres::start() else { return };
    for kind in KINDS {
        sound(kind, On::Postgres(&server));
    }
}

#[test]
fn every_preset_is_sound_on_mariadb() {
    if !is_soak() {
        return eprintln!("SKIPPED: only with LANDBRIDGE_SOAK=1");
    }
    let Some(server) = MariaDb::start() else { return };
    for kind in KINDS {
        sound(kind, On::MariaDb(&server));
    }
}

#[test]
fn every_preset_is_sound_on_sqlite() {
    let kinds = if is_soak() { KINDS.as_slice() } else { &[Kind::DjangoHelpdesk, Kind::Trac] };
    for kind in kinds {
        sound(*kind, Sqlite.into());
    }
}

fn sound(kind: Kind, on: On<'_>) {
    // Names that have to be quoted.
    let (database, user) = (format!("{}-desk", kind.name()), format!("bridge-{}", kind.name()));
    let Some(system) = System::start(kind, on, &database) else { return };
    let folder = Folder::new("preset");
    let mut site = Site::alone(kind, system, folder.path());
    match on {
        On::Postgres(server) => {
            site.restrict(&user, |sql| server.sql(&database, sql), &server.url_as(&user, PASSWORD, &database));
        }
        On::MariaDb(server) => {
            site.restrict(&user, |sql| server.sql(&database, sql), &server.url_as(&user, PASSWORD, &database));
        }
        On::Sqlite => drop(site.run(&["grants"]).ends(DONE)),
    }
    let text = "„Grüße“ & <b>日本語</b> 💻🔥\nsecond line";
    site.run(&["append", "1", text]).ends(DONE);
    site.run(&["link", "1", "B", "4711"]).ends(DONE);
    let view = site.view(1);
    assert!(view.copies.iter().any(|entry| entry.text == text && entry.public), "{}: {view:?}", kind.name());
    assert_eq!(view.markers.len(), 1, "{}: {view:?}", kind.name());
    assert_eq!(view.markers[0].public, kind == Kind::Trac, "{}: {view:?}", kind.name());
}
