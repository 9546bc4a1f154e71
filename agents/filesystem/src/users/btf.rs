//! Where the running kernel keeps what: its own type information, BTF (the kernel's Documentation/bpf/btf.rst).

use std::collections::BTreeMap;

const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;

/// The functions that are looked for begin with this: most others are known by it.
const COMMON: &str = "bpf_";

/// The types of the running kernel.
#[derive(Debug)]
pub struct Types<'a> {
    types: &'a [u8],
    names: &'a [u8],
    /// Where each type begins, by its number; number 0 is none.
    places: Vec<u32>,
    functions: BTreeMap<&'static str, u32>,
}

/// How to come from a structure to something that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What to add to the address before each load.
    pub loads: Vec<i16>,
    /// The number of the type of what is loaded last.
    pub end: u32,
}

/// One type: its kind, how many members it has, the number or size behind them, and what comes behind that.
struct Type<'a> {
    kind: u32,
    count: u32,
    has_bit_fields: bool,
    other: u32,
    rest: &'a [u8],
}

impl<'a> Types<'a> {
    /// Reads the file's content, and looks for functions by their names. None: it is not understood.
    pub fn parse(file: &'a [u8], functions: &[&'static str]) -> Option<Self> {
        let header: [u32; 6] = numbers(file, 0)?;
        let [magic, length, types_at, types_size, names_at, names_size] = header;
        // Version 1, native byte order.
        if magic & 0x00ff_ffff != 0x0001_eb9f {
            return None;
        }
        let part = |at: u32, size: u32| {
            let begin = usize::try_from(length.checked_add(at)?).ok()?;
            file.get(begin..)?.get(..usize::try_from(size).ok()?)
        };
        let mut found = Self {
            types: part(types_at, types_size)?,
            names: part(names_at, names_size)?,
            places: vec![0],
            functions: BTreeMap::new(),
        };
        found.places.reserve(found.types.len() / 24);
        let mut at = 0;
        while at < found.types.len() {
            let [name, info, _] = numbers(found.types, at)?;
            let (kind, count) = kind_and_count(info);
            if kind == FUNCTION
                && found.begins_with(name, COMMON)
                && let Some(name) = functions.iter().find(|known| found.is_name(name, known))
            {
                found.functions.insert(name, u32::try_from(found.places.len()).ok()?);
            }
            found.places.push(u32::try_from(at).ok()?);
            at += 12 + rest(kind, count)?;
        }
        Some(found)
    }

    /// The number of one of the functions that were asked for.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name).copied()
    }

    /// What the parameter of a function is a pointer to.
    pub fn parameter(&self, function: &str, index: usize) -> Option<u32> {
        let prototype = self.prototype(function)?;
        let [_, id] = numbers(prototype.rest, index * 8)?;
        self.target(id)
    }

    /// The type that a pointer points to.
    pub fn target(&self, id: u32) -> Option<u32> {
        let (_, pointer) = self.plain(id)?;
        (pointer.kind == POINTER).then_some(())?;
        Some(self.plain(pointer.other)?.0)
    }

    /// From structure to structure, by the names of their members.
    pub fn way(&self, from: u32, members: &[&str]) -> Option<Way> {
        let (mut id, mut offset, mut loads) = (from, 0, Vec::new());
        for (index, name) in members.iter().enumerate() {
            let (inside, member) = self.member(id, name)?;
            offset += inside;
            let (plain, found) = self.plain(member)?;
            let is_last = index + 1 == members.len();
            let is_part = matches!(found.kind, STRUCT | UNION);
            id = plain;
            if !is_part || is_last {
                loads.push(i16::try_from(offset).ok()?);
                offset = 0;
            }
            if !is_part && !is_last {
                id = self.target(plain)?;
            }
        }
        Some(Way { loads, end: id })
    }

    /// How many bytes behind the begin of a structure a member is, and of what type. Also within parts without a name.
    fn member(&self, id: u32, name: &str) -> Option<(u32, u32)> {
        let whole = self.get(id).filter(|whole| matches!(whole.kind, STRUCT | UNION))?;
        for index in 0..whole.count {
            let [found, kind, place] = numbers(whole.rest, usize::try_from(index).ok()? * 12)?;
            // With bit fields among them, the upper 8 bits are the size of one.
            let is_bit_field = whole.has_bit_fields && place >> 24 != 0;
            let offset = (if whole.has_bit_fields { place & 0x00ff_ffff } else { place }) / 8;
            if found == 0 {
                if let Some((plain, _)) = self.plain(kind)
                    && let Some((inside, kind)) = self.member(plain, name)
                {
                    return Some((offset + inside, kind));
                }
            } else if !is_bit_field && self.is_name(found, name) {
                return Some((offset, kind));
            }
        }
        None
    }

    fn prototype(&self, function: &str) -> Option<Type<'a>> {
        let function = self.get(self.function(function)?)?;
        self.get(function.other).filter(|it| it.kind == PROTOTYPE)
    }

    /// A type without the words that only qualify it.
    fn plain(&self, mut id: u32) -> Option<(u32, Type<'a>)> {
        const MOST_WORDS: usize = 16;
        for _ in 0..MOST_WORDS {
            let found = self.get(id)?;
            // typedef, volatile, const, restrict, type tag
            if !matches!(found.kind, 8..=11 | 18) {
                return Some((id, found));
            }
            id = found.other;
        }
        None
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let place = *self.places.get(usize::try_from(id).ok()?).filter(|_| id != 0)?;
        let at = usize::try_from(place).ok()?;
        let [_, info, other] = numbers(self.types, at)?;
        let (kind, count) = kind_and_count(info);
        Some(Type { kind, count, has_bit_fields: info >> 31 == 1, other, rest: self.types.get(at + 12..)? })
    }

    fn begins_with(&self, at: u32, name: &str) -> bool {
        let found = usize::try_from(at).ok().and_then(|at| self.names.get(at..));
        found.is_some_and(|found| found.starts_with(name.as_bytes()))
    }

    fn is_name(&self, at: u32, name: &str) -> bool {
        let end = usize::try_from(at).ok().and_then(|at| self.names.get(at + name.len()));
        self.begins_with(at, name) && end == Some(&0)
    }
}

