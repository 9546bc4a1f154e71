//! One QEMU: its command line, and the monitor protocol (QMP) by which it is asked.

use crate::{Doing, Result, failed};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a node runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Linux alone.
    Plain,
    /// Linux as the first domain of Xen.
    Xen,
}

/// What decides the command line.
#[derive(Debug)]
pub struct Machine<'a> {
    /// Linux or Xen.
    pub kind: Kind,
    /// Memory.
    pub megabytes: u32,
    /// Its name in the cluster.
    pub name: &'a str,
    /// Its address there.
    pub address: &'a str,
    /// Its hardware address there.
    pub hardware_address: &'a str,
    /// The port of this machine that leads to the guest's server.
    pub port: u16,
    /// Kernel, hypervisor and initramfs.
    pub kernel: &'a Path,
    /// The hypervisor.
    pub xen: &'a Path,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// The shared root file system, then the node's own disks.
    pub root: &'a Path,
    /// The node's own disks: what it changes of the root file system, then those that scenarios use.
    pub disks: &'a [PathBuf],
    /// The node's end of the cluster network, and the hub's.
    pub network: (&'a Path, &'a Path),
    /// The console, as a file.
    pub console: &'a Path,
    /// The monitor's socket.
    pub monitor: &'a Path,
}

impl Machine<'_> {
    /// The arguments of qemu-system-x86_64. Each line was tried; the reasons stand beside what surprises.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        // Without norandmaps each program has other addresses each time, and is translated anew: shells take three times as long.
        let linux = format!(
            "root=/dev/vda net.ifnames=0 panic=-1 quiet selinux=0 apparmor=0 audit=0 nokaslr norandmaps mitigations=off \
             random.trust_cpu=on lab.name={} lab.address={}",
            self.name, self.address
        );
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("-machine", "pc".into());
        add("-accel", "tcg,thread=multi,tb-size=512".into());
        add("-smp", "1".into());
        add("-m", self.megabytes.to_string());
        match self.kind {
            Kind::Plain => {
                add("-cpu", "max".into());
                add("-kernel", self.kernel.display().to_string());
                add("-initrd", self.initramfs.display().to_string());
                add("-append", format!("console=ttyS0 {linux}"));
            }
            // `-cpu max` crashes the first domain; SVM is what gives guests hardware support under emulation.
            Kind::Xen => {
                add("-cpu", "qemu64,+svm,+npt".into());
                add("-kernel", self.xen.display().to_string());
                let (kernel, initramfs) = (self.kernel.display(), self.initramfs.display());
                add("-initrd", format!("{kernel} console=hvc0 {linux},{initramfs}"));
                let xen = "console=com1 com1=115200,8n1 dom0_mem=768M,max:768M noreboot=true loglvl=warning xpti=no \
                           pv-l1tf=off spec-ctrl=no sched=credit";
                add("-append", xen.into());
            }
        }
        let root = self.root.display();
        add("-drive", format!("file={root},format=raw,if=none,id=root,read-only=on,cache=unsafe"));
        add("-device", "virtio-blk-pci,drive=root".into());
        for (index, disk) in self.disks.iter().enumerate() {
            let file = disk.display();
            add(
                "-drive",
                format!("file={file},format=raw,if=none,id=disk{index},cache=unsafe,discard=unmap"),
            );
            add("-device", format!("virtio-blk-pci,drive=disk{index}"));
        }
        let (own, hub) = (self.network.0.display(), self.network.1.display());
        add(
            "-netdev",
            format!("dgram,id=net0,local.type=unix,local.path={own},remote.type=unix,remote.path={hub}"),
        );
        add("-device", format!("virtio-net-pci,netdev=net0,id=nic0,mac={}", self.hardware_address));
        let guest = crate::wire::PORT;
        add("-netdev", format!("user,id=net1,restrict=on,hostfwd=tcp:127.0.0.1:{}-:{guest}", self.port));
        add("-device", "virtio-net-pci,netdev=net1,id=nic1".into());
        add("-device", "virtio-rng-pci".into());
        add("-qmp", format!("unix:{},server=on,wait=off", self.monitor.display()));
        add("-serial", format!("file:{}", self.console.display()));
        add("-display", "none".into());
        arguments.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
        arguments
    }
}

/// Asks the monitor behind `socket`.
///
/// # Errors
/// When QEMU does not answer or says no.
pub fn monitor(socket: &Path, command: &str, arguments: Value) -> Result<Value> {
    let stream = UnixStream::connect(socket).doing("QEMU's monitor")?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut ask = |request: Value| -> Result<Value> {
        writer.write_all(format!("{request}\n").as_bytes())?;
        answer(&mut reader)
    };
    ask(json!({"execute": "qmp_capabilities"}))?;
    ask(json!({"execute": command, "arguments": arguments})).doing(command)
}

/// The next answer, past the greeting and past events.
fn answer(reader: &mut impl BufRead) -> Result<Value> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(failed("QEMU's monitor hung up"));
        }
        let message: Value = serde_json::from_str(&line)?;
        if let Some(error) = message.get("error") {
            return Err(failed(error.get("desc").and_then(Value::as_str).unwrap_or("refused").to_owned()));
        }
        if let Some(result) = message.get("return") {
            return Ok(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_and_events_are_not_taken_for_answers() {
        let mut text = &b"{\"QMP\": {\"version\": {}}}\r\n{\"event\": \"RESUME\"}\r\n{\"return\": {\"running\": true}}\r\n"[..];
        assert_eq!(answer(&mut text).unwrap(), json!({"running": true}));
        let mut refused =
            &b"{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no such device\"}}\r\n"[..];
        assert_eq!(answer(&mut refused).unwrap_err().to_string(), "no such device");
        assert!(answer(&mut &b""[..]).is_err());
        assert!(answer(&mut &b"babble\n"[..]).is_err());
    }

    #[test]
    fn no_node_may_change_the_shared_image_and_none_uses_kvm() {
        for kind in [Kind::Plain, Kind::Xen] {
            let disks = [PathBuf::from("/state"), PathBuf::from("/data")];
            let path = Path::new("/x");
            let machine = Machine {
                kind,
                megabytes: 1024,
                name: "node1",
                address: "10.9.0.1",
                hardware_address: "52:54:00:00:00:01",
                port: 4000,
                kernel: path,
                xen: path,
                initramfs: path,
                root: Path::new("/root.img"),
                disks: &disks,
                network: (path, path),
                console: path,
                monitor: path,
            };
            let line = machine.arguments().join(" ");
            assert!(line.contains("file=/root.img,format=raw,if=none,id=root,read-only=on"), "{line}");
            assert!(line.contains("lab.name=node1 lab.address=10.9.0.1"), "{line}");
            assert!(line.contains("-accel tcg") && !line.contains("kvm"), "{line}");
        }
    }
}
