//! Writes a new configuration file from answers, with comments for whoever reads it first.
//!
//! The answers are written as they are given; [`super::check()`] says whether they are any good. Every value is quoted by
//! the toml crate, never by hand.

use std::collections::BTreeMap;
use std::fmt::Write;

use landbridge_stores::mapping::Numbering;
use toml::{Table, Value};

use super::env::escape;
use super::secret::Secret;

/// What a new configuration file is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitAnswers {
    /// This site's name.
    pub site: String,
    /// The key file, relative to the configuration file.
    pub key_file: String,
    /// The database, as in `sqlite:helpdesk.db`.
    pub database_url: String,
    /// The file with the database's password.
    pub password_file: Option<String>,
    /// The history and the problems as a preset has them: TOML with its comments. Then of `history` only the name counts.
    pub preset: Option<String>,
    /// The table of the entries.
    pub history: HistoryAnswers,
    /// The table of the problems, where there is one.
    pub problem: Option<ProblemAnswers>,
    /// Whether each site numbers the problems by itself.
    pub linked: bool,
    /// Where peers reach this bridge.
    pub listen: Option<String>,
    /// What this site shows to others over TLS.
    pub tls: Option<TlsAnswers>,
    /// The other sites.
    pub peers: Vec<PeerAnswers>,
}

/// `[history]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryAnswers {
    /// The history's name, equal at all sites.
    pub name: String,
    /// The table.
    pub table: String,
    /// The column with the problem's id.
    pub problem: String,
    /// The column with the row's number.
    pub work: String,
    /// The column with the text.
    pub text: String,
    /// Who gives out the numbers.
    pub numbering: Numbering,
    /// Condition: the rows that belong to the history.
    pub within: Option<String>,
    /// Condition: the rows that may leave.
    pub share: Option<String>,
    /// Further shared columns: name on the wire and column.
    pub fields: BTreeMap<String, String>,
    /// Expressions for further columns of an appended entry.
    pub insert: BTreeMap<String, String>,
    /// The same for markers.
    pub marker: BTreeMap<String, String>,
}

/// `[problem]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemAnswers {
    /// The table.
    pub table: String,
    /// The column with the id.
    pub id: String,
    /// Condition: the problems that are bridged.
    pub share: Option<String>,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsAnswers {
    /// The certificate of this site.
    pub cert: String,
    /// The key of that.
    pub key: String,
    /// The authority.
    pub ca: String,
}

/// `[[peer]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAnswers {
    /// Its name.
    pub name: String,
    /// Where its bridge is reached; nothing where it dials us.
    pub url: Option<String>,
    /// Whether deliveries are fetched from it.
    pub pull: bool,
    /// Whether it is sent what other sites wrote.
    pub relay: bool,
    /// The sites whose entries it may pass on to this one.
    pub relay_from: Vec<String>,
    /// Condition: the rows that it may see.
    pub share: Option<String>,
    /// The secret shared with it, where there is one. Whoever saves the file keeps it from other users.
    pub token: Option<Secret>,
    /// The authority that alone may vouch for it.
    pub ca: Option<String>,
}

/// The text of a configuration file with these answers.
pub fn render(answers: &InitAnswers) -> String {
    let mut out = Writer::default();
    out.say("Landbridge: the configuration of one site. One file per site; `landbridge check` verifies it.");
    out.say("In every text ${NAME} reads the environment. Relative files begin at this file's folder.");
    out.line("");
    out.say("The name of this site, unique among all bridged sites.");
    out.text("site", &answers.site);
    out.say("The keys that seal this site's markers. Keep the file private, and in your backups.");
    out.text("key_file", &answers.key_file);

    out.section("[database]", "The database with the history.");
    out.text("url", &answers.database_url);
    if let Some(file) = &answers.password_file {
        out.say("A file with the password alone, mode 0600.");
        out.text("password_file", file);
    }
    match &answers.preset {
        Some(preset) => out.preset(preset, &answers.history.name),
        None => out.history(&answers.history),
    }
    if answers.preset.is_none() && (answers.problem.is_some() || answers.linked) {
        out.section("[problem]", "The problems themselves (tickets, cases).");
        if let Some(problem) = &answers.problem {
            out.text("table", &problem.table);
            out.text("id", &problem.id);
            out.condition("share", "only these problems are bridged", problem.share.as_deref());
        }
        if answers.linked {
            out.say("Each site has ids of its own: `landbridge link` says which belong together.");
            out.text("pairing", "linked");
        } else {
            out.say("An id means the same problem at every site. Where each numbers by itself: \"linked\".");
            out.text("pairing", "same-id");
        }
    }
    if let Some(listen) = &answers.listen {
        out.section("[listen]", "Where peers reach this bridge.");
        out.text("address", listen);
    }
    if let Some(tls) = &answers.tls {
        out.section("[tls]", "What this site shows to others, in both directions; `landbridge cert` makes the files.");
        out.text("cert", &tls.cert);
        out.say("The key of it, mode 0600. It stays here.");
        out.text("key", &tls.key);
        out.say("The authority that vouches for this site, and for every peer that has no `ca` of its own.");
        out.text("ca", &tls.ca);
    }
    for peer in &answers.peers {
        out.peer(peer);
    }
    out.0
}

