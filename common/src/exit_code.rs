//! Exit codes under the names of the OCF Resource Agent API 1.1, section "Exit codes".

/// What an action answers to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The action did what it was asked to; for monitor: the resource runs.
    Success = 0,
    /// A failure that has no code of its own.
    Generic = 1,
    /// The agent was called in a way that it does not understand.
    Args = 2,
    /// The agent does not have this action.
    Unimplemented = 3,
    /// The agent lacks a privilege on this node.
    Permission = 4,
    /// Something the resource needs is not installed on this node.
    Installed = 5,
    /// The parameters are wrong on every node.
    Configured = 6,
    /// The resource is cleanly stopped.
    NotRunning = 7,
    /// The resource runs promoted.
    RunningPromoted = 8,
    /// The resource is promoted and failed.
    FailedPromoted = 9,
    /// The resource runs, but not well. Pacemaker 2.0.5 and later.
    Degraded = 190,
    /// The resource runs promoted, but not well. Pacemaker 2.0.5 and later.
    DegradedPromoted = 191,
}

impl ExitCode {
    /// The number that the process exits with.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code as `status` of an init script gives it (LSB 5.0, "Init Script Actions"): 0 running, 3 stopped,
    /// 4 unknown. Codes 1 to 3 all mean "not running" to Pacemaker, so no failure may become one of them.
    pub const fn lsb_status(self) -> u8 {
        match self {
            Self::Success | Self::RunningPromoted | Self::Degraded | Self::DegradedPromoted => 0,
            Self::NotRunning => 3,
            _ => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn an_unknown_state_is_never_one_of_the_lsb_codes_that_mean_stopped() {
        for failure in [
            ExitCode::Generic,
            ExitCode::Args,
            ExitCode::Unimplemented,
            ExitCode::Permission,
            ExitCode::Installed,
            ExitCode::Configured,
            ExitCode::FailedPromoted,
        ] {
            assert_eq!(failure.lsb_status(), 4, "{failure:?}");
        }
        assert_eq!(ExitCode::NotRunning.lsb_status(), 3);
        assert_eq!(ExitCode::Degraded.lsb_status(), 0);
    }
}
