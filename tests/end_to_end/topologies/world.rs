//! A plan come to life: databases of three vendors, daemons, the roads between them, which are listened to; people who
//! write at every site; and what is killed and cut meanwhile.

use std::collections::BTreeMap;
use std::process::Child;
use std::time::Instant;

use crate::kit::bridge::Bridge;
use crate::kit::command::LEFT;
use crate::kit::desk::{Desk, QUICK, Row};
use crate::kit::folder::Folder;
use crate::kit::host::{At, Host};
use crate::kit::proxy::Proxy;
use crate::kit::schema::{COMMENTS, HELPDESK, TICKETS};
use crate::kit::sql::Vendor;
use crate::kit::wait::{LOOK, PATIENCE};
use crate::kit::wire::Wire;
use crate::kit::writer::{self, Job, problem};

use super::plan::{NAMES, Plan, Way};

/// The servers of a test.
pub struct Servers {
    postgres: Host,
    mariadb: Host,
}

impl Servers {
    /// Servers of the test's own. None where one is not installed.
    pub fn start() -> Option<Self> {
        Some(Self { postgres: Host::own_postgres()?, mariadb: Host::own_mariadb()? })
    }

    /// Where the site of this number has its database: every vendor, every way of numbering, one after the other.
    fn place(&self, site: usize) -> At {
        match site % 7 {
            0 => HELPDESK.on(&self.postgres),
            1 => COMMENTS.on(&self.mariadb),
            2 => HELPDESK.on(&Host::Files),
            3 => COMMENTS.on(&self.postgres),
            4 => HELPDESK.on(&self.mariadb),
            5 => TICKETS.on(&Host::Files),
            _ => COMMENTS.on(&Host::Files),
        }
    }
}

/// A way to one site, as one other dials it.
struct Road {
    from: usize,
    to: usize,
    proxy: Proxy,
}

/// Everything that runs.
pub struct World<'a> {
    pub plan: &'a Plan,
    pub desks: Vec<Desk>,
    pub wire: Wire,
    /// How often each site lost its bridge, its database or a connection in the middle of something.
    pub strikes: Vec<u32>,
    servers: &'a Servers,
    roads: Vec<Road>,
    bridges: Vec<Option<Bridge>>,
    problems: usize,
    _folder: Folder,
}

impl<'a> World<'a> {
    /// Databases and configurations. No bridge runs yet.
    pub fn new(plan: &'a Plan, servers: &'a Servers, problems: usize) -> Self {
        let (folder, wire) = (Folder::new(&plan.name.replace(' ', "-")), Wire::default());
        let road = |from, to| Road { from, to, proxy: Proxy::heard_by(&wire) };
        let roads: Vec<_> = plan
            .links
            .iter()
            .flat_map(|link| [Some((link.a, link.b)), link.both_dial.then_some((link.b, link.a))])
            .flatten()
            .map(|(from, to)| road(from, to))
            .collect();
        let names: Vec<_> = (0..problems).map(problem).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let make = |site: usize| {
            let place = servers.place(site);
            let network = network(plan, site, &place, &roads);
            Desk::make(folder.path(), NAMES[site], place, &names, &network)
        };
        let desks = (0..plan.sites).map(make).collect();
        let (strikes, bridges) = (vec![0; plan.sites], (0..plan.sites).map(|_| None).collect());
        Self { plan, desks, wire, strikes, servers, roads, bridges, problems, _folder: folder }
    }

