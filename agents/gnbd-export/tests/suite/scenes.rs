//! The machines: a sandbox with a configfs, and a real block device under the name of a DRBD one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, mknod};
use testkit::disk::{Disk, Format};
use testkit::kernel::Machine;
use testkit::{Call, Sandbox};

use crate::configfs::Configfs;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gnbd-export");
/// What clients of the export r0 know it by.
pub(crate) const UUID: &str = "0199d0cc-106f-5eb2-9c93-c578f2701475";
pub(crate) const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:client";
pub(crate) const INITIATOR: &str = "iqn.2026-11.net.example:client";

pub(crate) fn nqn() -> String {
    format!("nqn.2014-08.org.nvmexpress:uuid:{UUID}")
}

pub(crate) fn iqn() -> String {
    format!("iqn.2003-01.org.linux-iscsi.gnbd-export:{UUID}")
}

/// A machine whose kernel has nvmet and LIO, with /dev/drbd0. In this order it is taken down.
pub(crate) struct Scene {
    pub(crate) configfs: Configfs,
    pub(crate) sandbox: Sandbox,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
}

/// None: not root.
pub(crate) fn scene() -> Option<Scene> {
    let machine = Machine::private()?;
    let sandbox = Sandbox::new();
    for module in ["nvmet", "nvmet_tcp", "target_core_mod", "target_core_iblock", "iscsi_target_mod"] {
        sandbox.folder(&format!("sys/module/{module}"));
    }
    sandbox.folder("sys/kernel/config").folder("run/gnbd");
    let disk = machine.disk(Format::Blank);
    node(&sandbox, "dev/drbd0", disk.device());
    sandbox.file("proc/drbd", proc_drbd("Primary/Secondary"));
    let configfs = Configfs::mount(&sandbox.path("sys/kernel/config"));
    Some(Scene { configfs, sandbox, disk, machine })
}

/// /proc/drbd of 8.4.11 with six devices in these roles.
pub(crate) fn proc_drbd(roles: &str) -> String {
    let mut text = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B \n".to_owned();
    for minor in 0..6 {
        text += &format!(
            " {minor}: cs:Connected ro:{roles} ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0 dw:0 dr:0 al:8 bm:0 lo:0 pe:0\n"
        );
    }
    text
}

/// A second name for a real block device.
pub(crate) fn node(sandbox: &Sandbox, inside: &str, device: &Path) {
    let number = fs::metadata(device).unwrap().rdev();
    mknod(&sandbox.path(inside), SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), number).unwrap();
}

impl Scene {
    /// The export r0 as Pacemaker would have it.
    pub(crate) fn r0(&self, backend: &str) -> Call {
        let allow = format!("{HOST} {INITIATOR}");
        self.bare(backend).param("allow", allow)
    }

    pub(crate) fn bare(&self, backend: &str) -> Call {
        let call = self.sandbox.host(Call::ocf(BINARY).param("name", "r0").param("device", "/dev/drbd0"));
        call.param("backend", backend)
    }
}

/// How many processes a monitor of r0 is, by strace. 1 also where there is no strace.
pub(crate) fn processes_of_a_monitor(here: &Scene, backend: &str) -> usize {
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() {
        eprintln!("test skipped: no strace");
        return 1;
    }
    let record = here.machine.path("trace");
    let mut traced = here.r0(backend).meta("interval", "20000").program(strace).command();
    traced.args(["-f", "-e", "trace=process", "-o"]).arg(&record).args([BINARY, "monitor"]);
    assert!(traced.status().unwrap().success());
    let calls = fs::read_to_string(record).unwrap();
    ["execve(", "clone(", "clone3(", "fork("].iter().map(|call| calls.matches(call).count()).sum()
}
