//! Two companies with an authority each, over mutual TLS: what is exchanged, who is turned away with which sentence, and
//! that certificates are renewed and peers removed while entries flow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};

use crate::kit::authority::{Authority, dial, issue_self_signed, post, tls_section, wait_for_end};
use crate::kit::bridge::Bridge;
use crate::kit::command::{CONFIGURATION, DONE, PEER, PERSON};
use crate::kit::desk::{Desk, QUICK, is_marker};
use crate::kit::folder::Folder;
use crate::kit::proxy::Proxy;
use crate::kit::schema::{HELPDESK, TICKETS};
use crate::kit::wait::wait_until;

/// Site 1 of company A and site N of company B.
struct Companies {
    a: Authority,
    b: Authority,
    one: Desk,
    n: Desk,
    to_one: Proxy,
    to_n: Proxy,
    folder: Folder,
}

impl Companies {
    /// Each dials the other, or only N has a url and pulls.
    fn new(name: &str, only_n: bool) -> Self {
        let (folder, to_one, to_n) = (Folder::new(name), Proxy::new(), Proxy::new());
        let (a, b) = (Authority::make(folder.path(), "A"), Authority::make(folder.path(), "B"));
        let listen = "[listen]\naddress = \"127.0.0.1:0\"\n";
        let peer = |name: &str, rest: &str| format!("[[peer]]\nname = \"{name}\"\nca = \"peer-ca.crt\"\n{rest}");
        let url = |way: &Proxy| format!("url = \"https://{}\"\n", way.address);
        let (of_one, of_n) = if only_n {
            (format!("{listen}{}", peer("N", "")), peer("1", &format!("{}pull = true\n", url(&to_one))))
        } else {
            (format!("{listen}{}", peer("N", &url(&to_n))), format!("{listen}{}", peer("1", &url(&to_one))))
        };
        let make = |site, at, network: &str, own: &Authority, other: &Authority| {
            let network = format!("{network}{}{QUICK}", tls_section(site));
            let desk = Desk::make(folder.path(), site, at, &["ABC"], &network);
            own.certify(&desk);
            std::fs::copy(other.ca(), desk.folder.join("peer-ca.crt")).unwrap();
            desk
        };
        let one = make("1", &HELPDESK, &of_one, &a, &b);
        let n = make("N", &TICKETS, &of_n, &b, &a);
        Self { a, b, one, n, to_one, to_n, folder }
    }

    fn start_one(&self) -> Bridge {
        let bridge = Bridge::of(&self.one.config, &["-v"]);
        self.to_one.lead_to(bridge.address);
        bridge
    }

    fn start(&self) -> (Bridge, Bridge) {
        let n = Bridge::of(&self.n.config, &["-v"]);
        self.to_n.lead_to(n.address);
        (self.start_one(), n)
    }

    fn wait_until_in_step(&self) {
        for desk in [&self.one, &self.n] {
            wait_until(&format!("site {} is in step", desk.site), || desk.run(&["status"]).code == DONE);
        }
    }

    /// A folder for the certificates of somebody else.
    fn strange(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    }
}

/// A push of one entry by site N to site 1.
const PUSH: &str = r#"{"wire":1,"from":"N","to":"1","history":"work_history","deliveries":[{"names":{"N":"ABC"},
    "belief":{"count":0,"sum":"0000000000000000"},"entries":[{"origin":"N/1","text":"written at N"}]}]}"#;

#[test]
fn two_companies_exchange_over_mutual_tls_whoever_dials() {
    for only_n in [false, true] {
        let both = Companies::new(if only_n { "tls-pull" } else { "tls-push" }, only_n);
        both.one.append("ABC", &["from A"]);
        both.n.append("ABC", &["from B"]);
        let (_one, _n) = both.start();
        both.wait_until_in_step();
        for desk in [&both.one, &both.n] {
            let mut entries = desk.entries("ABC");
            entries.sort();
            assert_eq!(entries, ["from A", "from B"], "{desk:?}");
            wait_until("what the peer showed is noted", || {
                desk.status()["certificates"].as_array().is_some_and(|all| all.len() == 4)
            });
            let status = desk.status();
            // Its own, its authority's, the other's authority's, and the peer's as it showed it.
            let days: Vec<_> =
                status["certificates"].as_array().unwrap().iter().map(|c| c["days_left"].clone()).collect();
            assert_eq!(days, [397, 3649, 3649, 397], "{status}");
            let told = desk.run(&["check"]).ends(DONE).out;
            assert!(told.contains("good until"), "{told}");
        }
    }
}

