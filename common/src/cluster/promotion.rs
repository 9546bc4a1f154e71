//! Promotion scores: how much the cluster should want this node's instance promoted.
//!
//! A score is advice. That it could not be given must never decide what an action answers.

use crate::dispatch::version;
use crate::{Call, Error, Result};
use std::time::Duration;

/// The longest that the cluster's tools may take for one question, however much time the action has.
const LIMIT: Duration = Duration::from_secs(10);
/// The feature set of Pacemaker 2.1.0, where `crm_attribute` learnt of promotion scores.
const KNOWS_PROMOTION: [u32; 2] = [3, 10];

/// What is to be done with this instance's promotion score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// Nothing: what is known does not suffice to say more or less.
    Keep,
    /// It must not be promoted.
    Remove,
    /// The more, the better.
    Set(u32),
}

impl Score {
    /// A number, where 0 means that there shall be no score: without one Pacemaker does not promote.
    pub const fn of(number: u32) -> Self {
        if number == 0 { Self::Remove } else { Self::Set(number) }
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keep => f.write_str("score left as it is"),
            Self::Remove => f.write_str("no score"),
            Self::Set(number) => write!(f, "score {number}"),
        }
    }
}

/// Tells the cluster. Failing, it warns.
pub fn publish(score: Score, call: &Call) {
    let text = match score {
        Score::Keep => {
            call.log.trace("the promotion score stays as it is");
            return;
        }
        Score::Remove => "remove the promotion score".to_string(),
        Score::Set(number) => format!("set the promotion score to {number}"),
    };
    if !call.change(&text) {
        return;
    }
    if let Err(error) = write(score, call) {
        call.log.warn(format_args!("could not {text}: {error}"));
    }
}

fn write(score: Score, call: &Call) -> Result<()> {
    let feature_set = crate::call::variable("OCF_RESKEY_crm_feature_set").unwrap_or_default();
    let old = !feature_set.is_empty() && version(&feature_set) < KNOWS_PROMOTION.to_vec();
    // Both take the resource and the node from the environment, which they inherit.
    let (tool, words) = if old {
        ("crm_master", ["-l", "reboot"])
    } else {
        ("crm_attribute", ["--promotion", "--lifetime=reboot"])
    };
    let mut run = call.tool(tool)?.within(LIMIT.min(call.remaining() / 2));
    for word in words {
        run = run.arg(word);
    }
    run = match (score, old) {
        (Score::Set(number), true) => run.arg("-v").arg(number.to_string()),
        (Score::Set(number), false) => run.arg(format!("--update={number}")),
        (_, true) => run.arg("-D"),
        (_, false) => run.arg("--delete"),
    };
    let output = run.run()?;
    if output.succeeded() {
        Ok(())
    } else {
        Err(Error::generic(format_args!("{tool}: {}", output.complaint())))
    }
}

/// Whether the cluster believes an instance of this clone promoted, on any node.
pub fn is_somewhere(call: &Call) -> Result<bool> {
    // Only the instances of a clone that is globally unique have a number.
    let id = call.instance.split(':').next().unwrap_or_default();
    let tool = call.tool("crm_resource")?.arg("--locate").arg(format!("--resource={id}"));
    let output = tool.within(LIMIT.min(call.remaining() / 3)).run()?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("crm_resource --locate: {}", output.complaint())));
    }
    Ok(says_promoted(&String::from_utf8_lossy(&output.stdout)))
}

/// `resource p is running on: node1 Promoted`, with `Master` to Pacemaker 2.0.
fn says_promoted(text: &str) -> bool {
    text.lines().any(|line| matches!(line.split_ascii_whitespace().next_back(), Some("Promoted" | "Master")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_of_nothing_is_no_score() {
        assert_eq!(Score::of(0), Score::Remove);
        assert_eq!(Score::of(1), Score::Set(1));
    }

    #[test]
    fn old_and_new_words_for_a_promoted_instance_are_understood() {
        assert!(says_promoted(
            "resource p is running on: node1 Promoted\nresource p is running on: node2 \n"
        ));
        assert!(says_promoted("resource p is running on: node2 \nresource p is running on: node1 Master\n"));
        assert!(!says_promoted("resource p is running on: node1\nresource p is NOT running\n"));
        assert!(!says_promoted("resource p is running on: Promoted.example.org Unpromoted\n"));
    }
}
