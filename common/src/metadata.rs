//! The constant table that describes an agent: the one place where names, defaults and documentation live.
//!
//! From it come the meta-data XML, the by-hand face, the order of Heartbeat's positional arguments and the default
//! deadlines. All builders are `const`, so that a table costs nothing at run time.

use crate::Host;
use std::time::Duration;

/// What kind of value a parameter takes, in the words of the meta-data (`content type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// One of the words that [`crate::params::parse_bool`] knows.
    Boolean,
}

/// Where a parameter's value comes from when nobody gives one.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// There is none.
    None,
    /// The same everywhere.
    Fixed(&'static str),
    /// Depends on the distribution.
    OfHost(fn(&Host) -> &'static str),
}

/// Which texts a parameter takes.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// True for a text that is accepted.
    pub accepts: fn(&str) -> bool,
    /// What is accepted, in words.
    pub words: &'static str,
}

/// One instance parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// `OCF_RESKEY_<name>`.
    pub name: &'static str,
    /// Names under which the agents that we replace know it.
    pub aliases: &'static [&'static str],
    /// Agent and name: in the meta-data under that agent's name, the parameter has this name.
    pub shown_as: &'static [(&'static str, &'static str)],
    /// The type shown in the meta-data.
    pub kind: Kind,
    /// Shown as required in the meta-data; the agent decides what an empty value means.
    pub required: bool,
    /// No two resources may have the same value.
    pub unique: bool,
    /// A link called NAME-value gives it that value, if nobody else gives one: an init script has no arguments.
    pub from_link_name: bool,
    /// A value that is set but empty stands for itself instead of for the default.
    pub empty_is_a_value: bool,
    /// Given when the caller gives none.
    pub default: DefaultValue,
    /// Which values the field's type takes, and the same in words; only for text with a grammar of its own.
    pub accepts: Option<Grammar>,
    /// One line.
    pub short: &'static str,
    /// Paragraphs.
    pub long: &'static str,
}

impl Parameter {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            aliases: &[],
            shown_as: &[],
            kind,
            required: false,
            unique: false,
            from_link_name: false,
            empty_is_a_value: false,
            default: DefaultValue::None,
            accepts: None,
            short: "",
            long: "",
        }
    }

    /// A parameter that holds text.
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, Kind::String)
    }

    /// A parameter that holds a whole number.
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, Kind::Integer)
    }

    /// A parameter that is true or false.
    pub const fn boolean(name: &'static str) -> Self {
        Self::new(name, Kind::Boolean)
    }

    /// Its documentation: one line and paragraphs.
    pub const fn doc(mut self, short: &'static str, long: &'static str) -> Self {
        self.short = short;
        self.long = long;
        self
    }

    /// Marks it as required.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Marks it as unique in the cluster.
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Takes its value from the name of the link by which the agent is called as an init script.
    pub const fn from_link_name(mut self) -> Self {
        self.from_link_name = true;
        self
    }

    /// Other names for it.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its names in the meta-data under the names of other agents; they have to be among the aliases.
    pub const fn shown_as(mut self, names: &'static [(&'static str, &'static str)]) -> Self {
        self.shown_as = names;
        self
    }

    /// Its name in the meta-data of the agent called `agent`.
    pub fn name_for(&self, agent: &str) -> &'static str {
        self.shown_as.iter().find(|(called, _)| *called == agent).map_or(self.name, |(_, name)| name)
    }

    /// An empty value is a value.
    pub const fn empty_is_a_value(mut self) -> Self {
        self.empty_is_a_value = true;
        self
    }

    /// The value when none is given.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = DefaultValue::Fixed(value);
        self
    }

    /// The value when none is given, which depends on the distribution.
    pub const fn default_of_host(mut self, value: fn(&Host) -> &'static str) -> Self {
        self.default = DefaultValue::OfHost(value);
        self
    }

    /// The grammar of a text value: the check, and what is accepted in words.
    pub const fn accepts(mut self, accepts: fn(&str) -> bool, words: &'static str) -> Self {
        self.accepts = Some(Grammar { accepts, words });
        self
    }

    /// The default, if it is the same on every machine.
    pub fn fixed_default(&self) -> Option<&'static str> {
        match self.default {
            DefaultValue::Fixed(value) => Some(value),
            DefaultValue::None | DefaultValue::OfHost(_) => None,
        }
    }

    /// The default on this machine.
    pub fn default_on(&self, host: &Host) -> Option<&'static str> {
        match self.default {
            DefaultValue::None => None,
            DefaultValue::Fixed(value) => Some(value),
            DefaultValue::OfHost(value) => Some(value(host)),
        }
    }
}

/// One action.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// `start`, `stop`, ...
    pub name: &'static str,
    /// Deadline when the caller gives none, and the advice shown in the meta-data, in seconds.
    pub timeout_s: u32,
    /// Advised interval in seconds; 0 shows none.
    pub interval_s: u32,
    /// Advised check level; shown only with an interval.
    pub depth: u32,
    /// Role the action belongs to.
    pub role: Option<&'static str>,
    /// Not shown to the cluster: for people only.
    pub by_hand: bool,
}

impl Action {
    /// An action with its default deadline in seconds.
    pub const fn new(name: &'static str, timeout_s: u32) -> Self {
        Self { name, timeout_s, interval_s: 0, depth: 0, role: None, by_hand: false }
    }

    /// Advise a recurring operation: every `interval_s` seconds with check level `depth`.
    pub const fn every(mut self, interval_s: u32, depth: u32) -> Self {
        self.interval_s = interval_s;
        self.depth = depth;
        self
    }

    /// The role (`Promoted`, `Unpromoted`) that the operation is for.
    pub const fn role(mut self, role: &'static str) -> Self {
        self.role = Some(role);
        self
    }

    /// Only people call it.
    pub const fn by_hand(mut self) -> Self {
        self.by_hand = true;
        self
    }
}

/// All that is said about an agent.
#[derive(Debug, Clone, Copy)]
pub struct Metadata {
    /// The resource type and the file's name.
    pub name: &'static str,
    /// Names of agents that this one replaces: invoked under one of them, it shows that name in its meta-data.
    pub also_called: &'static [&'static str],
    /// One line.
    pub short: &'static str,
    /// Paragraphs; every deliberate difference from the replaced agent stands here.
    pub long: &'static str,
    /// The instance parameters, in the order in which they are shown.
    pub parameters: &'static [Parameter],
    /// The actions, in the order in which they are shown.
    pub actions: &'static [Action],
    /// Names of the parameters that Heartbeat gives by position.
    pub positional: &'static [&'static str],
    /// How many of them must be there.
    pub positional_required: usize,
}

impl Metadata {
    /// The action of that name, the first where several monitors are listed.
    pub fn action(&self, name: &str) -> Option<&'static Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The parameter of that name or alias.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|row| row.name == name || row.aliases.contains(&name))
    }

    /// How long the action may take when the caller says nothing.
    pub fn default_timeout(&self, action: &str) -> Duration {
        let listed = if action == "status" { self.action("monitor") } else { self.action(action) };
        Duration::from_secs(listed.map_or(20, |found| u64::from(found.timeout_s)))
    }
}
