//! Signals and delays as kill(1) and sleep(1) take them.

use nix::sys::signal::Signal;
use std::time::Duration;

/// The signals in a list of names or numbers, separated by blanks. None: one of them is none.
pub fn parse_signals(text: &str) -> Option<Vec<Signal>> {
    text.split_ascii_whitespace().map(parse_signal).collect()
}

fn parse_signal(word: &str) -> Option<Signal> {
    if let Ok(number) = word.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    let name = word.strip_prefix("SIG").unwrap_or(word);
    format!("SIG{name}").parse().ok()
}

/// True if [`parse_signals`] understands it.
pub fn are_signals(text: &str) -> bool {
    parse_signals(text).is_some()
}

/// A time as sleep(1) takes it. Empty is no time at all.
pub fn parse_delay(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return Some(Duration::ZERO);
    }
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, text.chars().last()?),
        None => (text, 's'),
    };
    // f64 would take 1e9, inf and a sign.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = match unit {
        'm' => 60.0,
        'h' => 3600.0,
        'd' => 86400.0,
        _ => 1.0,
    };
    let delay = Duration::try_from_secs_f64(number.parse::<f64>().ok().filter(|_| plain)? * seconds).ok()?;
    // Longer than any action, and short enough to be added to a point in time.
    Some(delay.min(Duration::from_secs(366 * 86400)))
}

/// True if [`parse_delay`] understands it.
pub fn is_delay(text: &str) -> bool {
    parse_delay(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_with_or_without_sig_and_numbers() {
        assert_eq!(
            parse_signals("TERM SIGHUP  9").unwrap(),
            [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL]
        );
        assert_eq!(parse_signals(""), Some(vec![]));
        assert_eq!(parse_signals("TERM NOSUCH"), None);
        assert_eq!(parse_signals("0"), None);
    }

    #[test]
    fn delays_are_those_of_sleep() {
        assert_eq!(parse_delay("1"), Some(Duration::from_secs(1)));
        assert_eq!(parse_delay("0.3"), Some(Duration::from_millis(300)));
        assert_eq!(parse_delay("1m"), Some(Duration::from_secs(60)));
        assert_eq!(parse_delay(".5s"), Some(Duration::from_millis(500)));
        assert_eq!(parse_delay(""), Some(Duration::ZERO));
        assert_eq!(parse_delay("150000000000000d"), Some(Duration::from_secs(366 * 86400)));
        for garbage in ["x", "-1", "1 2", "1y", ".", "1e9"] {
            assert_eq!(parse_delay(garbage), None, "{garbage}");
        }
    }
}
