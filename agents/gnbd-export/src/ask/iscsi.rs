//! iSCSI: a discovery session, in which every initiator may ask for the targets (RFC 7143). It touches no session of a client.

use super::{Conversation, get, put};
use ocf::Call;
use std::net::SocketAddr;

const HEADER: usize = 48;
/// Login and Text requests, for immediate delivery, and the answers.
const LOGIN: u8 = 0x43;
const LOGIN_ANSWER: u8 = 0x23;
const TEXT: u8 = 0x44;
const TEXT_ANSWER: u8 = 0x24;
const FINAL: u8 = 0x80;
/// From operational negotiation to the full feature phase.
const TO_FULL_FEATURE: u8 = FINAL | 1 << 2 | 3;
/// The last one is for LIO, which puts nothing into its answers to who does not say how much he takes.
const LOGIN_KEYS: &[u8] =
    b"InitiatorName=iqn.2003-01.org.linux-iscsi.gnbd-export:monitor\0SessionType=Discovery\0\
HeaderDigest=None\0DataDigest=None\0\
MaxRecvDataSegmentLength=65536\0";
const SEND_TARGETS: &[u8] = b"SendTargets=All\0";
/// How often a target may answer before it lets us in.
const LOGIN_ROUNDS: u32 = 4;
/// Longest answer that is listened to.
const DATA_MAX: usize = 64 * 1024;

/// Asks whether the portal offers the target `iqn`.
pub fn iscsi(address: SocketAddr, iqn: &str, call: &Call) -> Result<(), String> {
    let mut talk = Conversation::begin(address, call)?;
    let mut keys = LOGIN_KEYS;
    let mut next = 0;
    for round in 1.. {
        talk.say(&request(LOGIN, TO_FULL_FEATURE, keys, next))?;
        let (header, _) = answer(&mut talk)?;
        if header.first() != Some(&LOGIN_ANSWER) {
            return Err("it does not speak iSCSI".into());
        }
        let [class, detail] = get(&header, 36);
        if class != 0 {
            return Err(format!("it refuses the login with status {class:02x}{detail:02x}"));
        }
        next = u32::from_be_bytes(get(&header, 24)).wrapping_add(1);
        if get::<1>(&header, 1) == [TO_FULL_FEATURE] {
            break;
        }
        if round == LOGIN_ROUNDS {
            return Err("it wants to negotiate more than a discovery needs".into());
        }
        // It has declared something of its own; there is nothing to add.
        keys = &[];
    }
    talk.say(&request(TEXT, FINAL, SEND_TARGETS, next))?;
    let (header, data) = answer(&mut talk)?;
    if header.first() != Some(&TEXT_ANSWER) {
        return Err("it does not list its targets".into());
    }
    let wanted = format!("TargetName={iqn}");
    let has = data.split(|&byte| byte == 0).any(|key| key == wanted.as_bytes());
    if has { Ok(()) } else { Err("it does not list the target".into()) }
}

/// A request with its keys, padded to words of four bytes.
fn request(kind: u8, flags: u8, keys: &[u8], expected_status: u32) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    put(&mut message, 0, &[kind, flags]);
    let length = u32::try_from(keys.len()).unwrap_or(0).to_be_bytes();
    put(&mut message, 5, &get::<3>(&length, 1));
    if kind == LOGIN {
        // Session identifier of the random kind.
        put(&mut message, 8, &[0x80, b'g', b'n', b'b', 0, 1]);
    } else {
        // Task 1, which no answer has begun.
        put(&mut message, 16, &1_u32.to_be_bytes());
        put(&mut message, 20, &u32::MAX.to_be_bytes());
    }
    put(&mut message, 24, &1_u32.to_be_bytes());
    put(&mut message, 28, &expected_status.to_be_bytes());
    message.extend(keys);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn answer(talk: &mut Conversation) -> Result<([u8; HEADER], Vec<u8>), String> {
    let header: [u8; HEADER] = talk.hear()?;
    let [ahs, high, middle, low] = get(&header, 4);
    let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
    if length > DATA_MAX {
        return Err("it does not speak iSCSI".into());
    }
    let mut data = talk.hear_some(usize::from(ahs) * 4 + length.next_multiple_of(4))?;
    data.drain(..usize::from(ahs) * 4);
    data.truncate(length);
    Ok((header, data))
}
