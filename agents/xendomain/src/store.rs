//! A client of xenstored: what it knows of domains costs no other program, and it may never answer.

use ocf::helper::wait_readable;
use ocf::state::xen::wire::{self, HEADER, Kind};
use ocf::{Call, Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where its socket is; on most machines the second path is the first.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// How long it may take to answer, whatever time the action has.
const PATIENCE: Duration = Duration::from_secs(5);
/// No list that it sends in parts has more of them.
const PARTS_MAX: u32 = 10_000;

/// A connection.
#[derive(Debug)]
pub struct Store {
    stream: UnixStream,
    until: Instant,
    request: u32,
    fired: bool,
}

impl Store {
    /// Connects. None: there is no socket, because xenstored runs in a domain of its own or not at all.
    pub fn open(call: &Call) -> Result<Option<Self>> {
        let until = call.within(PATIENCE.min(call.remaining() / 2));
        let Some(path) = SOCKETS.iter().find(|path| call.host.exists(path)) else { return Ok(None) };
        call.step("asking xenstored");
        let dead = |why: &dyn std::fmt::Display| {
            Error::generic(format_args!("xenstored is dead ({path}: {why}): this node has to be rebooted"))
        };
        let path = call.host.path(Path::new(path));
        let address = SocketAddrUnix::new(path.as_ref()).map_err(|error| dead(&error))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| Error::generic(format_args!("no socket can be made: {error}")))?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // Others wait before us, and nobody takes their calls.
                Err(Errno::AGAIN) if Instant::now() < until => sleep(Duration::from_millis(20)),
                Err(Errno::AGAIN) => return Err(hung()),
                Err(error) => return Err(dead(&error)),
            }
        }
        Ok(Some(Self { stream: socket.into(), until, request: 0, fired: false }))
    }

    /// The names below a path; none if there is no such path.
    pub fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>> {
        match self.ask(Kind::Directory, &[path])? {
            Ok(payload) => strings(&payload).map(Some),
            Err(refusal) if refusal == "ENOENT" => Ok(None),
            Err(refusal) if refusal == "E2BIG" => self.long_directory(path).map(Some),
            Err(refusal) => Err(refused(path, &refusal)),
        }
    }

    /// More names than fit in one answer come in parts, each with the number of the list's generation.
    fn long_directory(&mut self, path: &str) -> Result<Vec<String>> {
        let mut text = Vec::new();
        let mut generation = None;
        for _ in 0..PARTS_MAX {
            let offset = text.len().to_string();
            let payload = self
                .ask(Kind::DirectoryPart, &[path, &offset])?
                .map_err(|refusal| refused(path, &refusal))?;
            let (number, names) = split_at_zero(&payload).ok_or_else(garbled)?;
            if generation.get_or_insert_with(|| number.to_vec()).as_slice() != number {
                // It has changed in between.
                text.clear();
                generation = None;
                continue;
            }
            // An empty name is the end.
            if let Some(last) = names.strip_suffix(b"\0\0") {
                text.extend(last);
                text.push(0);
                return strings(&text);
            }
            if names == b"\0" || names.is_empty() {
                return strings(&text);
            }
            text.extend(names);
        }
        Err(garbled())
    }

    /// The value at a path; none if there is no such path.
    pub fn read(&mut self, path: &str) -> Result<Option<String>> {
        match self.ask(Kind::Read, &[path])? {
            Ok(payload) => Ok(Some(String::from_utf8_lossy(&payload).into_owned())),
            Err(refusal) if refusal == "ENOENT" => Ok(None),
            Err(refusal) => Err(refused(path, &refusal)),
        }
    }

    /// All domains that have a name: number, name.
    pub fn domains(&mut self) -> Result<Vec<(u32, String)>> {
        let mut found = Vec::new();
        let ids = self
            .directory("/local/domain")?
            .ok_or_else(|| Error::generic("xenstored knows of no domain, not even this one"))?;
        for id in ids {
            let Ok(number) = id.parse() else { continue };
            if let Some(name) = self.read(&format!("/local/domain/{id}/name"))? {
                found.push((number, name));
            }
        }
        Ok(found)
    }

    /// Asks to be told of changes; the first event comes at once and says nothing.
    pub fn watch(&mut self, path: &str) -> Result<()> {
        self.ask(Kind::Watch, &[path, "holdfast"])?.map(drop).map_err(|refusal| refused(path, &refusal))
    }

    /// Waits for a change or until `until`. The error: it has died.
    pub fn wait(&mut self, until: Instant) -> Result<()> {
        self.until = until;
        while !self.fired && Instant::now() < until {
            match self.message() {
                Ok((header, _)) => self.fired |= header.kind == Kind::WatchEvent as u32,
                Err(_) if Instant::now() >= until => break,
                Err(error) => return Err(error),
            }
        }
        self.fired = false;
        Ok(())
    }

    /// Asks, and answers the payload or the name of the refusal.
    fn ask(&mut self, kind: Kind, texts: &[&str]) -> Result<Result<Vec<u8>, String>> {
        self.request = self.request.wrapping_add(1);
        let message = wire::encode(kind, self.request, texts);
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < self.until => {
                    sleep(Duration::from_millis(5));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(hung()),
                Err(error) => return Err(died(&error)),
            }
        }
        loop {
            let (header, payload) = self.message()?;
            if header.kind == Kind::WatchEvent as u32 {
                self.fired = true;
            } else if header.request != self.request {
                return Err(garbled());
            } else if header.kind == Kind::Error as u32 {
                let words = wire::strings(&payload).ok_or_else(garbled)?;
                return Ok(Err(words.into_iter().next().unwrap_or_default()));
            } else if header.kind == kind as u32 {
                return Ok(Ok(payload));
            } else {
                return Err(garbled());
            }
        }
    }

    fn message(&mut self) -> Result<(wire::Header, Vec<u8>)> {
        let mut head = [0; HEADER];
        self.fill(&mut head)?;
        let header = wire::header(&head).ok_or_else(garbled)?;
        let mut payload = vec![0; header.length];
        self.fill(&mut payload)?;
        Ok((header, payload))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        let mut have = 0;
        while have < buffer.len() {
            match self.stream.read(buffer.get_mut(have..).unwrap_or_default()) {
                Ok(0) => return Err(died(&"it closed the connection")),
                Ok(count) => have += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = self.until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(hung());
                    }
                    wait_readable(&[self.stream.as_fd()], left);
                }
                Err(error) => return Err(died(&error)),
            }
        }
        Ok(())
    }
}

fn split_at_zero(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = payload.iter().position(|&byte| byte == 0)?;
    Some((payload.get(..at)?, payload.get(at + 1..)?))
}

fn strings(payload: &[u8]) -> Result<Vec<String>> {
    wire::strings(payload).ok_or_else(garbled)
}

fn hung() -> Error {
    Error::generic("xenstored does not answer: without it no guest can be seen or stopped, reboot this node")
}

fn died(why: &dyn std::fmt::Display) -> Error {
    Error::generic(format_args!("xenstored has died ({why}): this node has to be rebooted"))
}

fn garbled() -> Error {
    Error::generic("what xenstored answers cannot be understood")
}

fn refused(path: &str, refusal: &str) -> Error {
    let refusal = ocf::printable(refusal.as_bytes());
    Error::generic(format_args!("xenstored refuses to tell of {path}: {refusal}"))
}