#[test]
fn strangers_do_not_get_past_the_handshake() {
    let both = Companies::new("tls-strangers", true);
    let bridge = both.start_one();
    let address = bridge.address.unwrap();
    let folder = |name: &str, make: &dyn Fn(&PathBuf)| {
        let folder = both.strange(name);
        make(&folder);
        folder
    };
    let x = folder("other-site", &|at| both.b.issue(at, "X"));
    let wrong = folder("wrong-authority", &|at| both.a.issue(at, "N"));
    let expired = folder("expired", &|at| both.b.issue_dated(at, "N", -40, -2));
    let early = folder("early", &|at| both.b.issue_dated(at, "N", 3, 40));
    let own = folder("self-signed", &|at| issue_self_signed(at, "N"));
    let c = Authority::make(both.folder.path(), "C");
    let stale = folder("expired-and-wrong", &|at| c.issue_dated(at, "N", -40, -2));
    let none = folder("no-site", &|at| both.b.issue_dated(at, "not a site", -1, 9));
    for (shown, says) in [
        (None, "shows no certificate"),
        (Some((&x, "X")), "a certificate of site X, which is no peer of this site"),
        (Some((&wrong, "N")), "from the authority \"A\", which may not vouch for N here: \"B\""),
        (Some((&expired, "N")), "of site N that ended on"),
        (Some((&early, "N")), "of site N that begins on"),
        (Some((&own, "N")), "of site N that it signed itself"),
        (Some((&stale, "N")), "from the authority \"C\""),
        (Some((&none, "not a site")), "a certificate of nobody"),
    ] {
        let shown = shown.map(|(folder, site)| (folder.as_path(), site));
        let before = bridge.log().len();
        let answer = post(&mut dial(address, shown, &[&TLS13]), "/v1/push", PUSH);
        assert!(answer.is_err(), "{says}: {answer:?}");
        wait_until(&format!("the log says: {says}"), || bridge.log()[before..].contains(says));
    }
    // Older TLS is not even begun.
    let mut old = dial(address, Some((&both.n.folder, "N")), &[&TLS12]);
    assert!(post(&mut old, "/v1/push", PUSH).is_err());
    wait_until("the log says so", || bridge.log().contains("speaks no TLS 1.3"));
    // Who speaks plain HTTP is told what to change.
    let told = post(&mut TcpStream::connect(address).unwrap(), "/v1/push", PUSH).unwrap();
    assert!(told.starts_with("HTTP/1.1 400") && told.contains("begins with https://"), "{told}");
    assert!(both.one.all().is_empty(), "nothing was taken from any of them");

    let status = both.one.status();
    let error = status["peers"][0]["last_error"].as_str().unwrap();
    assert!(error.contains("landbridge cert renew N") || error.contains("begins on"), "{error}");

    // The same message from N itself is taken, and from N in another's name it is not.
    let mut itself = dial(address, Some((&both.n.folder, "N")), &[&TLS13]);
    let forged = post(&mut itself, "/v1/push", &PUSH.replace("\"from\":\"N\"", "\"from\":\"1\"")).unwrap();
    assert!(forged.starts_with("HTTP/1.1 403") && forged.contains("has shown that it is N"), "{forged}");
    let taken = post(&mut dial(address, Some((&both.n.folder, "N")), &[&TLS13]), "/v1/push", PUSH).unwrap();
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    assert_eq!(both.one.entries("ABC"), ["written at N"]);
}

