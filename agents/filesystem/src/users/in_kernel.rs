//! The search for users by programs that the kernel runs for each of its tasks and each of their mappings (Linux 6.4 with
//! BTF, and the right to do so). No process has to be asked, so it costs a tenth of a search through /proc, which remains
//! the judge of whoever is found here: the programs name every process that has to do with the file system, and may name
//! too many.
//!
//! Where things are in the kernel's memory is read from its own type information, mappings are told by the kernel's own
//! walk, which holds and locks the memory of a process while it looks (the iterator that a program can use by itself,
//! `bpf_iter_task_vma_new`, does not hold it, and a process may end meanwhile), and the verifier checks each step: the
//! programs can read something wrong, but never do harm. A search that does not find a file that this process itself has
//! open and mapped is not believed. What it finds wrongly is not confirmed by /proc, and [`super::find_quickly`]'s
//! callers go on to /proc when it finds nobody.

use super::assembler::Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use super::assembler::{Assembler, Label, Register};
use super::btf::{Types, Way};
use super::{Depth, Target};
use ocf::helper::Helper;
use ocf::state::mountinfo::Device;
use ocf::{Call, Context, Error, Result, bpf, process};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// The instructions that [`program`] writes are, as all of the project, under the MIT licence, and may therefore be
/// used under the GNU General Public License, version 2, too: the kernel lets only such programs read its memory.
const LICENCE: &CStr = c"Dual MIT/GPL";

const TYPES: &str = "/sys/kernel/btf/vmlinux";

// Functions that the kernel has for its programs (include/uapi/linux/bpf.h).
const PROBE_READ_KERNEL: u32 = 113;
const SEQ_WRITE: u32 = 127;

// Functions that the kernel's type information has the numbers of. The first two stand for the walks.
const TASKS: &str = "bpf_iter_task";
const MAPPINGS: &str = "bpf_iter_task_vma";
const CAST: &str = "bpf_rdonly_cast";
const NUMBERS: [&str; 3] = ["bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"];

// The program's stack, from its end.
const RECORD: i16 = -8;
const ITERATOR: i16 = -64;
const FILES: i16 = -128;
const FILES_AT_ONCE: i16 = 8;

// The ways to use a file system that a record may tell.
const OTHER: u32 = 0;
const FD: u32 = 1;
const MMAP: u32 = 2;

/// From so many tasks (threads of processes) on, the kernel is asked: to make it ready for the question takes as long as
/// to look at some hundred processes.
const WORTH_ASKING: usize = 500;
/// Then /proc is searched: this search takes milliseconds, unless a process holds it up that is changing its mappings.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the program looks for, as the kernel packs it (include/linux/kdev_t.h), which is not how makedev(3) does.
#[derive(Debug)]
struct Wanted {
    device: u32,
    me: u32,
    /// Counts for this process only.
    mine: u32,
}

/// A part of the search, which one program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Directories, programs and open files of each task.
    Tasks,
    Mappings,
}

impl Part {
    /// The function that stands for the walk.
    fn walk(self) -> &'static str {
        match self {
            Part::Tasks => TASKS,
            Part::Mappings => MAPPINGS,
        }
    }

    /// How the program has to find this process.
    fn proof(self) -> u32 {
        match self {
            Part::Tasks => FD,
            Part::Mappings => MMAP,
        }
    }
}

fn packed(device: Device) -> u32 {
    device.major << 20 | device.minor
}

/// A program in the making. R6: where to write. R7: the task. R8: the same, of a type that only allows to look.
struct Search<'a> {
    code: Assembler,
    types: &'a Types<'a>,
    wanted: &'a Wanted,
    task: u32,
}

/// The program: writes a process and a way for each that it uses a wanted file system in.
fn program(types: &Types<'_>, wanted: &Wanted, part: Part) -> Option<Vec<u64>> {
    let task = types.parameter(part.walk(), 1)?;
    let mut search = Search { code: Assembler::default(), types, wanted, task };
    let s = &mut search;
    let end = s.code.label();
    s.code.load(R6, R1, 0);
    s.code.load(R7, R1, 8);
    s.code.jump_if_null(R7, end);
    if part == Part::Mappings {
        s.code.load(R9, R1, 16);
        s.code.jump_if_null(R9, end);
    }
    s.code.load(R6, R6, 0);
    s.code.copy(R1, R7);
    s.look(task)?;
    s.code.copy(R8, R1);
    let [tgid] = s.way(task, &["tgid"])?.loads.try_into().ok()?;
    s.code.load_word(R1, R8, tgid);
    s.code.store_word(R10, RECORD, R1);
    match part {
        Part::Tasks => {
            s.path("fs", &["root"])?;
            s.path("fs", &["pwd"])?;
            s.path("mm", &["exe_file", "f_path"])?;
            s.open_files()?;
        }
        Part::Mappings => s.mapping(types.parameter(MAPPINGS, 2)?, end)?,
    }
    s.code.place(end);
    s.code.exit();
    search.code.finish()
}

