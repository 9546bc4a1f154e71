//! NBD: the fixed newstyle negotiation up to an open export (doc/proto.md of NetworkBlockDevice/nbd). nbd-server opens the
//! device only then, and says before that the size is 0.

use super::{Conversation, get, put};
use ocf::Call;
use std::net::SocketAddr;

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const FIXED_NEWSTYLE: u16 = 1;
const OPT_GO: u32 = 7;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const CMD_DISC: u16 = 2;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_ERROR: u32 = 1 << 31;
const REP_ERR_UNKNOWN: u32 = REP_ERROR + 6;
const INFO_EXPORT: u16 = 0;
const TRANSMISSION_READ_ONLY: u16 = 2;
/// Longest reply that is listened to; those that are expected are shorter than 100 bytes.
const REPLY_MAX: u32 = 4096;

/// What the server says of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// In bytes.
    pub size: u64,
    /// For reading only.
    pub readonly: bool,
}

/// Asks for the export `name`.
pub fn nbd(address: SocketAddr, name: &str, call: &Call) -> Result<Answer, String> {
    let mut talk = Conversation::begin(address, call)?;
    let hello: [u8; 18] = talk.hear()?;
    let flags = u16::from_be_bytes(get(&hello, 16));
    if &get::<8>(&hello, 0) != b"NBDMAGIC"
        || &get::<8>(&hello, 8) != OPTION_MAGIC
        || flags & FIXED_NEWSTYLE == 0
    {
        return Err("it does not speak NBD".into());
    }
    talk.say(&u32::from(FIXED_NEWSTYLE).to_be_bytes())?;
    // The name and no wish for anything but the export's size.
    let mut data = u32::try_from(name.len()).unwrap_or(0).to_be_bytes().to_vec();
    data.extend(name.as_bytes());
    data.extend([0, 0]);
    talk.say(&option(OPT_GO, &data))?;
    let mut answer = None;
    loop {
        let reply: [u8; 20] = talk.hear()?;
        let length = u32::from_be_bytes(get(&reply, 16));
        if u64::from_be_bytes(get(&reply, 0)) != REPLY_MAGIC || length > REPLY_MAX {
            return Err("it does not speak NBD".into());
        }
        let data = talk.hear_some(usize::try_from(length).unwrap_or(0))?;
        match u32::from_be_bytes(get(&reply, 12)) {
            REP_INFO if u16::from_be_bytes(get(&data, 0)) == INFO_EXPORT && data.len() >= 12 => {
                let flags = u16::from_be_bytes(get(&data, 10));
                let readonly = flags & TRANSMISSION_READ_ONLY != 0;
                answer = Some(Answer { size: u64::from_be_bytes(get(&data, 2)), readonly });
            }
            REP_INFO => {}
            REP_ACK => break,
            REP_ERR_UNKNOWN => return Err("it does not know the export".into()),
            error => return Err(format!("it answers with {error:#x}")),
        }
    }
    // Good manners; the answer is there already.
    let mut farewell = [0; 28];
    put(&mut farewell, 0, &REQUEST_MAGIC.to_be_bytes());
    put(&mut farewell, 6, &CMD_DISC.to_be_bytes());
    let _ = talk.say(&farewell);
    answer.ok_or_else(|| "it does not tell the size".into())
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let mut message = OPTION_MAGIC.to_vec();
    message.extend(number.to_be_bytes());
    message.extend(u32::try_from(data.len()).unwrap_or(0).to_be_bytes());
    message.extend(data);
    message
}
