//! What `xl migrate` says of its end. Its exit code alone tells only success.

/// What the tool claims. Both ends are looked at before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The target has said that the guest runs there.
    Moved,
    /// The guest goes on here.
    StayedHere,
    /// The last step went wrong: nobody knows which copy may run.
    CheckBothEnds,
    /// It did not say, or it was killed.
    Nothing,
}

/// Reads the end of `xl migrate` (tools/xl/xl_migrate.c) or `xm migrate`.
pub fn claim(code: Option<i32>, stderr: &[u8]) -> Claim {
    let text = String::from_utf8_lossy(stderr);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["CHECK", "failed during final handshake"]) {
        return Claim::CheckBothEnds;
    }
    // Once the target may start, only its answer says who has the guest.
    let handed_over = says(&["Giving target permission to start"]);
    match code {
        Some(0) => Claim::Moved,
        Some(_)
            if says(&[
                "Resumed OK",
                "Migration failed, resuming at sender",
                "failed to suspend at sender",
            ]) =>
        {
            Claim::StayedHere
        }
        Some(_) if !handed_over => Claim::StayedHere,
        _ => Claim::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_ends_are_told_apart() {
        let refused = "ssh: connect to host node2 port 22: Connection refused\n";
        let resumed = "migration sender: Giving target permission to start.\n\
            migration sender: Target reports startup failure (status code 6).\nmigration sender: Resumed OK.\n";
        let both = "migration sender: Giving target permission to start.\n\
            ** Migration failed during final handshake **\n** CHECK AT BOTH ENDS TO SEE WHICH DOMAIN IS RUNNING **\n";
        let silent = "migration sender: Giving target permission to start.\n";
        for (code, text, end) in [
            (Some(0), "Migration successful.\n", Claim::Moved),
            (Some(1), refused, Claim::StayedHere),
            (Some(1), resumed, Claim::StayedHere),
            (Some(1), both, Claim::CheckBothEnds),
            (None, both, Claim::CheckBothEnds),
            (Some(1), silent, Claim::Nothing),
            (None, silent, Claim::Nothing),
            (None, "", Claim::Nothing),
        ] {
            assert_eq!(claim(code, text.as_bytes()), end, "{code:?} {text}");
        }
    }
}
