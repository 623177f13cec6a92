//! Which go.mod files go reads beside those of the modules it downloads. In: the main module's go.mod, go.mod files as
//! they come, and what go asks for. Out: the go.mod files that it reads next.
//!
//! Go prunes the module graph (since 1.17): of a required module that says `go 1.17` or later it reads that one go.mod.
//! Of one that says less it reads all that its go.mod names, and all that those name, whatever they say. So does it
//! with a required module that one of these names in the same version.
//!
//! Whether go reads the graph at all depends on its version and on go.sum. So nothing is read ahead before go has asked
//! for one go.mod that only the graph names; from then on everything is.

use std::collections::{HashMap, HashSet};

use crate::gomod::{GoMod, Versioned};

/// Modules that are followed.
const MODULES_MAX: usize = 20_000;

/// What is known of the graph.
#[derive(Debug, Default)]
pub struct Graph {
    main: GoMod,
    roots: HashSet<Versioned>,
    /// Named by the graph, and no root
    known: HashSet<Versioned>,
    /// Roots that came, and of which go may yet read all: what they name
    pruned: HashMap<Versioned, Vec<Versioned>>,
    /// Roots of which it does
    unpruned: HashSet<Versioned>,
    /// Not asked for as long as go does not read the graph
    held: Vec<Versioned>,
    is_read: bool,
}

impl Graph {
    /// That of a main module; nothing came yet.
    pub fn new(main: GoMod) -> Self {
        let roots = main.requires.iter().filter(|module| main.is_asked(module)).cloned().collect();
        Self { main, roots, ..Self::default() }
    }

    /// A go.mod came: those that go reads next.
    pub fn came(&mut self, module: &Versioned, text: &str) -> Vec<Versioned> {
        let is_root = self.roots.contains(module);
        if !is_root && !self.known.contains(module) {
            return Vec::new();
        }
        let file = GoMod::parse(text);
        if is_root && file.is_complete() && !self.unpruned.contains(module) {
            self.pruned.insert(module.clone(), file.requires);
        } else {
            self.follow(file.requires);
        }
        if self.is_read { std::mem::take(&mut self.held) } else { Vec::new() }
    }

    /// Go asked for a go.mod: those that it reads next, when that shows that it reads the graph.
    pub fn asked(&mut self, module: &Versioned) -> Vec<Versioned> {
        self.is_read |= self.known.contains(module);
        if self.is_read { std::mem::take(&mut self.held) } else { Vec::new() }
    }

    fn follow(&mut self, mut requires: Vec<Versioned>) {
        while let Some(module) = requires.pop() {
            if self.roots.contains(&module) {
                if self.unpruned.insert(module.clone()) {
                    requires.extend(self.pruned.remove(&module).unwrap_or_default());
                }
            } else if self.main.is_asked(&module)
                && self.known.len() < MODULES_MAX
                && self.known.insert(module.clone())
            {
                self.held.push(module);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Versioned {
        (name.to_owned(), "v1.0.0".to_owned())
    }

    fn names(modules: Vec<Versioned>) -> Vec<String> {
        let mut names: Vec<String> = modules.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    fn requiring(go: &str, all: &[&str]) -> String {
        all.iter().fold(format!("go {go}\n"), |text, name| text + &format!("require {name} v1.0.0\n"))
    }

    #[test]
    fn nothing_is_read_ahead_before_go_reads_the_graph() {
        let mut graph = Graph::new(GoMod::parse(&requiring("1.22", &["old.test", "new.test"])));
        assert_eq!(graph.came(&module("old.test"), &requiring("1.16", &["a.test", "b.test"])), []);
        assert_eq!(graph.came(&module("new.test"), &requiring("1.17", &["c.test"])), [], "pruned");
        assert_eq!(graph.asked(&module("new.test")), [], "a root says nothing");
        assert_eq!(graph.asked(&module("other.test")), []);
        assert_eq!(names(graph.asked(&module("a.test"))), ["a.test", "b.test"]);
        // Below one that is not pruned nothing is.
        assert_eq!(
            names(graph.came(&module("b.test"), &requiring("1.22", &["a.test", "d.test"]))),
            ["d.test"]
        );
        assert_eq!(graph.came(&module("other.test"), &requiring("1.16", &["e.test"])), [], "nobody named it");
    }

    #[test]
    fn a_root_that_the_graph_names_is_read_whole() {
        for is_late in [false, true] {
            let mut graph = Graph::new(GoMod::parse(&requiring("1.22", &["old.test", "new.test"])));
            let new = (module("new.test"), requiring("1.22", &["c.test"]));
            let old = (module("old.test"), requiring("1.16", &["new.test", "a.test"]));
            let (first, second) = if is_late { (new, old) } else { (old, new) };
            graph.came(&first.0, &first.1);
            graph.came(&second.0, &second.1);
            assert_eq!(names(graph.asked(&module("a.test"))), ["a.test", "c.test"]);
        }
    }

    #[test]
    fn what_is_replaced_or_excluded_is_not_read() {
        let main = requiring("1.22", &["old.test"]) + "replace a.test => ../a\nexclude b.test v1.0.0\n";
        let mut graph = Graph::new(GoMod::parse(&main));
        graph.came(&module("old.test"), &requiring("1.16", &["a.test", "b.test", "c.test"]));
        assert_eq!(names(graph.asked(&module("c.test"))), ["c.test"]);
    }
}
