//! The protocol of xenstored (xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt): a header of four numbers in the
//! machine's own order, and up to 4096 bytes behind it.

/// Length of a header.
pub const HEADER: usize = 16;
/// Most that may stand behind a header.
pub const PAYLOAD_MAX: usize = 4096;

/// What a message asks or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The names below a path.
    Directory = 1,
    /// The value at a path.
    Read = 2,
    /// Tell of changes at a path.
    Watch = 4,
    /// A change, told without being asked.
    WatchEvent = 15,
    /// A refusal, with the name of an errno.
    Error = 16,
    /// The names below a path, from an offset on, where they do not fit in one message.
    DirectoryPart = 22,
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What kind of message follows, as a number: it may be one that we never ask for.
    pub kind: u32,
    /// The number that the question had.
    pub request: u32,
    /// How many bytes follow.
    pub length: usize,
}

/// A message: what is asked, with the strings that the question takes.
pub fn encode(kind: Kind, request: u32, strings: &[&str]) -> Vec<u8> {
    let length: usize = strings.iter().map(|text| text.len() + 1).sum();
    let mut message = Vec::with_capacity(HEADER + length);
    // No transaction: nothing is written.
    for number in [kind as u32, request, 0, u32::try_from(length).unwrap_or(u32::MAX)] {
        message.extend(number.to_ne_bytes());
    }
    for text in strings {
        message.extend(text.as_bytes());
        message.push(0);
    }
    message
}

/// Reads a header. None: it promises more than the protocol allows.
pub fn header(bytes: &[u8; HEADER]) -> Option<Header> {
    let mut numbers = bytes.chunks_exact(4).map(|chunk| {
        let mut number = [0; 4];
        number.copy_from_slice(chunk);
        u32::from_ne_bytes(number)
    });
    let (kind, request, _, length) = (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_MAX)?;
    Some(Header { kind, request, length })
}

/// The strings of an answer, each of which ends with a zero. None: the last one does not.
pub fn strings(payload: &[u8]) -> Option<Vec<String>> {
    if payload.is_empty() {
        return Some(Vec::new());
    }
    let body = payload.strip_suffix(&[0])?;
    let texts = body.split(|&byte| byte == 0);
    Some(texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_header_and_strings_that_end_with_a_zero() {
        let message = encode(Kind::Read, 7, &["/local/domain/1/name"]);
        assert_eq!(message.len(), HEADER + 21);
        let head: [u8; HEADER] = message[..HEADER].try_into().unwrap();
        assert_eq!(header(&head), Some(Header { kind: 2, request: 7, length: 21 }));
        assert_eq!(&message[HEADER..], b"/local/domain/1/name\0");
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let mut head = [0_u8; HEADER];
        head[12..].copy_from_slice(&4096_u32.to_ne_bytes());
        assert!(header(&head).is_some());
        head[12..].copy_from_slice(&4097_u32.to_ne_bytes());
        assert_eq!(header(&head), None);
        assert_eq!(header(&[0xff; HEADER]), None);
    }

    #[test]
    fn the_strings_of_an_answer_are_whole_or_nothing() {
        assert_eq!(strings(b"0\x0012\x00").unwrap(), ["0", "12"]);
        assert!(strings(b"").unwrap().is_empty());
        assert_eq!(strings(b"0\x0012"), None);
    }
}
