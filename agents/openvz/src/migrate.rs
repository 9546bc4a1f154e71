//! migrate_to and migrate_from: the container moves with its memory, if its files are on storage that both nodes have
//! at the same time.
//!
//! The memory goes into a file of a name that no `vzctl start` looks for, so that it can never be resumed by
//! surprise. Beside it lies a marker, written last, that says which file it is about and which node has written it: in a
//! directory that the nodes do not share, a node would find its own memory of an earlier migration.

use crate::config::Config;
use crate::ctid::Ctid;
use crate::dump::{forget_migration, marker_of, of_migration};
use crate::look::{Program, look};
use crate::start::check;
use crate::{MigrateMode, OpenVz, area, codes};
use ocf::{Call, Context, Error, Result};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// migrate_to: called where the container runs.
pub fn away(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    let program = Program::of(agent, call);
    refuse_none(agent, ctid)?;
    if !look(agent, ctid, call)?.is_alive() {
        return Err(Error::generic(format_args!("{ctid} does not run here, so it cannot leave")));
    }
    match (agent.migrate_mode, program) {
        (MigrateMode::Chkpnt, Program::Vzctl) => suspend(agent, ctid, call),
        (MigrateMode::Chkpnt, Program::Prlctl) => Err(no_dump_file(ctid)),
        _ => send(agent, program, ctid, call),
    }
}

/// migrate_from: called where it shall run.
pub fn here(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    refuse_none(agent, ctid)?;
    if look(agent, ctid, call)?.is_alive() {
        return Ok(());
    }
    match (agent.migrate_mode, Program::of(agent, call)) {
        (MigrateMode::Chkpnt, Program::Vzctl) => restore(agent, ctid, call),
        (MigrateMode::Chkpnt, Program::Prlctl) => Err(no_dump_file(ctid)),
        _ => Err(Error::generic(format_args!("{ctid} did not arrive: it does not run here after vzmigrate"))),
    }
}

fn refuse_none(agent: &OpenVz, ctid: &Ctid) -> Result<()> {
    if agent.migrate_mode == MigrateMode::None {
        return Err(Error::generic(format_args!(
            "{ctid} does not migrate: it is stopped and started instead, unless migrate_mode is set"
        )));
    }
    Ok(())
}

fn no_dump_file(ctid: &Ctid) -> Error {
    Error::generic(format_args!("{ctid}: prlctl has no dump file to hand over: set migrate_mode=vzmigrate"))
}

/// A dry run sees what was to be done. A real one sees whether it was done.
fn lives(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<bool> {
    look(agent, ctid, call).map(super::look::Found::is_alive)
}

fn suspend(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    let Some((config, _)) = check(agent, ctid, call)? else { return Err(no_dump_file(ctid)) };
    let dump = of_migration(agent, &config)?;
    let shown = area::show(&dump);
    forget_migration(&dump, call)?;
    if !call.change(format_args!("run vzctl chkpnt {ctid} --dumpfile {shown}")) {
        return Ok(());
    }
    let tool = call.tool("vzctl")?.arg("chkpnt").arg(ctid.as_str()).arg("--dumpfile").arg(&dump);
    let asked = tool.within(call.remaining() * 4 / 5).run();
    let failure = match asked {
        Ok(output) if output.succeeded() => None,
        Ok(output) => Some(codes::failure("vzctl", "chkpnt", ctid.as_str(), &output)),
        Err(error) => Some(error),
    };
    if lives(agent, ctid, call)? {
        let _ = forget_migration(&dump, call);
        let why = failure
            .map_or_else(|| "vzctl chkpnt has not suspended it".into(), |error| error.reason().to_string());
        return Err(Error::generic(format_args!("{ctid} stays here: {why}")));
    }
    if let Some(failure) = failure {
        let _ = forget_migration(&dump, call);
        return Err(Error::generic(format_args!(
            "{ctid} has stopped instead of leaving: {}",
            failure.reason()
        )));
    }
    if !area::mounts_on_root(&config, call)?.is_empty() {
        let output =
            call.tool("vzctl")?.arg("umount").arg(ctid.as_str()).within(call.remaining() / 2).run()?;
        if !area::mounts_on_root(&config, call)?.is_empty() {
            let _ = forget_migration(&dump, call);
            return Err(codes::failure("vzctl", "umount", ctid.as_str(), &output));
        }
    }
    let marker = marker(&config, &dump, call)? + &written_on(call);
    write_marker(&call.host.path(&marker_of(&dump)), &marker)
}

/// What the marker says: whose memory, and which file by its size and time.
fn marker(config: &Config, dump: &Path, call: &Call) -> Result<String> {
    let shown = area::show(dump);
    let found = std::fs::symlink_metadata(call.host.path(dump));
    let found = found.or_generic(format_args!("the memory dump {shown} was not written"))?;
    if !found.is_file() || found.len() == 0 {
        return Err(Error::generic(format_args!("the memory dump {shown} is empty, or no file")));
    }
    Ok(format!("ctid={}\nbytes={}\nseconds={}\n", config.id, found.len(), found.mtime()))
}

/// The marker's last line: no memory comes from the node that it goes to.
fn written_on(call: &Call) -> String {
    let node = call.host.read_line("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("node={}\n", ocf::printable(node.as_bytes()))
}

fn write_marker(path: &Path, text: &str) -> Result<()> {
    let what = || format!("{} cannot be written", area::show(path));
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).or_generic(what())?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).or_generic(what())
}