    /// Starts the bridges of these sites, all at once.
    pub fn start(&mut self, sites: &[usize]) {
        let desks = &self.desks;
        let started: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> =
                sites.iter().map(|site| (*site, scope.spawn(|| Bridge::start(&desks[*site])))).collect();
            starting.into_iter().map(|(site, bridge)| (site, bridge.join().unwrap())).collect()
        });
        for (site, bridge) in started {
            self.roads.iter().filter(|road| road.to == site).for_each(|road| road.proxy.lead_to(bridge.address));
            self.bridges[site] = Some(bridge);
        }
    }

    /// Starts all.
    pub fn start_all(&mut self) {
        self.start(&(0..self.plan.sites).collect::<Vec<_>>());
    }

    /// SIGKILL to the bridge of a site.
    pub fn kill(&mut self, site: usize) {
        if let Some(bridge) = self.bridges[site].take() {
            bridge.kill();
            self.strikes[site] += 1;
        }
    }

    /// SIGKILL to all processes of the server of one of the vendors, which then starts again.
    fn kill_server(&mut self, vendor: Vendor) {
        let host = if vendor == Vendor::Postgres { &self.servers.postgres } else { &self.servers.mariadb };
        host.kill();
        host.restart();
        for (desk, strikes) in self.desks.iter().zip(&mut self.strikes) {
            *strikes += u32::from(desk.host.vendor() == vendor);
        }
    }

    /// Somebody writes at each of these sites; `round` tells this time from others.
    pub fn write(&self, sites: &[usize], round: usize, rows: usize, seed: u64) -> Vec<Child> {
        let house = self.plan.has_house();
        let job = Job { rows, problems: self.problems, seed, pause_micros_max: 20_000, answers: true, house };
        sites
            .iter()
            .map(|site| writer::start(&self.desks[*site], round, &Job { seed: seed + *site as u64, ..job.clone() }))
            .collect()
    }

    /// Waits until all have written, and strikes meanwhile: each time when so many texts have crossed, and when nobody
    /// writes any more in any case.
    pub fn wait_for(&mut self, mut writers: Vec<Child>, mut trouble: Trouble) {
        let begun = Instant::now();
        loop {
            writers.retain_mut(|writer| match writer.try_wait().unwrap() {
                None => true,
                Some(status) => {
                    assert!(status.success(), "a writer failed: {status}");
                    false
                }
            });
            while let Some(next) = trouble.due.first_entry() {
                if *next.key() > self.wire.bodies() && !writers.is_empty() {
                    break;
                }
                next.remove().into_iter().for_each(|strike| self.strike(strike, &mut trouble.dice));
            }
            if writers.is_empty() {
                break;
            }
            assert!(begun.elapsed().as_secs() < 1800, "the writers do not come to their end");
            std::thread::sleep(LOOK);
        }
        self.heal();
    }

    fn strike(&mut self, strike: Strike, dice: &mut fastrand::Rng) {
        match strike {
            Strike::Kill => {
                let site = dice.usize(..self.plan.sites);
                self.kill(site);
                self.start(&[site]);
            }
            Strike::KillServer(vendor) => self.kill_server(vendor),
            Strike::Cut => {
                let road = &self.roads[dice.usize(..self.roads.len())];
                road.proxy.cut();
                self.strikes[road.from] += 1;
                self.strikes[road.to] += 1;
            }
            Strike::Heal => self.heal(),
        }
    }

    fn heal(&self) {
        self.roads.iter().for_each(|road| road.proxy.heal());
    }

    /// Waits until every site has what it is to have, and then owes nothing but what was refused. `due`: how many entries
    /// of others each site is to have.
    pub fn wait_until_in_step(&self, due: &[usize]) {
        for (desk, due) in self.desks.iter().zip(due) {
            let others = || NAMES[..self.plan.sites].iter().filter(|name| **name != desk.site);
            wait_while_it_goes_on(&format!("site {} has {due} entries of others", desk.site), || {
                let have: usize = others().map(|name| desk.count(&format!("{name}/"))).sum();
                due.saturating_sub(have) as u64
            });
        }
        for desk in &self.desks {
            wait_while_it_goes_on(&format!("site {} owes nothing but what was refused", desk.site), || {
                let status = desk.status();
                let owed = |peer: &serde_json::Value| {
                    let [pending, refused] = [&peer["pending"], &peer["refused"]["count"]].map(|n| n.as_u64().unwrap());
                    pending.abs_diff(refused)
                };
                status["peers"].as_array().unwrap().iter().map(owed).sum()
            });
        }
    }

    /// All rows of all sites.
    pub fn tables(&self) -> Vec<Vec<Row>> {
        self.desks.iter().map(Desk::all).collect()
    }

    /// Nothing wants a person's eye, except what was refused. How many entries each site still owes, as refused.
    pub fn refused(&self) -> Vec<u64> {
        let refused = |desk: &Desk| {
            let ran = desk.run(&["status", "--json"]);
            let status = ran.json();
            assert_ne!(ran.code, LEFT, "{status}");
            for count in [&status["differs"]["count"], &status["suspended"]["count"], &status["withheld"]["count"]] {
                assert_eq!(*count, 0, "{status}");
            }
            let peers = status["peers"].as_array().unwrap();
            assert!(peers.iter().all(|peer| peer["diverged"]["count"] == 0), "{status}");
            peers.iter().map(|peer| peer["refused"]["count"].as_u64().unwrap()).sum()
        };
        self.desks.iter().map(refused).collect()
    }
}

