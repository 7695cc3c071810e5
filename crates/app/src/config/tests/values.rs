//! Faults of the values: each section's own rules, and what its values become.

use super::*;

const URL: &str = "write `url = \"sqlite:FILE\"`, \"postgres://USER@HOST/DATABASE\" or \"mysql://USER@HOST/DATABASE\"";

#[test]
fn pauses_and_limits_have_units_and_bounds() {
    let config =
        good(&and("[pace]\ngather = \"0ms\"\nretry = [\"2s\", \"1m\"]\nsweep = \"2d\"\npoll = \"50ms\"\n[limits]\n\
         batch_entries_max = 1\nbatch_bytes_max = 4096\nentry_bytes_max = \"1KiB\"\nbatch_problems_max = 7"));
    let seconds = Duration::from_secs;
    assert_eq!(
        config.pace,
        Pace {
            gather: Duration::ZERO,
            retry_first: seconds(2),
            retry_longest: seconds(60),
            sweep: seconds(172_800),
            poll: Duration::from_millis(50)
        }
    );
    assert_eq!(
        config.limits,
        Limits {
            batch_entries_max: 1,
            batch_bytes_max: 4096,
            entry_bytes_max: 1024,
            batch_problems_max: 7,
            ..Limits::default()
        }
    );
    assert_eq!(good(&under("[database]", "busy = \"5s\"")).database.busy(), seconds(5));

    let duration = "a duration is a number and a unit, such as \"200ms\", \"1s\", \"5m\", \"1h\" or \"1d\"";
    let retry = "write the first and the longest pause, as in `retry = [\"1s\", \"5m\"]`";
    let size =
        "a size is a number of bytes, or a number and a unit, such as \"100B\", \"512KiB\", \"8MiB\" or \"1GiB\"";
    for (line, expected) in [
        ("gather = \"5\"", format!("20:10: `gather` = \"5\" is no duration; {duration}")),
        ("sweep = \"0s\"", "20:9: `sweep` = \"0s\" is out of bounds; write 1s to 720h".into()),
        ("poll = \"0ms\"", "20:8: `poll` = \"0ms\" is out of bounds; write 1ms to 1h".into()),
        ("retry = [\"1s\"]", format!("20:9: `retry` has two parts, and there is 1; {retry}")),
        ("retry = [\"5m\", \"1s\"]", format!("20:9: the first pause of `retry` is longer than the longest; {retry}")),
        ("retry = [\"1s\", \"soon\"]", format!("20:16: `retry` = \"soon\" is no duration; {duration}")),
    ] {
        assert_fault(&and(&format!("[pace]\n{line}")), &expected);
    }
    for (line, expected) in [
        ("batch_bytes_max = \"8MB\"", format!("20:19: `batch_bytes_max` = \"8MB\" is no size; {size}")),
        ("batch_bytes_max = -1", "20:19: `batch_bytes_max` = -1 is out of bounds; write \"1B\" to \"1GiB\"".into()),
        ("entry_bytes_max = \"2GiB\"", "20:19: `entry_bytes_max` = \"2GiB\" is out of bounds; write \"1B\" to \"1GiB\"".into()),
        ("batch_problems_max = -5", "20:22: `batch_problems_max` = -5 is out of bounds; write 1 to 100000".into()),
        (
            "batch_bytes_max = \"512KiB\"",
            "20:19: `entry_bytes_max` (1MiB where nothing is written) is more than `batch_bytes_max` (512KiB): such an entry would fit \
             in no batch; raise `batch_bytes_max` or lower `entry_bytes_max`"
                .into(),
        ),
    ] {
        assert_fault(&and(&format!("[limits]\n{line}")), &expected);
    }
}

