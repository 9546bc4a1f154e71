//! A xenstored that serves a tree of files: `store/local/domain/1/name`. A file is a value, a folder has names.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Serves,
    /// Takes connections and never answers.
    Silent,
    /// Takes no connections; others fill its queue.
    Full,
    /// Answers with bytes that are no message.
    Babbles,
    /// Promises more than the protocol allows.
    Promises,
    /// Sends half a message and closes.
    BreaksOff,
    /// Sends a byte from time to time, and never a whole message.
    Dribbles,
    /// Answers another question than the one that was asked.
    Confused,
    /// Refuses everything.
    Refuses,
    /// Directories have to be read in parts.
    InParts,
}

/// Serves the machine below `root` until the test ends.
pub(crate) fn serve(root: &Path, manner: Manner) {
    let folder = root.join("run/xenstored");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let store = root.join("store");
    if manner == Manner::Full {
        // Connections that nobody takes, until no more fit.
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            for _ in 0..5000 {
                let path = path.clone();
                waiting.push(std::thread::spawn(move || UnixStream::connect(path)));
                if waiting.len() > 200 {
                    break;
                }
            }
            std::thread::sleep(Duration::from_secs(60));
            drop(listener);
        });
        std::thread::sleep(Duration::from_millis(300));
        return;
    }
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = store.clone();
            std::thread::spawn(move || {
                let _ = converse(stream, &store, manner);
            });
        }
    });
}

/// A socket file that nobody listens at: what a killed xenstored leaves.
pub(crate) fn leave_dead_socket(root: &Path) {
    let folder = root.join("run/xenstored");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let _ = fs::remove_file(&path);
    drop(UnixListener::bind(path).unwrap());
}

fn converse(mut stream: UnixStream, store: &Path, manner: Manner) -> std::io::Result<()> {
    let mut watched = false;
    let mut seen = names(store, "/local/domain");
    loop {
        let mut head = [0_u8; 16];
        if watched {
            // Tells of domains that come and go while nothing is asked.
            stream.set_read_timeout(Some(Duration::from_millis(30)))?;
            while let Err(error) = stream.peek_one() {
                if !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) {
                    return Err(error);
                }
                let now = names(store, "/local/domain");
                if now != seen {
                    seen = now;
                    send(&mut stream, 15, 0, b"@introduceDomain\0holdfast\0")?;
                }
            }
            stream.set_read_timeout(None)?;
        }
        stream.read_exact(&mut head)?;
        let number = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
        let (kind, request, length) = (number(0), number(4), number(12));
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        match manner {
            Manner::Silent | Manner::Full => continue,
            Manner::Babbles => return stream.write_all(&[0x55; 64]),
            Manner::Promises => {
                let mut message = Vec::new();
                for number in [kind, request, 0, 1 << 30] {
                    message.extend(number.to_ne_bytes());
                }
                return stream.write_all(&message);
            }
            Manner::BreaksOff => return stream.write_all(&head[..9]),
            Manner::Dribbles => loop {
                stream.write_all(&[1])?;
                std::thread::sleep(Duration::from_millis(300));
            },
            Manner::Confused => {
                send(&mut stream, kind, request + 1, b"0\0")?;
                continue;
            }
            Manner::Refuses => {
                send(&mut stream, 16, request, b"EACCES\0")?;
                continue;
            }
            Manner::Serves | Manner::InParts => {}
        }
        let words: Vec<&str> =
            std::str::from_utf8(&payload).unwrap().trim_end_matches('\0').split('\0').collect();
        let path = inside(store, words[0]);
        match kind {
            1 if manner == Manner::InParts => send(&mut stream, 16, request, b"E2BIG\0")?,
            1 | 22 if !path.is_dir() => send(&mut stream, 16, request, b"ENOENT\0")?,
            1 => {
                let text: String = names(store, words[0]).iter().map(|name| format!("{name}\0")).collect();
                send(&mut stream, 1, request, text.as_bytes())?;
            }
            22 => {
                let text: String = names(store, words[0]).iter().map(|name| format!("{name}\0")).collect();
                let rest = &text[words[1].parse::<usize>().unwrap()..];
                // Two names at a time.
                let end = rest.match_indices('\0').nth(1).map_or(rest.len(), |(at, _)| at + 1);
                let last = if end == rest.len() { "\0" } else { "" };
                send(&mut stream, 22, request, format!("7\0{}{last}", &rest[..end]).as_bytes())?;
            }
            2 if path.is_file() => {
                send(&mut stream, 2, request, fs::read_to_string(path)?.trim_end().as_bytes())?
            }
            2 => send(&mut stream, 16, request, b"ENOENT\0")?,
            4 => {
                watched = true;
                send(&mut stream, 4, request, b"OK\0")?;
                send(&mut stream, 15, 0, format!("{}\0holdfast\0", words[0]).as_bytes())?;
            }
            _ => send(&mut stream, 16, request, b"ENOSYS\0")?,
        }
    }
}

trait PeekOne {
    fn peek_one(&self) -> std::io::Result<()>;
}

impl PeekOne for UnixStream {
    /// Waits for a byte without taking it.
    fn peek_one(&self) -> std::io::Result<()> {
        use nix::sys::socket::{MsgFlags, recv};
        use std::os::fd::AsRawFd;
        let mut byte = [0];
        match recv(self.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn inside(store: &Path, path: &str) -> PathBuf {
    store.join(path.trim_start_matches('/'))
}

fn names(store: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(inside(store, path)).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn send(stream: &mut UnixStream, kind: u32, request: u32, payload: &[u8]) -> std::io::Result<()> {
    let mut message = Vec::new();
    for number in [kind, request, 0, u32::try_from(payload.len()).unwrap()] {
        message.extend(number.to_ne_bytes());
    }
    message.extend(payload);
    stream.write_all(&message)
}
