//! Process 1 of a Xen guest of the lab. It has no root but its initramfs, and writes records to its disk for ever.
//!
//! The kernel hands over what its command line says: `RECORDS` is the disk, `FS` a file system on it, and with `DEAF` the
//! guest does not shut down when it is asked to.

use crate::early::{self, wait_for};
use lab::records::{self, MOST, SIZE};
use lab::{Doing, Result, failed};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use std::env::var;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

/// Between two records.
const PAUSE: Duration = Duration::from_millis(200);

/// True in a guest.
pub fn is_one() -> bool {
    var("RECORDS").is_ok()
}

/// Never returns: without process 1 the kernel panics.
pub fn run() -> Result {
    if let Err(error) = write() {
        println!("records: BAD: {error}");
    }
    loop {
        sleep(Duration::from_secs(60));
    }
}

fn write() -> Result {
    early::kernel_file_systems()?;
    early::load_modules()?;
    if var("DEAF").is_ok() {
        fs::remove_file("/sbin/poweroff")?;
    }
    let device = var("RECORDS").map_err(|_| failed("no RECORDS"))?;
    wait_for(&device)?;
    let mut file = if let Ok(kind) = var("FS") {
        let (none, flags) = (None::<&str>, MsFlags::MS_NOATIME);
        mount(Some(device.as_str()), "/new", Some(kind.as_str()), flags, none).doing("mounting the disk")?;
        File::options().read(true).write(true).create(true).truncate(false).open("/new/records")?
    } else {
        File::options().read(true).write(true).open(&device)?
    };
    let found = records::scan(&mut Read::by_ref(&mut file).take(MOST * SIZE as u64))?;
    println!("records: found {} of {} boots", found.count, found.boots);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    for number in found.count.. {
        file.write_all_at(&records::render(number, boot.trim_end()), number * SIZE as u64)?;
        file.sync_data()?;
        println!("records: acknowledged {}", number + 1);
        sleep(PAUSE);
    }
    Ok(())
}

/// What the kernel runs when the guest is asked to shut down.
pub fn power_off() -> Result {
    nix::unistd::sync();
    reboot(RebootMode::RB_POWER_OFF)?;
    Ok(())
}

/// The same for a reboot.
pub fn restart() -> Result {
    nix::unistd::sync();
    reboot(RebootMode::RB_AUTOBOOT)?;
    Ok(())
}

/// Reads records from standard input and says what is there.
pub fn check() -> Result {
    let found = records::scan(&mut std::io::stdin().lock())?;
    println!("{} {}", found.count, found.boots);
    Ok(())
}
