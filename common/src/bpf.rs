//! Programs that the kernel runs while it walks over its own objects (its Documentation/bpf/bpf_iterators.rst), without
//! any library.

use crate::state::mountinfo::Device;
use crate::sys;
use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::path::Path;

/// Has the kernel check a program and opens a walk: to read the file is to walk, and gives what the program writes.
///
/// `iterator` is the number, in the kernel's type information, of the function that stands for the walk; `licence` the
/// program's, in the words of the kernel's include/linux/license.h. An error means that this kernel, or its security
/// policy, does not do it.
pub fn walk(program: &[u64], iterator: u32, licence: &CStr) -> io::Result<File> {
    let program = sys::bpf_program(program, iterator, licence)?;
    sys::bpf_walk(program.as_fd())
}

/// The kernel's type information (its Documentation/bpf/btf.rst): 5 MB. Newer kernels map it, from others it is read.
pub fn types(path: &Path) -> io::Result<Cow<'static, [u8]>> {
    let mut file = File::open(path)?;
    if let Ok(mapped) = sys::map_sysfs(&file) {
        return Ok(Cow::Borrowed(mapped));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(Cow::Owned(content))
}

/// Opens and maps a file in memory, both until this process ends: something to be found by. Returns its st_dev.
pub fn landmark() -> io::Result<Device> {
    // Beyond the first 64 descriptors, which the kernel keeps in another place than the following.
    const HIGH: i32 = 100;
    let file = rustix::fs::memfd_create("landmark", rustix::fs::MemfdFlags::CLOEXEC)?;
    let file = File::from(rustix::io::fcntl_dupfd_cloexec(file, HIGH)?);
    (&file).write_all(&[0])?;
    sys::map(&file, 1)?;
    let stat = rustix::fs::fstat(&file)?;
    let _ = file.into_raw_fd();
    Ok(Device { major: rustix::fs::major(stat.st_dev), minor: rustix::fs::minor(stat.st_dev) })
}
