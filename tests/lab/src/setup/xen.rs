//! Xen's tools on the nodes, and guests that write records to a disk and acknowledge each on their console.

use crate::cpio::Archive;
use crate::lab::beside_us;
use crate::records::Found;
use crate::{Doing, Lab, Node, Result, failed};
use std::cell::Cell;
use std::fs;
use std::time::Duration;

const KERNEL: &str = "/boot/guest";
const INITRAMFS: &str = "/boot/guest.img";
const CONSOLES: &str = "/var/log/xen/console";
/// One switch, with room for emulation on a busy machine.
pub const SWITCH: u64 = 240;
/// What guests need for their disks.
const MODULES: &str = "xen-blkfront xfs";

/// A guest, in the words of its configuration.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its disks; it writes to the first one.
    pub disks: Vec<String>,
    /// More words for its kernel.
    pub words: String,
    /// More lines for its configuration.
    pub lines: String,
    /// Records that it has acknowledged to somebody outside.
    pub known: Cell<u64>,
    /// How often it was booted and wrote.
    pub boots: Cell<u64>,
}

impl Guest {
    /// A guest with this disk.
    #[must_use]
    pub fn new(name: &str, disk: &str) -> Self {
        Self {
            name: name.into(),
            disks: vec![format!("phy:{disk},xvda,w")],
            words: String::new(),
            lines: String::new(),
            known: Cell::new(0),
            boots: Cell::new(0),
        }
    }

    /// Its configuration. PVH: under Debian's Xen no other kind can be moved while it runs.
    #[must_use]
    pub fn config(&self) -> String {
        let Self { name, disks, words, lines, .. } = self;
        let disks: Vec<String> = disks.iter().map(|disk| format!("\"{disk}\"")).collect();
        format!(
            "name = \"{name}\"\ntype = \"pvh\"\nkernel = \"{KERNEL}\"\nramdisk = \"{INITRAMFS}\"\n\
             extra = \"console=hvc0 quiet nokaslr mitigations=off RECORDS=/dev/xvda {words}\"\nmemory = 128\nvcpus = 1\n\
             disk = [ {} ]\n{lines}",
            disks.join(", ")
        )
    }

    /// Puts its configuration on a node.
    ///
    /// # Errors
    /// When the node refuses.
    pub fn configure(&self, node: &Node) -> Result {
        node.put(&format!("/etc/xen/{}", self.name), 0o644, self.config().as_bytes())
    }

    /// True if it runs there, under its own name.
    #[must_use]
    pub fn runs(&self, node: &Node) -> bool {
        list(node).is_some_and(|list| is_live(&list, &self.name))
    }

    /// True if it is known that nothing of it is there, not even on its way; false also if Xen does not answer.
    #[must_use]
    pub fn is_absent(&self, node: &Node) -> bool {
        list(node).is_some_and(|list| !list.lines().any(|line| line.starts_with(&self.name)))
    }

    /// Waits until it was booted on `node` and has found there what it had acknowledged before, and writes on. At no time
    /// it may run on two nodes.
    ///
    /// # Errors
    /// When it does not start, has lost something, or ran twice.
    pub fn boots_on(&self, lab: &Lab, node: &Node) -> Result {
        let (name, boots) = (&self.name, self.boots.get());
        let twice = Cell::new(false);
        lab.eventually(&format!("{name} runs on {} and finds its records", node.name()), SWITCH, || {
            let places: Vec<&Node> = lab.nodes().iter().filter(|node| self.runs(node)).collect();
            twice.set(twice.get() || places.len() > 1);
            places.iter().any(|place| place.number() == node.number())
                && self.found(node).is_some_and(|found| found.boots >= boots)
        })?;
        if twice.get() {
            return Err(failed(format!("{name} ran on two nodes")));
        }
        let (found, known) = (self.found(node).unwrap_or_default(), self.known.get());
        if found.boots != boots || found.count < known {
            let text =
                format!("{name} had acknowledged {known} records in {boots} boots, and found {found:?}");
            return Err(failed(text));
        }
        self.boots.set(boots + 1);
        self.goes_on(lab, node)
    }

    /// Waits until it acknowledges more records on `node`, without having been booted.
    ///
    /// # Errors
    /// When it does not.
    pub fn goes_on(&self, lab: &Lab, node: &Node) -> Result {
        let before = self.acknowledged(node).max(self.known.get());
        lab.eventually(&format!("{} writes on {}", self.name, node.name()), SWITCH, || {
            self.acknowledged(node) > before + 5
        })?;
        self.known.set(self.acknowledged(node));
        self.complaint(node).map_or(Ok(()), |why| Err(failed(format!("{}: {why}", self.name))))
    }

