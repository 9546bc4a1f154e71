//! The FUSE server (linux/fuse.h, protocol 7.31). The kernel is told to remember nothing, so every call asks the tree.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use testkit::kernel::mount_here;

use super::tree::{Answer, Entry, Tree};

const HEADER_BYTES: usize = 40;
const MAX_WRITE: u32 = 128 * 1024;
const ROOT_NODE: u64 = 1;
const DIRECT_IO: u32 = 1;

pub(super) struct Server {
    directory: PathBuf,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn mount(directory: &Path, tree: Arc<Mutex<Tree>>) -> Server {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount_here("configfs", directory, "fuse.configfs", &data);
        let ends = Arc::new(AtomicBool::new(false));
        let mut worker = Worker { device, tree, nodes: vec![String::new()], numbers: HashMap::new() };
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                let mut waiting = [PollFd::new(worker.device.as_fd(), PollFlags::POLLIN)];
                if poll(&mut waiting, PollTimeout::from(10u8)).unwrap_or(0) > 0 {
                    worker.answer_one();
                }
            }
        });
        Server { directory: directory.to_owned(), ends, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = umount2(&self.directory, MntFlags::MNT_DETACH);
        self.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    device: File,
    tree: Arc<Mutex<Tree>>,
    /// Node n + 1 is the path at n. A node keeps its path for ever.
    nodes: Vec<String>,
    numbers: HashMap<String, u64>,
}

struct Request<'a>(&'a [u8]);

impl<'a> Request<'a> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    /// The names that end the message, each with a zero.
    fn names(&self, at: usize) -> Vec<&'a str> {
        let text = std::str::from_utf8(&self.0[at..]).unwrap();
        text.split_terminator('\0').collect()
    }
}

impl Worker {
    fn answer_one(&mut self) {
        let mut buffer = vec![0u8; HEADER_BYTES + MAX_WRITE as usize + 4096];
        let Ok(length) = (&self.device).read(&mut buffer) else { return };
        let request = Request(&buffer[..length]);
        let Some(answer) = self.answer(&request) else { return };
        let (error, body) = answer.map_or_else(|errno| (-(errno as i32), Vec::new()), |body| (0, body));
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(error.to_ne_bytes());
        message.extend(request.u64(8).to_ne_bytes());
        message.extend(body);
        let _ = (&self.device).write(&message);
    }

    /// None: no answer is expected, or none is given.
    fn answer(&mut self, request: &Request<'_>) -> Option<Answer<Vec<u8>>> {
        let node = request.u64(16);
        let path = usize::try_from(node).ok().and_then(|node| self.nodes.get(node.wrapping_sub(1)));
        let path = path.cloned().unwrap_or_default();
        let body = HEADER_BYTES;
        Some(match request.u32(4) {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => return None,
            26 => Ok(halves(&[7, 31, MAX_WRITE, 0, 0, MAX_WRITE, 1, 0]).into_iter().chain([0; 32]).collect()),
            1 => self.entry(&join(&path, request.names(body)[0])),
            3 | 4 => self.attributes(&path).map(|attributes| [words(&[0, 0]), attributes].concat()),
            5 => self.readlink(&path),
            6 => {
                let names = request.names(body);
                let link = join(&path, names[0]);
                self.change(|tree| tree.symlink(names[1], &link)).and_then(|()| self.entry(&link))
            }
            9 => {
                let item = join(&path, request.names(body + 8)[0]);
                self.change(|tree| tree.mkdir(&item)).and_then(|()| self.entry(&item))
            }
            10 => self.change(|tree| tree.unlink(&join(&path, request.names(body)[0]))).map(|()| Vec::new()),
            11 => self.change(|tree| tree.rmdir(&join(&path, request.names(body)[0]))).map(|()| Vec::new()),
            14 | 27 => self.attributes(&path).map(|_| [words(&[0]), halves(&[DIRECT_IO, 0])].concat()),
            15 => self.read(&path, request.u64(body + 8)),
            16 => {
                let size = request.u32(body + 16);
                let text = String::from_utf8_lossy(&request.0[body + 40..][..size as usize]).into_owned();
                let tree = self.tree.lock().unwrap();
                if tree.hangs.as_ref().is_some_and(|name| path.ends_with(&format!("/{name}"))) {
                    return None;
                }
                drop(tree);
                self.change(|tree| tree.write(&path, &text)).map(|()| halves(&[size, 0]))
            }
            17 => Ok(vec![0; 80]),
            // RELEASE, FLUSH, RELEASEDIR
            18 | 25 | 29 => Ok(Vec::new()),
            28 => Ok(self.list(&path, request.u64(body + 8))),
            _ => Err(Errno::ENOSYS),
        })
    }

    fn change(&self, deed: impl FnOnce(&mut Tree) -> Answer) -> Answer {
        deed(&mut self.tree.lock().unwrap())
    }

    fn number(&mut self, path: &str) -> u64 {
        if path.is_empty() {
            return ROOT_NODE;
        }
        if let Some(number) = self.numbers.get(path) {
            return *number;
        }
        self.nodes.push(path.to_owned());
        let number = self.nodes.len() as u64;
        self.numbers.insert(path.to_owned(), number);
        number
    }

    fn entry(&mut self, path: &str) -> Answer<Vec<u8>> {
        let attributes = self.attributes(path)?;
        Ok([words(&[self.number(path), 0, 0, 0, 0]), attributes].concat())
    }

    /// `struct fuse_attr`.
    fn attributes(&mut self, path: &str) -> Answer<Vec<u8>> {
        let tree = self.tree.lock().unwrap();
        let mode = match tree.entries.get(path) {
            None if path.is_empty() => 0o040_755,
            None => return Err(Errno::ENOENT),
            Some(Entry::Dir { .. }) => 0o040_755,
            Some(Entry::Attribute(_)) => 0o100_644,
            Some(Entry::Link(_)) => 0o120_777,
        };
        drop(tree);
        let number = self.number(path);
        Ok([words(&[number, 4096, 0, 0, 0, 0]), halves(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat())
    }

    /// As configfs shows it: up to its root and down again.
    fn readlink(&self, path: &str) -> Answer<Vec<u8>> {
        match self.tree.lock().unwrap().entries.get(path) {
            Some(Entry::Link(target)) => {
                Ok(format!("{}{target}", "../".repeat(path.matches('/').count())).into_bytes())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn read(&self, path: &str, offset: u64) -> Answer<Vec<u8>> {
        match self.tree.lock().unwrap().entries.get(path) {
            Some(Entry::Attribute(_)) if path.ends_with("/control") => Err(Errno::EPERM),
            Some(Entry::Attribute(text)) => {
                let text = format!("{text}\n").into_bytes();
                Ok(text.into_iter().skip(usize::try_from(offset).unwrap()).collect())
            }
            _ => Err(Errno::ENOENT),
        }
    }

    fn list(&mut self, path: &str, offset: u64) -> Vec<u8> {
        let names = self.tree.lock().unwrap().names(path);
        let mut out = Vec::new();
        for (at, name) in names.iter().enumerate().skip(usize::try_from(offset).unwrap()) {
            let mut entry = words(&[self.number(&join(path, name)), at as u64 + 1]);
            entry.extend(halves(&[u32::try_from(name.len()).unwrap(), 0]));
            entry.extend(name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if out.len() + entry.len() > 4000 {
                break;
            }
            out.extend(entry);
        }
        out
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn halves(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}
