//! A place in front of a server that stays while the server goes and comes.
//!
//! It passes bytes on, cuts all connections when it is told to, and may be pointed at another server.
//! Not HTTP: it does not know what it passes. Invariant: what is cut is cut for both sides.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A place in front of a server.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// `None`: nobody is called, and connections end at once.
    to: Option<String>,
    open: Vec<TcpStream>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// One in front of the server at this host:port.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(to: &str) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let state = Arc::new(Mutex::new(State { to: Some(to.to_owned()), open: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // One that cannot be passed on ends here, as at a server that is gone.
                let _ = pass_on(near, &shared);
            }
        });
        Ok(Self { address, state })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all connections; the next ones go there, or end at once.
    pub fn point_at(&self, to: Option<&str>) {
        let mut state = lock(&self.state);
        state.to = to.map(str::to_owned);
        for stream in state.open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections.
    pub fn cut(&self) {
        let to = lock(&self.state).to.clone();
        self.point_at(to.as_deref());
    }
}

fn pass_on(near: TcpStream, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let to = lock(state).to.clone();
    let far = TcpStream::connect(to.ok_or(io::ErrorKind::ConnectionRefused)?)?;
    lock(state).open.extend([near.try_clone()?, far.try_clone()?]);
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            // However it ends, both sides are to know.
            let _ = io::copy(&mut from, &mut to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