/// Waits until nothing is left. Fails when it has not become less, or more, for a long time.
fn wait_while_it_goes_on(what: &str, mut left: impl FnMut() -> u64) {
    let (mut since, mut last) = (Instant::now(), u64::MAX);
    loop {
        let now = left();
        if now == 0 {
            return;
        }
        if now != last {
            (since, last) = (Instant::now(), now);
        }
        assert!(
            since.elapsed() < PATIENCE,
            "for {} s it does not come true that {what}: {now} left",
            PATIENCE.as_secs()
        );
        std::thread::sleep(2 * LOOK);
    }
}

/// What is to go wrong, by how many texts have crossed until then.
#[derive(Default)]
pub struct Trouble {
    due: BTreeMap<u64, Vec<Strike>>,
    dice: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
enum Strike {
    Kill,
    KillServer(Vendor),
    Cut,
    Heal,
}

impl Trouble {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// So many kills of bridges, of servers and so many cuts, while the texts numbered `from` to `to` cross.
    pub fn new(seed: u64, kills: usize, server_kills: usize, cuts: usize, (from, to): (u64, u64)) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut due: BTreeMap<u64, Vec<Strike>> = BTreeMap::new();
        for _ in 0..kills {
            due.entry(dice.u64(from..to)).or_default().push(Strike::Kill);
        }
        for kill in 0..server_kills {
            let vendor = if kill % 2 == 0 { Vendor::Postgres } else { Vendor::MariaDb };
            due.entry(dice.u64(from..to)).or_default().push(Strike::KillServer(vendor));
        }
        for _ in 0..cuts {
            let at = dice.u64(from..to);
            due.entry(at).or_default().push(Strike::Cut);
            due.entry(at + (to - from) / 8).or_default().push(Strike::Heal);
        }
        Self { due, dice }
    }
}

/// The end of a site's configuration.
fn network(plan: &Plan, site: usize, place: &At, roads: &[Road]) -> String {
    let mut network = String::new();
    if plan.listens(site) {
        network += "[listen]\naddress = \"127.0.0.1:0\"\n";
    }
    for link in plan.links.iter().filter(|link| link.a == site || link.b == site) {
        let is_a = link.a == site;
        let (peer, out, back) = if is_a { (link.b, link.to_b, link.to_a) } else { (link.a, link.to_a, link.to_b) };
        network += &format!(
            "[[peer]]\nname = \"{}\"\ntoken = \"a-token-for-tests-and-for-sites-{}-{}\"\n",
            NAMES[peer], link.a, link.b
        );
        if let Some(road) = roads.iter().find(|road| (road.from, road.to) == (site, peer)) {
            network += &format!("url = \"http://{}\"\npull = {}\n", road.proxy.address, !link.both_dial);
        }
        network += &rules(plan, site, peer, out, back, place);
        if is_a && !link.onward {
            network += "onward = false\n";
        }
    }
    network + QUICK
}

/// What a site lets pass to and from one peer.
fn rules(plan: &Plan, site: usize, peer: usize, out: Way, back: Way, place: &At) -> String {
    let mut rules = format!("relay = {}\n", out.relay);
    if back.believed {
        let others = (0..plan.sites).filter(|other| *other != site && *other != peer);
        let others: Vec<_> = others.map(|other| format!("\"{}\"", NAMES[other])).collect();
        rules += &format!("relay_from = [{}]\n", others.join(", "));
    }
    if !out.house {
        let mapped = place.schema.mapping.lines().find_map(|line| line.strip_prefix("text = \"")).unwrap();
        let quote = if place.schema.vendor == Vendor::MariaDb { '`' } else { '"' };
        rules += &format!("share = '''{quote}{}{quote} not like '% house %' '''\n", mapped.trim_end_matches('"'));
    }
    rules
}
