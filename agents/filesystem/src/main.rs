//! Filesystem: one file system mounted on one directory.
//!
//! - **start** makes the mount point and mounts the device on it, after fsck where the type wants one. It refuses a
//!   directory on which something else is mounted.
//! - **stop** unmounts what is below the directory, other mounts of the same file system, and the mount itself. Who
//!   uses it is signalled; what still holds it when the time is over is named.
//! - **monitor** compares the mount on the directory with the device by number; deeper levels read and write.

#![cfg_attr(not(test), no_main)]

mod check;
mod force_unmount;
mod fstype;
mod metadata;
mod options;
mod pressure;
mod record;
mod signals;
mod source;
mod start;
mod stop;
mod superblock;
mod users;
mod verdict;

use force_unmount::ForceUnmount;
use ocf::mounts::{self, Stack};
use ocf::state::mountinfo::{Mount, lexical};
use ocf::{Agent, Call, Error, Metadata, Result, State, Text, printable};
use serde::Deserialize;
use source::{Identity, Match, Source};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use verdict::Verdict;

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct Filesystem {
    device: Text,
    directory: Text,
    fstype: Text,
    options: Text,
    statusfile_prefix: Text,
    run_fsck: RunFsck,
    /// None: the default of this distribution.
    fast_stop: Option<bool>,
    force_clones: bool,
    /// None: the default of this distribution.
    force_unmount: Option<Text>,
    term_signals: String,
    kill_signals: String,
    signal_delay: String,
    check_readonly: bool,
    lazy_unmount: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RunFsck {
    Auto,
    Force,
    No,
}

impl Agent for Filesystem {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        format!("{} on {}", self.device, self.directory)
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        if self.names_nothing(call)? {
            return Ok(State::Stopped);
        }
        let (verdict, stack) = self.verdict(call)?;
        call.log.trace(format_args!("verdict: {verdict:?}"));
        call.because(self.trouble(&verdict));
        match verdict {
            Verdict::Absent => self.absent(&stack, call),
            Verdict::Mounted(mount) => {
                check::health(self, &mount, stack.shut_down, call)?;
                Ok(State::Running)
            }
            // The question was whether this resource is here, and it is not.
            Verdict::Foreign(_) if call.probe => Ok(State::Stopped),
            other => Err(self.trouble(&other)),
        }
    }

    fn monitor_may_hang(&self, call: &Call) -> bool {
        call.check_level > 0
    }

    fn start(&self, call: &Call) -> Result<()> {
        start::start(self, call)
    }

    fn stop(&self, call: &Call) -> Result<()> {
        stop::stop(self, call)
    }

    fn validate(&self, call: &Call) -> Result<()> {
        if self.names_nothing(call)? {
            return Ok(());
        }
        start::validate(self, call)
    }

    fn by_hand(&self, _action: &str, call: &Call) -> Result<()> {
        stop::show_users(self, call)
    }
}

impl Filesystem {
    /// True if nothing can ever be mounted with these parameters, and the action need not fail over that.
    fn names_nothing(&self, call: &Call) -> Result<bool> {
        let action = call.action.as_str();
        if self.device.is_empty() && action != "users" {
            return Err(Error::configured(
                "parameter device is empty: name a device, a server's export or a directory",
            ));
        }
        for (name, value) in [("device", &self.device), ("directory", &self.directory)] {
            if value.has_blank_edge() {
                return match action {
                    "stop" => Ok(true),
                    _ => Err(Error::configured(format_args!(
                        "parameter {name} is '{value}': white space at its ends is not accepted"
                    ))),
                };
            }
        }
        if self.directory.is_empty() {
            return match action {
                "stop" | "monitor" | "validate-all" if Source::new(self, call).is_device() => Ok(true),
                _ => Err(Error::configured("parameter directory is empty: name the mount point")),
            };
        }
        if !self.directory.as_path().is_absolute() {
            // It has never been started, and a stop that fails would cost the node.
            if action == "stop" {
                return Ok(true);
            }
            return Err(Error::configured(format_args!(
                "parameter directory is '{}': accepted is an absolute path",
                self.directory
            )));
        }
        if lexical(self.directory.as_path()) == Path::new("/") {
            return self.names_the_root(call);
        }
        Ok(false)
    }

    fn names_the_root(&self, call: &Call) -> Result<bool> {
        match call.action.as_str() {
            "stop" | "validate-all" => Ok(true),
            "monitor" if call.probe => Ok(true),
            _ => Err(Error::configured(format_args!(
                "parameter directory is '{}': the root directory is not accepted",
                self.directory
            ))),
        }
    }

