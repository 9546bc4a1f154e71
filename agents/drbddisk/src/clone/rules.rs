//! What a clone of this agent may look like, and what its parameters must be on every node.

use crate::DrbdDisk;
use crate::adm::{DRBD_CONF, drbdadm, written_file};
use ocf::cluster::notify::Notice;
use ocf::dispatch::version;
use ocf::state::drbd::proc;
use ocf::{Call, Context, Error, Result};
use std::path::Path;

/// What drbdadm takes in the path of its configuration; a dash in front would make it an option.
pub fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-%+./:=@_".contains(&byte);
    text.starts_with('/') && text.bytes().all(plain)
}

/// `9.2.18`, or nothing.
pub fn is_version(text: &str) -> bool {
    let number =
        |part: &str| !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.is_empty() || (text.split('.').count() == 3 && text.split('.').all(number))
}

/// How many instances may be promoted.
pub fn promoted_max(call: &Call) -> u32 {
    number(call, &["promoted_max", "master_max"]).unwrap_or(1)
}

fn number(call: &Call, names: &[&str]) -> Option<u32> {
    names.iter().find_map(|name| call.meta(name)).and_then(|text| text.parse().ok())
}

/// The file that the parameter names, if it names one.
pub fn check_configuration(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let file = &agent.drbdconf;
    if file == DRBD_CONF {
        return Ok(());
    }
    written_file(call, Path::new(file)).map(drop).or_installed(format_args!("drbdconf {file} cannot be read"))
}

/// The meta attributes of the clone.
pub fn check(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let limits = [
        (&["clone_node_max"][..], "clone-node-max", 1),
        (&["promoted_node_max", "master_node_max"], "promoted-node-max", 1),
        (&["promoted_max", "master_max"], "promoted-max", 2),
    ];
    let two = promoted_max(call) > 1;
    let both = two.then_some((&["clone_max"][..], "clone-max with two promoted instances", 2));
    for (names, shown, most) in limits.into_iter().chain(both) {
        if let Some(found) = number(call, names).filter(|found| *found > most) {
            return Err(Error::configured(format_args!("{shown} is {found}: DRBD allows at most {most}")));
        }
    }
    let notified = call.meta("notify").as_deref().and_then(ocf::params::parse_bool) == Some(true)
        || Notice::of(call).is_some();
    if !notified && !agent.ignore_missing_notifications && call.action != "validate-all" {
        return Err(Error::configured(
            "the clone needs the meta attribute notify=true (or set ignore_missing_notifications)",
        ));
    }
    Ok(())
}

/// Whether two nodes may be Primary, if the clone wants that.
pub fn check_two_primaries(name: &str, call: &Call) -> Result<()> {
    if promoted_max(call) < 2 {
        return Ok(());
    }
    let output = drbdadm(call, &["dump", name])?.within(call.remaining() / 3).run()?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("drbdadm dump {name}: {}", output.complaint())));
    }
    if allows_two_primaries(&String::from_utf8_lossy(&output.stdout)) {
        return Ok(());
    }
    Err(Error::configured(format_args!(
        "promoted-max is 2, but {name} lacks allow-two-primaries in its net section"
    )))
}

/// `allow-two-primaries yes;`, or without a word before 8.4.
fn allows_two_primaries(dump: &str) -> bool {
    dump.lines().any(|line| {
        let rest = line.trim().strip_prefix("allow-two-primaries");
        rest.is_some_and(|rest| matches!(rest.trim().trim_end_matches(';').trim(), "" | "yes"))
    })
}

/// The version of DRBD in the kernel, which has to be loaded.
pub fn check_version(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let text =
        call.host.read("/proc/drbd").or_installed("the version of the kernel module drbd is not known")?;
    let found = proc::version(&text).map_err(|why| {
        Error::installed(format_args!("the version of the kernel module drbd is not known: {why}"))
    })?;
    let (least, below) = (&agent.require_drbd_module_version_ge, &agent.require_drbd_module_version_lt);
    if !least.is_empty() && version(&found) < version(least) {
        return Err(Error::installed(format_args!(
            "the kernel module drbd is {found}, but {least} is required"
        )));
    }
    if !below.is_empty() && version(&found) >= version(below) {
        return Err(Error::installed(format_args!(
            "the kernel module drbd is {found}, but one below {below} is required"
        )));
    }
    if found.starts_with("8.") && number(call, &["clone_max"]).is_some_and(|most| most > 2) {
        return Err(Error::configured("clone-max is more than 2, but DRBD 8 has two nodes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_primaries_are_allowed_by_the_new_word_and_the_old() {
        assert!(allows_two_primaries("net {\n    allow-two-primaries yes;\n}"));
        assert!(allows_two_primaries("net {\n\tallow-two-primaries;\n}"));
        assert!(!allows_two_primaries("net {\n    allow-two-primaries no;\n}"));
        assert!(!allows_two_primaries("# allow-two-primaries yes;\nnet {\n    protocol C;\n}"));
    }

    #[test]
    fn versions_have_three_numbers_or_nothing() {
        for good in ["", "8.0.0", "10.0.0", "9.2.18"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["9", "9.2", "9.2.x", "9..1", "9.2.18.1", "v9.2.1", "9.2.18-1", "9.2.123456"] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn a_configuration_is_a_path_without_surprises() {
        assert!(is_path("/etc/drbd.conf"));
        for bad in ["", "drbd.conf", "-c", "/etc/drbd conf", "/etc/drbd.conf;id", "/etc/\n"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
