//! The rules. Each looks at one kind of mistake.

use crate::machine::{GuestDisk, Machine, assignment, guest_disks};
use crate::model::{Configuration, Finding, Layer, Resource, Severity};
use std::net::IpAddr;

/// Mistakes of one configuration.
pub fn configuration(found: &Configuration, machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    twice(found, &mut findings);
    layers(found, &mut findings);
    addresses(found, &mut findings);
    disks(found, machine, &mut findings);
    scripts(found, machine, &mut findings);
    guests(found, machine, &mut findings);
    findings
}

fn twice(found: &Configuration, findings: &mut Vec<Finding>) {
    for (index, resource) in found.each() {
        for other in found.resources.iter().take(index) {
            let (name, line) = (&resource.name, other.line);
            match (normal(resource.address()), normal(other.address())) {
                (Some(one), Some(same)) if one == same => {
                    let text =
                        format!("{name} is the address {one} of {} once more (line {line})", other.name);
                    findings.push(found.error(resource.line, text));
                }
                _ if found.by_heartbeat
                    && resource.name == other.name
                    && resource.layer != Layer::Address =>
                {
                    findings
                        .push(found.error(resource.line, format!("{name} stands on line {line} already")));
                }
                _ => {}
            }
        }
    }
}

fn normal(address: Option<&str>) -> Option<String> {
    address.map(|text| text.parse::<IpAddr>().map_or_else(|_| text.into(), |parsed| parsed.to_string()))
}

/// In a line or group, what carries data comes first.
fn layers(found: &Configuration, findings: &mut Vec<Finding>) {
    for (later, carrier) in found.each().filter(|(_, carrier)| carrier.chain.is_some()) {
        let upper = found.each().find(|(earlier, upper)| {
            upper.chain == carrier.chain
                && found.is_before(*earlier, later)
                && carrier.layer.carries(upper.layer)
        });
        if let Some((_, upper)) = upper {
            let text = format!(
                "{} starts before {}, which it stands on: change their order",
                upper.name, carrier.name
            );
            findings.push(found.error(carrier.line, text));
        }
    }
}

fn addresses(found: &Configuration, findings: &mut Vec<Finding>) {
    for (index, address) in found.each().filter(|(_, resource)| resource.layer == Layer::Address) {
        let later: Vec<&Resource> = found
            .each()
            .filter(|(then, _)| found.is_before(index, *then))
            .map(|(_, resource)| resource)
            .collect();
        let name = &address.name;
        if let Some(export) = later.iter().find(|resource| resource.layer == Layer::Export) {
            let text = format!(
                "{name} is up before {}: clients that connect in between find no export and may give up for good; put it last",
                export.name
            );
            findings.push(found.error(address.line, text));
        } else if let Some(data) = later.iter().find(|resource| {
            address.chain == resource.chain
                && matches!(resource.layer, Layer::Disk | Layer::FileSystem | Layer::Volume)
        }) {
            let text = format!(
                "{name} is up before {}, and down after it: clients find an address without a service (an export in a \
                 script of your own, too); put it last",
                data.name
            );
            findings.push(found.warning(address.line, text));
        }
    }
}

fn disks(found: &Configuration, machine: &Machine, findings: &mut Vec<Finding>) {
    for (index, resource) in found.each() {
        if let Some(name) = resource.drbd() {
            findings.extend(drbd_name(found, machine, resource, name));
        }
        let guest = resource.guest().and_then(|name| machine.guest(name));
        let mut devices: Vec<GuestDisk> = guest.iter().flat_map(|(_, text)| guest_disks(text)).collect();
        devices.extend(resource.device().map(|device| GuestDisk::Device(device.into())));
        for disk in devices {
            let device = match &disk {
                GuestDisk::Device(device) => device,
                // Xen's own script promotes it.
                GuestDisk::Drbd(_) => continue,
            };
            if let Some(above) = machine.drbd_above(device) {
                let text = format!(
                    "{} uses {device}, the disk below the DRBD resource {}: what it writes is not replicated; use {}",
                    resource.name,
                    above.name,
                    above.devices.first().map_or("its device", String::as_str)
                );
                findings.push(found.error(resource.line, text));
            } else if let Some(text) = not_promoted(found, machine, index, resource, device) {
                findings.push(found.error(resource.line, text));
            }
        }
    }
}

