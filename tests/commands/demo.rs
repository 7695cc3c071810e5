//! The demonstration: the first command that anybody tries.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::kit::command::{DONE, landbridge, run};
use crate::kit::folder::Folder;

const ROWS: [&str; 9] = [
    "open ticket for analysis",
    "solve ticket ABC",
    "copy in system N: 1-2; seal ",
    "reopen ABC for review",
    "copy in system N: 4; seal ",
    "do not bother will work on ABC at N",
    "copy in system N: 6 from 6; seal ",
    "solved!",
    "copy in system N: 8; seal ",
];

#[test]
fn the_demo_shows_both_tables_and_a_proof_plain_in_a_pipe() {
    let demo = run(["demo"]).ends(DONE);
    assert!(!demo.out.contains('\x1b'), "colours in a pipe: {}", demo.out);
    assert_eq!(demo.err, "");
    let lines: Vec<_> = demo.out.lines().collect();
    for (n, row) in ROWS.iter().enumerate() {
        let begins = format!("{} ", n + 1);
        let shown = lines.iter().any(|line| line.trim_start().starts_with(&begins) && line.contains(row));
        assert!(shown, "no row {} with {row:?} in:\n{}", n + 1, demo.out);
    }
    assert!(demo.out.contains("copy in system 1: 1-2 from 1-2; seal "), "{}", demo.out);
    assert!(demo.out.contains("0 of 12 confidential values"), "{}", demo.out);
    assert!(!demo.out.contains("WRONG"), "{}", demo.out);
}

#[test]
fn the_demo_is_the_same_as_json() {
    let json = run(["demo", "--json"]).ends(DONE).json();
    assert_eq!(json["holds"], true);
    for site in 0..2 {
        let rows = json["sites"][site]["rows"].as_array().unwrap();
        let works: Vec<_> = rows.iter().map(|row| row["work"].as_i64().unwrap()).collect();
        assert_eq!(works, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    assert!(json["proof"]["findings"].as_array().unwrap().iter().all(|finding| finding["holds"] == true));
}

#[test]
fn the_demo_has_colours_on_a_terminal_unless_they_are_not_wanted() {
    let on_a_terminal = |env: &str| {
        let demo = format!("{env} {} demo", env!("CARGO_BIN_EXE_landbridge"));
        Command::new("script").args(["-qec", &demo, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()).output()
    };
    let Ok(coloured) = on_a_terminal("") else {
        println!("SKIPPED: there is no `script` here to make a terminal with");
        return;
    };
    assert!(coloured.status.success());
    assert!(String::from_utf8_lossy(&coloured.stdout).contains("\x1b[32mok\x1b[0m"));
    let plain = on_a_terminal("NO_COLOR=1").unwrap();
    assert!(!String::from_utf8_lossy(&plain.stdout).contains("\x1b[32m"));
}

#[test]
fn a_served_demo_goes_on_until_it_is_interrupted_and_its_folder_can_be_kept() {
    let folder = Folder::new("demo");
    let kept = folder.path().join("two-desks");
    let mut demo = landbridge(["demo", "--serve", "--dir", kept.to_str().unwrap()]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("until Ctrl-C")), "it does not say how it ends");

    let config = kept.join("site-1").join("landbridge.toml");
    let append = ["--config", config.to_str().unwrap(), "append", "ABC", "one more"];
    run(append).ends(DONE);
    let other = kept.join("site-N").join("landbridge.toml");
    let history = ["--config", other.to_str().unwrap(), "history", "ABC"];
    crate::kit::wait::wait_until("it arrives at the other site", || run(history).out.contains("one more"));

    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    lines.for_each(drop);
    assert!(demo.wait().unwrap().success());
    assert!(config.exists());
}
