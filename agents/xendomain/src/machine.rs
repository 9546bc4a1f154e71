//! Whether guests can run here at all, and what of them the kernel shows.

use ocf::Call;
use std::path::Path;

/// Guests' devices that this node serves: `vbd-DOMAIN-DEVICE`, `vif-DOMAIN-DEVICE`.
const BACK_ENDS: &str = "/sys/bus/xen-backend/devices";

/// Why no guest can run here; none if this is a domain that manages guests.
pub fn why_not_xen(call: &Call) -> Option<&'static str> {
    let capabilities = call.host.read_line("/proc/xen/capabilities");
    match capabilities.as_deref() {
        Some(words) if words.contains("control_d") => None,
        // The file is there and says that others manage this domain.
        Some(words) if !words.contains('\0') => Some("this node is itself a guest of Xen"),
        _ => {
            let xen = call.host.exists("/proc/xen/privcmd")
                || call.host.exists("/dev/xen/privcmd")
                || call.host.exists("/sys/hypervisor/type");
            (!xen).then_some("this node does not run under Xen")
        }
    }
}

/// The disks of the domain that this node still serves.
pub fn disks(call: &Call, id: u32) -> Vec<String> {
    let entries = std::fs::read_dir(call.host.path(Path::new(BACK_ENDS))).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| ["vbd-", "vbd3-", "qdisk-"].iter().any(|kind| name.starts_with(kind)))
        .filter(|name| name.split('-').nth(1).is_some_and(|number| number.parse() == Ok(id)))
        .collect();
    found.sort();
    found
}

/// Whether DRBD's module hands the memory of guests itself to the network (its option disable_sendpage). What a lost link
/// has not acknowledged stays there, and Linux waits for it before it lets go of a guest's disk, and of any other
/// guest's: with some kernels until the next boot.
pub fn drbd_keeps_memory(call: &Call) -> bool {
    call.host.read_line("/sys/module/drbd/parameters/disable_sendpage").as_deref() == Some("N")
}

/// Why a domain may be dying for so long, for the end of a sentence.
pub fn why_it_dies_slowly(call: &Call) -> &'static str {
    if drbd_keeps_memory(call) {
        ": if DRBD's link was lost, boot this node (and set drbd.disable_sendpage=1)"
    } else {
        ""
    }
}

/// Whether an xl or xm process is at work on `what` (`migrate`, `migrate-receive`), for this guest if one is given: by
/// its number, as this agent names it, or by its name, as a person does.
pub fn tool_is_at(call: &Call, what: &[&str], guest: Option<(&str, u32)>) -> bool {
    processes(call).iter().any(|(_, words)| {
        let about = |(name, id): (&str, u32)| words.iter().any(|word| word == name || word.parse() == Ok(id));
        words.iter().any(|word| what.contains(&word.as_str())) && guest.is_none_or(about)
    })
}

/// Whether a process of xl takes a guest in. The one that watches over a guest after its arrival has the same words, but
/// /dev/null for its input (xl's do_daemonize), and stays as long as the guest.
pub fn somebody_receives(call: &Call) -> bool {
    processes(call).iter().any(|(pid, words)| {
        words.iter().any(|word| word == "migrate-receive")
            && std::fs::read_link(call.host.path(Path::new(&format!("/proc/{pid}/fd/0"))))
                .map_or(true, |input| input != Path::new("/dev/null"))
    })
}

/// Whether a process of xl is left that would start the guest again after a reboot. One that this agent began for
/// another guest says so; others may have been begun by a person for this one.
pub fn somebody_restarts(call: &Call, name: &str) -> bool {
    let of_another = |words: &[String]| {
        let named = words.iter().find_map(|word| word.strip_prefix("name="));
        named.is_some_and(|found| found.trim_matches('"') != name)
    };
    // xend does it by itself.
    call.host.tool("xl").is_none() || processes(call).iter().any(|(_, words)| !of_another(words))
}

/// The number and the command line of each process of xl and xm.
fn processes(call: &Call) -> Vec<(String, Vec<String>)> {
    let entries = std::fs::read_dir(call.host.path(Path::new("/proc"))).into_iter().flatten().flatten();
    let pids = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|digit| digit.is_ascii_digit()));
    let lines = pids.filter_map(|pid| Some((call.host.read(format!("/proc/{pid}/cmdline")).ok()?, pid)));
    lines
        .map(|(line, pid)| {
            let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
            (pid, words.map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>())
        })
        .filter(|(_, words)| {
            let program = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default());
            // xm is a Python script.
            program == "xl"
                || words.get(1).is_some_and(|script| program.starts_with("python") && script.ends_with("/xm"))
        })
        .collect()
}
