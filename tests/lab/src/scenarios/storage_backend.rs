//! A block device for other machines: DRBD, the export over NVMe/TCP, and last the address. A third machine keeps writing through
//! a planned switch and through the death of the active node; it sees no error, and every record that was acknowledged is
//! on the new Primary.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd, heartbeat};
use crate::{Lab, Node, Result, failed};

/// Heartbeat, drbddisk, gnbd-export (nvmet), IPaddr, and a client.
pub const SCENARIO: Scenario = Scenario {
    name: "storage-backend",
    about: "Heartbeat with drbddisk, gnbd-export over NVMe/TCP and an address; a client writes through switch and kill",
    wish: || Wish::of(&["xenamo4", "xenamo5", "client"]),
    story,
};

const ADDRESS: &str = "10.9.0.100";
const HARESOURCES: &str = "xenamo4 drbddisk::cluster gnbd-export::ocfscluster::/dev/drbd0::backend=nvmet,allow=any \
                           IPaddr::10.9.0.100/24/eth0\n";
const WRITER: &[u8] = include_bytes!("../../recipe/writer.py");
const LOG: &str = "/run/acknowledged";
const SWITCH: u64 = 240;

fn story(lab: &Lab) -> Result {
    let (four, five, client) = (lab.node(1), lab.node(2), lab.node(3));
    let disk = Resource::new("cluster", 0);
    agents::install(lab)?;
    agents::require(four, "gnbd-export")?;
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    let settings = heartbeat::Settings { auto_failback: false, ..heartbeat::Settings::default() };
    heartbeat::configure(lab, HARESOURCES, settings)?;
    for node in [four, five] {
        heartbeat::start_on(node)?;
    }
    lab.eventually("xenamo4 exports the disk and has the address", SWITCH, || serves(&disk, four))?;
    lab.check("xenamo5 does not", !has_address(five))?;
    lab.step("the client is connected", || connect(four, client))?;
    client.put("/root/writer.py", 0o755, WRITER)?;
    client.must(&format!(
        "setsid /root/writer.py write /dev/nvme0n1 {LOG} </dev/null >/run/writer.out 2>&1 & sleep 0.2"
    ))?;
    goes_on(lab, client, "the client writes")?;

    lab.step("xenamo4 is asked to hand over", || four.must("/usr/share/heartbeat/hb_standby all"))?;
    lab.eventually("xenamo5 exports the disk and has the address", SWITCH, || {
        serves(&disk, five) && !has_address(four)
    })?;
    goes_on(lab, client, "the client writes again")?;
    lab.check("xenamo4 is Secondary", disk.is(four, &["ro:Secondary/Primary"]))?;
    lab.step("every acknowledged record is on xenamo5", || verify(lab, client, five))?;

    five.kill();
    lab.done("xenamo5 has lost power");
    lab.eventually("xenamo4 exports the disk and has the address", SWITCH, || serves(&disk, four))?;
    goes_on(lab, client, "the client writes again")?;
    client.must("pkill -f 'writer.py write'")?;
    lab.step("every acknowledged record is on xenamo4", || verify(lab, client, four))?;
    let log = String::from_utf8_lossy(&client.get(LOG)?).into_owned();
    lab.check("the client saw no error", !log.contains("ERROR"))?;
    lab.done(&format!("longest time of one record: {:.1} s", longest(&log)));
    Ok(())
}

fn has_address(node: &Node) -> bool {
    node.says(&format!("ip -o -4 addr show dev eth0 | grep -q ' {ADDRESS}/'"))
}

fn serves(disk: &Resource, node: &Node) -> bool {
    disk.line(node).contains("ro:Primary/")
        && node.says("grep -qx 1 /sys/kernel/config/nvmet/subsystems/*/namespaces/1/enable")
        && has_address(node)
}

fn connect(server: &Node, client: &Node) -> Result {
    let identity = server.must("/usr/lib/ocf/resource.d/holdfast/gnbd-export --name ocfscluster identity")?;
    let nqn = identity
        .split(|letter: char| letter.is_whitespace() || letter == '"')
        .find(|word| word.starts_with("nqn."))
        .ok_or_else(|| failed(format!("no NQN in {identity}")))?;
    client.must(&format!(
        "set -e; modprobe nvme-tcp; mkdir -p /etc/nvme
         nvme connect -t tcp -a {ADDRESS} -s 4420 -n {nqn} -q nqn.2014-08.org.example:client -i 1 --ctrl-loss-tmo=-1 \
         --reconnect-delay=1 --keep-alive-tmo=2
         for try in $(seq 100); do [ -b /dev/nvme0n1 ] && exit 0; sleep 0.1; done; exit 1"
    ))?;
    Ok(())
}

/// The number of the last acknowledged record.
fn last(client: &Node) -> Option<u64> {
    let log = client.get(LOG).ok()?;
    let text = String::from_utf8_lossy(&log).into_owned();
    text.lines().rev().find_map(|line| line.split(' ').next()?.parse().ok())
}

fn goes_on(lab: &Lab, client: &Node, what: &str) -> Result {
    let before = last(client).unwrap_or_default();
    lab.eventually(what, SWITCH, || last(client).is_some_and(|now| now > before + 20)).map(|_| ())
}

/// What was acknowledged before this moment is read on the server. The writer goes round, so nothing but what it may have
/// overwritten since is left out.
fn verify(lab: &Lab, client: &Node, server: &Node) -> Result {
    let paused = client.says("pkill -STOP -f 'writer.py write'");
    let number = last(client).ok_or_else(|| failed("nothing was acknowledged"))?;
    server.put("/root/writer.py", 0o755, WRITER)?;
    let answer = server.must(&format!("/root/writer.py verify /dev/drbd0 0 {number}"))?;
    if paused {
        client.must("pkill -CONT -f 'writer.py write'")?;
    }
    if answer != "bad 0" {
        return Err(failed(format!("of {number} records on {}: {answer}", server.name())));
    }
    lab.done(&format!("{number} records compared"));
    Ok(())
}

/// The longest time between writing a record and its acknowledgement, in seconds.
fn longest(log: &str) -> f64 {
    log.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_of_a_log_is_found() {
        assert!((longest("0 0.010\n1 7.912\nERROR 2 gone\n2 0.020\n") - 7.912).abs() < 1e-9);
    }
}
