//! Three sites on three vendors, each of which knows the two others and passes on what it learns: every entry along three
//! ways, and once at each site.

use crate::kit::bridge::Bridge;
use crate::kit::command::DONE;
use crate::kit::desk::{Desk, QUICK};
use crate::kit::folder::Folder;
use crate::kit::host::Host;
use crate::kit::proxy::Proxy;
use crate::kit::schema::{COMMENTS, HELPDESK};
use crate::kit::wait::wait_until;

const SITES: [&str; 3] = ["A", "B", "C"];
const ROUNDS: usize = 40;

#[test]
fn three_sites_on_three_vendors_that_relay_everything_have_every_entry_once() {
    let (Some(postgres), Some(mariadb)) = (Host::postgres(), Host::mariadb()) else { return };
    let (folder, ways) = (Folder::new("mesh"), SITES.map(|_| Proxy::new()));
    let places = [HELPDESK.on(&postgres), COMMENTS.on(&mariadb), HELPDESK.on(&Host::Files)];
    let problems: Vec<_> = (0..5).map(|n| format!("P-{n}")).collect();
    let problems: Vec<_> = problems.iter().map(String::as_str).collect();
    let desks: Vec<_> = places
        .into_iter()
        .enumerate()
        .map(|(here, place)| Desk::make(folder.path(), SITES[here], place, &problems, &network(here, &ways)))
        .collect();
    let start = |here: usize| {
        let bridge = Bridge::start(&desks[here]);
        ways[here].lead_to(bridge.address);
        bridge
    };
    let mut bridges: Vec<_> = (0..3).map(start).collect();

    let mut should = Vec::new();
    for round in 0..ROUNDS {
        for desk in &desks {
            let texts: Vec<_> = (0..2).map(|n| format!("{} {round}/{n}", desk.site)).collect();
            desk.append(problems[round % 5], &texts.iter().map(String::as_str).collect::<Vec<_>>());
            should.extend(texts);
        }
        if round % 10 == 5 {
            bridges.remove(0).kill();
            bridges.insert(0, start(0));
        }
    }
    let entries = |desk: &Desk| -> Vec<String> { problems.iter().flat_map(|problem| desk.entries(problem)).collect() };
    for desk in &desks {
        wait_until(&format!("site {} has all", desk.site), || entries(desk).len() >= should.len());
    }
    for desk in &desks {
        wait_until(&format!("site {} is in step", desk.site), || desk.run(&["status"]).code == DONE);
    }
    should.sort();
    for desk in &desks {
        let mut are = entries(desk);
        are.sort();
        assert_eq!(are, should, "site {}", desk.site);
    }
}

fn network(here: usize, ways: &[Proxy; 3]) -> String {
    let mut network = "[listen]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for there in (0..3).filter(|there| *there != here) {
        let (name, url, third) = (SITES[there], ways[there].address, SITES[3 - here - there]);
        // Each two sites have a token of their own.
        let token = format!("a-token-for-tests-and-for-sites-{}", here + there);
        network += &format!(
            "[[peer]]\nname = \"{name}\"\nurl = \"http://{url}\"\ntoken = \"{token}\"\nrelay = true\n\
             relay_from = [\"{third}\"]\n"
        );
    }
    network + QUICK
}