fn drbd_name(found: &Configuration, machine: &Machine, resource: &Resource, name: &str) -> Option<Finding> {
    if machine.drbd.is_empty() || name == "all" || machine.drbd_of(name).is_some() {
        return None;
    }
    if let Some(above) = machine.drbd_above(name) {
        let text = format!(
            "{name} is the disk below {}: Holdfast understands that, the old script does not; say {}",
            above.name, above.name
        );
        return Some(found.warning(resource.line, text));
    }
    let nearest = machine
        .drbd
        .iter()
        .flat_map(|known| std::iter::once(&known.name).chain(&known.devices).chain(&known.disks));
    let nearest =
        nearest.map(|known| (distance(known, name), known)).min().filter(|(distance, _)| *distance <= 3);
    let hint = nearest.map_or(String::new(), |(_, known)| format!("; was {known} meant?"));
    Some(
        found.error(
            resource.line,
            format!("{name} names no DRBD resource, device or disk of this machine{hint}"),
        ),
    )
}

/// Why nothing makes a DRBD device usable before `user` starts.
fn not_promoted(
    found: &Configuration,
    machine: &Machine,
    user: usize,
    resource: &Resource,
    device: &str,
) -> Option<String> {
    if !device.starts_with("/dev/drbd") {
        return None;
    }
    let known = machine.drbd_of(device);
    let disk = found.each().find(|(_, disk)| {
        let of = disk.drbd();
        match known {
            Some(known) => {
                of.and_then(|name| machine.drbd_of(name).or_else(|| machine.drbd_above(name))) == Some(known)
            }
            None => of.is_some() && (disk.chain.is_none() || disk.chain == resource.chain),
        }
    });
    let name = &resource.name;
    match disk {
        None => Some(format!("{name} uses {device}, and no resource here makes it Primary")),
        Some((index, disk)) if !found.is_before(index, user) && !found.is_before(user, index) => {
            Some(format!(
                "{name} uses {device}, but nothing says that {} starts before it: put both in one line or group, or order them",
                disk.name
            ))
        }
        _ => None,
    }
}

fn scripts(found: &Configuration, machine: &Machine, findings: &mut Vec<Finding>) {
    for resource in &found.resources {
        let agent = &resource.agent;
        let (there, place) = match &resource.provider {
            _ if found.by_heartbeat => {
                (machine.has_script(agent), "in /etc/ha.d/resource.d or /etc/init.d".to_string())
            }
            Some(provider) => {
                (machine.has_agent(provider, agent), format!("at /usr/lib/ocf/resource.d/{provider}/{agent}"))
            }
            None => continue,
        };
        if there == Some(false) {
            let text = format!("{}: no executable {agent} {place}", resource.name);
            findings.push(found.error(resource.line, text));
        }
    }
}

fn guests(found: &Configuration, machine: &Machine, findings: &mut Vec<Finding>) {
    for resource in found.resources.iter().filter(|resource| resource.layer == Layer::Guest) {
        let Some(guest) = resource.guest() else { continue };
        let mut say = |severity, text: String| {
            findings.push(Finding { severity, ..found.error(resource.line, text) });
        };
        if resource.is_container() {
            let on_boot = machine.container(guest).and_then(|text| assignment(&text, "ONBOOT"));
            if on_boot.is_some_and(|word| word.eq_ignore_ascii_case("yes")) {
                say(
                    Severity::Error,
                    format!(
                        "container {guest} starts at boot (ONBOOT in /etc/vz/conf/{guest}.conf), behind the cluster's back: vzctl set {guest} --onboot no --save"
                    ),
                );
            } else if machine.path("etc/vz/conf").is_dir() && machine.container(guest).is_none() {
                say(
                    Severity::Warning,
                    format!(
                        "container {guest} has no /etc/vz/conf/{guest}.conf on this node; it is needed on both"
                    ),
                );
            }
            continue;
        }
        let name = guest.rsplit('/').next().unwrap_or_default().trim_end_matches(".cfg");
        if machine.names_in("etc/xen/auto").iter().any(|file| file.trim_end_matches(".cfg") == name) {
            say(
                Severity::Error,
                format!(
                    "guest {name} starts at boot (/etc/xen/auto), behind the cluster's back: remove it there"
                ),
            );
        }
    }
}

