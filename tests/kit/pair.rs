//! Two desks and the network between them: site 1 and site N, as in the worked example.

use super::bridge::Bridge;
use super::command::DONE;
use super::desk::{Desk, QUICK};
use super::folder::Folder;
use super::host::At;
use super::proxy::Proxy;
use super::wait::wait_until;

/// The secret of both sites.
pub const TOKEN: &str = "a-token-for-tests-and-nothing-else";

/// Who dials whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialling {
    /// Each pushes to the other.
    Both,
    /// Site N pushes and pulls; it has no open port and site 1 no url of it.
    OnlyN,
}

/// Two sites.
pub struct Pair {
    /// Site 1.
    pub one: Desk,
    /// Site N.
    pub n: Desk,
    /// The way to site 1.
    pub to_one: Proxy,
    /// The way to site N.
    pub to_n: Proxy,
    /// Where all files are.
    pub folder: Folder,
}

impl Pair {
    /// Sites 1 and N with these databases, which both have these problems, each pushing to the other.
    pub fn new(name: &str, one: impl Into<At>, n: impl Into<At>, problems: &[&str]) -> Self {
        Self::with(name, one, n, problems, Dialling::Both, QUICK)
    }

    /// The same with another network, and with these pauses.
    pub fn with(
        name: &str,
        one: impl Into<At>,
        n: impl Into<At>,
        problems: &[&str],
        dialling: Dialling,
        pace: &str,
    ) -> Self {
        let (folder, to_one, to_n) = (Folder::new(name), Proxy::new(), Proxy::new());
        let listen = "[listen]\naddress = \"127.0.0.1:0\"\n";
        let peer = |name: &str, rest: &str| format!("[[peer]]\nname = \"{name}\"\ntoken = \"{TOKEN}\"\n{rest}\n");
        let url = |way: &Proxy| format!("url = \"http://{}\"\n", way.address);
        let (of_one, of_n) = match dialling {
            Dialling::Both => (
                format!("{listen}{}{pace}", peer("N", &url(&to_n))),
                format!("{listen}{}{pace}", peer("1", &url(&to_one))),
            ),
            Dialling::OnlyN => (
                format!("{listen}{}{pace}", peer("N", "")),
                format!("{}{pace}", peer("1", &format!("{}pull = true", url(&to_one)))),
            ),
        };
        let one = Desk::make(folder.path(), "1", one, problems, &of_one);
        let n = Desk::make(folder.path(), "N", n, problems, &of_n);
        Self { one, n, to_one, to_n, folder }
    }

    /// Starts the bridge of site 1, and lets the way to it lead there.
    pub fn start_one(&self) -> Bridge {
        start(&self.one, &self.to_one)
    }

    /// Starts the bridge of site N.
    pub fn start_n(&self) -> Bridge {
        start(&self.n, &self.to_n)
    }

    /// Starts both.
    pub fn start(&self) -> (Bridge, Bridge) {
        // N first: where pauses are long, site 1 should not begin by finding nobody.
        let n = self.start_n();
        (self.start_one(), n)
    }

    /// Waits until both sites say that everything is in step.
    pub fn wait_until_in_step(&self) {
        for desk in [&self.one, &self.n] {
            wait_until(&format!("site {} is in step", desk.site), || desk.run(&["status"]).code == DONE);
        }
    }
}

fn start(desk: &Desk, way: &Proxy) -> Bridge {
    let bridge = Bridge::start(desk);
    way.lead_to(bridge.address);
    bridge
}