impl Search<'_> {
    fn way(&self, from: u32, members: &[&str]) -> Option<Way> {
        self.types.way(from, members)
    }

    /// Goes on at the label if the task shares this with the first of its process, which is looked at for all.
    fn skip_if_shared(&mut self, member: &str, skip: Label) -> Option<()> {
        let [leader] = self.way(self.task, &["group_leader"])?.loads.try_into().ok()?;
        let [member] = self.way(self.task, &[member])?.loads.try_into().ok()?;
        let own = self.code.label();
        self.code.load(R1, R8, leader);
        self.code.jump_if_same(R1, R7, own);
        self.code.load(R1, R1, member);
        self.code.load(R2, R8, member);
        self.code.jump_if_same(R1, R2, skip);
        self.code.place(own);
        Some(())
    }

    /// Has R1 be taken for the address of a type, be it one or not: to look there never fails. For other pointers the
    /// verifier searches all its types for the rules of each load, which takes a millisecond.
    fn look(&mut self, kind: u32) -> Option<()> {
        self.code.set(R2, kind);
        self.call(CAST)?;
        self.code.copy(R1, R0);
        Some(())
    }

    /// `to` = what the way leads to from `to`, or goes on at `none` if there is nothing.
    fn follow(&mut self, to: Register, way: &Way, none: Label) {
        for offset in &way.loads {
            self.code.load(to, to, *offset);
            self.code.jump_if_null(to, none);
        }
    }

    /// Goes on at `hit` if R1, a struct path or something that has one at `way`, is on a wanted file system.
    fn compare(&mut self, from: u32, path: &[&str], hit: Label) -> Option<()> {
        let mut members = path.to_vec();
        members.extend(["mnt", "mnt_sb", "s_dev"]);
        let mut way = self.way(from, &members)?;
        let device = way.loads.pop()?;
        let none = self.code.label();
        self.follow(R1, &way, none);
        self.code.load_word(R1, R1, device);
        self.code.jump_if(R1, self.wanted.device, hit);
        self.code.load_word(R2, R10, RECORD);
        self.code.jump_unless(R2, self.wanted.me, none);
        self.code.jump_if(R1, self.wanted.mine, hit);
        self.code.place(none);
        Some(())
    }

    fn record(&mut self, way: u32) {
        let code = &mut self.code;
        code.set(R1, way);
        code.store_word(R10, RECORD + 4, R1);
        code.copy(R1, R6);
        code.copy(R2, R10);
        code.add(R2, RECORD.into());
        code.set(R3, 8);
        code.call(SEQ_WRITE);
    }

    /// A path of the task.
    fn path(&mut self, of: &str, members: &[&str]) -> Option<()> {
        let [hit, next] = [(); 2].map(|()| self.code.label());
        self.skip_if_shared(of, next)?;
        self.code.copy(R1, R8);
        let members: Vec<&str> = std::iter::once(of).chain(members.iter().copied()).collect();
        self.compare(self.task, &members, hit)?;
        self.code.jump(next);
        self.code.place(hit);
        self.record(OTHER);
        self.code.place(next);
        Some(())
    }

    /// R1 = the iterator.
    fn iterator(&mut self) {
        self.code.copy(R1, R10);
        self.code.add(R1, ITERATOR.into());
    }

    /// A function of the kernel's.
    fn call(&mut self, name: &str) -> Option<()> {
        self.code.call_by_type(self.types.function(name)?);
        Some(())
    }

    fn open_files(&mut self) -> Option<()> {
        let [new, next, destroy] = NUMBERS;
        let [again, hit, done, none] = [(); 4].map(|()| self.code.label());
        let table = self.way(self.task, &["files", "fdt"])?;
        let table_type = self.types.target(table.end)?;
        let [count] = self.way(table_type, &["max_fds"])?.loads.try_into().ok()?;
        let files = self.way(table_type, &["fd"])?;
        let file = self.types.target(self.types.target(files.end)?)?;
        self.skip_if_shared("files", none)?;
        self.code.copy(R9, R8);
        self.follow(R9, &table, none);
        self.code.load_word(R3, R9, count);
        self.follow(R9, &files, none);
        self.code.add(R3, i32::from(FILES_AT_ONCE) - 1);
        self.code.shift_right(R3, FILES_AT_ONCE.ilog2());
        self.iterator();
        self.code.set(R2, 0);
        self.call(new)?;
        self.code.jump_unless(R0, 0, hit);
        self.code.place(again);
        self.iterator();
        self.call(next)?;
        self.code.jump_if_null(R0, done);
        self.code.copy(R1, R10);
        self.code.add(R1, FILES.into());
        self.code.set(R2, u32::try_from(FILES_AT_ONCE * 8).ok()?);
        self.code.copy(R3, R9);
        self.code.call(PROBE_READ_KERNEL);
        self.code.jump_unless(R0, 0, hit);
        self.code.add(R9, i32::from(FILES_AT_ONCE) * 8);
        for index in 0..FILES_AT_ONCE {
            let empty = self.code.label();
            self.code.load(R1, R10, FILES + index * 8);
            self.code.jump_if_null(R1, empty);
            self.look(file)?;
            self.compare(file, &["f_path"], hit)?;
            self.code.place(empty);
        }
        self.code.jump(again);
        self.code.place(hit);
        self.record(FD);
        self.code.place(done);
        self.iterator();
        self.call(destroy)?;
        self.code.place(none);
        Some(())
    }

    /// The mapping in R9.
    fn mapping(&mut self, kind: u32, end: Label) -> Option<()> {
        let hit = self.code.label();
        self.code.copy(R1, R9);
        self.look(kind)?;
        self.compare(kind, &["vm_file", "f_path"], hit)?;
        self.code.jump(end);
        self.code.place(hit);
        self.record(MMAP);
        Some(())
    }
}