/// Mistakes of the machine that no single resource has.
pub fn machine(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    drbd_policies(machine, &mut findings);
    mapped_disks(machine, &mut findings);
    xen_guests(machine, &mut findings);
    xen_drbd(machine, &mut findings);
    findings
}

fn at(machine: &Machine, inside: &str, severity: Severity, text: String) -> Finding {
    Finding { file: machine.path(inside), line: 0, severity, text }
}

fn drbd_policies(machine: &Machine, findings: &mut Vec<Finding>) {
    for resource in &machine.drbd {
        let name = &resource.name;
        let mut warn = |text: String| findings.push(at(machine, "etc/drbd.conf", Severity::Warning, text));
        for policy in ["after-sb-0pri", "after-sb-1pri", "after-sb-2pri"] {
            if let Some(value) = resource
                .option(policy)
                .filter(|value| value.contains("discard") && *value != "discard-zero-changes")
            {
                warn(format!(
                    "{name}: {policy} {value} throws one side's data away after a split brain without asking"
                ));
            }
        }
        if resource.options.iter().any(|(key, value)| key == "allow-two-primaries" && value != "no") {
            warn(format!(
                "{name}: allow-two-primaries for ever lets two nodes write to one disk; it is needed only while a guest moves"
            ));
        }
        if resource.option("group").is_some() {
            warn(format!("{name}: group is of DRBD 8.0 and before, newer ones refuse it"));
        }
    }
}

/// Disks below DRBD that somebody makes from a device-mapper table: nothing makes them again after a boot.
fn mapped_disks(machine: &Machine, findings: &mut Vec<Finding>) {
    let tables: Vec<String> =
        machine.names_in("etc").into_iter().filter(|name| name.starts_with("dmtab")).collect();
    for resource in &machine.drbd {
        let mapped = resource.disks.iter().filter_map(|disk| disk.strip_prefix("/dev/mapper/"));
        for name in mapped.filter(|name| !machine.makes_at_boot(name)) {
            // dmtab.100 is for root100, dmtab.root100 too.
            let fits =
                |table: &&String| table.split_once('.').is_some_and(|(_, ending)| name.ends_with(ending));
            if let Some(table) = tables.iter().find(fits) {
                let drbd = &resource.name;
                let text = format!(
                    "{drbd} is on /dev/mapper/{name}, which a boot takes away and DRBD cannot come up without: run dmsetup \
                     create {name} /etc/{table} at boot before DRBD, or give drbddisk dmtab=/etc/{table}"
                );
                findings.push(at(machine, "etc/drbd.conf", Severity::Warning, text));
            }
        }
    }
}

