//! The inside of a node: first the initramfs, then process 1, then the server that does what the host asks.

mod domain;
mod early;
mod init;
mod server;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let own = words.next().unwrap_or_default();
    let result = match words.next().as_deref() {
        Some("init") => init::run(),
        Some("serve") => server::run(),
        Some("records") => domain::check(),
        _ if own == "/sbin/poweroff" => domain::power_off(),
        _ if own == "/sbin/reboot" => domain::restart(),
        _ if std::process::id() == 1 && domain::is_one() => domain::run(),
        // The kernel hands over those words of its command line that it does not know.
        _ if std::process::id() == 1 => early::run(),
        _ => {
            eprintln!("lab-guest is started by the lab inside a node");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-guest: {error}");
            if std::process::id() == 1 {
                // Better off at once than a panic of the kernel, which hides the line above.
                let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_POWER_OFF);
            }
            ExitCode::FAILURE
        }
    }
}
