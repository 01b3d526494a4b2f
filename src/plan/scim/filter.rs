//! Filters, read (RFC 7644, section 3.4.2.2). A filter that names an attribute which is not kept is an error: silence would choose others than were meant.

use serde_json::{Number, Value};

use super::error::{ScimError, ScimType, quoted};
use super::path::{Scope, Target, resolve};

/// Longer filters are refused, as are those with more comparisons, and those with deeper brackets.
const LONGEST: usize = 4_096;
const MOST_TERMS: usize = 64;
const DEEPEST: usize = 16;

/// A filter.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Both.
    And(Box<Self>, Box<Self>),
    /// One of them at least.
    Or(Box<Self>, Box<Self>),
    /// Not that.
    Not(Box<Self>),
    /// There is a value.
    Present(Target),
    /// A value compares so.
    Compare(Target, Operator, Value),
    /// One of several values fits a filter.
    Within(Target, Box<Self>),
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The same.
    Equal,
    /// Not the same.
    NotEqual,
    /// Contains it.
    Contains,
    /// Starts with it.
    StartsWith,
    /// Ends with it.
    EndsWith,
    /// Comes after it.
    Greater,
    /// Comes after it, or is the same.
    GreaterOrEqual,
    /// Comes before it.
    Less,
    /// Comes before it, or is the same.
    LessOrEqual,
}

impl Operator {
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "co" => Self::Contains,
            "sw" => Self::StartsWith,
            "ew" => Self::EndsWith,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }
}

impl Filter {
    /// Reads a filter.
    pub fn read(scope: Scope, text: &str) -> Result<Self, ScimError> {
        if text.len() > LONGEST {
            return Err(wrong(format!("the filter has {} characters; {LONGEST} are enough", text.len())));
        }
        let mut reader = Reader { rest: text, terms: 0 };
        let filter = reader.either(scope, 0)?;
        match reader.rest.trim() {
            "" => Ok(filter),
            rest => Err(wrong(format!("the filter goes on with {} after its end; join comparisons by and or or", quoted(rest)))),
        }
    }

    /// The values that an element must have which fits, if the filter says so of each: `type eq "work" and primary eq true`.
    pub fn demands(&self) -> Option<Vec<(&'static str, &Value)>> {
        match self {
            Self::And(one, other) => {
                let mut all = one.demands()?;
                all.extend(other.demands()?);
                Some(all)
            }
            Self::Compare(target, Operator::Equal, value) if target.part.is_none() => Some(vec![(target.attribute.name, value)]),
            _ => None,
        }
    }

    /// What a filter says that asks for the one resource with a value: `userName eq "ada"`.
    pub fn wants_only(&self, attribute: &str) -> Option<&str> {
        match self {
            Self::Compare(target, Operator::Equal, Value::String(value))
                if target.extension.is_none() && target.part.is_none() && target.attribute.name == attribute =>
            {
                Some(value)
            }
            Self::And(one, other) => one.wants_only(attribute).or_else(|| other.wants_only(attribute)),
            _ => None,
        }
    }
}

fn wrong(detail: impl Into<String>) -> ScimError {
    ScimError::bad(ScimType::InvalidFilter, detail)
}

/// What of a filter is not read yet.
struct Reader<'a> {
    rest: &'a str,
    terms: usize,
}

impl<'a> Reader<'a> {
    fn either(&mut self, scope: Scope, depth: usize) -> Result<Filter, ScimError> {
        let mut filter = self.both(scope, depth)?;
        while self.word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.both(scope, depth)?));
        }
        Ok(filter)
    }

    fn both(&mut self, scope: Scope, depth: usize) -> Result<Filter, ScimError> {
        let mut filter = self.term(scope, depth)?;
        while self.word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.term(scope, depth)?));
        }
        Ok(filter)
    }

    fn term(&mut self, scope: Scope, depth: usize) -> Result<Filter, ScimError> {
        self.terms += 1;
        if self.terms > MOST_TERMS || depth > DEEPEST {
            return Err(wrong(format!(
                "the filter is too long: {MOST_TERMS} comparisons and {DEEPEST} brackets in each other are the most"
            )));
        }
        if self.negated() {
            return Ok(Filter::Not(Box::new(self.grouped(scope, depth)?)));
        }
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('(') {
            return self.grouped(scope, depth);
        }
        self.comparison(scope, depth)
    }

    fn grouped(&mut self, scope: Scope, depth: usize) -> Result<Filter, ScimError> {
        self.expect('(')?;
        let filter = self.either(scope, depth + 1)?;
        self.expect(')')?;
        Ok(filter)
    }

    fn comparison(&mut self, scope: Scope, depth: usize) -> Result<Filter, ScimError> {
        let name = self.token();
        let target = resolve(scope, name).ok_or_else(|| {
            wrong(format!("the filter names {}, which is no attribute that is kept; /Schemas has those that are", quoted(name)))
        })?;
        if self.rest.starts_with('[') {
            if target.part.is_some() || target.attribute.parts.is_empty() {
                return Err(wrong(format!("{name} has no parts that could stand in brackets")));
            }
            self.expect('[')?;
            let inner = self.either(Scope::Parts(target.attribute), depth + 1)?;
            self.expect(']')?;
            return Ok(Filter::Within(target, Box::new(inner)));
        }
        self.rest = self.rest.trim_start();
        let word = self.token();
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(target));
        }
        let operator = Operator::of(word)
            .ok_or_else(|| wrong(format!("after {name} stands {}; write eq, ne, co, sw, ew, gt, ge, lt, le or pr", quoted(word))))?;
        Ok(Filter::Compare(target, operator, self.value()?))
    }

    fn value(&mut self) -> Result<Value, ScimError> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') {
            return self.string();
        }
        let word = self.token();
        match word.to_ascii_lowercase().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => match word.parse::<Number>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) => Err(wrong(format!("the filter compares with {}; put text into double quotes", quoted(word)))),
            },
        }
    }

    /// A string as JSON has it.
    fn string(&mut self) -> Result<Value, ScimError> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find_map(|(at, character)| {
            let ends = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            ends.then_some(at)
        });
        let Some((text, rest)) = end.and_then(|end| self.rest.split_at_checked(end + 1)) else {
            return Err(wrong("the filter has a double quote that is not closed"));
        };
        self.rest = rest;
        serde_json::from_str::<String>(text).map(Value::String).map_err(|_| wrong(format!("{} is no string as JSON has it", quoted(text))))
    }

    /// Up to the next space or bracket.
    fn token(&mut self) -> &'a str {
        let ends = |character: char| character.is_whitespace() || "()[]\"".contains(character);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    /// Takes a word that stands between comparisons, in whatever case of letters.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start();
        let ends = |after: &str| after.starts_with(|it: char| it.is_whitespace() || it == '(');
        match rest.split_at_checked(word.len()) {
            Some((found, after)) if found.eq_ignore_ascii_case(word) && ends(after) => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    /// Takes the word not, if a bracket follows.
    fn negated(&mut self) -> bool {
        let rest = self.rest.trim_start();
        match rest.split_at_checked(3) {
            Some((found, after)) if found.eq_ignore_ascii_case("not") && after.trim_start().starts_with('(') => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, bracket: char) -> Result<(), ScimError> {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(bracket) {
            Some(after) => {
                self.rest = after;
                Ok(())
            }
            None => Err(wrong(format!("the filter lacks a {bracket} before {}", quoted(rest)))),
        }
    }
}
