//! What the lab's Xen guest writes: numbered records, each on the disk before it is acknowledged and before the next is
//! written. What is there afterwards tells whether one was lost, and whether two guests wrote at the same time.

use crate::{Doing, Result, failed};
use std::io::{ErrorKind, Read};

/// Bytes of a record: a sector.
pub const SIZE: usize = 512;
/// On a bare disk no more are looked for.
pub const MOST: u64 = 8192;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// How many records without a gap.
    pub count: u64,
    /// By how many boots of a guest they were written, one after the other.
    pub boots: u64,
}

/// The record `number`, the first being 0, of the boot with this id.
#[must_use]
pub fn render(number: u64, boot: &str) -> [u8; SIZE] {
    let mut record = [0; SIZE];
    let text = format!("{number} {boot}\n");
    // As long as the text goes into all of the sector, a torn one shows.
    for (place, byte) in record.iter_mut().zip(text.bytes().cycle()) {
        *place = byte;
    }
    record
}

/// Reads records up to the first sector of zeros.
///
/// # Errors
/// When one is damaged or missing, or one boot's records stand between those of another.
pub fn scan(from: &mut impl Read) -> Result<Found> {
    let mut found = Found::default();
    let mut seen: Vec<String> = Vec::new();
    let mut end = None;
    for at in 0..MOST {
        let mut sector = [0; SIZE];
        match from.read_exact(&mut sector) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).doing(format_args!("reading record {at}")),
        }
        if sector.iter().all(|byte| *byte == 0) {
            end = end.or(Some(at));
            continue;
        }
        if let Some(end) = end {
            return Err(failed(format!("record {end} is missing, and record {at} is there")));
        }
        let line = sector.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let boot = line.split_once(' ').map(|(_, boot)| boot).unwrap_or_default();
        if sector != render(at, boot) {
            return Err(failed(format!("record {at} is damaged: {line:?}")));
        }
        if seen.last().is_none_or(|last| last != boot) {
            if seen.iter().any(|other| other == boot) {
                return Err(failed(format!("two guests wrote at the same time: record {at} of {boot}")));
            }
            seen.push(boot.to_owned());
        }
        found = Found { count: at + 1, boots: seen.len() as u64 };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(boots: &[&str]) -> Vec<u8> {
        boots.iter().zip(0..).flat_map(|(boot, number)| render(number, boot)).collect()
    }

    #[test]
    fn records_of_one_boot_after_the_other_are_counted() {
        let mut all = disk(&["a", "a", "b"]);
        assert_eq!(scan(&mut all.as_slice()).unwrap(), Found { count: 3, boots: 2 });
        all.resize(all.len() + 10 * SIZE, 0);
        assert_eq!(scan(&mut all.as_slice()).unwrap(), Found { count: 3, boots: 2 });
        assert_eq!(scan(&mut [0; SIZE].as_slice()).unwrap(), Found::default());
    }

    #[test]
    fn a_lost_a_torn_and_a_second_writers_record_are_found() {
        let lost = [&disk(&["a", "a"])[..], &[0; SIZE], &render(3, "a")].concat();
        assert!(scan(&mut lost.as_slice()).unwrap_err().to_string().contains("record 2 is missing"));
        let mut torn = disk(&["a", "a"]);
        torn[SIZE + 300..].fill(b'x');
        assert!(scan(&mut torn.as_slice()).unwrap_err().to_string().contains("record 1 is damaged"));
        let two = disk(&["a", "b", "a"]);
        assert!(scan(&mut two.as_slice()).unwrap_err().to_string().contains("at the same time"));
    }
}