fn kind_and_count(info: u32) -> (u32, u32) {
    (info >> 24 & 0x1f, info & 0xffff)
}

/// How many bytes a type has behind the three numbers that each begins with. None: this kind is not known.
fn rest(kind: u32, count: u32) -> Option<usize> {
    let size = match kind {
        1 | 14 | 17 => 4,                       // integer, variable, tag of a declaration
        ARRAY => 12,                            //
        STRUCT | UNION | 15 | 19 => 12 * count, // variables of a section, enumeration of 64 bits
        6 | PROTOTYPE => 8 * count,             // enumeration
        POINTER | 7..=FUNCTION | 16 | 18 => 0,  // forward declaration, qualifiers, floating-point number
        _ => return None,
    };
    usize::try_from(size).ok()
}

fn numbers<const COUNT: usize>(bytes: &[u8], at: usize) -> Option<[u32; COUNT]> {
    let bytes = bytes.get(at..)?.get(..COUNT * 4)?;
    let mut numbers = [0; COUNT];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *number = u32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and types of a kernel with `struct task { int state:3; int pad; union { struct files *files; }; }`,
    /// `struct files { struct path at; }`, `struct path { long dentry; const struct mnt *mnt; }`, `struct mnt { int dev; }`
    /// and `int bpf_walk(struct task *task)`.
    fn kernel() -> Vec<u8> {
        let names = b"\0bpf_walk\0task\0state\0files\0at\0dentry\0mnt\0dev\0pad\0";
        let name = |wanted: &str| {
            let wanted = [b"\0", wanted.as_bytes(), b"\0"].concat();
            u32::try_from(names.windows(wanted.len()).position(|it| it == wanted).unwrap() + 1).unwrap()
        };
        let (kind, bits) = (|kind: u32, count: u32| kind << 24 | count, 1 << 31);
        let types: Vec<u32> = [
            vec![0, kind(1, 0), 4, 32], // 1: int
            vec![name("task"), kind(STRUCT, 3) | bits, 24],
            vec![name("state"), 1, 3 << 24, name("pad"), 1, 32, 0, 3, 64], // 2
            vec![0, kind(UNION, 1), 8, name("files"), 4, 64],              // 3
            vec![0, kind(POINTER, 0), 5],                                  // 4
            vec![name("files"), kind(STRUCT, 1), 32, name("at"), 6, 64],   // 5
            vec![name("mnt"), kind(8, 0), 7],                              // 6: typedef
            vec![name("at"), kind(STRUCT, 2), 16, name("dentry"), 1, 0, name("mnt"), 8, 64], // 7
            vec![0, kind(POINTER, 0), 9],                                  // 8
            vec![0, kind(10, 0), 10],                                      // 9: const
            vec![name("mnt"), kind(STRUCT, 1), 4, name("dev"), 1, 0],      // 10
            vec![0, kind(POINTER, 0), 2],                                  // 11
            vec![0, kind(PROTOTYPE, 1), 1, name("task"), 11],              // 12
            vec![name("bpf_walk"), kind(FUNCTION, 0), 12],                 // 13
        ]
        .concat();
        let size = u32::try_from(types.len() * 4).unwrap();
        let header = [0x0001_eb9f, 24, 0, size, size, u32::try_from(names.len()).unwrap()];
        let numbers = header.iter().chain(&types).flat_map(|number| number.to_ne_bytes());
        numbers.chain(*names).collect()
    }

    #[test]
    fn a_way_leads_through_pointers_parts_and_parts_without_a_name() {
        let file = kernel();
        let types = Types::parse(&file, &["bpf_walk", "bpf_other"]).unwrap();
        assert_eq!((types.function("bpf_walk"), types.function("bpf_other")), (Some(13), None));
        let task = types.parameter("bpf_walk", 0).unwrap();
        assert_eq!(task, 2);
        let way = |members: &[&str]| types.way(task, members).map(|way| way.loads);
        assert_eq!(way(&["files", "at", "mnt", "dev"]), Some(vec![16, 16, 0]));
        assert_eq!(way(&["pad"]), Some(vec![4]));
        assert_eq!(types.way(task, &["files"]).and_then(|way| types.target(way.end)), Some(5));
        assert_eq!(way(&["state"]), None, "a bit field has no place of its own");
        assert_eq!((way(&["nothing"]), way(&["pad", "dev"])), (None, None));
        assert_eq!(types.parameter("bpf_walk", 1), None);
    }

    #[test]
    fn a_file_that_is_cut_off_or_damaged_anywhere_is_understood_or_not_but_never_a_crash() {
        let whole = kernel();
        let try_all = |file: &[u8]| {
            let types = Types::parse(file, &["bpf_walk"]);
            types.and_then(|types| types.way(types.parameter("bpf_walk", 0)?, &["files", "at", "mnt", "dev"]))
        };
        for end in 0..whole.len() {
            assert_eq!(try_all(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] ^= 0xff;
            let _ = try_all(&file);
        }
        let mut newer = whole.clone();
        newer[24 + 7] = 31;
        assert_eq!(try_all(&newer), None, "a kind of type that is not known");
    }
}
