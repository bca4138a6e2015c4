//! Rust source as tidy reads it: tokens without comments and literals, the paths they spell, the
//! modules they declare. Not a parser: it knows just enough of the grammar not to be misled.

/// A word, `::`, or one character of punctuation, and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// A path such as `crate::format::key`, groups unfolded, a glob as the segment `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    /// The name behind `as`.
    pub(super) alias: Option<String>,
    /// The inline modules (`mod a { … }`) it stands in, outermost first.
    pub(super) inside: Vec<String>,
    pub(super) line: usize,
}

/// What a file says outside its tests.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) tokens: Vec<Token>,
    /// `mod name;` declarations.
    pub(super) modules: Vec<String>,
    /// Those of them under `#[cfg(test)]`.
    pub(super) test_modules: Vec<String>,
}

/// Reads a file and leaves out what only its tests see.
pub(super) fn read(text: &str) -> Source {
    let mut source = Source::default();
    let all = tokens(text);
    let mut at = 0;
    while at < all.len() {
        let (attribute, inner) = attribute_end(&all, at);
        if attribute > at && is_test_only(&all[at..attribute]) {
            let end = if inner { all.len() } else { item_end(&all, attribute) };
            source.test_modules.extend(declared(&all[attribute..end]));
            at = end;
        } else {
            source.tokens.push(all[at].clone());
            at += 1;
        }
    }
    source.modules = declared(&source.tokens);
    source.modules.extend(source.test_modules.iter().cloned());
    source
}

