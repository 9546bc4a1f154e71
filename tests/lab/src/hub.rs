//! The network between the nodes: every frame of one goes to all others, as in a hub. A node may die and come back; a link
//! may be cut silently, so that both ends keep their carrier (QMP's `set_link` takes the carrier away as well).

use crate::Result;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
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
    cut: Arc<Mutex<Cuts>>,
}

/// What is lost between two nodes.
type Cuts = BTreeMap<(usize, usize), Lost>;

/// Which frames are lost.
#[derive(Debug, Clone)]
enum Lost {
    All,
    /// Those of TCP from or to one of these ports.
    Ports(RangeInclusive<u16>),
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
        self.links().insert((one.min(other), one.max(other)), Lost::All);
    }

    /// No TCP passes between these two any more from or to these ports: as if it had a link of its own, and that were lost.
    pub fn cut_ports(&self, one: usize, other: usize, ports: RangeInclusive<u16>) {
        self.links().insert((one.min(other), one.max(other)), Lost::Ports(ports));
    }

    /// Undoes [`Hub::cut`] and [`Hub::cut_ports`].
    pub fn mend(&self, one: usize, other: usize) {
        self.links().remove(&(one.min(other), one.max(other)));
    }

    fn links(&self) -> std::sync::MutexGuard<'_, Cuts> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loses(&self, from: usize, to: usize, frame: &[u8]) -> bool {
        match self.links().get(&(from.min(to), from.max(to))) {
            None => false,
            Some(Lost::All) => true,
            Some(Lost::Ports(ports)) => {
                tcp_ports(frame).is_some_and(|pair| pair.iter().any(|port| ports.contains(port)))
            }
        }
    }

    fn forward(&self, from: usize, socket: &UnixDatagram, queues: &[(usize, SyncSender<Arc<[u8]>>)]) {
        let mut buffer = vec![0; FRAME];
        loop {
            let Ok(length) = socket.recv(&mut buffer) else { return };
            let frame: Arc<[u8]> = buffer.get(..length).unwrap_or_default().into();
            for (to, queue) in queues {
                if *to != from && !self.loses(from, *to, &frame) {
                    let _ = queue.try_send(Arc::clone(&frame));
                }
            }
        }
    }
}

/// The two ports of a frame with TCP over IPv4.
fn tcp_ports(frame: &[u8]) -> Option<[u16; 2]> {
    const IPV4: [u8; 2] = [8, 0];
    const TCP: u8 = 6;
    let packet = frame.get(14..)?;
    if frame.get(12..14)? != IPV4 || *packet.get(9)? != TCP {
        return None;
    }
    let ports = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*ports.get(at)?, *ports.get(at + 1)?]));
    Some([port(0)?, port(2)?])
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

    #[test]
    fn only_tcp_of_the_ports_that_are_cut_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let hub = Hub::new(directory.path(), 2).unwrap();
        let frame = |protocol: u8, from: u16, to: u16| {
            let mut frame = vec![0; 14 + 20];
            frame[12] = 8;
            frame[14] = 0x45;
            frame[14 + 9] = protocol;
            frame.extend(from.to_be_bytes());
            frame.extend(to.to_be_bytes());
            frame
        };
        hub.cut_ports(2, 1, 7788..=7799);
        let lost = |frame: &[u8]| hub.loses(1, 2, frame);
        assert!(lost(&frame(6, 40000, 7788)) && lost(&frame(6, 7799, 40000)));
        assert!(!lost(&frame(6, 40000, 22)) && !lost(&frame(17, 7788, 7788)) && !lost(b"short"));
        hub.mend(1, 2);
        assert!(!hub.loses(1, 2, &frame(6, 40000, 7788)));
    }
}
