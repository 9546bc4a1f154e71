//! The network between the nodes: every frame of one goes to all others, as in a hub. A node may die and come back; a link
//! may be cut silently, so that both ends keep their carrier (QMP's `set_link` takes the carrier away as well).

use crate::Result;
use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Frames that wait for a slow node before the next one is lost.
const QUEUE: usize = 1024;
const FRAME: usize = 70_000;

/// The hub; it works as long as the program.
#[derive(Debug, Clone)]
pub struct Hub {
    cut: Arc<Mutex<BTreeSet<(usize, usize)>>>,
}

/// The socket of the hub for node `number`.
#[must_use]
pub fn hub_socket(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("hub{number}"))
}

/// The socket of node `number`.
#[must_use]
pub fn node_socket(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("net{number}"))
}

impl Hub {
    /// A hub for the nodes 1 to `count` with its sockets in `directory`.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn new(directory: &Path, count: usize) -> Result<Self> {
        let hub = Self { cut: Arc::default() };
        let mut ports = Vec::new();
        let mut queues = Vec::new();
        for number in 1..=count {
            let path = hub_socket(directory, number);
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(path)?;
            let (queue, frames) = sync_channel::<Arc<[u8]>>(QUEUE);
            let to = socket.try_clone()?;
            // A node that stopped reading must not hold up its own queue for ever.
            to.set_write_timeout(Some(Duration::from_millis(500)))?;
            let address = node_socket(directory, number);
            thread::spawn(move || deliver(&to, &address, &frames));
            ports.push((number, socket));
            queues.push((number, queue));
        }
        for (number, socket) in ports {
            let queues = queues.clone();
            let hub = hub.clone();
            thread::spawn(move || hub.forward(number, &socket, &queues));
        }
        Ok(hub)
    }

    /// No frame passes between these two any more, in either direction.
    pub fn cut(&self, one: usize, other: usize) {
        self.links().insert((one.min(other), one.max(other)));
    }

    /// Undoes [`Hub::cut`].
    pub fn mend(&self, one: usize, other: usize) {
        self.links().remove(&(one.min(other), one.max(other)));
    }

    fn links(&self) -> std::sync::MutexGuard<'_, BTreeSet<(usize, usize)>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, from: usize, socket: &UnixDatagram, queues: &[(usize, SyncSender<Arc<[u8]>>)]) {
        let mut buffer = vec![0; FRAME];
        loop {
            let Ok(length) = socket.recv(&mut buffer) else { return };
            let frame: Arc<[u8]> = buffer.get(..length).unwrap_or_default().into();
            for (to, queue) in queues {
                if *to != from && !self.links().contains(&(from.min(*to), from.max(*to))) {
                    let _ = queue.try_send(Arc::clone(&frame));
                }
            }
        }
    }
}

/// Frames for a node that is not there are lost, as on a real wire.
fn deliver(socket: &UnixDatagram, to: &Path, frames: &Receiver<Arc<[u8]>>) {
    for frame in frames {
        let _ = socket.send_to(&frame, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reaches_all_others_unless_the_link_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let hub = Hub::new(directory.path(), 3).unwrap();
        let node = |number| {
            let socket = UnixDatagram::bind(node_socket(directory.path(), number)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket.connect(hub_socket(directory.path(), number)).unwrap();
            socket
        };
        let (one, two, three) = (node(1), node(2), node(3));
        let hears = |socket: &UnixDatagram| {
            let mut buffer = [0; 10];
            socket.recv(&mut buffer).map(|length| buffer[..length].to_vec()).ok()
        };
        one.send(b"a").unwrap();
        assert_eq!((hears(&two), hears(&three)), (Some(b"a".to_vec()), Some(b"a".to_vec())));
        assert_eq!(hears(&one), None, "its own frame came back");
        hub.cut(2, 1);
        one.send(b"b").unwrap();
        assert_eq!((hears(&two), hears(&three)), (None, Some(b"b".to_vec())));
        hub.mend(1, 2);
        two.send(b"c").unwrap();
        assert_eq!(hears(&one), Some(b"c".to_vec()));
    }
}
