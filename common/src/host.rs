//! The machine: kernel files and tools, all below one root directory.

use crate::Log;
use std::borrow::Cow;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where tools are looked for, in this order. `$PATH` is never asked.
pub const TOOL_DIRS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The machine on which an action happens. Debug builds can be given a directory that stands for a machine, so that a
/// test's fixture is a tree of files and fake tools.
#[derive(Debug, Clone)]
pub struct Host {
    root: Option<PathBuf>,
    /// Hears of every file that is read.
    trace: Option<Rc<Log>>,
}

impl Host {
    /// This machine.
    pub const fn real() -> Self {
        Self { root: None, trace: None }
    }

    /// The directory `root` as a machine.
    pub fn sandbox(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), trace: None }
    }

    /// This machine, or in debug builds the directory in `OCF_TEST_ROOT`.
    pub fn from_environment() -> Self {
        #[cfg(debug_assertions)]
        if let Some(root) = std::env::var_os("OCF_TEST_ROOT") {
            return Self::sandbox(root);
        }
        Self::real()
    }

    /// False when a directory stands for the machine: then the kernel's own calls would answer for another one.
    pub fn is_real(&self) -> bool {
        self.root.is_none()
    }

    /// Where `path` of the machine is for us.
    pub fn path<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        match &self.root {
            None => Cow::Borrowed(path),
            Some(root) => Cow::Owned(root.join(path.strip_prefix("/").unwrap_or(path))),
        }
    }

    /// A whole kernel file.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        let read = std::fs::read(self.path(path));
        self.tell(path, &read.as_ref().map(Vec::len));
        read
    }

    /// Traces every file that is read from now on.
    pub(crate) fn trace_to(&mut self, log: &Rc<Log>) {
        self.trace = log.traces().then(|| log.clone());
    }

    fn tell(&self, path: &Path, read: &Result<usize, &io::Error>) {
        // Thousands of files about processes would hide the rest.
        let of_a_process = || {
            path.to_string_lossy()
                .strip_prefix("/proc/")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if let Some(log) = self.trace.as_ref().filter(|_| !of_a_process()) {
            let path = path.display();
            match read {
                Ok(length) => log.trace(format_args!("read {path}: {length} bytes")),
                Err(error) => log.trace(format_args!("read {path}: {error}")),
            }
        }
    }

    /// A short kernel file as text without the newline; none if it cannot be read.
    pub fn read_line(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end().to_string())
    }

    /// Whether something is there. An error other than "not found" counts as there.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        !matches!(std::fs::symlink_metadata(self.path(path.as_ref())), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// The path on the machine of an installed tool.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        TOOL_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| self.is_executable(path))
    }

    fn is_executable(&self, path: &Path) -> bool {
        std::fs::metadata(self.path(path))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
}
