//! Faults of the form: unknown keys, keys of later versions, wrong types, broken syntax.

use super::*;

#[test]
fn unknown_keys_are_all_named_with_what_was_meant() {
    assert_fault(&under("[database]", "busi = \"1s\""), "4:1: unknown key `busi` in [database]; did you mean `busy`?");
    assert_fault(&and("sweep = \"1h\""), "19:1: unknown key `sweep` in [[peer]]; it belongs under [pace]");
    assert_fault(
        &and("[listne]
x = 1"),
        "19:2: unknown key `listne`; did you mean `listen`?",
    );
    let found = faults(&and("a = 1\nb = 2\n\"c\\nd\" = 3"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[2].contains("unknown key `c\\nd` in [[peer]]"), "{found:#?}");
}

#[test]
fn what_a_later_version_brings_is_not_called_unknown() {
    let later = |words: &str| format!("{words} comes with a later version of Landbridge; take it out");
    for (text, expected) in [
        (and("[pages]\naddress = \"127.0.0.1:1\""), "19:2: `pages` (the operator's pages)"),
        (and("[hooks]\nafter_commit = \"x\""), "19:2: `hooks` (a command after a commit)"),
    ] {
        assert_fault(&text, &later(expected));
    }
    assert_fault(
        &and("[listen.tls]\ncert = \"1.crt\""),
        "19:9: unknown key `tls` in [listen]; it belongs at the top of the file",
    );
    assert_fault(
        &with("url = \"sqlite", "url = \"odbc:DSN=hunter2\""),
        "4:7: ODBC comes with a later version of Landbridge; write `url = \"sqlite:FILE\"`, \
         \"postgres://USER@HOST/DATABASE\" or \"mysql://USER@HOST/DATABASE\"",
    );
}

#[test]
fn a_wrong_form_says_which_form_is_wanted() {
    for (text, expected) in [
        (with("site", "site = 1"), "1:8: `site` is a whole number; write a text in quotes, as in `site = \"...\"`"),
        (
            with("numbering", "numbering = true"),
            "11:13: `numbering` in [history] is true or false; write a text in quotes, as in `numbering = \"...\"`",
        ),
        (
            with("fields", "fields = { author = 1.5 }"),
            "12:21: `author` in [history.fields] is a number with a point; write it in quotes, as in \"...\"",
        ),
        (
            with("fields", "fields = []"),
            "12:10: `fields` in [history] is a list; write a section with names and texts, as in `fields = { NAME = \"...\" }`",
        ),
        (
            and("relay_from = \"C\""),
            "19:14: `relay_from` in [[peer]] is a text; write a list of texts, as in `relay_from = [\"...\"]`",
        ),
        (
            and("relay_from = [\"C\", 1]"),
            "19:20: `relay_from` in [[peer]] has a whole number in its list; write a list of texts, as in `relay_from = [\"...\"]`",
        ),
        (
            and("pull = 1"),
            "19:8: `pull` in [[peer]] is a whole number; write `pull = true` or `pull = false`, without quotes",
        ),
        (
            and("[limits]\nbatch_entries_max = \"5\""),
            "20:21: `batch_entries_max` in [limits] is a text; write a whole number without quotes, as in `batch_entries_max = 500`",
        ),
        (
            and("[limits]\nbatch_bytes_max = 0xfffffffffffffffff"),
            "20:19: `batch_bytes_max` in [limits] is too large; write a smaller number",
        ),
        (
            and("[limits]\nbatch_bytes_max = 1979-05-27"),
            "20:19: `batch_bytes_max` in [limits] is a date; a size is a number of bytes, or a number and a unit, such as \"100B\", \"512KiB\", \"8MiB\" or \"1GiB\"",
        ),
        (and("[[pace]]"), "19:1: `pace` is a list; it is a section: write `[pace]` in a line of its own"),
    ] {
        assert_fault(&text, expected);
    }
    let single = with("[[peer]]", "[peer]");
    assert_fault(&single, "15:1: `peer` is a section; write `[[peer]]` with two brackets, once for each peer");
    let found = faults(&format!("history = 5\n{}", with("[history]", "[limits]")));
    assert!(found[0].contains("1:11: `history` is a whole number; it is a section"), "{found:#?}");
    assert!(!found.iter().any(|f| f.contains("[history] is missing")), "{found:#?}");
}

#[test]
fn broken_syntax_is_reported_with_what_stands_before_it_and_quotes_nothing() {
    let text = with("token", "token = \"hunter2-hunter2\nfoo = [1,");
    let text = text.replace("[database]", "[database]\nbusi = 1");
    let found = faults(&text);
    assert_eq!(found[0], "landbridge.toml:4:1: unknown key `busi` in [database]; did you mean `busy`?");
    assert!(found[1].starts_with("landbridge.toml:19:"), "{found:#?}");
    assert!(found[1].contains("this is no TOML: invalid basic string"), "{found:#?}");
    assert!(found.len() > 2, "{found:#?}");
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
    let twice = faults(&format!("site = \"hunter2\"\n{GOOD}[pace]\nsweep = 1\n[listen]\n"));
    assert_eq!(twice[0], "landbridge.toml:2:1: this is in the file twice; keep one of them");
    assert!(twice[1].starts_with("landbridge.toml:21:9: `sweep` in [pace] is a whole number"), "{twice:#?}");
    assert_eq!(twice[2], "landbridge.toml:22:2: this is in the file twice; keep one of them");
}
