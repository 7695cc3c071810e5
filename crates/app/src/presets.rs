//! Mappings of well-known ticket systems, as `init --preset` writes them: the sections [history] and [problem] of a
//! configuration, a file for each system and vendor.

use landbridge_stores::catalog::Vendor;

/// A mapping of a system on the databases of a vendor.
struct Preset {
    name: &'static str,
    vendor: Vendor,
    text: &'static str,
}

/// The names, in the order in which they are shown.
pub const NAMES: [&str; 4] = ["redmine", "rt", "django-helpdesk", "trac"];

static PRESETS: &[Preset] = &[
    Preset { name: "redmine", vendor: Vendor::Postgres, text: include_str!("../presets/redmine/postgres.toml") },
    Preset { name: "redmine", vendor: Vendor::Mysql, text: include_str!("../presets/redmine/mysql.toml") },
    Preset { name: "redmine", vendor: Vendor::Sqlite, text: include_str!("../presets/redmine/sqlite.toml") },
    Preset { name: "rt", vendor: Vendor::Postgres, text: include_str!("../presets/rt/postgres.toml") },
    Preset { name: "rt", vendor: Vendor::Mysql, text: include_str!("../presets/rt/mysql.toml") },
    Preset { name: "rt", vendor: Vendor::Sqlite, text: include_str!("../presets/rt/sqlite.toml") },
    Preset {
        name: "django-helpdesk",
        vendor: Vendor::Postgres,
        text: include_str!("../presets/django-helpdesk/postgres.toml"),
    },
    Preset {
        name: "django-helpdesk",
        vendor: Vendor::Mysql,
        text: include_str!("../presets/django-helpdesk/mysql.toml"),
    },
    Preset {
        name: "django-helpdesk",
        vendor: Vendor::Sqlite,
        text: include_str!("../presets/django-helpdesk/sqlite.toml"),
    },
    Preset { name: "trac", vendor: Vendor::Postgres, text: include_str!("../presets/trac/postgres.toml") },
    Preset { name: "trac", vendor: Vendor::Mysql, text: include_str!("../presets/trac/mysql.toml") },
    Preset { name: "trac", vendor: Vendor::Sqlite, text: include_str!("../presets/trac/sqlite.toml") },
];

/// The preset of this name for this vendor. Where there is none, the vendors that there are for that name.
pub fn find(name: &str, vendor: Vendor) -> Result<&'static str, Vec<Vendor>> {
    let named = || PRESETS.iter().filter(|p| p.name == name);
    named().find(|p| p.vendor == vendor).map(|p| p.text).ok_or_else(|| named().map(|p| p.vendor).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check;

    fn is_sound(preset: &Preset, text: &str) {
        let Preset { name, vendor, .. } = preset;
        assert!(NAMES.contains(name), "{name}");
        let url = match vendor {
            Vendor::Sqlite => "sqlite:x.db",
            Vendor::Postgres => "postgres://u@h/d",
            Vendor::Mysql => "mysql://u@h/d",
        };
        let text = text.replacen("[history]", "[history]\nname = \"work_history\"", 1);
        let file = format!("site = \"1\"\nkey_file = \"k\"\n[database]\nurl = \"{url}\"\n{text}");
        check(&file, Path::new("landbridge.toml"), &|_| None).unwrap_or_else(|e| panic!("{name} {vendor:?}: {e}"));
    }

    #[test]
    fn every_preset_is_a_mapping_without_faults() {
        PRESETS.iter().for_each(|preset| is_sound(preset, preset.text));
    }

    #[test]
    fn what_a_preset_offers_besides_has_no_faults_either() {
        for preset in PRESETS {
            let text = preset.text.replace("#| ", "").replace("#|\n", "\n");
            assert_ne!(text, preset.text);
            is_sound(preset, &text);
        }
    }
}