fn restore(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    let Some((config, _)) = check(agent, ctid, call)? else { return Err(no_dump_file(ctid)) };
    let dump = of_migration(agent, &config)?;
    let shown = area::show(&dump);
    let recorded = call.host.read(marker_of(&dump)).unwrap_or_default();
    let matches = marker(&config, &dump, call).and_then(|now| {
        let node = recorded.strip_prefix(now.as_bytes()).filter(|node| node.starts_with(b"node="));
        match node {
            Some(node) if node == written_on(call).as_bytes() => Err(Error::generic(format_args!(
                "{ctid}: {shown} is this node's own: set dump_dir to a directory that both nodes have mounted"
            ))),
            Some(_) => Ok(()),
            None => Err(Error::generic(format_args!(
                "{ctid}: {shown} is not what migrate_to has written: it is started anew"
            ))),
        }
    });
    if let Err(error) = matches {
        let _ = forget_migration(&dump, call);
        return Err(error);
    }
    if !call.change(format_args!("run vzctl restore {ctid} --dumpfile {shown}")) {
        return Ok(());
    }
    let tool = call.tool("vzctl")?.arg("restore").arg(ctid.as_str()).arg("--dumpfile").arg(&dump);
    let asked = tool.within(call.remaining() * 4 / 5).run();
    let runs = lives(agent, ctid, call);
    if let (Ok(output), Ok(true)) = (&asked, &runs)
        && output.succeeded()
    {
        // Used up.
        for path in [marker_of(&dump), dump] {
            let _ = std::fs::remove_file(call.host.path(&path));
        }
        return Ok(());
    }
    // The next action is a stop, and after it a start without this memory.
    let _ = forget_migration(&dump, call);
    Err(match asked {
        Err(error) => error,
        Ok(output) if output.succeeded() => {
            Error::generic(format_args!("{ctid}: vzctl restore has succeeded, but it does not run"))
        }
        Ok(output) => codes::failure("vzctl", "restore", ctid.as_str(), &output),
    })
}

/// vzmigrate copies what is not shared, and moves the memory over ssh.
fn send(agent: &OpenVz, program: Program, ctid: &Ctid, call: &Call) -> Result<()> {
    let target = call.meta("migrate_target").unwrap_or_default();
    if !is_host_name(&target) {
        let shown = ocf::printable(target.as_bytes());
        return Err(Error::args(format_args!(
            "the cluster names '{shown}' as the node for {ctid}: no host name"
        )));
    }
    let name = if program == Program::Prlctl { "prlctl" } else { "vzmigrate" };
    if !call.change(format_args!("run {name} for {ctid} to {target}")) {
        return Ok(());
    }
    let tool = call.tool(name)?;
    let tool = match program {
        Program::Prlctl => tool.arg("migrate").arg(ctid.as_str()).arg(&target),
        // Otherwise it removes the private area: here after a success, there after a failure. If both nodes have the
        // same storage, it would be the only one.
        Program::Vzctl => {
            tool.arg("--online").arg("--keep-dst").arg("-r").arg("no").arg(&target).arg(ctid.as_str())
        }
    };
    let asked = tool.within(call.remaining() * 4 / 5).run();
    let why = match asked {
        Ok(output) if output.succeeded() => None,
        Ok(output) => Some(match output.code.filter(|_| program == Program::Vzctl) {
            Some(code) => format!("{} (vzmigrate, code {code})", codes::migration_meaning(code)),
            None => output.complaint(),
        }),
        Err(error) => Some(error.reason().to_string()),
    };
    let stays = lives(agent, ctid, call)?;
    match why {
        None if !stays => Ok(()),
        None => Err(Error::generic(format_args!("{ctid} still runs here although {name} has succeeded"))),
        Some(why) if stays => Err(Error::generic(format_args!("{ctid} stays here: {why}"))),
        Some(why) => Err(Error::generic(format_args!("{ctid} has left here, but: {why}"))),
    }
}

fn is_host_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_host_name;

    #[test]
    fn the_target_is_a_host_and_never_an_option() {
        for name in ["phobos", "node-2.example", "192.168.5.102", "fe80::1"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "-oProxyCommand=x", "--ssh=x", "a b", "a;b", "a\n"] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
