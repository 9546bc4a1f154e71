//! NVMe over TCP: the initial handshake, and Connect to the admin queue of the subsystem (NVMe/TCP Transport 1.0, NVMe over
//! Fabrics 1.1). Nothing is enabled, so no controller lives longer than the connection.

use super::{Conversation, get, put};
use ocf::Call;
use std::net::SocketAddr;

const IC_REQ: u8 = 0;
const IC_RESP: u8 = 1;
const CAPSULE_CMD: u8 = 4;
const CAPSULE_RESP: u8 = 5;
const IC_LENGTH: usize = 128;
const COMMAND_LENGTH: usize = 72;
const DATA_LENGTH: usize = 1024;
const RESPONSE_LENGTH: usize = 24;
/// Status "Connect Invalid Host": the subsystem is there, and this host is not admitted.
const INVALID_HOST: u16 = 0x184;
/// Status "Connect Invalid Parameters": there is no such subsystem in the port.
const INVALID_PARAMETER: u16 = 0x182;
/// A host that nobody has, to ask with where nobody is named.
const NOBODY: &str = "nqn.2014-08.org.nvmexpress:uuid:f0f0f0f0-0000-5000-8000-676e62640000";
const HOST_ID: [u8; 16] = *b"gnbd-export\0ask!";

/// Asks for the subsystem `nqn`: as the host `host`, which must be admitted, or as nobody, who may be refused.
pub fn nvme(address: SocketAddr, nqn: &str, host: Option<&str>, call: &Call) -> Result<(), String> {
    let mut talk = Conversation::begin(address, call)?;
    let mut hello = [0; IC_LENGTH];
    put(&mut hello, 0, &header(IC_REQ, IC_LENGTH, 0, IC_LENGTH));
    talk.say(&hello)?;
    let answer: [u8; IC_LENGTH] = talk.hear()?;
    if answer.first() != Some(&IC_RESP) || get::<4>(&answer, 4) != length(IC_LENGTH) {
        return Err("it does not speak NVMe over TCP".into());
    }
    talk.say(&connect(nqn, host.unwrap_or(NOBODY)))?;
    let answer: [u8; RESPONSE_LENGTH] = talk.hear()?;
    if answer.first() != Some(&CAPSULE_RESP) {
        return Err("it ends the NVMe conversation".into());
    }
    let status = u16::from_le_bytes(get(&answer, 22)) >> 1 & 0x7ff;
    match (status, host) {
        (0, _) | (INVALID_HOST, None) => Ok(()),
        (INVALID_HOST, Some(host)) => Err(format!("it refuses host {host}")),
        (INVALID_PARAMETER, _) => Err("it does not know the subsystem".into()),
        (status, _) => Err(format!("Connect gets status {status:#x}")),
    }
}

/// The common header of every message: type, flags, header length, data offset, whole length.
fn header(kind: u8, header_length: usize, data_offset: usize, whole: usize) -> [u8; 8] {
    let mut header = [kind, 0, byte(header_length), byte(data_offset), 0, 0, 0, 0];
    put(&mut header, 4, &length(whole));
    header
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn length(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// A command capsule with Connect and its data.
fn connect(nqn: &str, host: &str) -> Vec<u8> {
    const WHOLE: usize = COMMAND_LENGTH + DATA_LENGTH;
    let mut message = vec![0; WHOLE];
    put(&mut message, 0, &header(CAPSULE_CMD, COMMAND_LENGTH, COMMAND_LENGTH, WHOLE));
    let entry = 8;
    // Fabrics command, SGL in use, command 1, Connect.
    put(&mut message, entry, &[0x7f, 0x40, 1, 0, 0x01]);
    // The data follow in the capsule: offset 0, their length, and the type of that descriptor.
    put(&mut message, entry + 32, &length(DATA_LENGTH));
    put(&mut message, entry + 39, &[0x01]);
    // Queue 0 of 32 entries (the number is one less), no keep-alive.
    put(&mut message, entry + 44, &31_u16.to_le_bytes());
    let data = COMMAND_LENGTH;
    put(&mut message, data, &HOST_ID);
    // Any controller.
    put(&mut message, data + 16, &u16::MAX.to_le_bytes());
    put(&mut message, data + 256, nqn.as_bytes());
    put(&mut message, data + 512, host.as_bytes());
    message
}
