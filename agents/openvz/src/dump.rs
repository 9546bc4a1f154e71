//! Memory dumps. `vzctl start` resumes a container from one if it finds it; after a failover that puts yesterday's
//! memory on today's file system.

use crate::area::show;
use crate::config::Config;
use crate::{DumpPolicy, MigrateMode, OpenVz};
use ocf::{Call, Context, Error, Result};
use std::path::{Path, PathBuf};

/// The dumps that `vzctl start` would resume.
pub fn of_vzctl(config: &Config, private: &Path, call: &Call) -> Result<Vec<PathBuf>> {
    let mut paths = vec![config.dump_directory()?.join(format!("Dump.{}", config.id))];
    // Virtuozzo keeps it beside the disk image. Without an image, all that is there belongs to the guest.
    let is_directory =
        |path: &Path| std::fs::symlink_metadata(call.host.path(path)).is_ok_and(|found| found.is_dir());
    if is_directory(&private.join("root.hdd")) && is_directory(&private.join("dump")) {
        paths.push(private.join("dump/Dump"));
    }
    Ok(paths.into_iter().filter(|path| call.host.exists(path)).collect())
}

/// Where migrate_to leaves the memory. No `vzctl start` looks there.
pub fn of_migration(agent: &OpenVz, config: &Config) -> Result<PathBuf> {
    let directory = if agent.dump_dir.is_empty() {
        config.dump_directory()?
    } else {
        agent.dump_dir.as_path().to_path_buf()
    };
    Ok(directory.join(format!("Dump.{}.migration", config.id)))
}

/// Says what comes with such a dump.
pub fn marker_of(dump: &Path) -> PathBuf {
    let mut name = dump.as_os_str().to_os_string();
    name.push(".made");
    name.into()
}

/// Decides what happens to the dumps that a start would come upon.
pub fn settle(agent: &OpenVz, config: &Config, private: &Path, call: &Call) -> Result<()> {
    for dump in of_vzctl(config, private, call)? {
        let (id, shown) = (&config.id, show(&dump));
        match agent.dump_policy {
            DumpPolicy::Resume => call.log.warn(format_args!("{id} is resumed from the memory dump {shown}")),
            DumpPolicy::Fail => {
                return Err(Error::generic(format_args!(
                    "{id} has a memory dump {shown} (dump_policy=fail): restore it by hand, or remove it"
                )));
            }
            DumpPolicy::Discard => {
                put_aside(&dump, call)?;
                call.log.warn(format_args!("{id} had a memory dump, which is now {shown}.discarded"));
            }
        }
    }
    // A migration that began and did not end: its memory is older than what is started now.
    if agent.migrate_mode == MigrateMode::Chkpnt {
        forget_migration(&of_migration(agent, config)?, call)?;
    }
    Ok(())
}

/// Makes a dump of a migration useless for every later action, but keeps it.
pub fn forget_migration(dump: &Path, call: &Call) -> Result<()> {
    for path in [marker_of(dump), dump.to_path_buf()] {
        if call.host.exists(&path) {
            put_aside(&path, call)?;
        }
    }
    Ok(())
}

/// Renames it. One is kept: they are as big as the container's memory.
fn put_aside(dump: &Path, call: &Call) -> Result<()> {
    let mut aside = dump.as_os_str().to_os_string();
    aside.push(".discarded");
    let aside = PathBuf::from(aside);
    if !call.change(format_args!("rename {} to {}", show(dump), show(&aside))) {
        return Ok(());
    }
    std::fs::rename(call.host.path(dump), call.host.path(&aside))
        .or_generic(format_args!("the memory dump {} cannot be moved aside", show(dump)))
}
