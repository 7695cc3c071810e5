//! A network that can be cut: it carries connections to one bridge, wherever that listens at the moment. It can hold
//! answers back, and lose them, and let somebody hear what is said.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::wait::PATIENCE;
use super::wire::{Connection, Wire};

/// What happens to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Pass,
    Hold,
    Lose,
}

struct State {
    target: Option<SocketAddr>,
    whole: bool,
    answers: Answers,
    stopped: usize,
    open: Vec<TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    heard_by: Option<Wire>,
}

/// Somebody who hears what is said on one connection.
type Ear = Option<Arc<Mutex<Connection>>>;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The way to one bridge.
pub struct Proxy {
    /// Where the way begins.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A way that leads nowhere yet.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// The same, where `wire` hears everything that is said.
    pub fn heard_by(wire: &Wire) -> Self {
        Self::with(Some(wire.clone()))
    }

    fn with(heard_by: Option<Wire>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { target: None, whole: true, answers: Answers::Pass, stopped: 0, open: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), heard_by });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                thread::spawn(move || carry(&shared, client));
            }
        });
        Self { address, shared }
    }

    /// From now on the way leads there; to nowhere where the bridge does not listen.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        self.shared.state().target = target;
    }

    /// Breaks every connection and takes no new one.
    pub fn cut(&self) {
        let mut state = self.shared.state();
        state.whole = false;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The way is open again, for answers too.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        (state.whole, state.answers, state.stopped) = (true, Answers::Pass, 0);
        self.shared.changed.notify_all();
    }

    /// Holds back every answer until [`Proxy::heal`].
    pub fn hold_answers(&self) {
        self.shared.state().answers = Answers::Hold;
    }

    /// Breaks the connection instead of every answer, until [`Proxy::heal`].
    pub fn lose_answers(&self) {
        self.shared.state().answers = Answers::Lose;
    }

    /// Returns once an answer was held back or lost: what it answers has been done.
    pub fn wait_for_answer(&self) {
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.stopped == 0).unwrap();
        assert!(!waited.1.timed_out(), "no answer came");
    }
}

fn carry(shared: &Arc<Shared>, client: TcpStream) {
    let target = {
        let state = shared.state();
        state.target.filter(|_| state.whole)
    };
    let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
    {
        let mut state = shared.state();
        if !state.whole {
            return;
        }
        state.open.retain(|stream| stream.peer_addr().is_ok());
        state.open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
    }
    let ear: Ear = shared.heard_by.as_ref().map(|wire| Arc::new(Mutex::new(wire.connection())));
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let asking_ear = ear.clone();
    let asking = thread::spawn(move || {
        ask(&asking_ear, &from_client, &to_server);
        let _ = to_server.shutdown(Shutdown::Both);
        let _ = from_client.shutdown(Shutdown::Both);
    });
    answer(shared, &ear, &server, &client);
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = asking.join();
}

/// Carries requests.
fn ask(ear: &Ear, mut client: &TcpStream, mut server: &TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        if let Some(ear) = ear {
            ear.lock().unwrap().ask(&buffer[..read]);
        }
        if server.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

/// Carries answers from `server` to `client`, as far as the state lets them pass.
fn answer(shared: &Shared, ear: &Ear, mut server: &TcpStream, mut client: &TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        let mut state = shared.state();
        if state.answers != Answers::Pass {
            state.stopped += 1;
            shared.changed.notify_all();
        }
        while state.answers == Answers::Hold {
            state = shared.changed.wait(state).unwrap();
        }
        if state.answers == Answers::Lose {
            return;
        }
        drop(state);
        if client.write_all(&buffer[..read]).is_err() {
            return;
        }
        if let Some(ear) = ear {
            ear.lock().unwrap().answer(&buffer[..read]);
        }
    }
}
