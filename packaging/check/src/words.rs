//! Logical lines of a text, and their words.

/// Lines with their numbers: comments gone, what a backslash joins joined.
pub fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let comment = line.trim_start().starts_with('#');
        let (line, joined) = match line.trim_end().strip_suffix('\\') {
            Some(rest) if !comment => (rest, true),
            _ => (line, false),
        };
        if comment {
            continue;
        }
        match lines.last_mut().filter(|_| open) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(line);
            }
            None => lines.push((index + 1, line.into())),
        }
        open = joined;
    }
    lines.retain(|(_, line)| !line.trim().is_empty());
    lines
}

/// Words as a shell would split them; quotes may join.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_joins_lines_and_a_comment_is_none() {
        let text = "# c \\\na b\\\n  c # no comment inside\n\nd\n";
        assert_eq!(logical_lines(text), [(2, "a b   c # no comment inside".into()), (5, "d".into())]);
    }

    #[test]
    fn quotes_hold_a_word_together() {
        assert_eq!(split("a 'b c'd \"\" e"), ["a", "b cd", "", "e"]);
    }
}