#[derive(Default)]
struct Writer(String);

impl Writer {
    /// A preset as it is written, with the name of the history in it.
    fn preset(&mut self, preset: &str, name: &str) {
        self.line("");
        for line in preset.trim().lines() {
            self.line(line);
            if line.trim() == "[history]" {
                self.say("The name is equal at all sites that share this history.");
                self.text("name", name);
            }
        }
    }

    fn history(&mut self, history: &HistoryAnswers) {
        self.section("[history]", "The table to which work is appended, and which of its columns are what.");
        self.say("No other column is read or changed.");
        self.say("The name is equal at all sites that share this history.");
        self.text("name", &history.name);
        self.text("table", &history.table);
        self.say("Columns: the problem's id, the row's number, the text.");
        self.text("problem", &history.problem);
        self.text("work", &history.work);
        self.text("text", &history.text);
        match history.numbering {
            Numbering::PerProblem => {
                self.say("A new row gets the highest number of its problem and one more.");
                self.text("numbering", "per-problem");
            }
            Numbering::Generated => {
                self.say("A new row gets its number from the database.");
                self.text("numbering", "generated");
            }
        }
        self.condition("where", "rows that belong to the history at all", history.within.as_deref());
        self.condition("share", "rows that may leave this site", history.share.as_deref());
        if !history.fields.is_empty() {
            self.say("Further columns that are shared: name on the wire = column here.");
            let fields = history.fields.iter().map(|(name, column)| (name.clone(), Value::String(escape(column))));
            self.line(&format!("fields = {}", Value::Table(fields.collect())));
        }
        if !history.insert.is_empty() {
            self.section("[history.insert]", "SQL expressions for columns that a received entry needs here.");
            self.say("Bound in them: :site (where it was written), :text, and the shared fields by their names.");
            self.texts(&history.insert);
        }
        if !history.marker.is_empty() {
            self.section(
                "[history.marker]",
                "The same for the rows that record what a peer holds, column by column over",
            );
            self.say("[history.insert]: for instance to keep them from the eyes of customers.");
            self.texts(&history.marker);
        }
    }

    fn peer(&mut self, peer: &PeerAnswers) {
        self.section("[[peer]]", "Another site that entries are exchanged with.");
        self.text("name", &peer.name);
        match &peer.url {
            Some(url) => self.text("url", url),
            None => self.say("No url: this peer dials us."),
        }
        if peer.pull {
            self.say("Deliveries are fetched from it: it need not reach us.");
            self.value("pull", Value::Boolean(true));
        }
        if peer.relay {
            self.say("It is also sent what other sites wrote.");
            self.value("relay", Value::Boolean(true));
        }
        if !peer.relay_from.is_empty() {
            self.say("It may pass on what these sites wrote.");
            self.value("relay_from", peer.relay_from.clone().into());
        }
        self.condition("share", "this peer sees only these rows", peer.share.as_deref());
        if let Some(ca) = &peer.ca {
            self.say("The authority that alone may vouch for it.");
            self.text("ca", ca);
        }
        if let Some(token) = &peer.token {
            self.say("The secret that both sites show each other: the same at the peer, and nowhere else.");
            self.text("token", token.reveal());
        }
    }

    fn section(&mut self, header: &str, comment: &str) {
        self.line("");
        self.line(header);
        self.say(comment);
    }

