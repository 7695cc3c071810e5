//! TLS to the database: who the server is, is verified where the url says so, and a sentence says why it was not believed.
//! The certificates are made here; the server lets the bridge's user in over TLS alone, so that what works is encrypted.

use std::path::Path;
use std::process::Command;

use super::{Server, Site};
use crate::kit::command::{DATABASE, DONE};
use crate::kit::folder::Folder;
use crate::kit::server::{MariaDb, Postgres};
use crate::lonely::fails_clearly;

const MAPPING: &str = r#"
[history]
name = "h"
table = "work_history"
problem = "problem"
work = "work"
text = "body"
numbering = "per-problem"
"#;
const SCHEMA: &str =
    "create table work_history (problem varchar(40) not null, work int not null, body varchar(2000) not
    null, primary key (problem, work))";

fn openssl(folder: &Path, line: &str) {
    let made = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&made.stderr));
}

/// Two authorities, and two certificates of the first: for this machine, and for another. Nothing, and a word on it, where
/// there is no openssl.
fn certificates(folder: &Path) -> Option<()> {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: there is no `openssl` here");
        return None;
    }
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc";
    for ca in ["ca", "other-ca"] {
        openssl(folder, &format!("req -x509 {key} -keyout {ca}.key -out {ca}.pem -days 2 -subj /CN={ca}"));
    }
    for (name, host) in [("here", "IP:127.0.0.1,DNS:localhost"), ("elsewhere", "DNS:db.example")] {
        std::fs::write(folder.join("extensions"), format!("subjectAltName={host}\nbasicConstraints=CA:FALSE\n"))
            .unwrap();
        openssl(folder, &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        let sign = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions";
        openssl(folder, &format!("x509 -req -in {name}.csr -out {name}.pem {sign}"));
        // PostgreSQL may run as another user, who then has to own its key.
        let _only_root_can =
            Command::new("chown").args(["postgres", &format!("{name}.key")]).current_dir(folder).output();
    }
    Some(())
}

/// A server that shows the certificate `name`.
fn postgres(folder: &Path, name: &str) -> Option<Server> {
    let file = |option: &str, end: &str| format!("{option}={}", folder.join(format!("{name}.{end}")).display());
    let access = folder.join("access");
    std::fs::write(&access, "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        .unwrap();
    let access = format!("hba_file={}", access.display());
    let server =
        Postgres::start_with(&["ssl=on", &file("ssl_cert_file", "pem"), &file("ssl_key_file", "key"), &access])?;
    let server = Server::Postgres(server);
    server.create("desk", SCHEMA);
    server.create_user("bridge");
    server.sql("desk", "grant all on work_history to bridge");
    Some(server)
}

fn mariadb(folder: &Path, name: &str) -> Option<Server> {
    let file = |option: &str, end: &str| format!("--{option}={}", folder.join(format!("{name}.{end}")).display());
    let server = Server::MariaDb(MariaDb::start_with(&[&file("ssl-cert", "pem"), &file("ssl-key", "key")])?);
    server.create("desk", SCHEMA);
    server.create_user("bridge");
    server.sql("desk", "grant all on desk.* to bridge@'127.0.0.1'; alter user bridge@'127.0.0.1' require ssl");
    Some(server)
}

/// What comes of each way to ask: the parameters of the url, and the words of the refusal where it is one.
fn asked(site: &Site, url: &str, asked: &[(&str, Option<&str>)]) {
    for (parameters, refused) in asked {
        site.configure(&format!("{url}?{parameters}"), MAPPING, "");
        match refused {
            None => drop(site.run(&["append", "ABC", "over TLS"]).ends(DONE)),
            Some(words) => fails_clearly(&site.run(&["append", "ABC", "text"]), DATABASE, &[*words, "[database] url"]),
        }
    }
}

const ISSUER: &str = "UnknownIssuer";
const NAME: &str = "certificate not valid for name";

#[test]
fn postgresql_is_believed_by_its_authority_and_its_name() {
    let folder = Folder::new("tls-postgres");
    let Some(()) = certificates(folder.path()) else { return };
    let Some(server) = postgres(folder.path(), "here") else { return };
    let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other-ca.pem"));
    let of = |mode: &str, ca: &Path| format!("sslmode={mode}&sslrootcert={}", ca.display());
    let url = server.url_as("bridge", "desk");
    let site = Site::new(folder.path(), &url, MAPPING, "");
    asked(
        &site,
        &url,
        &[
            (&of("verify-full", &ca), None),
            (&of("verify-ca", &ca), None),
            ("sslmode=require", None),
            ("sslmode=prefer", None),
            ("sslmode=disable", Some("no encryption")),
            (&of("verify-full", &other), Some(ISSUER)),
            (&of("verify-ca", &other), Some(ISSUER)),
            // Those of the web do not know ours.
            ("sslmode=verify-full", Some(ISSUER)),
        ],
    );
    let Some(elsewhere) = postgres(folder.path(), "elsewhere") else { return };
    let url = elsewhere.url_as("bridge", "desk");
    asked(&site, &url, &[(&of("verify-full", &ca), Some(NAME)), (&of("verify-ca", &ca), None)]);
}

#[test]
fn mariadb_is_believed_by_its_authority_and_its_name() {
    let folder = Folder::new("tls-mariadb");
    let Some(()) = certificates(folder.path()) else { return };
    let Some(server) = mariadb(folder.path(), "here") else { return };
    let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other-ca.pem"));
    let of = |mode: &str, ca: &Path| format!("ssl-mode={mode}&ssl-ca={}", ca.display());
    let url = server.url_as("bridge", "desk");
    let site = Site::new(folder.path(), &url, MAPPING, "");
    asked(
        &site,
        &url,
        &[
            (&of("verify_identity", &ca), None),
            (&of("verify_ca", &ca), None),
            ("ssl-mode=required", None),
            ("ssl-mode=disabled", Some("Access denied")),
            (&of("verify_identity", &other), Some(ISSUER)),
            (&of("verify_ca", &other), Some(ISSUER)),
            ("ssl-mode=verify_identity", Some(ISSUER)),
        ],
    );
    let Some(elsewhere) = mariadb(folder.path(), "elsewhere") else { return };
    let url = elsewhere.url_as("bridge", "desk");
    // The driver does not recognise this refusal of its own, so `verify_ca` is as strict: see docs/databases.md.
    asked(&site, &url, &[(&of("verify_identity", &ca), Some(NAME)), (&of("verify_ca", &ca), Some(NAME))]);
    asked(&site, &url, &[("ssl-mode=required", None)]);
}
