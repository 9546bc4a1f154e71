//! What the mounts on the directory mean for the resource: a decision on plain values.

use crate::source::Match;
use ocf::state::mountinfo::Mount;

/// The state of the directory, seen from the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of the resource is mounted, and nothing else is.
    Absent,
    /// The resource is mounted, alone and visible.
    Mounted(Mount),
    /// Several mounts cover each other there, and at least one is the resource's. The uppermost comes first.
    Several(Vec<(Mount, bool)>),
    /// Something else is mounted there.
    Foreign(Mount),
    /// The resource is mounted on a directory of that name which another mount hides.
    Hidden(Mount),
    /// What start mounted is mounted somewhere else now: it was moved, or a directory on its way was renamed.
    Elsewhere(Mount),
    /// It cannot be told, and this is why.
    Unknown(String),
}

/// Decides from the mounts on the directory, the uppermost first, and from those that are hidden.
pub fn judge(visible: Vec<(Mount, Match)>, hidden: Vec<(Mount, Match)>) -> Verdict {
    for (mount, found) in hidden {
        match found {
            Match::Ours => return Verdict::Hidden(mount),
            Match::Unknown(why) => return Verdict::Unknown(why),
            Match::Foreign => {}
        }
    }
    let ours = visible.iter().any(|(_, found)| *found == Match::Ours);
    if visible.len() > 1 && ours {
        return Verdict::Several(
            visible.into_iter().map(|(mount, found)| (mount, found == Match::Ours)).collect(),
        );
    }
    let unknown = visible.iter().find_map(|(_, found)| match found {
        Match::Unknown(why) => Some(why.clone()),
        _ => None,
    });
    if let Some(why) = unknown {
        return Verdict::Unknown(why);
    }
    match visible.into_iter().next() {
        None => Verdict::Absent,
        Some((mount, Match::Ours)) => Verdict::Mounted(mount),
        Some((mount, _)) => Verdict::Foreign(mount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf::state::mountinfo;

    fn mount(id: u64) -> Mount {
        let line = format!("{id} 1 8:{id} / /mnt rw - ext4 /dev/sd{id} rw\n");
        mountinfo::parse(line.as_bytes()).unwrap().remove(0)
    }

    fn unknown() -> Match {
        Match::Unknown("no node".into())
    }

    #[test]
    fn nothing_mounted_is_absent() {
        assert_eq!(judge(vec![], vec![]), Verdict::Absent);
    }

    #[test]
    fn ours_alone_is_mounted() {
        assert_eq!(judge(vec![(mount(5), Match::Ours)], vec![]), Verdict::Mounted(mount(5)));
    }

    #[test]
    fn another_alone_is_foreign() {
        assert_eq!(judge(vec![(mount(5), Match::Foreign)], vec![]), Verdict::Foreign(mount(5)));
    }

    #[test]
    fn ours_above_or_below_another_is_several() {
        for order in
            [[Match::Ours, Match::Foreign], [Match::Foreign, Match::Ours], [Match::Ours, Match::Ours]]
        {
            let flags: Vec<bool> = order.iter().map(|found| *found == Match::Ours).collect();
            let [upper, lower] = order;
            let verdict = judge(vec![(mount(5), upper), (mount(4), lower)], vec![]);
            assert_eq!(verdict, Verdict::Several(vec![(mount(5), flags[0]), (mount(4), flags[1])]));
        }
    }

    #[test]
    fn two_others_are_foreign() {
        let verdict = judge(vec![(mount(5), Match::Foreign), (mount(4), Match::Foreign)], vec![]);
        assert_eq!(verdict, Verdict::Foreign(mount(5)));
    }

    #[test]
    fn what_cannot_be_told_is_unknown_and_never_absent_or_foreign() {
        assert_eq!(judge(vec![(mount(5), unknown())], vec![]), Verdict::Unknown("no node".into()));
        let verdict = judge(vec![(mount(5), Match::Foreign), (mount(4), unknown())], vec![]);
        assert_eq!(verdict, Verdict::Unknown("no node".into()));
        assert_eq!(judge(vec![], vec![(mount(3), unknown())]), Verdict::Unknown("no node".into()));
    }

    #[test]
    fn ours_hidden_below_another_mount_is_hidden_and_never_absent() {
        assert_eq!(judge(vec![], vec![(mount(3), Match::Ours)]), Verdict::Hidden(mount(3)));
        assert_eq!(judge(vec![], vec![(mount(3), Match::Foreign)]), Verdict::Absent);
    }
}