#[test]
fn the_database_is_a_file_of_sqlite() {
    let url = |url: &str| with("url = \"sqlite", &format!("url = {url:?}"));
    let file = |text: &str| match good(text).database {
        Database::Sqlite { path, .. } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(file(&url("sqlite:/var/db/x.db")), Path::new("/var/db/x.db"));
    assert_eq!(file(&url("sqlite:///var/db/x.db")), Path::new("/var/db/x.db"));
    assert_eq!(file(&url("sqlite:${FOLDER}/x.db")), Path::new("secret-folder/x.db"));
    for (bad, what) in [
        ("helpdesk.db", "`url` does not begin with the kind of the database"),
        ("oracle:x", "`url` names a kind of database that is not known"),
        ("sqlite:", "`url` names no file"),
        ("sqlite://host/x.db", "`url` names a host, and SQLite has none"),
        ("sqlite::memory:", "a database in memory is gone when the bridge stops"),
    ] {
        assert_fault(&url(bad), &format!("4:7: {what}; {URL}"));
    }
}

#[test]
fn columns_fields_and_expressions_agree() {
    for (text, expected) in [
        (
            with("text", "text = \"work_id\""),
            "10:8: `text` and `work` name the same column \"work_id\"; name three different columns",
        ),
        (
            with("table", "table = \" \""),
            "7:9: `table` = \" \" is no name in a database; write the name as the database has it",
        ),
        (
            with("fields", "fields = { a = \"text\" }"),
            "12:16: the field `a` is the column \"text\", which is `text`; name another column, or take the field out",
        ),
        (
            with("fields", "fields = { a = \"X\", b = \"x\" }"),
            "12:25: the fields `a` and `b` are the same column \"x\"; take one of them out",
        ),
        (
            with("fields", "fields = { \"1a\" = \"X\" }"),
            "12:12: \"1a\" in [history] fields is no name of a field; write letters, digits and `_`, the first no digit",
        ),
        (
            with("fields", "fields = { site = \"X\" }"),
            "12:12: a field may not be called `site`: that is the name of a parameter; choose another name, the same at all sites",
        ),
        (
            and("[history.insert]\nwork_id = \"1\""),
            "20:1: `work_id` in [history.insert] is the column of `work`, which the bridge writes itself; take it out",
        ),
        (
            and("[history.marker]\nTEXT = \"1\""),
            "20:1: `TEXT` in [history.marker] is the column of `text`, which the bridge writes itself; take it out",
        ),
        (
            and("[history.insert]\nKIND = \"1\"\nkind = \"2\""),
            "21:1: the column `kind` is in [history.insert] twice; take one of them out",
        ),
        (
            and("[history.insert]\nKIND = \"\""),
            "20:8: the expression of `KIND` in [history.insert] is empty; write an SQL expression, as in \"'public'\", \"''\" or \"null\"",
        ),
        (
            and("[history.insert]\nKIND = \"'work\""),
            "20:8: the expression of `KIND` in [history.insert]: a quote `'` is never closed; close it; inside a quote it is doubled",
        ),
        (
            and("[history.insert]\nKIND = \":auther\""),
            "20:8: the expression of `KIND` in [history.insert] uses `:auther`, which is no shared field; what may be used is `:author`, `:site` and `:text`",
        ),
        (
            and("[history.insert]\nKIND = \"1); drop table x\""),
            "20:8: the expression of `KIND` in [history.insert]: a parenthesis is closed that was never opened; take it out, or open it\nlandbridge.toml:20:8: the expression of `KIND` in [history.insert]: `;` ends a statement, and this is only a part of one; take it out",
        ),
    ] {
        assert_fault(&text, expected);
    }
    let config = good(&and("[history.insert]\nOPERATOR = \"coalesce(:author, :site || ': ' || :text)\""));
    assert_eq!(config.mapping.table().unwrap().insert["OPERATOR"], "coalesce(:author, :site || ': ' || :text)");
}

#[test]
fn conditions_stay_conditions() {
    for (line, expected) in [
        ("where = \"\"", "6:9: the condition `where` is empty; take the key out where all rows are meant"),
        ("share = \" /* all */ \"", "6:9: the condition `share` is empty; take the key out where all rows are meant"),
        (
            "share = \"A = 1; delete from T\"",
            "6:9: the condition `share`: `;` ends a statement, and this is only a part of one; take it out",
        ),
        (
            "share = \"A = 1 -- all\"",
            "6:9: the condition `share`: a comment `--` would hide the rest of the statement; write comments with `#` outside of the quotes",
        ),
        (
            "share = \"A = :site\"",
            "6:9: the condition `share` uses `:site`, and a condition has no parameters; write the value itself",
        ),
        (
            "share = \"A = ?1\"",
            "6:9: the condition `share`: `?1` is a parameter that nobody binds; write the value itself, or `:name` where one may be used",
        ),
    ] {
        assert_fault(&under("[history]", line), expected);
    }
    assert_fault(&and("share = \"(A\""), "19:9: the condition `share`: a parenthesis is never closed; close it");
    assert_fault(
        &and("[problem]\nshare = \"A = 1\""),
        "19:1: `table` is missing in [problem]; write `table = \"TABLE\"`, the table of the problems\nlandbridge.toml:19:1: \
         `id` is missing in [problem]; write `id = \"COLUMN\"`, the column that the history's problem column refers to",
    );
    assert_eq!(good(&and("[problem]\npairing = \"same-id\"")).mapping.problems, None);
}

#[test]
fn phrases_are_words_and_former_ones_stay() {
    let config = good(&under("[history]", "phrase = \"Kopie in System\"\nformer_phrases = [\"copy in system\"]"));
    assert_eq!(config.mapping.phrases, ["Kopie in System", "copy in system"]);
    for (phrase, why) in [
        ("\"\"", "\"\" is empty"),
        ("\" copy\"", "\" copy\" begins or ends with a space"),
        ("\"a\\nb\"", "\"a\\nb\" has a line break or another control character"),
        ("\"123 :\"", "\"123 :\" has no letter"),
    ] {
        assert_fault(
            &under("[history]", &format!("phrase = {phrase}")),
            &format!("6:10: the phrase {why}; write a few words, such as \"copy in system\""),
        );
    }
}

#[test]
fn peers_are_others_each_with_a_way_to_reach_it() {
    let second = "[[peer]]\nname = \"C\"\ntoken = \"0123456789abcdef\"";
    assert_eq!(good(&and(second)).peers.len(), 2);
    for (text, expected) in [
        (
            with("name = \"N\"", "name = \"1\""),
            "16:8: the peer \"1\" has the name of this site itself; write the other site's name, or take this [[peer]] out",
        ),
        (and(&second.replace("\"C\"", "\"N\"")), "20:8: there are two peers of the name \"N\"; keep one of them"),
        (
            and(&format!("{second}\npull = true")),
            "22:8: peer C has `pull = true` and no `url` to pull from; write its `url`, or take `pull` out: it pulls from us",
        ),
        (
            and(&format!("{second}\nurl = \"http://127.0.0.1:7421/\"")),
            "22:7: the `url` of peer C is that of another peer too; write the address of each peer's own bridge",
        ),
        (
            and(&format!("{second}\nurl = \"http://127.0.0.1:7420\"")),
            "22:7: the `url` of peer C is this bridge's own [listen] address; write `url = \"https://HOST:PORT\"`, or for a bridge on this machine `url = \"http://127.0.0.1:PORT\"`",
        ),
        (
            and("relay_from = [\"C\", \"1\"]"),
            "19:20: `relay_from` of peer N names this site itself, whose entries come back only in a `repair`; take it out",
        ),
        (
            and("relay_from = [\"N\"]"),
            "19:15: `relay_from` of peer N names the peer itself, which may always speak for itself; take it out",
        ),
        (
            and("relay_from = [\"a b\"]"),
            "19:15: \"a b\" is no name of a site; write 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit",
        ),
        (
            with("url = \"http", "url = \"https://n.example:7420\""),
            "17:7: the `url` of peer N is https, and there is no [tls]; write a section `[tls]` with `cert`, `key` and `ca`; `landbridge cert --help` says how they are made",
        ),
        (
            with("url = \"http", "url = \"http://n.example:7420\""),
            "17:7: the `url` of peer N leads to another machine over plain HTTP, where others could hear and speak; write `url = \"https://HOST:PORT\"`, which needs a section `[tls]`",
        ),
        (
            with("url = \"http", "url = \"http://u:hunter2@127.0.0.1:1\""),
            "17:7: the `url` of peer N has a user or a password in it; take them out; certificates or the `token` are what the sites know each other by",
        ),
        (
            with("address", "address = \"0.0.0.0:7420\""),
            "14:11: `address` = \"0.0.0.0:7420\" can be reached from other machines, and there is no [tls]; write a section `[tls]` with `cert`, `key` and `ca`; `landbridge cert --help` says how they are made; or write `address = \"127.0.0.1:7420\"`",
        ),
        (
            with("address", "address = \"localhost\""),
            "14:11: `address` = \"localhost\" is no address with a port; write `address = \"127.0.0.1:7420\"`",
        ),
        (with("address", ""), "13:1: `address` is missing in [listen]; write `address = \"127.0.0.1:7420\"`"),
    ] {
        assert_fault(&text, expected);
    }
    let alone = GOOD.split("[listen]").next().unwrap();
    assert_eq!(good(alone).notes(), ["there is no [[peer]], so nothing is exchanged with anybody"]);
}

const TLS: &str = "[tls]\ncert = \"1.crt\"\nkey = \"1.key\"\nca = \"ca.crt\"\n";

#[test]
fn with_tls_a_site_is_reached_from_anywhere_and_needs_no_token() {
    let open = with("address", "address = \"0.0.0.0:7420\"").replace("http://127.0.0.1:7421", "https://n.example:7420");
    let config = good(&format!("{}ca = \"b.crt\"\n{TLS}", open.replace(&format!("token = \"{TOKEN}\"\n"), "")));
    assert_eq!(config.peers[0].url.as_deref(), Some("https://n.example:7420"));
    assert_eq!((config.peers[0].token.as_ref(), config.peers[0].ca.as_deref()), (None, Some(Path::new("b.crt"))));
    assert_eq!(config.tls.unwrap().warn, WARN_DEFAULT);
    // On this machine plain HTTP stays possible, with a token.
    assert!(good(&format!("{GOOD}{TLS}")).peers[0].token.is_some());
    let without = with("token", "");
    assert!(faults(&format!("{without}{TLS}"))[0].contains("`token` is missing in [[peer]]"));
    for (text, expected) in [
        (and("ca = \"b.crt\""), "19:6: peer N has `ca`, and there is no [tls]"),
        (and(&TLS.replace("1.key", "landbridge.key")), "21:7: `key` in [tls] is the file that `key_file` names"),
        (and(&TLS.replace("ca = \"ca.crt\"\n", "")), "19:1: `ca` is missing in [tls]"),
        (and(&format!("{TLS}warn = \"1h\"")), "23:8: `warn` = \"1h\" is out of bounds"),
        (and(&TLS.replace("\"1.crt\"", "\"\"")), "20:8: `cert` is not the name of a file"),
    ] {
        let found = faults(&text);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}\n{found:#?}");
    }
}

#[test]
fn a_token_is_a_secret_of_two_sites() {
    let instead =
        "write `token = \"${NAME}\"`, the same random text at both sites, such as `openssl rand -hex 32` gives";
    let what = "18:9: the `token` of peer N is not 16 to 1024 letters, digits and signs without spaces";
    for bad in ["hunter2", "hunter2 hunter2 hunter2", "hunter2hunter2hünter2"] {
        assert_fault(&with("token", &format!("token = \"{bad}\"")), &format!("{what}; {instead}"));
    }
    assert_fault(&with("token", ""), &format!("15:1: `token` is missing in [[peer]]; {instead}"));
    assert_fault(
        &and(&format!("[[peer]]\nname = \"C\"\ntoken = \"{TOKEN}\"")),
        "21:9: the `token` of peer C is that of another peer too: each could speak as the other; write a token of its own \
         for each peer",
    );
    assert_eq!(good(GOOD).peers[0].token.as_ref().unwrap().reveal(), TOKEN);
}

#[test]
fn a_record_is_a_file_of_its_own() {
    let record = |text: &str| good(&and(text)).audit;
    assert_eq!(good(&and("")).audit, None);
    let kept = record("[audit]\nfile = \"egress.audit\"").unwrap();
    assert!(kept.file.ends_with("egress.audit") && !kept.texts);
    assert!(record("[audit]\nfile = \"/var/log/a\"\ntexts = true").unwrap().texts);
    for (text, fault) in [
        ("[audit]", "`file` is missing in [audit]"),
        ("[audit]\nfile = \"\"", "[audit] `file` is not the name of a file"),
        ("[audit]\nfile = \"landbridge.key\"", "is a file that this site needs for something else"),
        ("[audit]\nfile = \"landbridge.toml.cache\"", "is a file that this site needs for something else"),
        ("[audit]\nfile = \"a\"\ntext = true", "did you mean `texts`?"),
    ] {
        let found = faults(&and(text)).join("\n");
        assert!(found.contains(fault), "{found}");
    }
}
