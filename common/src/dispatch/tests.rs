//! The rules of dispatch, with an agent that does what the test says.

use super::*;
use crate::{Action, Parameter};
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::VecDeque;

thread_local! {
    /// What monitor finds, one look after another; the last one stays.
    static LOOKS: RefCell<VecDeque<Result<State>>> = const { RefCell::new(VecDeque::new()) };
    /// What was called.
    static CALLED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Deserialize)]
struct Scripted {
    #[expect(dead_code, reason = "a row needs its field")]
    name: String,
}

fn called(what: &'static str) -> Result<()> {
    CALLED.with_borrow_mut(|called| called.push(what));
    Ok(())
}

impl Agent for Scripted {
    const METADATA: Metadata = Metadata {
        name: "Scripted",
        also_called: &["Older"],
        short: "",
        long: "",
        parameters: &[Parameter::string("name")],
        actions: &[Action::new("start", 20), Action::new("stop", 20), Action::new("monitor", 20)],
        positional: &["name"],
        positional_required: 1,
    };
    fn object(&self) -> String {
        "the thing".into()
    }
    fn monitor(&self, call: &Call) -> Result<State> {
        assert!(call.probe && call.check_level == 0, "a look asks as a probe at level 0");
        LOOKS.with_borrow_mut(|looks| {
            let more = looks.len() > 1;
            if more { looks.pop_front() } else { looks.front().cloned() }.unwrap_or(Ok(State::Stopped))
        })
    }
    fn start(&self, _: &Call) -> Result<()> {
        called("start")
    }
    fn stop(&self, _: &Call) -> Result<()> {
        called("stop")
    }
    fn promote(&self, _: &Call) -> Result<()> {
        called("promote")
    }
    fn demote(&self, _: &Call) -> Result<()> {
        called("demote")
    }
}

fn caller(env: &[(&str, &str)]) -> Caller {
    Caller {
        path: "/opt/Scripted".into(),
        args: vec!["monitor".into()],
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

fn made(action: &str, env: &[(&str, &str)]) -> (Call, Invocation) {
    let mut caller = caller(env);
    caller.args = vec![action.into()];
    let invocation = Invocation::read(&caller, Dialect::Ocf, &Scripted::METADATA, &Host::real()).unwrap();
    let call = call(Instant::now(), Host::real(), &caller, &Scripted::METADATA, &invocation);
    (call, invocation)
}

fn perform_with(action: &str, looks: &[Result<State>]) -> (Result<State>, Vec<&'static str>) {
    LOOKS.set(looks.iter().cloned().collect());
    CALLED.set(Vec::new());
    let (mut call, _) = made(action, &[("OCF_RESKEY_CRM_meta_interval", "10000"), ("OCF_CHECK_LEVEL", "20")]);
    call.log = Rc::new(Log::new(String::new(), |_| None, &Host::real()));
    let result = perform(&Scripted { name: String::new() }, &call, action);
    (result, CALLED.take())
}

fn broken() -> Result<State> {
    Err(Error::generic("the tool babbles"))
}

#[test]
fn start_on_running_and_stop_on_stopped_touch_nothing() {
    assert_eq!(perform_with("start", &[Ok(State::Running)]), (Ok(State::Running), vec![]));
    assert_eq!(perform_with("stop", &[Ok(State::Stopped)]), (Ok(State::Running), vec![]));
    assert_eq!(perform_with("promote", &[Ok(State::Promoted)]), (Ok(State::Running), vec![]));
    assert_eq!(perform_with("demote", &[Ok(State::Running)]), (Ok(State::Running), vec![]));
}

#[test]
fn a_demote_of_what_is_stopped_says_so() {
    assert_eq!(perform_with("demote", &[Ok(State::Stopped)]), (Ok(State::Stopped), vec![]));
}

#[test]
fn start_and_stop_are_believed_only_after_a_second_look() {
    let (result, called) = perform_with("start", &[Ok(State::Stopped), Ok(State::Running)]);
    assert_eq!((result, called), (Ok(State::Running), vec!["start"]));
    let (result, called) = perform_with("start", &[Ok(State::Stopped), Ok(State::Stopped)]);
    assert_eq!(result.unwrap_err().reason(), "start of the thing seemed to succeed, but it does not run");
    assert_eq!(called, ["start"]);
    let (result, _) = perform_with("stop", &[Ok(State::Running), Ok(State::Running)]);
    assert_eq!(result.unwrap_err().reason(), "stop of the thing seemed to succeed, but it still runs");
}

#[test]
fn an_unknown_state_never_counts_as_stopped() {
    let (result, called) = perform_with("start", &[broken()]);
    assert!(result.is_err() && called.is_empty(), "nothing is started in an unknown state");
    let (result, called) = perform_with("stop", &[broken(), broken()]);
    assert!(result.is_err(), "and no stop succeeds in one");
    assert_eq!(called, ["stop"], "but it is tried");
}

#[test]
fn a_degraded_resource_is_told_only_to_a_cluster_that_knows_the_code() {
    let degraded = || Ok(State::Degraded("one leg of two".into()));
    for (feature_set, code) in [("3.16.1", 190), ("3.6.1", 190), ("3.6.0", 0), ("", 0)] {
        let env = [("OCF_RESKEY_crm_feature_set", feature_set), ("OCF_RESKEY_name", "x")];
        let (call, invocation) = made("monitor", &env);
        let caller = caller(&env);
        assert_eq!(
            finish(&call, &caller, &Scripted::METADATA, &invocation, degraded()),
            code,
            "{feature_set}"
        );
    }
}

#[test]
fn only_a_probe_takes_a_missing_tool_for_a_stopped_resource() {
    let missing = || Err(Error::installed("drbdadm is not installed"));
    for (interval, code) in [("0", 7), ("10000", 5)] {
        let env = [("OCF_RESKEY_CRM_meta_interval", interval), ("OCF_RESKEY_name", "x")];
        let (call, invocation) = made("monitor", &env);
        assert_eq!(finish(&call, &caller(&env), &Scripted::METADATA, &invocation, missing()), code);
    }
}

#[test]
fn a_name_of_an_older_agent_is_kept_when_called_by_it() {
    let mut caller = caller(&[]);
    assert_eq!(shown_name(&caller, &Scripted::METADATA), "Scripted");
    caller.path = "/usr/lib/ocf/resource.d/holdfast/Older".into();
    assert_eq!(shown_name(&caller, &Scripted::METADATA), "Older");
    caller.path = "/tmp/Somebody".into();
    assert_eq!(shown_name(&caller, &Scripted::METADATA), "Scripted");
}

#[test]
fn versions_are_compared_by_number() {
    assert!(version("9") >= version("9.0"));
    assert!(version("10") > version("9.4"));
    assert!(version("8.10") < version("9.0"));
    assert!(version("3.16.1") >= version("3.6.1"));
    assert!(version("") < version("3.6.1"));
}

#[test]
fn a_state_survives_the_way_from_a_helper() {
    for state in [
        State::Stopped,
        State::Running,
        State::Promoted,
        State::Degraded("one disk of two".into()),
        State::DegradedPromoted("peer lost".into()),
    ] {
        assert_eq!(decode(&encode(&state)), Ok(state));
    }
    assert!(decode("").is_err());
}
