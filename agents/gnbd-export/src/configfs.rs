//! Directories and files with which the kernel's targets are set up (configfs, Documentation/filesystems/configfs.rst).

use ocf::{Call, Context, Error, Result};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Where configfs is mounted.
const MOUNT_POINT: &str = "/sys/kernel/config";

/// configfs of the machine of a call. Changes are announced, and not made in a dry run.
#[derive(Debug, Clone, Copy)]
pub struct Configfs<'a>(pub &'a Call);

impl Configfs<'_> {
    /// Whether something is there; what cannot be told counts as there.
    pub fn has(self, path: &str) -> bool {
        self.0.host.exists(path)
    }

    /// The text of an attribute. None: it has gone.
    pub fn read(self, path: &str) -> Result<Option<String>> {
        match self.0.host.read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).or_generic(format_args!("{} cannot be read", short(path))),
        }
    }

    /// The names in a directory. None of them: also if it has gone.
    pub fn list(self, path: &str) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.0.host.path(Path::new(path))) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).or_generic(format_args!("{} cannot be listed", short(path))),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.or_generic(format_args!("{} cannot be listed", short(path)))?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The names of the directories in a directory.
    pub fn folders(self, path: &str) -> Result<Vec<String>> {
        let mut names = self.list(path)?;
        names.retain(|name| {
            let entry = self.0.host.path(Path::new(path)).join(name);
            std::fs::symlink_metadata(entry).is_ok_and(|found| found.is_dir())
        });
        Ok(names)
    }

    /// The last component of what a link leads to. None: it is no link.
    pub fn target(self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.0.host.path(Path::new(path))).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// Makes an item. True: it was not there before.
    pub fn make(self, path: &str) -> io::Result<bool> {
        if !self.0.change(format_args!("make {path}")) {
            return Ok(true);
        }
        match std::fs::create_dir(self.0.host.path(Path::new(path))) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes an attribute, in one call as the kernel wants it.
    pub fn write(self, path: &str, value: &str) -> io::Result<()> {
        if !self.0.change(format_args!("write {value} to {path}")) {
            return Ok(());
        }
        let mut file = File::options().write(true).open(self.0.host.path(Path::new(path)))?;
        file.write_all(value.as_bytes())
    }

    /// Links the item `target` at `path`.
    pub fn link(self, target: &str, path: &str) -> io::Result<()> {
        if !self.0.change(format_args!("link {target} at {path}")) {
            return Ok(());
        }
        let host = &self.0.host;
        match std::os::unix::fs::symlink(host.path(Path::new(target)), host.path(Path::new(path))) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Removes a link, if it is there.
    pub fn unlink(self, path: &str) -> io::Result<()> {
        if !self.0.change(format_args!("remove the link {path}")) {
            return Ok(());
        }
        gone_is_good(std::fs::remove_file(self.0.host.path(Path::new(path))))
    }

    /// Removes an item, if it is there.
    pub fn remove(self, path: &str) -> io::Result<()> {
        if !self.0.change(format_args!("remove {path}")) {
            return Ok(());
        }
        gone_is_good(std::fs::remove_dir(self.0.host.path(Path::new(path))))
    }

    /// Removes an item that holds nothing any more; if the kernel does not let it go, that is worth a line.
    pub fn tidy(self, path: &str) {
        if let Err(error) = self.remove(path) {
            self.0.log.warn(format_args!("{path} stays: {error}"));
        }
    }

    /// Makes sure that `root` is there: loads the modules and mounts configfs. Only root's absence needs them.
    pub fn bring_up(self, root: &str, modules: &[&str]) -> Result<()> {
        let call = self.0;
        for module in modules {
            if self.has(&format!("/sys/module/{}", module.replace('-', "_"))) {
                continue;
            }
            if !call.change(format_args!("load the module {module}")) {
                continue;
            }
            let output = call.tool("modprobe")?.arg("--").arg(module).within(call.remaining() / 2).run()?;
            if !output.succeeded() && !self.has(root) {
                return Err(Error::installed(format_args!(
                    "module {module} cannot be loaded: modprobe: {}",
                    output.complaint()
                )));
            }
        }
        if !self.has(root)
            && call.host.is_real()
            && call.change(format_args!("mount configfs on {MOUNT_POINT}"))
        {
            let none = None::<&Path>;
            let flags = nix::mount::MsFlags::empty();
            match nix::mount::mount(Some("configfs"), MOUNT_POINT, Some("configfs"), flags, none) {
                // Somebody else was faster.
                Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
                Err(error) => {
                    return Err(error)
                        .or_generic(format_args!("configfs cannot be mounted on {MOUNT_POINT}"));
                }
            }
        }
        if !self.has(root) && !call.dry_run {
            return Err(Error::installed(format_args!("{root} does not appear: does this kernel have it?")));
        }
        Ok(())
    }
}

/// Whether the kernel has the module, or could load it.
pub fn kernel_has(call: &Call, module: &str) -> bool {
    if call.host.exists(format!("/sys/module/{}", module.replace('-', "_"))) {
        return true;
    }
    let Some(release) = call.host.read_line("/proc/sys/kernel/osrelease") else { return false };
    let (dashes, lines) = (module.replace('_', "-"), module.replace('-', "_"));
    ["modules.dep", "modules.builtin"].iter().any(|list| {
        let text = call.host.read(format!("/lib/modules/{release}/{list}")).unwrap_or_default();
        text.split(|&byte| byte == b'\n').any(|line| {
            let path = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            name.split_once(".ko").is_some_and(|(name, _)| name == dashes || name == lines)
        })
    })
}

/// Whether the kernel cannot have anything of `module`'s set up: it is not loaded. Error: nobody can tell.
pub fn is_absent(call: &Call, root: &str, module: &str) -> Result<bool> {
    if call.host.exists(root) {
        return Ok(false);
    }
    if !call.host.exists("/sys/module") {
        return Err(Error::generic("/sys is not mounted: what the kernel offers cannot be told"));
    }
    if call.host.exists(format!("/sys/module/{module}")) {
        return Err(Error::generic(format_args!(
            "{module} is loaded but {root} is not there: mount configfs on {MOUNT_POINT}"
        )));
    }
    Ok(true)
}

/// A sentence for a failed change.
pub fn failed(export: &str, what: impl Display, error: &io::Error) -> Error {
    Error::generic(format_args!("export {export}: {what}: {error}"))
}

fn gone_is_good(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The end of a path, for a sentence of limited length.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.rsplit('/').take(2).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
