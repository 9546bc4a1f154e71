//! Asking over the network, as a client would: the first words of NVMe over TCP, iSCSI and NBD, with a deadline.

mod iscsi;
mod nbd;
mod nvme;

pub use self::iscsi::iscsi;
pub use self::nbd::nbd;
pub use self::nvme::nvme;

use ocf::Call;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the other side has for the whole conversation. Clients on the same machine get an answer in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that ends by a certain time, however slowly the other side speaks.
struct Conversation {
    stream: TcpStream,
    until: Instant,
}

impl Conversation {
    fn begin(address: SocketAddr, call: &Call) -> Result<Self, String> {
        call.step(&format!("asking {address}"));
        // Half of the time is enough, so that there is some left for the sentence about it.
        let until = Instant::now() + PATIENCE.min(call.remaining() / 2);
        let left = left(until).ok_or("no time is left to ask")?;
        let stream =
            TcpStream::connect_timeout(&address, left).map_err(|error| format!("{address}: {error}"))?;
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, until })
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = left(self.until).ok_or("it does not answer in time")?;
        let said = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(bytes));
        said.map_err(|error| sentence(&error))
    }

    fn hear<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], String> {
        let mut bytes = [0; LENGTH];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn hear_some(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = left(self.until).ok_or("it does not answer in time")?;
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(rest));
            match read {
                Ok(0) => return Err("it ended the connection".into()),
                Ok(length) => rest = rest.split_at_mut(length).1,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(sentence(&error)),
            }
        }
        Ok(())
    }
}

fn left(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn sentence(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "it does not answer in time".into(),
        _ => error.to_string(),
    }
}

/// Puts `bytes` into `message` at `offset`; what would not fit is left out.
fn put(message: &mut [u8], offset: usize, bytes: &[u8]) {
    for (to, from) in message.iter_mut().skip(offset).zip(bytes) {
        *to = *from;
    }
}

/// The bytes of `message` at `offset`; zeros past its end.
fn get<const LENGTH: usize>(message: &[u8], offset: usize) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    for (to, from) in bytes.iter_mut().zip(message.iter().skip(offset)) {
        *to = *from;
    }
    bytes
}