/// All paths of two segments or more.
pub(super) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut inside: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.retain(|(_, opened)| *opened <= depth);
            }
            "mod" if text(tokens, at + 2) == "{" => {
                inside.push((text(tokens, at + 1).to_owned(), depth + 1));
            }
            _ if tokens[at].is_word() && text(tokens, at + 1) == "::" => {
                let names: Vec<String> = inside.iter().map(|(name, _)| name.clone()).collect();
                at = unfold(tokens, at, &mut Vec::new(), &names, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Unfolds the path that begins at `at` behind `prefix`; returns the index behind it.
fn unfold(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    inside: &[String],
    found: &mut Vec<Path>,
) -> usize {
    let size = prefix.len();
    let line = tokens[at].line;
    let mut group = false;
    loop {
        match text(tokens, at) {
            "{" if at > 0 && text(tokens, at - 1) == "::" => {
                group = true;
                at += 1;
                while at < tokens.len() && text(tokens, at) != "}" {
                    match text(tokens, at) {
                        "," => at += 1,
                        _ => at = unfold(tokens, at, prefix, inside, found),
                    }
                }
                at += 1;
                break;
            }
            "*" => prefix.push("*".to_owned()),
            "self" if size > 0 => {}
            word if tokens.get(at).is_some_and(Token::is_word) => prefix.push(word.to_owned()),
            _ => break, // A turbofish: `::<`.
        }
        at += 1;
        if text(tokens, at) != "::" {
            break;
        }
        at += 1;
    }
    let alias = (text(tokens, at) == "as").then(|| text(tokens, at + 1).to_owned());
    if alias.is_some() {
        at += 2;
    }
    if !group && prefix.len() > 1 {
        let segments = prefix.clone();
        found.push(Path { segments, alias, inside: inside.to_vec(), line });
    }
    prefix.truncate(size);
    // Inside a group, whatever this did not understand must not stop the loop above.
    if size > 0 && !matches!(text(tokens, at), "," | "}") { at + 1 } else { at }
}

/// The text of a token, empty past the end.
pub(super) fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

/// The names in `mod name;`.
fn declared(tokens: &[Token]) -> Vec<String> {
    let is_declaration = |w: &&[Token]| w[0].text == "mod" && w[2].text == ";";
    tokens.windows(3).filter(is_declaration).map(|w| w[1].text.clone()).collect()
}

/// The index behind the attribute at `at` (`at` itself if there is none), and whether it is `#!`.
fn attribute_end(tokens: &[Token], at: usize) -> (usize, bool) {
    let inner = text(tokens, at + 1) == "!";
    let open = at + 1 + usize::from(inner);
    if text(tokens, at) != "#" || text(tokens, open) != "[" {
        return (at, false);
    }
    (closed(tokens, open), inner)
}

fn is_test_only(attribute: &[Token]) -> bool {
    let has = |word: &str| attribute.iter().any(|token| token.text == word);
    has("cfg") && has("test") && !has("not") && !has("any")
}

/// The index behind the item at `at`: behind its `;`, or behind its first pair of braces.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() {
        match text(tokens, at) {
            ";" => return at + 1,
            "{" => return closed(tokens, at),
            "(" | "[" => at = closed(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The index behind the bracket that closes the one at `at`.
fn closed(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match text(tokens, at) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The tokens of a file, comments and literals left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match skipped(&chars, at) {
            0 => {
                let size = token_size(&chars[at..]);
                let text: String = chars[at..at + size].iter().collect();
                if !text.trim().is_empty() {
                    found.push(Token { text, line });
                }
                at + size
            }
            size => at + size,
        };
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn token_size(chars: &[char]) -> usize {
    let word = chars.iter().take_while(|c| is_word_char(**c)).count();
    match chars {
        [':', ':', ..] => 2,
        _ => word.max(1),
    }
}

/// How many characters a comment or literal takes here; 0 if there is none.
fn skipped(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        ['\'', ..] => 1, // A lifetime: its name remains, and is harmless.
        ['r' | 'b' | 'c', ..] if at == 0 || !is_word_char(chars[at - 1]) => raw_string(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`; 0 for a word that only begins like one.
fn raw_string(rest: &[char]) -> usize {
    let prefix = rest.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    if rest[prefix - 1] != 'r' || rest.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = prefix + hashes + 1;
    let found = rest[body..].windows(end.len()).position(|w| w == end);
    found.map_or(rest.len(), |size| body + size + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(source: &str) -> Vec<String> {
        paths(&read(source).tokens).iter().map(|path| path.segments.join("::")).collect()
    }

    /// Hides one path in each kind of comment and literal; only the two in code may be seen.
    #[test]
    fn comments_and_literals_are_not_code() {
        let source = r####"
            // crate::a
            /* crate::b /* crate::c */ crate::d */
            let s = "crate::e \" crate::f"; let t = r#"crate::g " "#; let u = br"\"; let c = '"';
            let real: crate::h = '\''; fn f<'a>(x: &'a str) { crate::i(x) }
        "####;
        assert_eq!(spelled(source), ["crate::h", "crate::i"]);
    }

    /// One of each shape an import takes.
    #[test]
    fn grouped_imports_unfold() {
        let source = "use crate::{self, a, b::{self, C as D, e::*}, f}; use std::fs; g::<u8>();";
        let expected =
            ["crate::a", "crate::b", "crate::b::C", "crate::b::e::*", "crate::f", "std::fs"];
        assert_eq!(spelled(source), expected);
        let tokens = read(source).tokens;
        assert_eq!(paths(&tokens)[2].alias.as_deref(), Some("D"));
    }

    /// The paths between and behind the test items are seen, those within are not.
    #[test]
    fn test_items_are_left_out() {
        let source = "
            mod a; #[cfg(test)] mod model; use x::y;
            #[cfg(test)] #[allow(dead_code)] fn f(b: [u8; 4]) { p::q(); }
            #[cfg(not(test))] use x::z;
            #[cfg(test)] mod tests { use super::*; mod deeper { use super::super::*; } }
            fn last() { x::last() }";
        assert_eq!(spelled(source), ["x::y", "x::z", "x::last"]);
        let read = read(source);
        assert_eq!(read.modules, ["a", "model"]);
        assert_eq!(read.test_modules, ["model"]);
        assert!(super::read("#![cfg(test)] use x::y;").tokens.is_empty());
    }

    /// A line number past a comment, a string and a raw string of several lines.
    #[test]
    fn tokens_know_their_line() {
        let source = "/*\n*/ \"\n\" r\"\n\"\nuse x::y; mod m { use super::z; }";
        let paths = paths(&read(source).tokens);
        assert_eq!((paths[0].line, paths[1].line), (5, 5));
        assert_eq!(paths[1].inside, ["m"]);
    }
}