    fn say(&mut self, comment: &str) {
        self.line(&format!("# {comment}"));
    }

    fn condition(&mut self, key: &str, comment: &str, sql: Option<&str>) {
        if let Some(sql) = sql {
            self.say(&format!("SQL condition: {comment}."));
            self.text(key, sql);
        }
    }

    fn texts(&mut self, texts: &BTreeMap<String, String>) {
        for (key, text) in texts {
            self.text(key, text);
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.value(key, Value::String(escape(text)));
    }

    /// One key and its value, both quoted where they need it.
    fn value(&mut self, key: &str, value: Value) {
        let lines = Table::from_iter([(key.to_owned(), value)]).to_string();
        self.line(lines.trim_end_matches('\n'));
    }

    fn line(&mut self, line: &str) {
        // Writing into a text cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use landbridge_flow::Pairing;

    use super::*;
    use crate::config::{Config, check};

    const TOKEN: &str = "0123456789abcdef";

    fn answers() -> InitAnswers {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        InitAnswers {
            site: "1".into(),
            key_file: "landbridge.key".into(),
            database_url: "sqlite:helpdesk.db".into(),
            password_file: None,
            preset: None,
            history: HistoryAnswers {
                name: "work_history".into(),
                table: "WORK_HISTORY".into(),
                problem: "PROBLEM_ID".into(),
                work: "WORK_ID".into(),
                text: "TEXT".into(),
                numbering: Numbering::PerProblem,
                within: Some("KIND = 'work'".into()),
                share: Some("VISIBILITY = 'public'".into()),
                fields: map(&[("author", "OPERATOR")]),
                insert: map(&[("KIND", "'work'"), ("BY", "coalesce(:author, :site)")]),
                marker: map(&[("VISIBILITY", "'internal'")]),
            },
            problem: Some(ProblemAnswers {
                table: "PROBLEM".into(),
                id: "ID".into(),
                share: Some("SHARED = 1".into()),
            }),
            linked: false,
            listen: Some("127.0.0.1:7420".into()),
            tls: None,
            peers: vec![
                PeerAnswers {
                    name: "N".into(),
                    url: Some("http://127.0.0.1:7421".into()),
                    pull: true,
                    relay: true,
                    relay_from: vec!["C".into(), "D".into()],
                    share: Some("SEVERITY < 3".into()),
                    token: Some(Secret::new(TOKEN)),
                    ca: None,
                },
                PeerAnswers {
                    name: "C".into(),
                    url: None,
                    pull: false,
                    relay: false,
                    relay_from: vec![],
                    share: None,
                    token: Some(Secret::new("fedcba9876543210")),
                    ca: None,
                },
            ],
        }
    }

    fn read(text: &str) -> Config {
        check(text, Path::new("/etc/bridge/landbridge.toml"), &|_| None).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    fn assert_same(config: &Config, answers: &InitAnswers) {
        let (mapping, history) = (&config.mapping, &answers.history);
        let table = mapping.table().unwrap();
        assert_eq!(config.site.as_str(), answers.site);
        assert_eq!(config.key_file, Path::new("/etc/bridge").join(&answers.key_file));
        let file = answers.database_url.strip_prefix("sqlite:").unwrap();
        assert_eq!(config.database.shown(), Path::new("/etc/bridge").join(file).display().to_string());
        assert_eq!(config.history, history.name);
        assert_eq!(
            (&table.name.to_string(), &mapping.problem, &mapping.work, &mapping.text, table.numbering),
            (&history.table, &history.problem, &history.work, &history.text, history.numbering)
        );
        assert_eq!((&mapping.within, &mapping.share), (&history.within, &history.share));
        assert_eq!(
            (&mapping.fields, &table.insert, &table.marker),
            (&history.fields, &history.insert, &history.marker)
        );
        let problems =
            mapping.problems.clone().map(|p| ProblemAnswers { table: p.name.to_string(), id: p.id, share: p.share });
        assert_eq!(problems, answers.problem);
        assert_eq!(config.pairing == Pairing::SameId, !answers.linked);
        assert_eq!(config.listen.map(|l| l.to_string()), answers.listen);
        assert_eq!(config.peers.len(), answers.peers.len());
        for (peer, answer) in config.peers.iter().zip(&answers.peers) {
            assert_eq!(
                (peer.name.as_str(), &peer.url, peer.pull, peer.relay, &peer.token),
                (answer.name.as_str(), &answer.url, answer.pull, answer.relay, &answer.token)
            );
            assert_eq!(mapping.peers[&peer.name], answer.share);
            assert_eq!(peer.relay_from.iter().map(ToString::to_string).collect::<Vec<_>>(), answer.relay_from);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut answers = answers();
        assert_same(&read(&render(&answers)), &answers);
        answers.history.numbering = Numbering::Generated;
        answers.history.within = None;
        answers.history.share = None;
        answers.history.fields.clear();
        answers.history.insert.clear();
        answers.history.marker.clear();
        answers.linked = true;
        assert_same(&read(&render(&answers)), &answers);
        answers.problem = None;
        assert_same(&read(&render(&answers)), &answers);
        answers.linked = false;
        answers.listen = None;
        answers.peers.clear();
        assert_same(&read(&render(&answers)), &answers);
    }

    #[test]
    fn certificates_stand_in_the_place_of_a_token() {
        let mut answers = answers();
        let (cert, key, ca) = ("1.crt".into(), "1.key".into(), "ca.crt".into());
        answers.tls = Some(TlsAnswers { cert, key, ca });
        answers.listen = Some("0.0.0.0:7420".into());
        answers.peers[0].url = Some("https://n.example:7420".into());
        (answers.peers[0].token, answers.peers[0].ca) = (None, Some("b-ca.crt".into()));
        let config = read(&render(&answers));
        assert_same(&config, &answers);
        let files: Vec<_> = config.tls_files().map(|file| file.display().to_string()).collect();
        let inside = |file: &str| format!("/etc/bridge/{file}");
        assert_eq!(files, ["1.crt", "1.key", "ca.crt", "b-ca.crt"].map(inside));
    }

    #[test]
    fn odd_characters_are_read_back() {
        for odd in [
            "a \"quoted\" name",
            "it's",
            "back\\slash\\",
            "'''both\"\"\"",
            "Überschrift",
            "😀",
            "${HOME} $${x} $",
            "a # b = [c]",
            "tab\there",
            " space ",
            "two\nlines",
            "\nfirst",
            "windows\r\nline\rend",
            "\u{1b}[31m\u{7f}",
        ] {
            let mut answers = answers();
            answers.key_file = odd.into();
            answers.database_url = format!("sqlite:{odd}");
            let history = &mut answers.history;
            history.table = landbridge_stores::TableName::plain(odd).to_string();
            history.problem = format!("{odd}1");
            history.fields.insert("odd".into(), format!("{odd}2"));
            history.insert.insert(odd.into(), format!("'{}'", odd.replace('\'', "''")));
            history.marker.insert(format!("{odd}3"), format!("'{}'", odd.replace('\'', "''")));
            history.share = Some(format!("X <> '{}'", odd.replace('\'', "''")));
            assert_same(&read(&render(&answers)), &answers);
        }
    }

    #[test]
    fn a_preset_stands_as_it_is_with_the_name_of_the_history() {
        let mut answers = answers();
        answers.database_url = "postgres://bridge@db/desk".into();
        answers.password_file = Some("db.password".into());
        let preset = "# kept\n[history]\ntable = 't'\nproblem = 'p'\nwork = 'w'\ntext = 'x'\nnumbering = 'generated'\n";
        answers.preset = Some(preset.to_owned());
        let text = render(&answers);
        let config = read(&text);
        assert!(text.contains("# kept\n[history]\n") && !text.contains("[problem]"), "{text}");
        assert_eq!((config.history.as_str(), config.mapping.problem.as_str()), ("work_history", "p"));
        assert_eq!(config.password_file, Some("/etc/bridge/db.password".into()));
    }

    #[test]
    fn the_file_explains_itself() {
        let text = render(&answers());
        let sections: Vec<&str> = text.lines().filter(|l| l.starts_with('[')).collect();
        assert_eq!(
            sections,
            [
                "[database]",
                "[history]",
                "[history.insert]",
                "[history.marker]",
                "[problem]",
                "[listen]",
                "[[peer]]",
                "[[peer]]"
            ]
        );
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            assert!(!line.starts_with('[') || next.starts_with("# "), "{line} has no comment");
        }
        assert!(!format!("{:?}", answers()).contains(TOKEN));
    }
}