    /// Looks at its disk, or at its file, on a node where it does not run: all is there that it has acknowledged, and no
    /// boot was in the way of another.
    ///
    /// # Errors
    /// When something is lost.
    pub fn all_is_at(&self, lab: &Lab, node: &Node, path: &str) -> Result {
        let (found, known, boots) = (records(node, path)?, self.known.get(), self.boots.get());
        let Found { count, boots: seen } = found;
        lab.check(
            &format!(
                "{}: {known} records of {boots} boots were acknowledged, {count} of {seen} are there",
                self.name
            ),
            count >= known && seen == boots,
        )
    }

    /// On how many nodes it runs.
    ///
    /// # Errors
    /// When Xen does not answer on one that has power.
    pub fn places(&self, lab: &Lab) -> Result<usize> {
        let lists = lab.nodes().iter().map(|node| {
            list(node).ok_or_else(|| failed(format!("what runs on {} cannot be told", node.name())))
        });
        let lists: Vec<String> = lists.collect::<Result<_>>()?;
        Ok(lists.iter().filter(|list| is_live(list, &self.name)).count())
    }

    /// The last line on its console there that begins so, without that.
    fn last(&self, node: &Node, start: &str) -> Option<String> {
        // A guest that has come from elsewhere has the name of its journey.
        let logs = ["", "--incoming"].map(|suffix| {
            node.get(&format!("{CONSOLES}/guest-{}{suffix}.log", self.name)).unwrap_or_default()
        });
        last(&logs.concat(), start)
    }

    /// How many records it has acknowledged on this node.
    #[must_use]
    pub fn acknowledged(&self, node: &Node) -> u64 {
        self.last(node, "acknowledged").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What its last boot there has found on its disk.
    #[must_use]
    pub fn found(&self, node: &Node) -> Option<Found> {
        let last = self.last(node, "found")?;
        let mut words = last.split_whitespace();
        let count = words.next()?.parse().ok()?;
        Some(Found { count, boots: words.nth(1)?.parse().ok()? })
    }

    /// What its console there says is wrong with the records.
    #[must_use]
    pub fn complaint(&self, node: &Node) -> Option<String> {
        self.last(node, "BAD:")
    }
}

/// The last line of consoles that begins so, without that; its number says which is the last.
fn last(consoles: &[u8], start: &str) -> Option<String> {
    let text = String::from_utf8_lossy(consoles).replace(['\r', '\0'], "");
    let said = text
        .lines()
        .filter_map(|line| line.strip_prefix("records: ")?.strip_prefix(start)?.strip_prefix(' '));
    let number = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    said.max_by_key(|line| number(line)).map(|line| line.trim().to_owned())
}

/// What xl lists there, without the scripts that Debian has around it: they take most of its time. Nothing runs without
/// power; a list without the first domain is none.
#[must_use]
pub fn list(node: &Node) -> Option<String> {
    if !node.is_on() {
        return Some(String::new());
    }
    let listed =
        node.run_with(&["/usr/lib/xen-4.17/bin/xl", "list"], &[], &[], Duration::from_secs(20)).ok()?;
    (listed.ok() && listed.out.lines().any(|line| line.starts_with("Domain-0 "))).then_some(listed.out)
}

/// Whether this list has a domain of this name that runs.
fn is_live(list: &str, name: &str) -> bool {
    list.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&name)
            && words.get(4).is_some_and(|state| matches!(*state, "r-----" | "-b----" | "------"))
    })
}

/// What can be read from a disk or file on a node.
///
/// # Errors
/// When records are missing or damaged.
pub fn records(node: &Node, path: &str) -> Result<Found> {
    let line = format!("dd if={path} bs=1M count=4 iflag=direct status=none | /run/lab-guest records");
    let text = node.must(&line)?;
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(count), Some(boots)) => Ok(Found { count, boots }),
        _ => Err(failed(format!("{path} on {}: {text}", node.name()))),
    }
}

/// Makes the beginning of a disk empty, as a guest expects it at first.
///
/// # Errors
/// When the node cannot.
pub fn empty(node: &Node, device: &str) -> Result {
    node.must(&format!("dd if=/dev/zero of={device} bs=1M count=4 oflag=direct status=none")).map(|_| ())
}

/// What a host of guests on DRBD needs before DRBD's module is loaded. Without it a link that is lost keeps pages of the
/// guest in DRBD's socket, and nothing but a boot gets the guest's disk back.
///
/// # Errors
/// When a node refuses.
pub fn drbd_option(lab: &Lab) -> Result {
    let option = b"options drbd disable_sendpage=1\n";
    lab.nodes().iter().try_for_each(|node| node.put("/etc/modprobe.d/drbd.conf", 0o644, option))
}