/// The guests that lie in /etc/xen, whoever starts them.
fn xen_guests(machine: &Machine, findings: &mut Vec<Finding>) {
    let mut on_drbd = Vec::new();
    for file in machine.names_in("etc/xen") {
        let place = format!("etc/xen/{file}");
        let Some(text) = machine.text(&place) else { continue };
        let disks = guest_disks(&text);
        let replicated = |disk: &&GuestDisk| match disk {
            GuestDisk::Drbd(_) => true,
            GuestDisk::Device(device) => device.starts_with("/dev/drbd") || machine.drbd_of(device).is_some(),
        };
        if !disks.iter().any(|disk| replicated(&disk)) {
            continue;
        }
        let name = assignment(&text, "name").unwrap_or_else(|| file.trim_end_matches(".cfg").into());
        on_drbd.push(name.clone());
        let mut warn = |text: String| findings.push(at(machine, &place, Severity::Warning, text));
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            warn(format!("guest {name} has a number for a name: xl takes it for a domain id"));
        }
        for disk in disks.iter().filter(|disk| !replicated(disk)) {
            if let GuestDisk::Device(device) = disk {
                let below = machine.drbd_above(device).is_some();
                if !below {
                    warn(format!(
                        "guest {name} has the local disk {device}: it must be there on both nodes, and the guest cannot move while it runs"
                    ));
                }
            }
        }
    }
    if !on_drbd.is_empty() && !machine.has_module_option("drbd", "disable_sendpage") {
        let text = format!(
            "no file has 'options drbd disable_sendpage=1': when DRBD's link is lost, a page of {} may stay in it, and the guest \
             can only be stopped by booting the node",
            on_drbd.join(" or ")
        );
        findings.push(at(machine, "etc/modprobe.d", Severity::Warning, text));
    }
}

/// The two-node manager xen-drbd: its topology and its file of defaults.
fn xen_drbd(machine: &Machine, findings: &mut Vec<Finding>) {
    const ACTIONS: [&str; 10] = [
        "nothing",
        "start-all",
        "start-my-domains",
        "migrate-all-out",
        "migrate-all-in",
        "migrate-my-domains-home",
        "migrate-and-start-my-domains",
        "migrate-and-start-all",
        "migrate-out",
        "migrate-in",
    ];
    const DEFAULTS: &str = "etc/default/xen-drbd";
    let Some(defaults) = machine.text(DEFAULTS) else { return };
    let value = |name: &str| assignment(&defaults, name).unwrap_or_default();
    for name in ["START_ACTION", "STOP_ACTION"] {
        let action = value(name);
        if !action.is_empty() && !ACTIONS.contains(&action.as_str()) {
            findings.push(at(
                machine,
                DEFAULTS,
                Severity::Error,
                format!("{name} is {action}, which is no command of xen-drbd"),
            ));
        }
    }
    if value("STOP_ACTION").starts_with("migrate-all-out") {
        let text =
            "STOP_ACTION migrate-all-out waits for a peer that may be down, and holds up the shutdown".into();
        findings.push(at(machine, DEFAULTS, Severity::Warning, text));
    }
    let topology = format!("etc/xen/{}.py", value("TOPOLOGY_NAME"));
    if let Some(text) = machine.text(&topology)
        && let Some(own) = assignment(&text, "i_am").filter(|own| !own.contains('('))
    {
        let text = format!(
            "i_am is '{own}', so the file differs between the nodes and one copied over makes both think they are {own}: use gethostname()"
        );
        findings.push(at(machine, &topology, Severity::Warning, text));
    }
    let links: Vec<(String, String)> = ["etc/rc2.d", "etc/rc3.d", "etc/rc5.d"]
        .iter()
        .flat_map(|folder| {
            machine.names_in(folder).into_iter().map(move |name| ((*folder).to_string(), name))
        })
        .collect();
    let starts = |script: &str| {
        links.iter().any(|(_, name)| {
            name.starts_with('S')
                && name.trim_start_matches(|c: char| c == 'S' || c.is_ascii_digit()) == script
        })
    };
    if !links.is_empty() && !starts("xen-drbd") {
        let other = if starts("xend") { " (xend is: the published update-rc.d line named it)" } else { "" };
        findings.push(at(
            machine,
            "etc/init.d/xen-drbd",
            Severity::Error,
            format!("xen-drbd is not started at boot{other}: update-rc.d xen-drbd defaults"),
        ));
    }
}

/// How many letters differ, for a hint.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, a) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_counts_letters() {
        assert_eq!(distance("domain1", "domena1"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