/// The processes that have to do with the target's file system, and perhaps some more.
pub fn candidates(target: &Target, depth: Depth, call: &Call) -> Result<Vec<i32>> {
    let tasks = process::tasks().unwrap_or(0);
    let in_test = cfg!(debug_assertions) && std::env::var_os("OCF_TEST_BPF").is_some();
    if tasks < WORTH_ASKING && !in_test {
        return Err(Error::generic("there are few processes"));
    }
    // PROC_PID_INIT_INO (include/linux/proc_ns.h): only there a process has for us the number that it has for the kernel.
    let namespace = std::fs::read_link("/proc/self/ns/pid").or_generic("/proc")?;
    if namespace.as_os_str() != "pid:[4026531836]" {
        return Err(Error::generic("this is another pid namespace"));
    }
    let device = target.superblock.ok_or_else(|| Error::generic("its users may have other files mapped"))?;
    let types = call.host.path(Path::new(TYPES));
    let parts = if depth == Depth::Full { &[Part::Mappings, Part::Tasks][..] } else { &[Part::Tasks] };
    // Helpers do it: they may be killed for the attempt (seccomp(2)), and all that it takes goes with them.
    let helpers = parts.iter().map(|part| Helper::spawn(|_| search(&types, device, *part)));
    let helpers: Vec<Helper> = helpers.collect::<Result<_>>()?;
    let answers: Vec<_> = helpers
        .into_iter()
        .map(|mut helper| {
            let answer = helper.wait(call.within(PATIENCE));
            if answer.is_none() {
                helper.abandon();
            }
            answer.unwrap_or_else(|| Err(Error::generic("no answer in time")))
        })
        .collect();
    let mut found = BTreeSet::new();
    for answer in answers {
        for number in answer?.split_ascii_whitespace() {
            found.insert(number.parse().or_generic("the answer")?);
        }
    }
    Ok(found.into_iter().collect())
}

/// What one helper does: a number on each line.
fn search(types: &Path, device: Device, part: Part) -> Result<String> {
    #[cfg(debug_assertions)] // a kernel that is wrong, for the tests
    if let Some(names) = std::env::var("OCF_TEST_BPF").unwrap_or_default().strip_prefix("name") {
        return Ok(names.into());
    }
    let mine = bpf::landmark().or_generic("a file in memory")?;
    let wanted = Wanted { device: packed(device), me: std::process::id(), mine: packed(mine) };
    let content = bpf::types(types).or_generic("the kernel's types")?;
    let mut functions = vec![part.walk(), CAST];
    functions.extend(NUMBERS);
    let types = Types::parse(&content, &functions);
    let program =
        types.and_then(|types| Some((program(&types, &wanted, part)?, types.function(part.walk())?)));
    let (program, iterator) = program.ok_or_else(|| Error::generic("this kernel has other types"))?;
    let mut walk = bpf::walk(&program, iterator, LICENCE).or_generic("a BPF program")?;
    let mut records = Vec::new();
    walk.read_to_end(&mut records).or_generic("a BPF program's walk")?;
    let (found, ways) =
        parse(&records, wanted.me).ok_or_else(|| Error::generic("a BPF program wrote something else"))?;
    if !ways.contains(&part.proof()) {
        return Err(Error::generic("a BPF program does not find this process"));
    }
    Ok(found.iter().map(|pid| format!("{pid}\n")).collect())
}

/// The processes, and in which ways `me` was found. None: those are no records.
fn parse(records: &[u8], me: u32) -> Option<(BTreeSet<u32>, BTreeSet<u32>)> {
    let (mut found, mut ways) = (BTreeSet::new(), BTreeSet::new());
    for record in records.chunks(8) {
        let (process, way) = record.split_first_chunk()?;
        let (process, way) = (u32::from_ne_bytes(*process), u32::from_ne_bytes(way.try_into().ok()?));
        if process == me {
            ways.insert(way);
        } else {
            found.insert(process);
        }
    }
    Some((found, ways))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_tell_processes_and_how_this_one_was_found() {
        let record = |process: u32, way: u32| [process.to_ne_bytes(), way.to_ne_bytes()].concat();
        let records = [record(7, FD), record(9, OTHER), record(7, MMAP), record(8, OTHER)].concat();
        assert_eq!(parse(&records, 7), Some((BTreeSet::from([8, 9]), BTreeSet::from([FD, MMAP]))));
        assert_eq!(parse(&[], 7), Some((BTreeSet::new(), BTreeSet::new())));
        assert_eq!(parse(records.get(..13).unwrap(), 7), None, "a record that is cut off");
    }
}
