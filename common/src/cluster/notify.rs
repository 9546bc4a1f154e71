//! What a notification says of the instances of a clone.
//!
//! The lists hold the cluster's names of nodes and describe the time before the transition. They also come with start,
//! stop, promote and demote of a clone that has `notify=true`.

use crate::Call;

/// The step that a notification is about, and who takes part. Empty where the cluster said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// `pre` or `post`.
    pub kind: String,
    /// `start`, `stop`, `promote` or `demote`.
    pub operation: String,
    /// Nodes that were promoted before the transition.
    pub promoted: Vec<String>,
    /// Nodes that were unpromoted before the transition.
    pub unpromoted: Vec<String>,
    /// Nodes that start an instance.
    pub start: Vec<String>,
    /// Nodes that stop one.
    pub stop: Vec<String>,
    /// Nodes that promote one.
    pub promote: Vec<String>,
    /// Nodes that demote one.
    pub demote: Vec<String>,
}

impl Notice {
    /// What this call was told; none if the clone has no notifications.
    pub fn of(call: &Call) -> Option<Self> {
        Self::read(&|name| call.meta(name))
    }

    fn read(meta: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        // The newer of two names first: Pacemaker has both from 2.1 on.
        let list = |names: &[&str]| names.iter().find_map(|name| meta(&format!("notify_{name}_uname")));
        let lists = [
            list(&["promoted", "master"]),
            list(&["unpromoted", "slave"]),
            list(&["start"]),
            list(&["stop"]),
            list(&["promote"]),
            list(&["demote"]),
        ];
        let (kind, operation) = (meta("notify_type"), meta("notify_operation"));
        if kind.is_none() && lists.iter().all(Option::is_none) {
            return None;
        }
        // An empty list is one blank.
        let words = |list: &Option<String>| -> Vec<String> {
            list.iter().flat_map(|names| names.split_ascii_whitespace()).map(str::to_string).collect()
        };
        let [promoted, unpromoted, start, stop, promote, demote] = lists.each_ref().map(words);
        let (kind, operation) = (kind.unwrap_or_default(), operation.unwrap_or_default());
        Some(Self { kind, operation, promoted, unpromoted, start, stop, promote, demote })
    }

    /// Nodes other than `own` that were promoted before the transition and are not demoted or stopped by it.
    pub fn promoted_elsewhere(&self, own: &str) -> Vec<&str> {
        let leaves = |name: &String| self.demote.contains(name) || self.stop.contains(name);
        self.promoted.iter().filter(|name| *name != own && !leaves(name)).map(String::as_str).collect()
    }
}

/// The cluster's name of this node, which need not be its host name; empty if nobody said it.
pub fn own_name(call: &Call) -> String {
    call.meta("on_node").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Option<Notice> {
        Notice::read(&|name| {
            let found = pairs.iter().find(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| (*value).to_string())
        })
    }

    #[test]
    fn without_a_variable_there_are_no_notifications() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("notify_type", ""), ("notify_operation", "start")]), None);
    }

    #[test]
    fn an_empty_list_is_one_blank_and_still_a_notification() {
        let notice = read(&[("notify_promoted_uname", " ")]).unwrap();
        assert_eq!(notice, Notice::default());
    }

    #[test]
    fn both_spellings_of_the_roles_are_read_and_the_new_one_wins() {
        let old = read(&[("notify_master_uname", "a"), ("notify_slave_uname", "b c")]).unwrap();
        assert_eq!((old.promoted, old.unpromoted), (vec!["a".into()], vec!["b".into(), "c".into()]));
        let both = read(&[("notify_master_uname", "a"), ("notify_promoted_uname", "b")]).unwrap();
        assert_eq!(both.promoted, ["b"]);
    }

    #[test]
    fn who_is_demoted_or_stopped_is_not_promoted_for_long() {
        let lists = [
            ("notify_type", "post"),
            ("notify_operation", "stop"),
            ("notify_promoted_uname", "me a b c "),
            ("notify_demote_uname", "a "),
            ("notify_stop_uname", "b "),
        ];
        let notice = read(&lists).unwrap();
        assert_eq!(notice.promoted_elsewhere("me"), ["c"]);
        assert_eq!((notice.kind.as_str(), notice.operation.as_str()), ("post", "stop"));
    }
}
