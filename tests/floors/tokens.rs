//! Rust as tokens, as far as paths need it: strings, comments and what only tests have are gone.
//!
//! Not a parser: it knows brackets, and where an item ends. That a bracket in a string or a quote in
//! a comment fools nobody is what it is for.

/// A piece of code; comments, literals and lifetimes are none.
#[derive(Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) text: &'t str,
    pub(super) line: usize,
}

/// The next `N` tokens' texts; empty beyond the end.
pub(super) fn texts<'t, const N: usize>(tokens: &[Token<'t>]) -> [&'t str; N] {
    std::array::from_fn(|at| tokens.get(at).map_or("", |token| token.text))
}

/// All tokens of a file.
pub(super) fn tokens(mut text: &str) -> Vec<Token<'_>> {
    let (mut found, mut line) = (Vec::new(), 1);
    while !text.is_empty() {
        let (length, is_code) = lexeme(text);
        let (lexeme, rest) = text.split_at(length);
        if is_code {
            found.push(Token { text: lexeme, line });
        }
        line += lexeme.matches('\n').count();
        text = rest;
    }
    found
}

/// The length of what `text` begins with, and whether it is code.
fn lexeme(text: &str) -> (usize, bool) {
    if text.starts_with("//") {
        return (text.find('\n').unwrap_or(text.len()), false);
    }
    if text.starts_with("/*") {
        return (block_comment(text), false);
    }
    if let Some(length) = literal(text) {
        return (length, false);
    }
    let word = word(text);
    match text.chars().next() {
        _ if word > 0 => (word, true),
        _ if text.starts_with("::") => (2, true),
        Some(other) => (other.len_utf8(), !other.is_whitespace()),
        None => (0, false),
    }
}

fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn block_comment(text: &str) -> usize {
    let (mut nested, mut at) = (0, 0);
    while at < text.len() {
        let two = text.as_bytes().get(at..at + 2).unwrap_or_default();
        match two {
            b"/*" => nested += 1,
            b"*/" => nested -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if nested == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a string, a character or a lifetime.
fn literal(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let body = &text[prefix..];
    if text[..prefix].contains('r') {
        let hashes = body.find(|c| c != '#')?;
        let inside = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(prefix + hashes + 1 + length);
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut chars = body.chars().skip(1);
    let (first, second) = (chars.next()?, chars.next());
    if quote == '\'' && first != '\\' && second != Some('\'') {
        return Some(prefix + 1 + word(&body[1..]));
    }
    let mut escaped = false;
    let ends = |(_, c): &(usize, char)| {
        let end = !escaped && *c == quote;
        escaped = !escaped && *c == '\\';
        end
    };
    let end = body.char_indices().skip(1).find(ends).map_or(body.len(), |(at, _)| at + 1);
    Some(prefix + end)
}

/// Leaves out every item that only tests have.
pub(super) fn without_tests<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    const ITEMS: [&str; 15] = [
        "mod",
        "use",
        "fn",
        "pub",
        "impl",
        "const",
        "static",
        "struct",
        "enum",
        "trait",
        "type",
        "unsafe",
        "async",
        "extern",
        "macro_rules",
    ];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let mut item = at;
        if is_test_only(&tokens[at..]) {
            while texts(&tokens[item..]) == ["#", "["] {
                item += 1 + group(&tokens[item + 1..]);
            }
        }
        // An attribute of anything less, a field or an arm, hides nothing.
        if item > at && ITEMS.contains(&texts::<1>(&tokens[item..])[0]) {
            at = item + end_of_item(&tokens[item..]);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

fn is_test_only(tokens: &[Token<'_>]) -> bool {
    texts(tokens) == ["#", "[", "cfg", "(", "test", ")"]
        || texts(tokens) == ["#", "[", "cfg", "(", "all", "(", "test", ","]
}

/// The length of the group that `tokens` begins with, brackets included.
pub(super) fn group(tokens: &[Token<'_>]) -> usize {
    let mut open = 0;
    let ends = |token: &Token<'_>| {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open -= 1,
            _ => {}
        }
        open == 0
    };
    tokens.iter().position(ends).map_or(tokens.len(), |at| at + 1)
}

/// The length of an item: to its braces' end, or to its semicolon.
fn end_of_item(tokens: &[Token<'_>]) -> usize {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => return at + group(&tokens[at..]),
            "(" | "[" => at += group(&tokens[at..]),
            ";" => return at + 1,
            _ => at += 1,
        }
    }
    at
}
