//! A site of two: a ticket system, and beside it the bridge that its administrator set up with a preset. How people see
//! what the bridge did is asked of the system alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tap::Tap;
use crate::kit::bridge::Bridge;
use crate::kit::command::{self, DONE, Ran};
use crate::kit::desk::private;
use crate::kit::folder::Folder;
use crate::kit::systems::{Kind, Shown, System};
use crate::kit::wait::wait_until;

/// Markers may be folded. Short pauses. What is made public is found when everything is looked through.
const QUICK: &str = "\n[markers]\ncompact = true\n[pace]\ngather = \"20ms\"\npoll = \"50ms\"\nretry = [\"50ms\", \"500ms\"]\nsweep = \"1s\"\n";
/// The secret of both sites.
pub const TOKEN: &str = "a-token-for-tests-and-nothing-else";
/// The password of a database user for a bridge alone.
pub const PASSWORD: &str = "nothing-else";
/// In whose name a bridge writes.
const BRIDGE: Option<&str> = Some("bridge");

/// One of two sites.
pub struct Site {
    /// Its name.
    pub name: &'static str,
    /// Which system it has.
    pub kind: Kind,
    /// The system.
    pub system: System,
    /// The way to its bridge.
    pub way: Tap,
    config: PathBuf,
    bridge: Option<Bridge>,
}

/// The two sites, each other's peers.
pub struct Sites {
    /// Site A.
    pub a: Site,
    /// Site B.
    pub b: Site,
    /// Where the files of the bridges are.
    _folder: Folder,
}

impl Sites {
    /// Sets up a bridge beside each system, as an administrator would.
    pub fn new(a: (Kind, System), b: (Kind, System)) -> Self {
        let folder = Folder::new("systems");
        let mut a = Site::new("A", a, folder.path());
        let mut b = Site::new("B", b, folder.path());
        a.init(&b);
        b.init(&a);
        Self { a, b, _folder: folder }
    }

    /// Starts both bridges.
    pub fn start(&mut self) {
        self.a.start();
        self.b.start();
    }
}

impl Site {
    fn new(name: &'static str, (kind, system): (Kind, System), folder: &Path) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        Self { name, kind, system, way: Tap::new(), config: folder.join("landbridge.toml"), bridge: None }
    }

    /// A site with a peer that nobody reaches.
    pub fn alone(kind: Kind, system: System, folder: &Path) -> Self {
        let mut site = Self::new("A", (kind, system), folder);
        let peer = Tap::new();
        site.init_with("B", &peer);
        site
    }

    fn init(&mut self, peer: &Site) {
        self.init_with(peer.name, &peer.way);
    }

    /// Writes the configuration with the preset of the system.
    fn init_with(&mut self, peer: &str, way: &Tap) {
        let token = self.config.with_file_name("token");
        private(&token, TOKEN);
        let (token, way) = (format!("{}={}", peer, token.display()), format!("{}=http://{}", peer, way.address));
        self.run(&[
            "init",
            "--site",
            self.name,
            "--database",
            self.system.url(),
            "--preset",
            self.kind.name(),
            "--yes",
            "--listen",
            "127.0.0.1:0",
            "--peer",
            &way,
            "--token-file",
            &token,
        ])
        .ends(DONE);
        let text = std::fs::read_to_string(&self.config).unwrap();
        private(&self.config, &format!("{text}{QUICK}"));
    }

    /// Takes what the preset offers besides.
    pub fn take_offers(&self) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains("#| "), "{text}");
        private(&self.config, &text.replace("#| ", "").replace("#|\n", "\n"));
    }

    /// From now on the bridge uses a database user who may do what `grants` prints and nothing else: `administer` runs SQL
    /// as the administrator of the database, and `url` is that of the new user.
    pub fn restrict(&self, user: &str, administer: impl Fn(&str), url: &str) {
        let (create, host) = match url.split_once(':').unwrap().0 {
            "mysql" => (
                format!("create user '{user}'@'127.0.0.1' identified by '{PASSWORD}'"),
                ["--host", "127.0.0.1"].as_slice(),
            ),
            _ => (format!("create role \"{user}\" login password '{PASSWORD}'"), [].as_slice()),
        };
        let grants = self.run(&[["grants", "--user", user].as_slice(), host].concat()).ends(DONE);
        assert!(!grants.out.contains("CANNOT BE TOLD"), "{}", grants.out);
        administer(&format!("{create};\n{}", grants.out));
        let text = std::fs::read_to_string(&self.config).unwrap();
        let former = self.system.url();
        assert!(text.contains(former), "{text}");
        private(&self.config, &text.replace(former, url));
        self.run(&["check", "--offline"]).ends(DONE);
    }

    /// `landbridge` with this site's configuration.
    pub fn run(&self, args: &[&str]) -> Ran {
        command::run(["--config", self.config.to_str().unwrap()].iter().chain(args))
    }

    /// The same with `input` on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        command::run_with_input(["--config", self.config.to_str().unwrap()].iter().chain(args), input)
    }

    /// Starts the bridge, which tells its log everything.
    pub fn start(&mut self) {
        let bridge = Bridge::of(&self.config, &["-vv"]);
        self.way.lead_to(bridge.address);
        self.bridge = Some(bridge);
    }

    /// Ends the bridge between two instructions, and takes from it what it learnt.
    pub fn kill(&mut self) {
        self.bridge.take().unwrap().kill();
        std::fs::remove_file(self.config.with_extension("toml.cache")).unwrap();
    }

    /// Asks the bridge to end, and waits for it.
    pub fn stop(&mut self) {
        assert!(self.bridge.take().unwrap().stop().success());
    }

    /// What the bridge said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.config.with_file_name("stderr")).unwrap()
    }

    /// Whether the system can keep something from outsiders.
    pub fn has_confidential(&self) -> bool {
        self.kind != Kind::Trac
    }

    /// Waits until this text is in a ticket.
    pub fn wait_for(&mut self, ticket: i64, text: &str) {
        let Self { name, system, .. } = self;
        wait_until(&format!("{text:?} is at site {name}"), || system.has(ticket, text));
    }

    /// What people see in a ticket.
    pub fn view(&mut self, ticket: i64) -> View {
        let mut view = View::default();
        for entry in self.system.read(ticket) {
            let is_of_bridge = entry.author.as_deref() == BRIDGE;
            let kind = if is_of_bridge && entry.text.starts_with("copy in system ") {
                &mut view.markers
            } else if is_of_bridge {
                &mut view.copies
            } else if entry.public {
                &mut view.open
            } else {
                &mut view.confidential
            };
            kind.push(entry);
        }
        view
    }
}

/// What people see in a ticket.
#[derive(Debug, Default)]
pub struct View {
    /// What was written here for everybody.
    pub open: Vec<Shown>,
    /// What was written here for the staff.
    pub confidential: Vec<Shown>,
    /// What came from the other site.
    pub copies: Vec<Shown>,
    /// The notes of the bridge.
    pub markers: Vec<Shown>,
}

/// The texts, and how often each is there.
pub fn texts(entries: &[Shown]) -> BTreeMap<&str, usize> {
    let mut texts = BTreeMap::new();
    for entry in entries {
        *texts.entry(&*entry.text).or_default() += 1;
    }
    texts
}
