//! start: from files that are really here to a container that runs.

use crate::codes::{self, LOCKED, NO_CONFIG, RUNNING};
use crate::config::Config;
use crate::ctid::Ctid;
use crate::look::{Kernel, Program, ask, kernel, look};
use crate::state::Run;
use crate::{DumpPolicy, OpenVz, area, dump, record};
use ocf::{Call, Error, Output, Result};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two tries while another vzctl works on the container.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Starts the container. Called when it does not run.
pub fn start(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    let program = Program::of(agent, call);
    let files = check(agent, ctid, call)?;
    if let Some((config, private)) = &files {
        dump::settle(agent, config, private, call)?;
        warn_of_boot(config, call);
        record::warn(config, private, call);
    }
    // A dump may be where no configuration says so.
    if agent.dump_policy != DumpPolicy::Resume
        && !call.dry_run
        && ask(program, ctid, call)?.run == Run::Suspended
    {
        return Err(Error::generic(format_args!(
            "{ctid} is suspended and its dump was not found: restore it by hand, or set dump_policy=resume"
        )));
    }
    run(agent, program, ctid, files.as_ref().map(|(config, _)| config), call)?;
    if let Some((config, private)) = &files {
        record::keep(config, private, call);
    }
    Ok(())
}

/// The container's configuration and private area, if they are as they have to be. None: a virtual machine.
pub fn check(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<Option<(Config, PathBuf)>> {
    call.step("looking for the private area");
    match Config::read(ctid, call)? {
        Some(config) => {
            let private = area::check_private(&config, agent.require_mount, call)?;
            Ok(Some((config, private)))
        }
        None if Program::of(agent, call) == Program::Prlctl => Ok(None),
        None => {
            let output =
                Output { code: Some(NO_CONFIG), signal: None, stdout: Vec::new(), stderr: Vec::new() };
            Err(codes::failure("vzctl", &call.action, ctid.as_str(), &output))
        }
    }
}

/// The script of the service vz starts such containers when a node boots, on both nodes.
fn warn_of_boot(config: &Config, call: &Call) {
    if config.own("ONBOOT").is_some_and(|value| value.eq_ignore_ascii_case("yes")) {
        call.log.warn(format_args!(
            "{}: ONBOOT=yes lets the service vz start it at boot beside the cluster: set it to no",
            config.id
        ));
    }
}

fn run(agent: &OpenVz, program: Program, ctid: &Ctid, config: Option<&Config>, call: &Call) -> Result<()> {
    let name = program.name();
    if !call.change(format_args!("run {name} start {ctid}")) {
        return Ok(());
    }
    loop {
        let began = Instant::now();
        let mut tool = call.tool(name)?.arg("start").arg(ctid.as_str());
        if agent.wait && program == Program::Vzctl {
            tool = tool.arg("--wait");
        }
        let output = tool.run()?;
        if output.succeeded() {
            return Ok(());
        }
        call.log.info(format_args!("{name} start {ctid}: {}", output.complaint()));
        if program == Program::Vzctl && output.code == Some(LOCKED) {
            if !is_time_for_another(call, began.elapsed()) {
                return Err(locked(ctid, config, call));
            }
            call.obstacle(locked(ctid, config, call).reason());
            sleep(PAUSE);
            continue;
        }
        let runs_already = program == Program::Prlctl || output.code == Some(RUNNING);
        return if runs_already {
            really(agent, program, ctid, &output, call)
        } else {
            Err(why(program, ctid, &output))
        };
    }
}

fn why(program: Program, ctid: &Ctid, output: &Output) -> Error {
    codes::failure(program.name(), "start", ctid.as_str(), output)
}

/// The tool says that it runs already: somebody else was faster, or the tool is wrong.
fn really(agent: &OpenVz, program: Program, ctid: &Ctid, output: &Output, call: &Call) -> Result<()> {
    if look(agent, ctid, call)?.is_alive() {
        return Ok(());
    }
    if let Kernel::Leftover(group) = kernel(ctid, program, call) {
        let group = area::show(&group);
        return Err(Error::generic(format_args!(
            "{ctid} does not run, but vzctl takes an empty control group for it: remove {group}"
        )));
    }
    Err(why(program, ctid, output))
}

/// Whether a pause, a try as long as the last one, and a word about it still fit.
pub fn is_time_for_another(call: &Call, last: Duration) -> bool {
    call.remaining() > PAUSE + last + last / 2 + Duration::from_millis(300)
}

/// The sentence about a lock that was never given up.
pub fn locked(ctid: &Ctid, config: Option<&Config>, call: &Call) -> Error {
    let holder = config.and_then(|config| area::lock_holder(config, call));
    let holder = holder.unwrap_or_else(|| "another vzctl".into());
    Error::generic(format_args!("{ctid} is locked by {holder}: wait for it to end, or end it"))
}
