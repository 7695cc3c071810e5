//! The way to one bridge, which hears everything that is said on it. Nothing is compressed on it: neither side learns that
//! the other could read it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What begins a compressed text.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[derive(Default)]
struct Shared {
    target: Option<SocketAddr>,
    /// What was said: of each connection, what was asked and what was answered.
    heard: Vec<Vec<u8>>,
}

/// The way to one bridge.
pub struct Tap {
    /// Where the way begins.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Tap {
    /// A way that leads nowhere yet.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = serving.lock().unwrap().target;
                let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (shared, from, to) = (serving.clone(), from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || carry(&shared, &from, &to));
                }
            }
        });
        Self { address, shared }
    }

    /// From now on the way leads there.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        self.shared.lock().unwrap().target = target;
    }

    /// Everything that was said so far.
    pub fn heard(&self) -> String {
        let heard = self.shared.lock().unwrap().heard.concat();
        assert!(!heard.windows(ZSTD.len()).any(|bytes| bytes == ZSTD), "something was compressed, and not understood");
        String::from_utf8_lossy(&heard).into_owned()
    }
}

fn carry(shared: &Mutex<Shared>, mut from: &TcpStream, mut to: &TcpStream) {
    let place = {
        let heard = &mut shared.lock().unwrap().heard;
        heard.push(Vec::new());
        heard.len() - 1
    };
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let said = &mut buffer[..read];
        shared.lock().unwrap().heard[place].extend_from_slice(said);
        // Offers of compression are the only place where the word stands alone.
        while let Some(at) = said.windows(6).position(|bytes| bytes == b" zstd\r") {
            said[at + 1..at + 5].copy_from_slice(b"none");
        }
        if to.write_all(said).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
