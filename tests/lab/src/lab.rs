//! All machines of a run, and the words in which a scenario is told.

use crate::hub::Hub;
use crate::images::{Images, cache};
use crate::node::{Node, Plan};
use crate::owned::{self, Scratch};
use crate::qemu::Kind;
use crate::{Doing, Result, failed};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// A run: its nodes, the network between them, its clock.
#[derive(Debug)]
pub struct Lab {
    // The order matters: the nodes are switched off before their directory goes.
    nodes: Vec<Node>,
    hub: Hub,
    directory: Scratch,
    images: Images,
    begin: Instant,
    lap: Cell<Instant>,
}

/// Which machines a scenario wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Their names; node N has the address 10.9.0.N.
    pub names: Vec<String>,
    /// Linux or Xen.
    pub kind: Kind,
    /// Size of each one's disk for data.
    pub disk_mb: u64,
}

impl Wish {
    /// Machines with these names, on Linux, with 512 MB for data each.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), kind: Kind::Plain, disk_mb: 512 }
    }
}

impl Lab {
    /// Makes the machines, switched off. Images are made when they are not there.
    ///
    /// # Errors
    /// When images, disks or the network cannot be made.
    pub fn new(wish: &Wish) -> Result<Self> {
        let begin = Instant::now();
        let images = Images::ready()?;
        sweep(&cache()?);
        let name = format!("run-{}", std::process::id());
        let directory = Scratch::new(cache()?.join(name))?;
        let guest = beside_us("lab-guest")?;
        fs::write(directory.path().join("initramfs"), images.initramfs(&guest)?)?;
        let hub = Hub::new(directory.path(), wish.names.len())?;
        let nodes = wish
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let number = index + 1;
                let address = format!("10.9.0.{number}");
                let plan = Plan { name: name.clone(), address, kind: wish.kind, disk_mb: wish.disk_mb };
                Node::new(number, plan, directory.path(), &images)
            })
            .collect::<Result<_>>()?;
        Ok(Self { nodes, hub, directory, images, begin, lap: Cell::new(Instant::now()) })
    }

    /// Node `number`, the first being 1.
    ///
    /// # Panics
    /// When the scenario did not ask for so many.
    #[must_use]
    pub fn node(&self, number: usize) -> &Node {
        #[expect(
            clippy::indexing_slicing,
            reason = "a scenario that asks for a node it does not have is broken"
        )]
        &self.nodes[number - 1]
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The network, for links that fail silently.
    #[must_use]
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What the nodes boot from.
    #[must_use]
    pub const fn images(&self) -> &Images {
        &self.images
    }

    /// Where the run keeps its disks and consoles.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Switches all nodes on and waits until all are up; one that fails to boot gets a second chance. Each knows the
    /// others by name then.
    ///
    /// # Errors
    /// When one does not come up twice.
    pub fn boot(&self) -> Result {
        for node in &self.nodes {
            node.switch_on()?;
        }
        for node in &self.nodes {
            node.boot()?;
        }
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for node in &self.nodes {
            hosts.push_str(&format!("{} {}\n", node.address(), node.name()));
        }
        for node in &self.nodes {
            node.put("/etc/hosts", 0o644, hosts.as_bytes())?;
        }
        self.done("all nodes are up");
        Ok(())
    }

    /// Tells that a step is done, with the time since the one before.
    pub fn done(&self, what: &str) {
        let now = Instant::now();
        let step = now.duration_since(self.lap.replace(now)).as_secs_f64();
        let total = now.duration_since(self.begin).as_secs_f64();
        println!("  {total:>6.1} s  +{step:<5.1} {what}");
    }

    /// Does a step and tells how long it took.
    ///
    /// # Errors
    /// The step's own, with its name in front.
    pub fn step<T>(&self, what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = step().doing(what)?;
        self.done(what);
        Ok(result)
    }

    /// Waits until `condition` holds and gives the time that took. The limit is for a slow machine: nothing is asserted
    /// after a sleep. Looking takes no more than a third of the time, since it slows down what is waited for.
    ///
    /// # Errors
    /// When it does not come true within `seconds`.
    pub fn eventually(&self, what: &str, seconds: u64, condition: impl Fn() -> bool) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let look = Instant::now();
            if condition() {
                break;
            }
            if begin.elapsed() > Duration::from_secs(seconds) {
                return Err(failed(format!("not within {seconds} s: {what}")));
            }
            sleep((look.elapsed() * 2).clamp(Duration::from_millis(250), Duration::from_secs(2)));
        }
        self.done(what);
        Ok(begin.elapsed())
    }

    /// The same on all nodes at the same time.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn on_all(&self, work: impl Fn(&Node) -> Result + Sync) -> Result {
        thread::scope(|scope| {
            let nodes: Vec<_> = self.nodes.iter().map(|node| scope.spawn(|| work(node))).collect();
            nodes.into_iter().try_for_each(|node| node.join().map_err(|_| failed("a thread ended"))?)
        })
    }

    /// Watches for `seconds` that `condition` keeps holding.
    ///
    /// # Errors
    /// When it stops holding.
    pub fn throughout(&self, what: &str, seconds: u64, condition: impl Fn() -> bool) -> Result {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(seconds) {
            if !condition() {
                return Err(failed(format!("not throughout {seconds} s: {what}")));
            }
            sleep(Duration::from_millis(250));
        }
        self.done(what);
        Ok(())
    }

    /// Fails with `what` unless `holds`.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check(&self, what: &str, holds: bool) -> Result {
        if !holds {
            return Err(failed(format!("not so: {what}")));
        }
        self.done(what);
        Ok(())
    }

    /// Copies what explains a failure into `directory`: consoles, logs, /proc/drbd, cluster status, traces of the agents.
    pub fn collect(&self, directory: &Path) {
        for node in &self.nodes {
            let to = directory.join(node.name());
            let _ = fs::create_dir_all(&to);
            let _ = fs::write(to.join("console"), node.console());
            if !node.is_on() {
                let _ = fs::write(to.join("status"), "switched off\n");
                logs_of_a_dead_node(&node.state(), &to.join("disk"));
                continue;
            }
            let limit = Duration::from_secs(60);
            let status = node.run_with(&["bash", "-c", STATUS], &[], &[], limit);
            let text = status.map_or_else(|error| error.to_string(), |output| output.out + &output.err);
            let _ = fs::write(to.join("status"), text);
            let pack = format!(
                "cd / && tar -czf /run/lab-logs.tar.gz --ignore-failed-read {LOGS} 2>/dev/null; true"
            );
            if node.run_with(&["bash", "-c", &pack], &[], &[], limit).is_ok()
                && let Ok(content) = node.get("/run/lab-logs.tar.gz")
            {
                let _ = fs::write(to.join("logs.tar.gz"), content);
            }
        }
    }
}

