//! A site whose only peer is not there: enough for most commands. And what every failure has in common.

use crate::kit::command::{Ran, run};
use crate::kit::desk::{Desk, QUICK};
use crate::kit::folder::Folder;
use crate::kit::pair::TOKEN;
use crate::kit::proxy::Proxy;
use crate::kit::schema::Schema;

/// A site with nobody at the other end.
pub struct Lonely {
    /// The site.
    pub desk: Desk,
    /// Where it is.
    pub folder: Folder,
    _nowhere: Proxy,
}

impl Lonely {
    /// Site 1, which knows of a peer N, with problem ABC.
    pub fn new(name: &str, schema: &'static Schema) -> Self {
        let (folder, nowhere) = (Folder::new(name), Proxy::new());
        let peer = format!("[[peer]]\nname = \"N\"\nurl = \"http://{}\"\ntoken = \"{TOKEN}\"\n", nowhere.address);
        let desk = Desk::make(folder.path(), "1", schema, &["ABC"], &format!("{peer}{QUICK}"));
        Self { desk, folder, _nowhere: nowhere }
    }

    /// Runs each of these commands. Each must fail with `code` and one sentence that has all of `words`, tell the next
    /// step, and leave every byte of the database as it was.
    #[track_caller]
    pub fn each_fails(&self, commands: &[&[&str]], code: i32, words: &[&str]) {
        let before = self.desk.bytes();
        for command in commands {
            let config = ["--config", self.desk.config.to_str().unwrap()];
            let ran = run(config.iter().chain(*command));
            fails_clearly(&ran, code, words);
            assert!(self.desk.bytes() == before, "{command:?} changed the database");
        }
    }
}

/// One sentence on standard error, or one for each fault of a mapping, with the next step, and nothing of the inside of
/// the program.
#[track_caller]
pub fn fails_clearly(ran: &Ran, code: i32, words: &[&str]) {
    let Ran { err, .. } = ran;
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.out, "", "{ran:?}");
    let mut lines = err.lines();
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("error: "), "no sentence: {err}");
    assert!(lines.all(|line| line.starts_with("  - ") || line.starts_with("  next: ")), "not one sentence: {err}");
    assert!(err.contains("\n  next: ") || first.contains("; "), "no next step: {err}");
    for word in words {
        assert!(err.contains(word), "no {word:?} in: {err}");
    }
    for inside in ["panicked", "RUST_BACKTRACE", "Error {", "Some(", "unwrap"] {
        assert!(!err.contains(inside), "{err}");
    }
}