/// Where xl is while something else has its place.
pub const REAL: &str = "/run/real/xl";

/// Puts a script into xl's place, which can run the real one; none puts xl back.
///
/// # Errors
/// When the node refuses.
pub fn replace_xl(node: &Node, script: Option<&str>) -> Result {
    const XL: &str = "/usr/sbin/xl";
    let Some(script) = script else {
        return node.must(&format!("mv {XL}.away {XL}")).map(|_| ());
    };
    // What it is depends on the name by which it is called.
    node.must(&format!(
        "mkdir -p /run/real && if [ -h {XL} ]; then ln -sf \"$(readlink -f {XL})\" {REAL}; else cp -p {XL} {REAL}; fi
         mv {XL} {XL}.away"
    ))?;
    node.put(XL, 0o755, script.as_bytes())
}

/// Puts the guests' kernel on all nodes and starts Xen's daemons.
///
/// # Errors
/// When a node refuses.
pub fn prepare(lab: &Lab) -> Result {
    lab.step("Xen's daemons run on all nodes", || {
        let initramfs = initramfs(lab.node(1))?;
        let kernel = fs::read(lab.images().kernel())?;
        lab.on_all(|node| {
            node.put(KERNEL, 0o644, &kernel)?;
            node.put(INITRAMFS, 0o644, &initramfs)?;
            node.put("/etc/default/xen", 0o644, b"XENCONSOLED_ARGS=--log=guest\n")?;
            node.must(&format!("mkdir -p {CONSOLES} && ssh-keygen -A >/dev/null"))?;
            start_on(node)
        })
    })
}

/// What a node's boot does: Xen's daemons, and ssh, over which guests move.
///
/// # Errors
/// When they do not start.
pub fn start_on(node: &Node) -> Result {
    node.must("mkdir -p /run/sshd && /usr/sbin/sshd && /etc/init.d/xen start >&2").map(|_| ())
}

/// Process 1 of a guest is `lab-guest`, as that of a node.
fn initramfs(node: &Node) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "new", "modules", "sbin"] {
        archive.directory(directory);
    }
    archive.character_device("dev/console", 5, 1);
    let guest = beside_us("lab-guest")?;
    archive.file("init", 0o755, &fs::read(&guest).doing(guest.display())?);
    archive.link("sbin/poweroff", "/init");
    archive.link("sbin/reboot", "/init");
    let found = node.must(&format!(
        "for module in {MODULES}; do modprobe -D $module; done | sed -n 's/^insmod //p' | awk '!seen[$1]++ {{ print $1 }}'"
    ))?;
    let mut order = String::new();
    for (index, path) in found.lines().enumerate() {
        let name = format!("{index:02}-{}", path.rsplit('/').next().unwrap_or(path));
        archive.file(&format!("modules/{name}"), 0o644, &node.get(path)?);
        order.push_str(&format!("{name}\n"));
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_that_is_paused_or_on_its_way_does_not_run() {
        let line =
            |name: &str, state: &str| format!("{name:<40} {:>5} {:>5} {:>5}     {state} 5.6\n", 3, 128, 1);
        assert!(is_live(&line("web", "-b----"), "web"));
        assert!(is_live(&line("web", "------"), "web"));
        for (name, state) in
            [("web", "--p---"), ("web", "---sc-"), ("web--incoming", "--p---"), ("web2", "-b----")]
        {
            assert!(!is_live(&line(name, state), "web"), "{name} {state}");
        }
    }

    #[test]
    fn the_last_of_what_a_guest_said_is_found_in_any_order() {
        let consoles = b"records: found 0 in 0\r\n\0records: acknowledged 9\r\nrecords: acknowledged 10\n\
                         login:\nrecords: acknowledged 2\nrecords: acknowledgedly 99\n records: acknowledged 50\n";
        assert_eq!(last(consoles, "acknowledged").as_deref(), Some("10"));
        assert_eq!(last(consoles, "found").as_deref(), Some("0 in 0"));
        assert_eq!(last(consoles, "BAD:"), None);
        assert_eq!(last(b"records: BAD: 3 is not there\n", "BAD:").as_deref(), Some("3 is not there"));
    }

    #[test]
    fn a_configuration_names_disk_and_kernel() {
        let text = Guest::new("domain1", "/dev/drbd0").config();
        assert!(text.contains("disk = [ \"phy:/dev/drbd0,xvda,w\" ]\n"), "{text}");
        assert!(text.starts_with("name = \"domain1\"\n"), "{text}");
    }
}
