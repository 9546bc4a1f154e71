//! Writes a BPF program (the kernel's Documentation/bpf/standardization/instruction-set.rst), instruction by instruction.

/// A register. R0 takes results, R1 to R5 are arguments and lost in a call, R6 to R9 are kept, R10 is the stack's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the field's own names")]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R6 = 6,
    R7,
    R8,
    R9,
    R10,
}

/// A place in the program, which may be told after it has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// The program so far.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<u64>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn emit(&mut self, code: u8, to: Register, from: u8, offset: i16, value: u32) {
        let offset = u64::from(u16::from_ne_bytes(offset.to_ne_bytes()));
        let registers = u64::from(to as u8 | from << 4);
        self.code.push(u64::from(code) | registers << 8 | offset << 16 | u64::from(value) << 32);
    }

    /// `to = value`
    pub fn set(&mut self, to: Register, value: u32) {
        self.emit(0xb7, to, 0, 0, value);
    }

    /// `to = from`
    pub fn copy(&mut self, to: Register, from: Register) {
        self.emit(0xbf, to, from as u8, 0, 0);
    }

    /// `to += value`
    pub fn add(&mut self, to: Register, value: i32) {
        self.emit(0x07, to, 0, 0, u32::from_ne_bytes(value.to_ne_bytes()));
    }

    /// `to >>= bits`
    pub fn shift_right(&mut self, to: Register, bits: u32) {
        self.emit(0x77, to, 0, 0, bits);
    }

    /// `to = *(u64 *)(from + offset)`
    pub fn load(&mut self, to: Register, from: Register, offset: i16) {
        self.emit(0x79, to, from as u8, offset, 0);
    }

    /// `to = *(u32 *)(from + offset)`
    pub fn load_word(&mut self, to: Register, from: Register, offset: i16) {
        self.emit(0x61, to, from as u8, offset, 0);
    }

    /// `*(u32 *)(to + offset) = from`
    pub fn store_word(&mut self, to: Register, offset: i16, from: Register) {
        self.emit(0x63, to, from as u8, offset, 0);
    }

    /// A label without a place.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label's place is here.
    pub fn place(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(here);
        }
    }

    fn jump_by(&mut self, code: u8, register: Register, from: u8, value: u32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.emit(code, register, from, 0, value);
    }

    /// Goes on at the label.
    pub fn jump(&mut self, label: Label) {
        self.jump_by(0x05, Register::R0, 0, 0, label);
    }

    /// Goes on at the label if the lower 32 bits of the register are `value`.
    pub fn jump_if(&mut self, register: Register, value: u32, label: Label) {
        self.jump_by(0x16, register, 0, value, label);
    }

    /// Goes on at the label unless the lower 32 bits of the register are `value`.
    pub fn jump_unless(&mut self, register: Register, value: u32, label: Label) {
        self.jump_by(0x56, register, 0, value, label);
    }

    /// Goes on at the label if all 64 bits of the register are 0.
    pub fn jump_if_null(&mut self, register: Register, label: Label) {
        self.jump_by(0x15, register, 0, 0, label);
    }

    /// Goes on at the label if both registers are the same.
    pub fn jump_if_same(&mut self, one: Register, other: Register, label: Label) {
        self.jump_by(0x1d, one, other as u8, 0, label);
    }

    /// Calls a function by its number among those that the kernel promises to keep.
    pub fn call(&mut self, number: u32) {
        self.emit(0x85, Register::R0, 0, 0, number);
    }

    /// Calls a function of the running kernel's by the number that it has in the kernel's type information.
    pub fn call_by_type(&mut self, number: u32) {
        self.emit(0x85, Register::R0, 2, 0, number);
    }

    /// Returns 0.
    pub fn exit(&mut self) {
        self.set(Register::R0, 0);
        self.emit(0x95, Register::R0, 0, 0, 0);
    }

    /// The finished program. None: a label has no place, or is too far away.
    pub fn finish(mut self) -> Option<Vec<u64>> {
        for (at, label) in self.jumps {
            let place = i64::try_from(self.labels.get(label.0).copied().flatten()?).ok()?;
            let distance = i16::try_from(place - i64::try_from(at).ok()? - 1).ok()?;
            *self.code.get_mut(at)? |= u64::from(u16::from_ne_bytes(distance.to_ne_bytes())) << 16;
        }
        Some(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the kernel's own verifier, for `struct bpf_insn` in native byte order.
    #[test]
    fn instructions_are_as_the_kernel_writes_them() {
        let mut code = Assembler::default();
        let (end, again) = (code.label(), code.label());
        code.place(again);
        code.load(Register::R6, Register::R1, 8);
        code.jump_if_null(Register::R6, end);
        code.add(Register::R6, -1);
        code.jump(again);
        code.place(end);
        code.exit();
        let bytes: Vec<[u8; 8]> = code.finish().unwrap().iter().map(|word| word.to_le_bytes()).collect();
        assert_eq!(
            bytes,
            [
                [0x79, 0x16, 8, 0, 0, 0, 0, 0],
                [0x15, 0x06, 2, 0, 0, 0, 0, 0],
                [0x07, 0x06, 0, 0, 0xff, 0xff, 0xff, 0xff],
                [0x05, 0x00, 0xfc, 0xff, 0, 0, 0, 0],
                [0xb7, 0x00, 0, 0, 0, 0, 0, 0],
                [0x95, 0x00, 0, 0, 0, 0, 0, 0],
            ]
        );
    }

    #[test]
    fn a_label_without_a_place_is_no_program() {
        let mut code = Assembler::default();
        let nowhere = code.label();
        code.jump(nowhere);
        assert_eq!(code.finish(), None);
    }
}
