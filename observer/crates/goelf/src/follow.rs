//! What registers hold before an instruction, as far as it comes from words on the stack: ways through a
//! function in, values out. The machine's own part is what a single instruction does.

use std::collections::HashMap;
use std::hash::Hash;

/// What a register holds: the word at `slot` from the stack pointer, plus `more`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub slot: i64,
    pub more: i64,
}

impl Value {
    /// That much further on; `None` beyond all numbers.
    pub(crate) fn plus(self, more: i64) -> Option<Self> {
        Some(Self { more: self.more.checked_add(more)?, ..self })
    }
}

/// The general registers' values, as far as they are known.
pub(crate) type Values<R> = HashMap<R, Value>;

/// Where an instruction leads within its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the next one, behind a call, too
    On,
    /// To that address
    Jump(u64),
    /// To that address or the next one
    Branch(u64),
    /// Nowhere in the function that is known
    Ends,
}

/// What the registers hold before instruction `until`; `step` does what instruction `n` does. One pass, which
/// is enough: what comes from further back by a jump is not known, and from before only what is the same on all
/// ways.
pub(crate) fn values<R: Eq + Hash + Clone>(
    ways: &[(u64, Way)],
    until: usize,
    mut step: impl FnMut(&mut Values<R>, usize),
) -> Values<R> {
    // What holds at places that are jumped to from before them; `None` where it is jumped to from behind.
    let mut arriving: HashMap<u64, Option<Values<R>>> = HashMap::new();
    for (at, way) in ways {
        if let Way::Jump(to) | Way::Branch(to) = way
            && to <= at
        {
            arriving.insert(*to, None);
        }
    }
    let mut values = Some(Values::new());
    for (n, (at, way)) in ways[..until].iter().enumerate() {
        join(&mut values, arriving.remove(at));
        let Some(now) = &mut values else { continue };
        step(now, n);
        if let Way::Jump(to) | Way::Branch(to) = way
            && to > at
        {
            let mut joined = Some(now.clone());
            join(&mut joined, arriving.remove(to));
            arriving.insert(*to, joined);
        }
        if matches!(way, Way::Jump(_) | Way::Ends) {
            values = None;
        }
    }
    join(&mut values, ways.get(until).and_then(|(at, _)| arriving.remove(at)));
    values.unwrap_or_default()
}

/// Leaves what holds on both ways; `None` is a way that nobody takes, inside `other` one that is not known.
fn join<R: Eq + Hash>(values: &mut Option<Values<R>>, other: Option<Option<Values<R>>>) {
    match (values.as_mut(), other) {
        (_, None) => {}
        (_, Some(None)) => *values = Some(Values::new()),
        (None, Some(other)) => *values = other,
        (Some(values), Some(Some(other))) => {
            values.retain(|register, value| other.get(register) == Some(value));
        }
    }
}
