//! Finds the first rule that holds without looking at all of them.
//!
//! Each rule is kept under the beginnings of its paths that have no variable, and under those who may
//! call: by identity, by namespace, or everybody. A request looks only at what lies on the way of its
//! path, and there only at what is about its caller; what is found so may hold, and
//! [`super::rule::Rule::holds`] says whether it does. Rules that deny come first, so the first one
//! that holds is the verdict.

use std::collections::HashMap;

use super::ask::{Ask, What};
use super::rule::Rule;
use super::shape::{Piece, Shape};
use crate::model::{Action, SpiffeId};
use crate::resources::access_policy::rule::{self as written, Identity};

/// A rule with more paths times callers is kept under its callers alone. Arbitrary; it bounds memory.
const MOST_PLACES: usize = 1_000;

/// Numbers of rules, in ascending order.
type Numbers = Vec<u32>;

#[derive(Debug, Default)]
pub struct Index {
    /// Every name in a rule has a number, so that a caller's is looked for once.
    ids: HashMap<Box<str>, u32>,
    namespaces: HashMap<Box<str>, u32>,
    /// Those that hold for any path.
    any_path: Callers,
    /// Those that deny some paths: what has no path may be any of them.
    denying: Callers,
    /// The first is the root.
    steps: Vec<Step>,
}

/// A beginning of paths.
#[derive(Debug, Default)]
struct Step {
    next: HashMap<Box<str>, usize>,
    /// Paths that end here.
    here: Callers,
    /// Patterns that go on with a variable or the rest.
    below: Callers,
}

#[derive(Debug, Default)]
struct Callers {
    all: Numbers,
    proven: Numbers,
    by_id: HashMap<u32, Numbers>,
    by_namespace: HashMap<u32, Numbers>,
}

/// Whom a rule is about, as far as the index goes.
#[derive(Clone, Copy)]
enum Who {
    All,
    Proven,
    Id(u32),
    Namespace(u32),
}

/// A caller's numbers.
struct Caller {
    is_proven: bool,
    id: Option<u32>,
    namespace: Option<u32>,
}

impl Index {
    /// Of rules in the order of their numbers.
    pub fn of<'a>(rules: impl Iterator<Item = &'a written::Rule>) -> Self {
        let mut index = Self { steps: vec![Step::default()], ..Self::default() };
        for (number, rule) in (0..).zip(rules) {
            index.keep(number, rule);
        }
        index
    }

    fn keep(&mut self, number: u32, rule: &written::Rule) {
        let who = self.who(rule);
        let paths = || rule.to.iter().flat_map(|operation| &operation.paths);
        let is_any = rule.to.is_empty()
            || rule.to.iter().any(|operation| operation.paths.is_empty())
            || paths().count() * who.len() > MOST_PLACES;
        if is_any {
            return self.any_path.keep(&who, number);
        }
        for path in paths() {
            self.place(&Shape::of(path, rule.action)).keep(&who, number);
        }
        if rule.action == Action::Deny {
            self.denying.keep(&who, number);
        }
    }

    fn who(&mut self, rule: &written::Rule) -> Vec<Who> {
        if rule.from.is_empty() {
            return vec![Who::All];
        }
        let mut who = Vec::new();
        for source in &rule.from {
            if !source.identities.is_empty() {
                who.extend(source.identities.iter().map(|identity| match identity {
                    Identity::Any => Who::Proven,
                    Identity::Id(id) => Who::Id(number(&mut self.ids, id.as_str())),
                }));
            } else if !source.namespaces.is_empty() {
                let names = source.namespaces.iter();
                who.extend(names.map(|name| Who::Namespace(number(&mut self.namespaces, name))));
            } else {
                who.push(Who::All);
            }
        }
        who
    }

    fn place(&mut self, path: &Shape) -> &mut Callers {
        let mut at = 0;
        for piece in path.pieces() {
            let Piece::Text(text) = piece else { return &mut self.steps[at].below };
            at = match self.steps[at].next.get(text) {
                Some(next) => *next,
                None => {
                    let next = self.steps.len();
                    self.steps[at].next.insert(text.clone(), next);
                    self.steps.push(Step::default());
                    next
                }
            };
        }
        &mut self.steps[at].here
    }

    /// The number of the first of `rules` that holds.
    pub fn first(&self, rules: &[Rule], ask: &Ask<'_>) -> Option<usize> {
        let caller = self.caller(ask.id);
        let mut search = Search { rules, ask, caller, first: None };
        search.among(&self.any_path);
        let path = match ask.what {
            What::Request(request) => request.path.as_deref().map(|path| (path, request)),
            What::Stream { .. } => None,
        };
        match path {
            None => search.among(&self.denying),
            Some((path, request)) => {
                self.walk(path, &mut search);
                if !self.denying.is_empty() {
                    request.others().iter().for_each(|other| self.walk(other, &mut search));
                }
            }
        }
        search.first.map(|number| number as usize)
    }

    fn walk(&self, path: &str, search: &mut Search<'_>) {
        let Some(mut step) = self.steps.first() else { return };
        for segment in path[1..].split('/') {
            search.among(&step.below);
            match step.next.get(segment) {
                Some(next) => step = &self.steps[*next],
                None => return,
            }
        }
        search.among(&step.here);
    }

    fn caller(&self, id: Option<&SpiffeId>) -> Caller {
        let of = |names: &HashMap<Box<str>, u32>, name: Option<&str>| {
            name.and_then(|name| names.get(name).copied())
        };
        Caller {
            is_proven: id.is_some(),
            id: of(&self.ids, id.map(SpiffeId::as_str)),
            namespace: of(&self.namespaces, id.map(SpiffeId::namespace)),
        }
    }
}

fn number(names: &mut HashMap<Box<str>, u32>, name: &str) -> u32 {
    let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
    *names.entry(name.into()).or_insert(next)
}

impl Callers {
    fn is_empty(&self) -> bool {
        let Self { all, proven, by_id, by_namespace } = self;
        all.is_empty() && proven.is_empty() && by_id.is_empty() && by_namespace.is_empty()
    }

    fn keep(&mut self, who: &[Who], number: u32) {
        for who in who {
            let numbers = match who {
                Who::All => &mut self.all,
                Who::Proven => &mut self.proven,
                Who::Id(id) => self.by_id.entry(*id).or_default(),
                Who::Namespace(namespace) => self.by_namespace.entry(*namespace).or_default(),
            };
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
    }
}

struct Search<'a> {
    rules: &'a [Rule],
    ask: &'a Ask<'a>,
    caller: Caller,
    first: Option<u32>,
}

impl Search<'_> {
    fn among(&mut self, callers: &Callers) {
        self.look(&callers.all);
        if !self.caller.is_proven {
            return;
        }
        self.look(&callers.proven);
        let of_id = self.caller.id.and_then(|id| callers.by_id.get(&id));
        let of_namespace = self.caller.namespace.and_then(|of| callers.by_namespace.get(&of));
        for numbers in of_id.into_iter().chain(of_namespace) {
            self.look(numbers);
        }
    }

    fn look(&mut self, numbers: &[u32]) {
        for number in numbers {
            if self.first.is_some_and(|first| first <= *number) {
                return;
            }
            if self.rules[*number as usize].holds(self.ask) {
                self.first = Some(*number);
                return;
            }
        }
    }
}
