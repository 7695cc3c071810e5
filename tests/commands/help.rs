//! Help, and what a wrong command line says.

use crate::kit::command::{DONE, USAGE, run};

const VERBS: [&str; 22] = [
    "demo", "init", "check", "cert", "grants", "run", "reload", "sync", "status", "history", "append", "explain",
    "preview", "adopt", "retry", "rekey", "disown", "link", "verify", "repair", "audit", "compact",
];

#[test]
fn every_verb_has_a_help_with_an_example_and_its_exit_statuses() {
    for verb in VERBS {
        let help = run([verb, "--help"]).ends(DONE).out;
        let example = help.split_once("Example").map(|(_, rest)| rest.contains("landbridge")).unwrap_or(false);
        assert!(example, "{verb} has no example:\n{help}");
        assert!(help.contains("Exit status"), "{verb} does not say how it ends:\n{help}");
        assert!(help.contains("Usage: landbridge"), "{help}");
        let short = run([verb, "-h"]).ends(DONE).out;
        assert!(short.lines().count() < help.lines().count(), "the short help of {verb} is not shorter");
    }
}

#[test]
fn the_help_names_every_verb_and_every_exit_status() {
    let help = run(["--help"]).ends(DONE).out;
    for verb in VERBS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))), "no {verb} in:\n{help}");
    }
    for status in
        ["0  done", "1  something is left", "2  wrong command line", "3  wrong configuration", "6  something wants"]
    {
        assert!(help.contains(status), "no {status:?} in:\n{help}");
    }
    assert!(run(["--version"]).ends(DONE).out.starts_with("landbridge "));
}

#[test]
fn a_wrong_flag_or_verb_suggests_the_right_one() {
    let suggests = |args: &[&str], right: &str| {
        let said = run(args).ends(USAGE).err;
        assert!(said.contains(right) && said.contains("similar"), "{args:?}: {said}");
    };
    suggests(&["--hlep"], "'--help'");
    suggests(&["synk"], "'sync'");
    suggests(&["histroy", "ABC"], "'history'");
    suggests(&["status", "--jsn"], "'--json'");
    suggests(&["preview", "--per", "N"], "'--peer'");
    suggests(&["rekey", "--lostkey"], "'--lost-key'");
}

#[test]
fn a_command_without_what_it_needs_says_what_that_is() {
    let says = |args: &[&str], needed: &str| {
        let said = run(args).ends(USAGE).err;
        assert!(said.contains(needed), "{args:?}: {said}");
    };
    says(&[], "Usage: landbridge");
    says(&["history"], "<PROBLEM>");
    says(&["explain", "ABC"], "<ROW>");
    says(&["explain", "ABC", "none"], "none");
    says(&["adopt", "--peer", "N"], "--all");
    says(&["init", "--yes"], "--database");
}
