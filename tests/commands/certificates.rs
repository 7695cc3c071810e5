//! `landbridge cert`, and the files of `[tls]` as `check` and `init` see them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::lonely::fails_clearly;
use crate::kit::authority::{Authority, issue_self_signed, tls_section};
use crate::kit::command::{CONFIGURATION, DONE, PERSON, Ran, USAGE, run};
use crate::kit::desk::{Desk, QUICK, private};
use crate::kit::folder::Folder;
use crate::kit::schema::HELPDESK;

fn cert(args: &[&str]) -> Ran {
    run(["cert"].iter().chain(args))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_and_a_certificate_are_made_private_and_never_overwritten() {
    let folder = Folder::new("cert");
    let a = Authority::make(folder.path(), "Company A");
    let dir = text(&a.dir);
    assert_eq!((mode(&a.dir.join("ca.key")), mode(&a.ca())), (0o600, 0o644));
    let before = std::fs::read(a.dir.join("ca.key")).unwrap();
    fails_clearly(&cert(&["authority", "--dir", dir, "--name", "B"]), USAGE, &["not overwritten", "--force"]);
    assert_eq!(std::fs::read(a.dir.join("ca.key")).unwrap(), before);

    let made =
        cert(&["issue", "1", "--dir", dir, "--host", "bridge.a.example", "--host", "203.0.113.7"]).ends(DONE).out;
    assert!(made.contains("site 1, from the authority \"Company A\"") && made.contains("(397 days)"), "{made}");
    let (key, crt) = (a.dir.join("1.key"), a.dir.join("1.crt"));
    assert_eq!(mode(&key), 0o600);
    let before = std::fs::read(&key).unwrap();
    fails_clearly(&cert(&["issue", "1", "--dir", dir]), USAGE, &["not overwritten", "cert renew"]);
    assert_eq!(std::fs::read(&key).unwrap(), before);

    let shown = cert(&["show", text(&crt), text(&a.ca())]).ends(DONE).out;
    for said in ["site 1", "Company A", "days left", "bridge.a.example", "203.0.113.7", "itself", "SHA-256"] {
        assert!(shown.contains(said), "{said}\n{shown}");
    }
    let shown = cert(&["show", "--json", text(&crt)]).ends(DONE).json();
    let print = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", text(&crt)])
        .output()
        .unwrap();
    let print = String::from_utf8(print.stdout).unwrap();
    assert!(print.trim().ends_with(shown[0]["fingerprint"].as_str().unwrap()), "{print} {shown}");
}

#[test]
fn a_site_keeps_its_key_and_has_a_request_signed() {
    let folder = Folder::new("cert-request");
    let b = Authority::make(folder.path(), "B");
    let (dir, out) = (text(&b.dir), folder.path().join("site"));
    std::fs::create_dir(&out).unwrap();
    let asked = cert(&["request", "N", "--out", text(&out), "--host", "n.example"]).ends(DONE).out;
    let (key, csr) = (out.join("N.key"), out.join("N.csr"));
    assert_eq!(mode(&key), 0o600);
    let before = std::fs::read(&key).unwrap();
    let again = cert(&["request", "N", "--out", text(&out), "--host", "n.example"]).ends(DONE).out;
    assert!(again.contains("was there and is used again") && std::fs::read(&key).unwrap() == before);

    let wrong = cert(&["sign", text(&csr), "--site", "M", "--dir", dir]);
    fails_clearly(&wrong, CONFIGURATION, &["asks for a certificate of site N, not of M"]);
    assert!(!b.dir.join("M.crt").exists());
    let signed = cert(&["sign", text(&csr), "--site", "N", "--dir", dir, "--out", text(&out)]).ends(DONE).out;
    assert!(signed.contains("Left out: host n.example"), "{signed}");
    let key_print = asked.lines().find(|line| line.starts_with("  ") && line.contains(':')).unwrap();
    assert!(signed.contains(key_print) && cert(&["show", text(&csr)]).ends(DONE).out.contains(key_print.trim()));

    // Somebody changed a byte of it on the way.
    let mut damaged = std::fs::read_to_string(&csr).unwrap();
    let at = damaged.len() / 2;
    let other = if damaged.as_bytes()[at] == b'A' { "B" } else { "A" };
    damaged.replace_range(at..at + 1, other);
    std::fs::write(&csr, damaged).unwrap();
    cert(&["sign", text(&csr), "--site", "N", "--dir", dir, "--force"]).ends(CONFIGURATION);
}

#[test]
fn a_certificate_is_renewed_over_the_same_key_or_a_new_one() {
    let folder = Folder::new("cert-renew");
    let a = Authority::make(folder.path(), "A");
    let dir = text(&a.dir);
    fails_clearly(&cert(&["renew", "1", "--dir", dir]), CONFIGURATION, &["no certificate", "cert issue 1"]);
    cert(&["issue", "1", "--dir", dir, "--days", "5", "--host", "a.example"]).ends(DONE);
    let (crt, key) = (a.dir.join("1.crt"), a.dir.join("1.key"));
    let shown = |code| cert(&["show", "--json", text(&crt)]).ends(code).json()[0].clone();
    let former = shown(PERSON);
    assert_eq!(former["wrong"], "it ends soon");
    let before = std::fs::read(&key).unwrap();
    cert(&["renew", "1", "--dir", dir]).ends(DONE);
    let renewed = shown(DONE);
    assert_eq!((&renewed["key_fingerprint"], &renewed["hosts"]), (&former["key_fingerprint"], &former["hosts"]));
    assert_ne!(renewed["fingerprint"], former["fingerprint"]);
    assert_eq!(std::fs::read(&key).unwrap(), before);
    cert(&["renew", "1", "--dir", dir, "--new-key"]).ends(DONE);
    assert_ne!(shown(DONE)["key_fingerprint"], former["key_fingerprint"]);
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!(mode(&key), 0o600);
    // Never longer than who vouches for it.
    cert(&["renew", "1", "--dir", dir, "--days", "9000"]).ends(DONE);
    let authority = cert(&["show", "--json", text(&a.ca())]).ends(DONE).json()[0]["ends"].clone();
    assert_eq!(shown(DONE)["ends"], authority);
}

#[test]
fn what_is_no_certificate_is_named_and_no_key_is_shown() {
    let folder = Folder::new("cert-wrong");
    let a = Authority::make(folder.path(), "A");
    let ran = cert(&["show", text(&a.dir.join("ca.key"))]);
    fails_clearly(&ran, CONFIGURATION, &["a private key, which is not shown"]);
    let secret = std::fs::read_to_string(a.dir.join("ca.key")).unwrap();
    assert!(!ran.said().contains(secret.lines().nth(1).unwrap()));
    fails_clearly(&cert(&["show", "/nowhere/at/all.crt"]), CONFIGURATION, &["/nowhere/at/all.crt cannot be read"]);
    fails_clearly(&cert(&["issue", "1", "--dir", "/nowhere"]), CONFIGURATION, &["ca.crt cannot be read"]);
    let odd = cert(&["issue", "1", "--dir", text(&a.dir), "--host", "no host"]);
    fails_clearly(&odd, USAGE, &["no host name and no address"]);
    cert(&["issue", "not a site", "--dir", text(&a.dir)]).ends(USAGE);
    std::fs::set_permissions(a.dir.join("ca.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    fails_clearly(&cert(&["issue", "1", "--dir", text(&a.dir)]), CONFIGURATION, &["open to other users", "chmod 600"]);
}

#[test]
fn check_names_everything_that_is_wrong_with_the_files_of_tls() {
    let folder = Folder::new("cert-check");
    let (a, b) = (Authority::make(folder.path(), "A"), Authority::make(folder.path(), "B"));
    let network = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[[peer]]\nname = \"N\"\nca = \"peer-ca.crt\"\n{}{QUICK}",
        tls_section("1")
    );
    let desk = Desk::make(folder.path(), "1", &HELPDESK, &["ABC"], &network);
    let faulty = |says: &[&str]| {
        let told = desk.run(&["check", "--offline"]).ends(CONFIGURATION).out;
        says.iter().for_each(|said| assert!(told.contains(said), "{said}\n{told}"));
        fails_clearly(&desk.run(&["run"]), CONFIGURATION, &[says[0]]);
        desk.run(&["status"]).ends(PERSON);
    };
    faulty(&["1.crt cannot be read", "1.key cannot be read", "ca.crt cannot be read", "peer-ca.crt cannot be read"]);
    a.certify(&desk);
    std::fs::copy(b.ca(), desk.folder.join("peer-ca.crt")).unwrap();
    desk.run(&["check", "--offline"]).ends(DONE);
    let file = |name: &str| desk.folder.join(name);

    std::fs::set_permissions(file("1.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    faulty(&["1.key is open to other users (mode 0640); `chmod 600"]);
    a.issue(&a.dir, "1");
    private(&file("1.key"), &std::fs::read_to_string(a.dir.join("1.key")).unwrap());
    faulty(&["1.key is not that of the certificate in"]);
    std::fs::write(file("1.key"), "hunter2").unwrap();
    faulty(&["1.key holds no private key"]);
    b.issue(&desk.folder, "1");
    faulty(&["does not vouch for", "\"B\""]);
    a.issue(&a.dir, "M");
    std::fs::copy(a.dir.join("M.crt"), file("1.crt")).unwrap();
    private(&file("1.key"), &std::fs::read_to_string(a.dir.join("M.key")).unwrap());
    faulty(&["is the certificate of site M, and this is site 1"]);
    issue_self_signed(&desk.folder, "1");
    faulty(&["it signed itself"]);
    a.issue(&desk.folder, "1");
    std::fs::copy(file("1.crt"), file("ca.crt")).unwrap();
    faulty(&["which is no authority's"]);
    std::fs::write(file("ca.crt"), "nothing").unwrap();
    faulty(&["ca.crt holds no certificate"]);
    std::fs::copy(a.ca(), file("ca.crt")).unwrap();
    desk.run(&["check", "--offline"]).ends(DONE);
}

#[test]
fn init_proposes_tls_where_others_are_to_reach_the_site() {
    let folder = Folder::new("cert-init");
    let desk = Desk::make(folder.path(), "1", &HELPDESK, &["ABC"], QUICK);
    let config = desk.folder.join("1.toml");
    let table = ["--table", "WORK_HISTORY", "--problem", "PROBLEM_ID", "--work", "WORK_ID", "--text", "WORK_HISTORY"];
    let init = |rest: &[&str]| {
        let head =
            ["--config", text(&config), "init", "--force", "--yes", "--site", "1", "--database", "sqlite:desk.db"];
        run(head.iter().chain(&table).chain(rest))
    };
    let told = init(&["--listen", "0.0.0.0:7420", "--peer", "N=https://n.example:7420", "--peer-ca", "N=b.crt"]);
    let told = told.ends(CONFIGURATION).out;
    assert!(told.contains("1.crt cannot be read") && told.contains("landbridge cert issue 1"), "{told}");
    let written = std::fs::read_to_string(&config).unwrap();
    // 1.key is the key of the markers of this configuration already.
    for line in ["[tls]", "cert = \"1.crt\"", "key = \"1-tls.key\"", "ca = \"ca.crt\"", "ca = \"b.crt\""] {
        assert!(written.contains(line), "{line}\n{written}");
    }
    assert!(!written.contains("token"), "{written}");
    init(&["--peer", "N=http://127.0.0.1:7430"]);
    let written = std::fs::read_to_string(&config).unwrap();
    assert!(!written.contains("[tls]") && written.contains("token"), "{written}");
}
