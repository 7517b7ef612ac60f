use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{positive, quote};

/// Patterns in one config; a model has some 400 layers.
const MOST: usize = 4096;

/// Patterns that are more than a name. Each is compiled, which takes time and memory.
const MOST_EXPRESSIONS: usize = 64;

/// Bytes that a compiled expression may take.
const COMPILED: usize = 1 << 20;

/// Numbers for the layers whose names match, as `rank_pattern` and `alpha_pattern` have them: the first pattern that
/// matches a layer's whole name, or the end of it after a dot, decides. (PEFT: `get_pattern_key`.)
#[derive(Debug, Default)]
pub(crate) struct Patterns(Vec<(Pattern, f64)>);

#[derive(Debug)]
enum Pattern {
    /// Without anything that a regular expression would read in another way, but for the dots.
    Name {
        anchored: bool,
        name: String,
    },
    Expression(Box<Regex>),
}

impl Patterns {
    /// # Errors
    /// What was expected and what was found.
    pub(crate) fn new(patterns: &Map<String, Value>) -> Result<Self, (String, String)> {
        if patterns.len() > MOST {
            let expected = format!("at most {MOST} patterns");
            return Err((expected, patterns.len().to_string()));
        }
        let mut expressions = 0;
        let mut list = Vec::new();
        for (pattern, value) in patterns {
            let Some(number) = positive(value) else {
                let expected = format!("a positive number for '{}'", quote(pattern));
                return Err((expected, quote(value)));
            };
            let pattern = Pattern::new(pattern)?;
            expressions += usize::from(matches!(pattern, Pattern::Expression(_)));
            if expressions > MOST_EXPRESSIONS {
                let expected = format!("at most {MOST_EXPRESSIONS} regular expressions");
                return Err((expected, "more".to_owned()));
            }
            list.push((pattern, number));
        }
        Ok(Self(list))
    }

    /// The number for a layer.
    pub(crate) fn get(&self, module: &str) -> Option<f64> {
        self.0.iter().find(|(pattern, _)| pattern.matches(module)).map(|(_, number)| *number)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, (String, String)> {
        let (anchored, name) = match text.strip_prefix('^') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.replace("\\.", ".");
        if name.chars().all(|c| c.is_ascii_alphanumeric() || ['_', '.', '-'].contains(&c)) {
            return Ok(Self::Name { anchored, name });
        }
        let expression = RegexBuilder::new(&format!(r"^(?:.*\.)?(?:{text})$"))
            .size_limit(COMPILED)
            .dfa_size_limit(COMPILED)
            .build()
            .map_err(|_| ("a regular expression".to_owned(), quote(text)))?;
        Ok(Self::Expression(Box::new(expression)))
    }

    fn matches(&self, module: &str) -> bool {
        match self {
            Self::Name { anchored: true, name } => module == name,
            Self::Name { anchored: false, name } => ends_with(module, name),
            Self::Expression(expression) => expression.is_match(module),
        }
    }
}

/// Whether a layer's name is `name`, or ends with it after a dot.
pub(crate) fn ends_with(module: &str, name: &str) -> bool {
    module
        .strip_suffix(name)
        .is_some_and(|before| before.is_empty() || before.ends_with('.') && !name.is_empty())
}