    /// What is on the directory, and what it means.
    fn verdict(&self, call: &Call) -> Result<(Verdict, Stack)> {
        let stack = mounts::at(call, self.directory.as_path())?;
        if stack.directory == Path::new("/") {
            // By way of a symbolic link.
            self.names_the_root(call)?;
            return Ok((Verdict::Absent, Stack::default()));
        }
        call.log.trace(format_args!("on {}: {:?}", self.directory, stack.visible));
        let source = Source::new(self, call);
        // What start wrote down counts where the directory does not show it.
        let recorded = std::cell::OnceCell::new();
        let record = || recorded.get_or_init(|| record::read(call, self)).as_ref();
        let identity = std::cell::OnceCell::new();
        let identify = || match identity.get() {
            Some(known) => Ok(known),
            None => source::identify(&source, call).map(|found| identity.get_or_init(|| found)),
        };
        let judge = |mounts: &[Mount]| -> Result<Vec<(Mount, Match)>> {
            let judged = mounts.iter().map(|mount| {
                let found = source::compare(self, &source, identify()?, mount, call);
                let by_record = found != Match::Ours && record().is_some_and(|record| record.is_of(mount));
                Ok((mount.clone(), if by_record { Match::Ours } else { found }))
            });
            judged.collect()
        };
        let visible = judge(&stack.visible)?;
        call.log.trace(format_args!("{source:?} is {:?}: {visible:?}", identity.get()));
        if visible.iter().any(|(_, found)| *found == Match::Ours) {
            return Ok((verdict::judge(visible, Vec::new()), stack));
        }
        if let Some(mount) = record().map(|record| record.find(call)).transpose()?.flatten() {
            return Ok((Verdict::Elsewhere(mount), stack));
        }
        if stack.unreadable && stack.visible.is_empty() {
            return Ok((Verdict::Unknown("it does not answer".into()), stack));
        }
        let mut hidden = Vec::new();
        if stack.may_hide() {
            // A mount of a block device shows its number, unless the file system may have several devices.
            let device = match identify()? {
                Identity::Block(device) if fstype::has_one_device(&self.fstype.to_string_lossy()) => {
                    Some(*device)
                }
                _ => None,
            };
            hidden = judge(&mounts::hidden(call, &stack, device)?)?;
        }
        Ok((verdict::judge(visible, hidden), stack))
    }

    /// Nothing is on the directory. Before a stop says so, it has to be sure that nothing is elsewhere.
    fn absent(&self, stack: &Stack, call: &Call) -> Result<State> {
        if let Some(mount) = self.left_aside(&stack.directory, call)?.first() {
            return Err(Error::generic(format_args!(
                "{} was moved to {} by a stop that did not end",
                self.device,
                show(&mount.point)
            )));
        }
        if call.action == "stop" && record::read(call, self).is_some() {
            return Err(Error::generic(format_args!("{} was unmounted by somebody else", self.device)));
        }
        Ok(State::Stopped)
    }

    /// Mounts of the resource where a stop with the word move leaves them when it is killed.
    fn left_aside(&self, directory: &Path, call: &Call) -> Result<Vec<Mount>> {
        let Some(aside) = ForceUnmount::new(self, call).aside(directory) else { return Ok(Vec::new()) };
        let mut mounts = mounts::at(call, &aside)?.visible;
        if !mounts.is_empty() {
            let source = Source::new(self, call);
            let identity = source::identify(&source, call)?;
            mounts.retain(|mount| source::compare(self, &source, &identity, mount, call) == Match::Ours);
        }
        Ok(mounts)
    }

    /// Why the resource is neither mounted nor not.
    fn trouble(&self, verdict: &Verdict) -> Error {
        let device = &self.device;
        let directory = &self.directory;
        Error::generic(match verdict {
            Verdict::Absent => format!("nothing is mounted on {directory}"),
            Verdict::Mounted(_) => format!("{device} is mounted on {directory}"),
            Verdict::Foreign(mount) => {
                format!("{} is mounted on {directory}, not {device}", printable(mount.source.as_bytes()))
            }
            Verdict::Several(mounts) => {
                format!("{} mounts cover each other on {directory}: unmount all but {device}", mounts.len())
            }
            Verdict::Hidden(_) => {
                format!("{device} is mounted on {directory}, but another mount hides it: unmount that first")
            }
            Verdict::Elsewhere(mount) => {
                format!("{device} was mounted on {directory} and is on {} now", show(&mount.point))
            }
            Verdict::Unknown(why) => {
                format!("cannot tell whether {directory} has {device} mounted: {why}")
            }
        })
    }
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

ocf::main!(Filesystem);