#[test]
fn whoever_dials_is_told_what_does_not_fit() {
    let both = Companies::new("tls-dialling", true);
    let bridge = both.start_one();
    let says = |what: &str, code: i32| {
        let told = both.n.run(&["check", "--json"]).ends(code).out;
        assert!(told.contains(what), "{what}\n{told}");
        both.n.run(&["sync"]).ends(PEER);
    };
    // N's own certificate, as site 1 sees it.
    both.a.issue(&both.n.folder, "N");
    let theirs = |ca: &Authority| std::fs::copy(ca.ca(), both.n.folder.join("ca.crt")).unwrap();
    theirs(&both.a);
    says("is not the one that it has for site N", PEER);
    theirs(&both.b);
    both.b.issue_dated(&both.n.folder, "N", -40, -2);
    says("ended on", CONFIGURATION);
    says("landbridge cert renew N", CONFIGURATION);
    both.b.issue_dated(&both.n.folder, "N", 3, 40);
    says("begins on", CONFIGURATION);
    both.b.issue(&both.n.folder, "N");

    // What site 1 shows, as N sees it.
    both.n.reconfigure("name = \"1\"", "name = \"2\"");
    says("shows the certificate of site 1, and site 2 is expected there", PEER);
    both.n.reconfigure("name = \"2\"", "name = \"1\"");
    both.n.reconfigure("peer-ca.crt", "ca.crt");
    says("may not vouch for 1 here", PEER);
    both.n.reconfigure("ca = \"ca.crt\"\nurl", "ca = \"peer-ca.crt\"\nurl");

    // A peer that is not one there.
    both.one.reconfigure("name = \"N\"", "name = \"M\"");
    both.one.run(&["reload"]).ends(DONE);
    says("it has no [[peer]] N", PEER);
    both.one.reconfigure("name = \"M\"", "name = \"N\"");
    both.one.run(&["reload"]).ends(DONE);

    // The wrong scheme.
    let url = format!("https://{}", both.to_one.address);
    let plain = format!("token = \"a-token-for-tests-only\"\nurl = \"{}\"", url.replace("https", "http"));
    both.n.reconfigure(&format!("url = \"{url}\""), &plain);
    says("this site speaks TLS only", PEER);
    both.n.reconfigure(&plain, &format!("url = \"{url}\""));
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let speaks_plainly = deaf.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in deaf.incoming().flatten() {
            let _ = stream.read(&mut [0; 2048]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    both.to_one.lead_to(Some(speaks_plainly));
    says("speaks no TLS", PEER);
    both.to_one.lead_to(bridge.address);

    assert!(both.one.all().is_empty());
    both.n.run(&["check"]).ends(DONE);
}

#[test]
fn a_renewed_certificate_is_shown_while_entries_flow_and_nothing_is_lost_or_doubled() {
    let both = Companies::new("tls-renewed", false);
    let (one, n) = both.start();
    let mut should = Vec::new();
    for round in 0..30 {
        for desk in [&both.one, &both.n] {
            let text = format!("{} in round {round}", desk.site);
            desk.append("ABC", &[&text]);
            should.push(text);
        }
        match round {
            // Noticed without being told, with a new key; then a wish and a signal, in the middle of everything.
            5 => both.a.renew(&both.one.folder, "1", &["--days", "100", "--new-key"]),
            10 => drop(both.one.run(&["reload"]).ends(DONE)),
            15 => both.b.renew(&both.n.folder, "N", &["--days", "200"]),
            20 => one.hang_up(),
            25 => n.hang_up(),
            _ => {}
        }
    }
    both.wait_until_in_step();
    should.sort();
    for desk in [&both.one, &both.n] {
        let mut entries = desk.entries("ABC");
        entries.sort();
        assert_eq!(entries, should, "{desk:?}");
    }
    let shown = |desk: &Desk| desk.status()["certificates"].as_array().unwrap().last().unwrap()["days_left"].clone();
    wait_until("N was shown the new certificate of 1", || shown(&both.n) == 99);
    wait_until("1 was shown the new certificate of N", || shown(&both.one) == 199);
}

#[test]
fn a_removed_peer_is_cut_off_at_once() {
    let both = Companies::new("tls-removed", true);
    let (one, n) = both.start();
    both.one.append("ABC", &["before"]);
    both.wait_until_in_step();
    let mut open = dial(one.address.unwrap(), Some((&both.n.folder, "N")), &[&TLS13]);
    open.write_all(b"POST /v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n").unwrap();
    open.flush().unwrap();

    both.one.reconfigure("name = \"N\"", "name = \"M\"");
    both.one.run(&["reload"]).ends(DONE);
    both.one.append("ABC", &["after"]);
    wait_for_end(&mut open);
    let error = || both.n.status()["peers"][0]["last_error"].as_str().unwrap_or_default().to_owned();
    wait_until("N learns it", || error().contains("it has no [[peer]] N"));
    assert_eq!(both.n.entries("ABC"), ["before"]);

    // Back again, it gets what it is owed.
    both.one.reconfigure("name = \"M\"", "name = \"N\"");
    one.hang_up();
    both.wait_until_in_step();
    assert_eq!(both.n.entries("ABC"), ["before", "after"]);
    drop(n);
}

#[test]
fn a_faulty_configuration_is_not_used_and_is_shown_until_it_is_put_right() {
    let both = Companies::new("tls-faulty", false);
    let (one, _n) = both.start();
    let good = std::fs::read(both.one.folder.join("1.crt")).unwrap();
    both.b.issue(&both.strange("other"), "1");
    std::fs::copy(both.folder.path().join("other/1.crt"), both.one.folder.join("1.crt")).unwrap();
    let told = both.one.run(&["reload"]).ends(CONFIGURATION).err;
    assert!(told.contains("does not vouch for") && told.contains("is not that of the certificate"), "{told}");
    assert!(one.log().contains("the former configuration stays at work"));
    both.one.append("ABC", &["goes on"]);
    wait_until("the former one works", || both.n.entries("ABC") == ["goes on"]);
    let shown = both.one.run(&["status"]).ends(PERSON).out;
    assert!(shown.contains("is not used") && shown.contains("cannot be used"), "{shown}");
    std::fs::write(both.one.folder.join("1.crt"), good).unwrap();
    both.wait_until_in_step();

    both.one.reconfigure("[listen]", "[lisen]");
    let told = both.one.run(&["reload"]).ends(CONFIGURATION).err;
    assert!(told.contains("did you mean `listen`"), "{told}");
    let hidden = both.one.run(&["status"]).ends(CONFIGURATION).err;
    assert!(hidden.contains("landbridge.toml:") && hidden.contains("did you mean `listen`"), "{hidden}");
    assert!(hidden.contains("the bridge that runs goes on with the former configuration"), "{hidden}");
    both.one.reconfigure("[lisen]", "[listen]");
    both.one.run(&["reload"]).ends(DONE);
    both.wait_until_in_step();
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_shown_at_both_sites() {
    let both = Companies::new("tls-ending", false);
    both.a.issue_dated(&both.one.folder, "1", -300, 20);
    both.one.append("ABC", &["still taken"]);
    let (one, n) = both.start();
    wait_until("it is taken", || both.n.entries("ABC") == ["still taken"]);
    assert!(one.log().contains("the certificate of this site: ends on"), "{}", one.log());
    for (desk, says) in [(&both.one, "`landbridge cert renew 1`"), (&both.n, "at site 1: `landbridge cert renew 1`")] {
        wait_until("it wants a person", || desk.run(&["status"]).code == PERSON);
        let shown = desk.run(&["status"]).ends(PERSON).out;
        assert!(shown.contains("ends soon") && shown.contains("landbridge cert renew 1"), "{shown}");
        let told = desk.run(&["check"]).ends(DONE).out;
        assert!(told.contains("note") && told.contains(says), "{told}");
    }
    both.one.reconfigure("watch =", "warn = \"10d\"\nwatch =");
    both.one.run(&["status"]).ends(DONE);

    both.a.issue_dated(&both.one.folder, "1", -300, -1);
    let told = both.one.run(&["reload"]).ends(PERSON).out;
    assert!(
        told.contains("works with") && told.contains("Nobody believes the certificate of this site: ended"),
        "{told}"
    );
    both.one.append("ABC", &["not sent any more"]);
    both.n.append("ABC", &["not taken any more"]);
    let error = |desk: &Desk| desk.status()["peers"][0]["last_error"].as_str().unwrap_or_default().to_owned();
    for desk in [&both.one, &both.n] {
        wait_until("both sites say which certificate ended", || {
            let error = error(desk);
            error.contains("ended on") && error.contains("clock") && error.contains("landbridge cert renew 1")
        });
    }
    both.one.run(&["check", "--offline"]).ends(CONFIGURATION);
    assert_eq!(both.one.entries("ABC"), ["still taken", "not sent any more"]);
    both.a.renew(&both.one.folder, "1", &[]);
    both.wait_until_in_step();
    assert_eq!(both.one.entries("ABC"), ["still taken", "not sent any more", "not taken any more"]);
    drop((one, n));
}

#[test]
fn an_authority_that_was_replaced_vouches_for_nothing_that_is_open() {
    let both = Companies::new("tls-replaced", true);
    let (one, _n) = both.start();
    both.one.append("ABC", &["before"]);
    both.wait_until_in_step();
    let under_way = || {
        let mut open = dial(one.address.unwrap(), Some((&both.n.folder, "N")), &[&TLS13]);
        let head = b"POST /v1/push HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        open.write_all(head).unwrap();
        open.flush().unwrap();
        let mut goes_on = [0; 25];
        open.read_exact(&mut goes_on).unwrap();
        assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        open
    };
    let rest = |mut open: rustls::StreamOwned<rustls::ClientConnection, TcpStream>| {
        let mut rest = Vec::new();
        let _ = open.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    };
    let c = Authority::make(both.folder.path(), "C");
    let (b, c) = (std::fs::read_to_string(both.b.ca()).unwrap(), std::fs::read_to_string(c.ca()).unwrap());
    let believe = |authorities: &str| {
        std::fs::write(both.one.folder.join("peer-ca.crt"), authorities).unwrap();
        both.one.run(&["reload"]).ends(DONE);
    };

    let open = under_way();
    believe(&format!("{b}{c}"));
    let answer = rest(open);
    assert!(answer.starts_with("HTTP/1.1 503"), "it is still vouched for, and hears what there is to say: {answer:?}");

    let open = under_way();
    believe(&c);
    assert_eq!(rest(open), "", "nobody vouches for it any more, by a file of the same name");
    let error = || both.n.status()["peers"][0]["last_error"].as_str().unwrap_or_default().to_owned();
    wait_until("N learns it", || error().contains("is not the one that it has for site N"));
    both.one.append("ABC", &["after"]);
    assert_eq!(both.n.entries("ABC"), ["before"]);
    believe(&b);
    both.wait_until_in_step();
    assert_eq!(both.n.entries("ABC"), ["before", "after"]);
}

#[test]
fn what_was_open_when_a_certificate_ended_is_used_no_more_at_either_end() {
    let both = Companies::new("tls-outlived", false);
    both.b.issue_ending_in(&both.n.folder, "N", Duration::from_secs(20));
    let (one, n) = both.start();
    both.one.append("ABC", &["in time"]);
    both.n.append("ABC", &["in time, too"]);
    for desk in [&both.one, &both.n] {
        wait_until("it was exchanged while the certificate was good", || desk.entries("ABC").len() == 2);
    }
    let mut waiting = dial(one.address.unwrap(), Some((&both.n.folder, "N")), &[&TLS13]);
    waiting.write_all(b"POST /v1/push HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n").unwrap();
    waiting.flush().unwrap();

    // Nothing is idle meanwhile: only the end of the certificate can end anything.
    let mut should = vec!["in time".to_owned(), "in time, too".to_owned()];
    let error = |desk: &Desk| desk.status()["peers"][0]["last_error"].as_str().unwrap_or_default().to_owned();
    wait_until("neither site uses what it had opened before", || {
        for desk in [&both.one, &both.n] {
            should.push(format!("entry {} of {}", should.len(), desk.site));
            desk.append("ABC", &[should.last().unwrap()]);
        }
        [&both.one, &both.n].iter().all(|desk| error(desk).contains("ended on"))
    });
    let mut answer = Vec::new();
    let _ = waiting.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("certificate of this connection"), "{answer}");

    both.b.issue(&both.n.folder, "N");
    both.wait_until_in_step();
    should.sort();
    for desk in [&both.one, &both.n] {
        let mut entries = desk.entries("ABC");
        entries.sort();
        assert_eq!(entries, should, "{desk:?}");
    }
    drop((one, n));
}

#[test]
fn with_a_token_agreed_a_certificate_alone_does_not_do() {
    let both = Companies::new("tls-token", true);
    both.one.reconfigure("name = \"N\"", "name = \"N\"\ntoken = \"a-token-for-tests-only\"");
    let one = both.start_one();
    let refused =
        post(&mut dial(one.address.unwrap(), Some((&both.n.folder, "N")), &[&TLS13]), "/v1/push", PUSH).unwrap();
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    both.n.reconfigure("name = \"1\"", "name = \"1\"\ntoken = \"a-token-for-tests-only\"");
    both.n.append("ABC", &["with both"]);
    both.n.run(&["sync"]).ends(DONE);
    assert_eq!(both.one.entries("ABC"), ["with both"]);
    assert!(both.one.rows("ABC").iter().any(|row| is_marker(&row.text)));
}

#[test]
fn a_crowd_of_strangers_keeps_no_peer_out() {
    let both = Companies::new("tls-crowd", true);
    let (one, _n) = both.start();
    let address: SocketAddr = one.address.unwrap();
    let crowd: Vec<_> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    both.one.append("ABC", &["through the crowd"]);
    wait_until("it arrives", || both.n.entries("ABC") == ["through the crowd"]);
    both.n.run(&["check"]).ends(DONE);
    drop(crowd);
}
