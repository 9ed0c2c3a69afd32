//! Rust as words, so that a rule about code is not broken by a comment or a string that speaks of it.

/// One word of Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The word; of a string, what stands between the quotes.
    pub(super) text: String,
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Text,
    Sign,
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign && self.text.starts_with(sign)
    }
}

/// The words of a Rust file without comments. Numbers count as words, lifetimes and single characters are left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { rest: source, line: 1, tokens: Vec::new() };
    while !reader.rest.is_empty() {
        reader.step();
    }
    reader.tokens
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        let first = rest.chars().next().expect("the loop ends with the text");
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some((open, close)) = raw_string(rest) {
            let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at);
            self.push(Kind::Text, &rest[open..end], (end + close.len()).min(rest.len()));
        } else if first == '"' || rest.starts_with("b\"") || rest.starts_with("c\"") {
            let open = rest.find('"').map_or(0, |at| at + 1);
            let end = open + string_end(&rest[open..]);
            self.push(Kind::Text, &rest[open..end], (end + 1).min(rest.len()));
        } else if first == '\'' {
            self.skip(quote(rest));
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.push(Kind::Word, &rest[..end], end);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(Kind::Sign, &rest[..first.len_utf8()], first.len_utf8());
        }
    }

    fn push(&mut self, kind: Kind, text: &str, length: usize) {
        self.tokens.push(Token { kind, text: text.to_owned(), line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

/// The length of a comment in `/* */`, which may contain others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Where the text of a raw string begins, and what ends it.
fn raw_string(rest: &str) -> Option<(usize, String)> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then(|| {
        let open = rest.len() - after.len() + hashes + 1;
        (open, format!("\"{}", "#".repeat(hashes)))
    })
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal, or of the quote alone where it begins a lifetime.
fn quote(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3.min(rest.len())..].find('\'').map_or(rest.len(), |at| 3 + at + 1),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().filter(|t| t.kind == Kind::Word).map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_are_no_words() {
        let source = r###"a // b
            /* c /* d */ e */ f "g \" h" r#"i " j"# b"k" l"###;
        assert_eq!(words(source), ["a", "f", "l"]);
        let texts: Vec<_> = tokens(source).into_iter().filter(|t| t.kind == Kind::Text).map(|t| t.text).collect();
        assert_eq!(texts, [r#"g \" h"#, "i \" j", "k"]);
    }

    #[test]
    fn quotes_of_characters_and_of_lifetimes_do_not_swallow_code() {
        assert_eq!(
            words(r"fn a<'b>(c: &'b str) { '\'' ; '\u{1F600}' ; 'd' ; '{' ; e }"),
            ["fn", "a", "b", "c", "b", "str", "e"]
        );
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let source = "/*\n\n*/ \"x\n y\" word";
        assert_eq!(tokens(source).last().unwrap().line, 4);
    }
}
