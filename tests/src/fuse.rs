//! A FUSE server, spoken by hand, that stops answering when the test says so.
//!
//! Its root directory holds one file, `image` or any longer name, which passes reads and writes on to a real file, so
//! that a loop device on it can lose its backing. Source of the layouts: linux/fuse.h, protocol 7.31.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::kernel::mount_here;

const ROOT_NODE: u64 = 1;
const IMAGE_NODE: u64 = 2;
const HEADER_BYTES: usize = 40;
const MAX_WRITE: u32 = 128 * 1024;
/// Nothing of a file is remembered by the kernel, so that every read asks the server.
const FOPEN_DIRECT_IO: u32 = 1;
const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;

/// A mounted FUSE file system. Dropping it ends the connection: whatever hangs on it gets an error.
#[derive(Debug)]
pub struct HangingServer {
    device: Option<File>,
    hangs: Arc<AtomicBool>,
    forgets: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HangingServer {
    /// Mounts `fuse.hang` on a directory: answers the first handshake and nothing after it.
    pub fn silent(directory: &Path) -> HangingServer {
        HangingServer::mounted(directory, None, true)
    }

    /// Mounts `fuse.hang`, with a file `image` that stands for `backing`; answers until [`Self::hang`].
    pub fn serving(directory: &Path, backing: &Path) -> HangingServer {
        let backing = OpenOptions::new().read(true).write(true).open(backing).unwrap();
        HangingServer::mounted(directory, Some(backing), false)
    }

    fn mounted(directory: &Path, backing: Option<File>, hang: bool) -> HangingServer {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount_here("hang", directory, "fuse.hang", &data);
        let [hangs, forgets, ends] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let worker = Worker {
            device: device.try_clone().unwrap(),
            backing,
            hangs: hangs.clone(),
            forgets: forgets.clone(),
            ends: ends.clone(),
        };
        if hang {
            // The kernel sends INIT at once; it is the only thing that is answered.
            worker.answer_one();
        }
        hangs.store(hang, Ordering::SeqCst);
        let thread = Some(std::thread::spawn(move || worker.serve()));
        HangingServer { device: Some(device), hangs, forgets, ends, thread }
    }

    /// From now on nothing is answered.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
        // The worker looks every 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(40));
    }

    /// From now on writes succeed and are forgotten; `backing` is emptied of what was written before.
    pub fn forget(&self, backing: &Path) {
        self.forgets.store(true, Ordering::SeqCst);
        let file = OpenOptions::new().write(true).open(backing).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(0).and_then(|()| file.set_len(length)).unwrap();
    }
}

impl Drop for HangingServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.device = None;
    }
}

struct Worker {
    device: File,
    backing: Option<File>,
    hangs: Arc<AtomicBool>,
    forgets: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
}

impl Worker {
    fn serve(&self) {
        while !self.ends.load(Ordering::SeqCst) {
            if self.hangs.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
            let mut waiting = [PollFd::new(self.device.as_fd(), PollFlags::POLLIN)];
            if poll(&mut waiting, PollTimeout::from(10u8)).unwrap_or(0) > 0 {
                self.answer_one();
            }
        }
    }

    /// Reads one request and answers it; an unmounted or aborted connection is no error.
    fn answer_one(&self) {
        let mut buffer = vec![0u8; HEADER_BYTES + MAX_WRITE as usize + 4096];
        let Ok(length) = (&self.device).read(&mut buffer) else {
            return;
        };
        let request = Request { bytes: &buffer[..length] };
        if let Some(answer) = self.answer(&request) {
            let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
            let mut message = Vec::with_capacity(16 + body.len());
            message.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
            message.extend(error.to_ne_bytes());
            message.extend(request.u64(8).to_ne_bytes());
            message.extend(body);
            let _ = (&self.device).write_all(&message);
        }
    }

    /// The body of the answer, an errno, or nothing for the requests that expect none.
    fn answer(&self, request: &Request<'_>) -> Option<Result<Vec<u8>, i32>> {
        let node = request.u64(16);
        Some(match request.u32(4) {
            1 if self.backing.is_some() && request.bytes[HEADER_BYTES..].starts_with(b"image") => {
                Ok(self.entry())
            }
            1 => Err(ENOENT),
            2 | 42 => return None,
            3 => Ok([words(&[0, 0]), self.attributes(node)].concat()),
            14 => Ok([words(&[0]), halves(&[FOPEN_DIRECT_IO, 0])].concat()),
            27 => Ok(words(&[0, 0])),
            15 => Ok(self.read(request)),
            16 => Ok(self.write(request)),
            17 => {
                Ok([words(&[1000, 500, 500, 100, 50]), halves(&[4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0])]
                    .concat())
            }
            18 | 20 | 25 | 29 | 34 => Ok(Vec::new()),
            26 => Ok(init()),
            28 => Ok(Vec::new()),
            _ => Err(ENOSYS),
        })
    }

    fn entry(&self) -> Vec<u8> {
        [words(&[IMAGE_NODE, 0, 0, 0, 0]), self.attributes(IMAGE_NODE)].concat()
    }

    /// `struct fuse_attr`; valid for no time at all, so that every stat(2) asks the server.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let bytes = self.backing.as_ref().map_or(0, |file| file.metadata().unwrap().len());
        let (mode, size) = if node == ROOT_NODE { (0o040_755, 4096) } else { (0o100_600, bytes) };
        [words(&[node, size, size / 512, 0, 0, 0]), halves(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
    }

    fn read(&self, request: &Request<'_>) -> Vec<u8> {
        let mut data = vec![0u8; request.u32(HEADER_BYTES + 16) as usize];
        let file = self.backing.as_ref().unwrap();
        let length = file.read_at(&mut data, request.u64(HEADER_BYTES + 8)).unwrap();
        data.truncate(length);
        data
    }

    fn write(&self, request: &Request<'_>) -> Vec<u8> {
        let size = request.u32(HEADER_BYTES + 16);
        let data = &request.bytes[HEADER_BYTES + 40..][..size as usize];
        if !self.forgets.load(Ordering::SeqCst) {
            self.backing.as_ref().unwrap().write_all_at(data, request.u64(HEADER_BYTES + 8)).unwrap();
        }
        halves(&[size, 0])
    }
}

struct Request<'a> {
    bytes: &'a [u8],
}

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }
}

/// `struct fuse_init_out`: version 7.31, no optional feature.
fn init() -> Vec<u8> {
    let mut out = halves(&[7, 31, MAX_WRITE, 0, 0, MAX_WRITE, 1, 0, 0]);
    out.resize(64, 0);
    out
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn halves(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}
