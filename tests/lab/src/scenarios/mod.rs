//! The scenarios, one file each, and how one is run.

mod drbd_real;
mod faults;
mod field;
mod lrm;
mod lvm_real;
mod openvz_links;
mod openvz_pair;
mod promotable;
mod smoke;
mod storage_backend;
mod xen_drbd;
mod xen_faults;
mod xen_ha;
mod xen_striped;

use crate::lab::Wish;
use crate::{Error, Lab, Result};
use std::path::Path;
use std::time::Instant;

/// A story on machines, with an end that is right or wrong.
#[derive(Debug)]
pub struct Scenario {
    /// By which it is asked for.
    pub name: &'static str,
    /// In one line.
    pub about: &'static str,
    /// The machines it wants.
    pub wish: fn() -> Wish,
    /// What happens on them.
    pub story: fn(&Lab) -> Result,
}

/// All of them. `lab run --all` begins at the end, with those that take longest; those of Xen, which want both processors,
/// stand beside those that mostly wait.
pub const ALL: &[Scenario] = &[
    smoke::SCENARIO,
    lrm::SCENARIO,
    drbd_real::SCENARIO,
    lvm_real::SCENARIO,
    storage_backend::HEARTBEAT,
    storage_backend::PACEMAKER,
    promotable::SCENARIO,
    field::SCENARIO,
    xen_ha::SCENARIO,
    faults::SCENARIO,
    xen_drbd::SCENARIO,
    openvz_links::SCENARIO,
    openvz_pair::SCENARIO,
    xen_striped::SCENARIO,
];

impl Scenario {
    /// Runs it. On failure what explains it is copied into a directory below `reports`. A scenario whose nodes did not boot
    /// is tried once more.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, reports: &Path) -> Result {
        println!("{}: {}", self.name, self.about);
        let begin = Instant::now();
        let result = match self.once(reports) {
            Err(Error::Boot(why)) => {
                println!("  boot failed, once more: {why}");
                self.once(reports)
            }
            other => other,
        };
        let seconds = begin.elapsed().as_secs_f64();
        match &result {
            Ok(()) => println!("  passed in {seconds:.1} s: {}", self.name),
            Err(error) => println!("  FAILED after {seconds:.1} s: {}: {error}", self.name),
        }
        result
    }

    fn once(&self, reports: &Path) -> Result {
        let lab = Lab::new(&(self.wish)())?;
        lab.boot().and_then(|()| (self.story)(&lab)).inspect_err(|_| {
            let directory = reports.join(self.name);
            lab.collect(&directory);
            println!("  logs of all nodes: {}", directory.display());
        })
    }
}
