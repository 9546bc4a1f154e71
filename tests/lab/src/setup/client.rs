//! A machine outside the cluster that uses an exported disk over NVMe/TCP and never stops writing.

use crate::{Node, Result, failed};

const RECORDS: &[u8] = include_bytes!("../../client/records");
const PROGRAM: &str = "/usr/local/bin/records";
const LOG: &str = "/run/records.log";
const COPY: &str = "/run/records.copy";

/// By this name the client is admitted.
pub const HOST: &str = "nqn.2014-08.org.example:client";
const HOST_ID: &str = "11111111-2222-4333-8444-555555555555";

/// Connects the client and gives the path of its disk. The settings are those that gnbd-export documents.
///
/// # Errors
/// When it cannot.
pub fn connect(client: &Node, address: &str, subsystem: &str) -> Result<String> {
    client.must(&format!(
        "modprobe nvme-tcp && nvme connect -t tcp -a {address} -s 4420 -n {subsystem} -q {HOST} -I {HOST_ID} \
         --ctrl-loss-tmo=-1 --reconnect-delay=1 --keep-alive-tmo=2 -i 1 >&2 || exit
         for try in $(seq 300); do for disk in /dev/nvme*n1; do [ -b $disk ] && echo $disk && exit; done; sleep 0.1; done
         exit 1"
    ))
}

/// Starts writing numbered records to the disk.
///
/// # Errors
/// When the client refuses.
pub fn write(client: &Node, disk: &str) -> Result {
    client.put(PROGRAM, 0o755, RECORDS)?;
    client
        .must(&format!(
            "rm -f {LOG}; setsid {PROGRAM} write {disk} {LOG} </dev/null >/run/records.out 2>&1 &"
        ))
        .map(|_| ())
}

/// How many records were acknowledged until now.
///
/// # Errors
/// When one was refused: the client saw an error.
pub fn acknowledged(client: &Node) -> Result<usize> {
    let log = client.get(LOG)?;
    let log = String::from_utf8_lossy(&log);
    match log.lines().find(|line| !line.starts_with(|first: char| first.is_ascii_digit())) {
        Some(line) => Err(failed(format!("the client saw an error: {line}"))),
        None => Ok(log.lines().count()),
    }
}

/// Looks on `node`, below the export, for every record that the client has acknowledged until now, and tells how many
/// there were and how long the slowest took.
///
/// # Errors
/// When one is not there.
pub fn all_is_on(node: &Node, device: &str, client: &Node) -> Result<String> {
    acknowledged(client)?;
    let mut log = client.get(LOG)?;
    // The last line may be half a line.
    log.truncate(log.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    node.put(PROGRAM, 0o755, RECORDS)?;
    node.put(COPY, 0o644, &log)?;
    node.must(&format!("{PROGRAM} check {device} {COPY}"))
}

/// Stops writing and disconnects.
///
/// # Errors
/// When the client refuses.
pub fn disconnect(client: &Node, subsystem: &str) -> Result {
    client
        .must(&format!(
            "pkill -f '[r]ecords write'; for try in $(seq 300); do pgrep -f '[r]ecords write' >/dev/null || break; sleep 0.1; done
             nvme disconnect -n {subsystem} >/dev/null"
        ))
        .map(|_| ())
}