const STATUS: &str = "
show() { echo \"=== $*\"; timeout 10 \"$@\" 2>&1; }
show cat /proc/drbd; show timeout 10 crm_mon -1rf; show cl_status hbstatus; show cat /proc/self/mountinfo
show lsblk; show vgs; show lvs -a; show ps axf; show ip -br address; show dmesg; show ls -l /run/holdfast; show df -h
show xl list";
const LOGS: &str =
    "var/log var/lib/heartbeat/trace_ra var/lib/pacemaker/cib etc/ha.d etc/corosync etc/drbd.d run/holdfast";

/// What a node without power has on its disk, out of its layer over the image: the journal first, then the files.
fn logs_of_a_dead_node(disk: &Path, to: &Path) {
    let quietly = |program: &str, words: &[&str]| {
        let mut command = owned::command(program);
        command.args(words).arg(disk).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = owned::output(command);
    };
    quietly("e2fsck", &["-p", "-E", "journal_only"]);
    for path in LOGS.split(' ') {
        let into = to.join(path);
        let into = into.parent().unwrap_or(to);
        let _ = fs::create_dir_all(into);
        quietly("debugfs", &["-R", &format!("rdump /upper/{path} \"{}\"", into.display())]);
    }
}

/// Removes what labs that were killed with SIGKILL could not remove.
fn sweep(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix("run-")).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A program built together with this one.
///
/// # Errors
/// When it was not.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(failed(format!("{} is not built", path.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_of_a_node_without_power_are_read_from_its_disk() {
        let directory = std::env::temp_dir().join(format!("lab test {}", std::process::id()));
        let scratch = Scratch::new(directory.clone()).unwrap();
        let (tree, disk) = (scratch.path().join("tree"), scratch.path().join("disk"));
        fs::create_dir_all(tree.join("upper/var/log/deep")).unwrap();
        fs::create_dir_all(tree.join("upper/var/lib/heartbeat/trace_ra/drbddisk")).unwrap();
        fs::write(tree.join("upper/var/log/deep/ha-log"), "said").unwrap();
        fs::write(tree.join("upper/var/lib/heartbeat/trace_ra/drbddisk/r0.start"), "exit code 0").unwrap();
        fs::File::create(&disk).unwrap().set_len(8 << 20).unwrap();
        let mut mkfs = owned::command("mkfs.ext4");
        mkfs.args(["-q", "-F", "-d"]).arg(&tree).arg(&disk).stderr(Stdio::null());
        assert!(owned::output(mkfs).unwrap().status.success());

        let to = scratch.path().join("report");
        logs_of_a_dead_node(&disk, &to);
        assert_eq!(fs::read_to_string(to.join("var/log/deep/ha-log")).unwrap(), "said");
        let trace = to.join("var/lib/heartbeat/trace_ra/drbddisk/r0.start");
        assert_eq!(fs::read_to_string(trace).unwrap(), "exit code 0");
    }
}
