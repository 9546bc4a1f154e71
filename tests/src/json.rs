//! What scripts read: monitor and validate-all as one JSON object, to a cluster and by hand.

use serde_json::Value;

use crate::call::{Answer, Call, SUCCESS};

fn object(answer: &Answer) -> Value {
    assert_eq!(answer.stdout.lines().count(), 1, "{answer}");
    serde_json::from_str(&answer.stdout).unwrap_or_else(|why| panic!("{why}: {answer}"))
}

/// Asserts that both ways of asking for JSON tell this state and the code that a cluster gets, and why; and that the
/// parameters are valid. `words` are the parameters by hand.
#[track_caller]
pub fn tells(ocf: &Call, by_hand: &Call, words: &[&str], state: &str, code: i32) {
    let by_cluster = ocf.clone().env("OCF_OUTPUT_FORMAT", "json");
    let asked = |by_variable: bool, action: &str| {
        if by_variable {
            let call = by_hand.clone().env("OCF_OUTPUT_FORMAT", "json");
            call.run_args(words.iter().chain(&[action]))
        } else {
            by_hand.run_args(words.iter().chain(&["--format", "json", action]))
        }
    };
    for (answer, exits) in
        [(by_cluster.monitor(), true), (asked(false, "monitor"), true), (asked(true, "status"), false)]
    {
        let found = object(&answer);
        assert_eq!(found["state"], state, "{answer}");
        assert_eq!(found["exit_code"], code, "{answer}");
        assert!(!exits || answer.code == Some(code), "{answer}");
        assert_eq!(found["action"], "monitor", "{answer}");
        assert!(found["because"].as_str().is_some_and(|why| !why.is_empty()), "{answer}");
        assert!(!found["resource"].as_str().unwrap().is_empty(), "{answer}");
        assert!(found["parameters"].as_object().unwrap().len() > 2, "{answer}");
    }
    for answer in [by_cluster.run("validate-all"), asked(false, "validate-all"), asked(true, "validate-all")]
    {
        let found = object(&answer);
        assert_eq!((answer.code, &found["valid"]), (Some(SUCCESS), &Value::from(true)), "{answer}");
    }
}
