//! What the nodes boot from: a root file system of Debian packages, a kernel, an initramfs. Kept in a cache under a name
//! made of everything that went into it. The package under test is not part of it: it is installed after the boot.

use crate::cpio::Archive;
use crate::modules::{Dependencies, wanted};
use crate::{Doing, Result, failed, owned};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RELEASE: &str = "bookworm";
const PACKAGES: &str = include_str!("../recipe/packages");
const MODULES: &str = include_str!("../recipe/modules");
const CUSTOMIZE: &str = include_str!("../recipe/customize");
/// Raised when this file makes something else of the same recipe.
const FORM: &str = "1";

/// The files of one image.
#[derive(Debug, Clone)]
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// The root file system, which all nodes share and none changes.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("root.img")
    }

    /// The kernel, not compressed: QEMU starts it by its PVH entry, and nothing is unpacked under emulation.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The Xen hypervisor.
    #[must_use]
    pub fn xen(&self) -> PathBuf {
        self.directory.join("xen.elf")
    }

    /// An initramfs with this program as process 1.
    ///
    /// # Errors
    /// When a file of the image is missing.
    pub fn initramfs(&self, guest: &Path) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for directory in ["dev", "proc", "sys", "base", "state", "new", "modules"] {
            archive.directory(directory);
        }
        // Without it process 1 has nowhere to say what it could not do.
        archive.character_device("dev/console", 5, 1);
        archive.file("init", 0o755, &fs::read(guest).doing(guest.display())?);
        let early = self.directory.join("early");
        let order = fs::read_to_string(early.join("order"))?;
        archive.file("modules/order", 0o644, order.as_bytes());
        for name in order.lines() {
            archive.file(&format!("modules/{name}"), 0o644, &fs::read(early.join(name)).doing(name)?);
        }
        Ok(archive.finish())
    }

    /// The images of the recipe, from the cache or made now.
    ///
    /// # Errors
    /// When a tool is missing or fails, or no package source is known.
    pub fn ready() -> Result<Self> {
        let cache = cache()?.join("images");
        fs::create_dir_all(&cache)?;
        let lock = File::create(cache.join("lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let directory = cache.join(name());
        if !directory.exists() {
            tidy(&cache)?;
            build(&directory)?;
        }
        Ok(Self { directory })
    }

    /// True if [`Images::ready`] has nothing to do.
    #[must_use]
    pub fn are_cached() -> bool {
        cache().is_ok_and(|cache| cache.join("images").join(name()).exists())
    }
}

/// Where the lab keeps what it can make again.
///
/// # Errors
/// When there is no home.
pub fn cache() -> Result<PathBuf> {
    if let Some(own) = std::env::var_os("HOLDFAST_LAB_CACHE") {
        return Ok(own.into());
    }
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = caches.or_else(home).ok_or_else(|| failed("neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(base.join("holdfast-lab"))
}

/// FNV-1a: the same on every machine and with every compiler.
fn name() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in [RELEASE, PACKAGES, MODULES, CUSTOMIZE, FORM].join("\0").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Removes images of other recipes: they cost 700 MB each.
fn tidy(cache: &Path) -> Result {
    for entry in fs::read_dir(cache)? {
        let path = entry?.path();
        if path.is_dir() {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> Result {
    tool("rm", |rm| rm.args(["-rf", "--one-file-system", "--"]).arg(directory))
}

fn build(directory: &Path) -> Result {
    let work = directory.with_extension("new");
    fs::create_dir_all(&work)?;
    let root = work.join("root");
    timed("Debian packages", || install(&work, &root))?;
    timed("kernel and modules", || kernel(&work, &root))?;
    timed("disk image", || {
        let image = work.join("root.img");
        File::create(&image)?.set_len(1600 << 20)?;
        tool("mkfs.ext4", |mkfs| {
            let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d"];
            mkfs.args(options).arg(&root).arg(&image)
        })?;
        remove(&root)
    })?;
    Ok(fs::rename(&work, directory)?)
}

/// Runs one part and says how long it took.
fn timed(what: &str, part: impl FnOnce() -> Result) -> Result {
    let begin = Instant::now();
    part().doing(what)?;
    println!("  {:>6.1} s  {what}", begin.elapsed().as_secs_f64());
    Ok(())
}

fn install(work: &Path, root: &Path) -> Result {
    let sources = work.join("sources.list");
    fs::write(&sources, package_sources()?)?;
    let customize = work.join("customize");
    File::create(&customize)?.write_all(CUSTOMIZE.as_bytes())?;
    fs::set_permissions(&customize, fs::Permissions::from_mode(0o755))?;
    let packages: Vec<&str> =
        PACKAGES.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    tool("mmdebstrap", |mmdebstrap| {
        mmdebstrap
            .env("TMPDIR", work)
            .args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"])
            .arg(format!("--include={}", packages.join(",")))
            .args(["man", "locale", "doc"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")))
            .arg(format!("--customize-hook={}", customize.display()))
            .arg(RELEASE)
            .arg(root)
            .arg(&sources)
    })
}

/// The lines of a sources.list for [`RELEASE`], from what apt on this machine uses.
fn package_sources() -> Result<String> {
    let format = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .doing("apt-get indextargets")?;
    let lines = sources_of(&String::from_utf8_lossy(&output.stdout));
    if lines.is_empty() {
        return Err(failed(format!(
            "apt on this machine knows no source for Debian {RELEASE}; after apt-get update?"
        )));
    }
    Ok(lines)
}

fn sources_of(targets: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for target in targets.lines() {
        if let ["Debian", uri, release, "main"] = *target.split_whitespace().collect::<Vec<_>>()
            && release.starts_with(RELEASE)
        {
            let line = format!("deb {uri} {release} main\n");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.concat()
}

fn kernel(work: &Path, root: &Path) -> Result {
    let unpacked = root.join("kernel");
    let boot = unpacked.join("boot");
    let image = fs::read(the_one(&boot, "vmlinuz-")?)?;
    fs::write(work.join("vmlinux"), decompressed(&image)?)?;
    let xen = File::open(the_one(&boot, "xen-4.17-amd64.gz")?)?;
    let elf = File::create(work.join("xen.elf"))?;
    tool("gzip", |gzip| gzip.arg("-dc").stdin(xen).stdout(elf))?;

    let all = the_one(&unpacked.join("lib/modules"), "")?;
    let version = all.file_name().ok_or_else(|| failed("no kernel version"))?.to_owned();
    tool("depmod", |depmod| depmod.arg("-b").arg(&unpacked).arg(&version))?;
    let dependencies = Dependencies::parse(&fs::read_to_string(all.join("modules.dep"))?);
    let (wanted, early) = wanted(MODULES);
    let to = root.join("usr/lib/modules").join(&version);
    for file in dependencies.closure(wanted) {
        let copy = to.join(&file);
        fs::create_dir_all(copy.parent().unwrap_or(&to))?;
        fs::copy(all.join(&file), copy).doing(&file)?;
    }
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(all.join(list), to.join(list)).doing(list)?;
    }
    tool("depmod", |depmod| depmod.arg("-b").arg(root).arg(&version))?;

    let early_directory = work.join("early");
    fs::create_dir_all(&early_directory)?;
    let mut order = String::new();
    for (index, file) in dependencies.closure(early).iter().enumerate() {
        let name = format!("{index:02}-{}", file.rsplit('/').next().unwrap_or(file));
        fs::copy(all.join(file), early_directory.join(&name))?;
        order.push_str(&name);
        order.push('\n');
    }
    fs::write(early_directory.join("order"), order)?;
    remove(&unpacked)
}

/// The entry of a directory that starts so.
fn the_one(directory: &Path, start: &str) -> Result<PathBuf> {
    fs::read_dir(directory)
        .doing(directory.display())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
        .ok_or_else(|| failed(format!("nothing starts with {start} in {}", directory.display())))
}

/// The kernel inside a bzImage: an xz stream somewhere behind the code that would unpack it.
fn decompressed(image: &[u8]) -> Result<Vec<u8>> {
    const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
    let at = image
        .windows(XZ.len())
        .position(|window| window == XZ)
        .ok_or_else(|| failed("no xz in the kernel"))?;
    let mut xz = Command::new("xz")
        .args(["-dc", "--single-stream"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .doing("xz")?;
    let mut input = xz.stdin.take().ok_or_else(|| failed("xz has no input"))?;
    let stream = image.get(at..).unwrap_or_default().to_vec();
    // It ends before its input does; the rest is refused.
    let writer = std::thread::spawn(move || input.write_all(&stream).ok());
    let output = xz.wait_with_output()?;
    let _ = writer.join();
    if output.stdout.starts_with(b"\x7fELF") {
        Ok(output.stdout)
    } else {
        Err(failed("no ELF file in the kernel"))
    }
}

/// Runs a tool to its end; its output is shown only when it fails.
fn tool(name: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Result {
    let mut command = owned::command(name);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    with(&mut command);
    let output = owned::output(command).doing(name)?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_debian_sources_of_the_release_are_taken_each_once() {
        let targets = "Debian http://mirror.example/debian/ bookworm main\n\
                       Debian http://mirror.example/debian/ bookworm main\n\
                       Debian http://mirror.example/debian/ bookworm contrib\n\
                       Debian http://mirror.example/debian/ trixie main\n\
                       Elsewhere http://other.example/ bookworm main\n\
                       Debian http://mirror.example/security/ bookworm-security main\n";
        assert_eq!(
            sources_of(targets),
            "deb http://mirror.example/debian/ bookworm main\n\
             deb http://mirror.example/security/ bookworm-security main\n"
        );
    }

    #[test]
    fn a_file_without_a_compressed_kernel_is_refused() {
        assert!(decompressed(b"MZ and so on").is_err());
    }
}
