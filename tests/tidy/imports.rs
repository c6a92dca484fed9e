//! Which file imports which, read from the paths that a source names.
//!
//! A file imports the files that define what its code names by `crate::…`, `super::…`, `self::…`
//! or by a module below it. A name that another file only hands on (`use`, `pub use`) leads to
//! the file that defines it; to hand a name on, and to declare a module, is no import.
//!
//! Two things are no import either. A module and what lies below it in its folder are one room:
//! nobody can read the one without the other. And a method is not looked up: a file that
//! implements part of a type imports that type, not the other way round.

use std::collections::{BTreeMap, BTreeSet};

/// A module, by the segments of its path; the crate is the empty one.
type Module = Vec<String>;

/// The sources of one crate, by their modules.
#[derive(Default)]
pub(crate) struct Sources {
    names: BTreeMap<Module, String>,
    codes: BTreeMap<Module, String>,
    /// What each hands on or uses: the name, and where it leads.
    uses: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Sources {
    /// Adds a file; `inside` is its name below the crate's `src`, `code` its code without
    /// comments and unit tests.
    pub(crate) fn add(&mut self, name: &str, inside: &str, code: &str) {
        let mut module: Module =
            inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
            module.pop();
        }
        self.names.insert(module.clone(), name.to_owned());
        self.codes.insert(module, code.to_owned());
    }

    /// Every import, from file to file.
    pub(crate) fn imports(mut self) -> BTreeMap<String, BTreeSet<String>> {
        let modules: Vec<Module> = self.codes.keys().cloned().collect();
        let mut named: BTreeMap<Module, Vec<Vec<String>>> = BTreeMap::new();
        for module in &modules {
            let code = self.codes.get(module).cloned().unwrap_or_default();
            let (uses, rest) = split_uses(&code);
            let mut handed_on = BTreeMap::new();
            for (is_public, tree) in uses {
                for (path, bound) in expand(&tree) {
                    let Some(path) = self.absolute(module, &path) else { continue };
                    if !is_public {
                        named.entry(module.clone()).or_default().push(path.clone());
                    }
                    handed_on.insert(bound, path);
                }
            }
            for path in paths(&rest) {
                named.entry(module.clone()).or_default().extend(self.absolute(module, &path));
            }
            self.uses.insert(module.clone(), handed_on);
        }
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, paths) in &named {
            for path in paths {
                let home = self.home(path, 0);
                if !home.starts_with(module) && !module.starts_with(&home) {
                    let home = self.names.get(&home).cloned();
                    let from = self.names.get(module).cloned().unwrap_or_default();
                    graph.entry(from).or_default().extend(home);
                }
            }
        }
        graph
    }

    /// A path from the crate's root on; `None` if it leaves the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let mut from = module.clone();
        let mut rest = path;
        match first {
            "crate" => {
                from.clear();
                rest = rest.get(1..)?;
            }
            "self" | "super" => {
                while let Some(word) = rest.first().filter(|word| is_relative(word)) {
                    if word == "super" {
                        from.pop();
                    }
                    rest = rest.get(1..)?;
                }
            }
            below => {
                from.push(below.to_owned());
                self.codes.get(&from)?;
                from.pop();
            }
        }
        from.extend(rest.iter().cloned());
        Some(from)
    }

    /// The module that defines what a path names.
    fn home(&self, path: &[String], depth: usize) -> Module {
        let mut module = path.to_vec();
        while !self.codes.contains_key(&module) {
            module.pop();
        }
        let next = path.get(module.len());
        let leads = next.and_then(|name| self.uses.get(&module)?.get(name));
        match leads {
            Some(leads) if depth < 8 => self.home(leads, depth + 1),
            _ => module,
        }
    }
}

fn is_relative(word: &str) -> bool {
    matches!(word, "self" | "super")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The `use` items of a source (whether they hand on, and their trees), and the rest of it.
fn split_uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        let is_public = item.starts_with("pub");
        let visible = match item.split_once(") use ").filter(|(before, _)| before.len() < 30) {
            Some((_, tree)) if item.starts_with("pub(") => Some(tree),
            _ => item.strip_prefix("pub use ").or_else(|| item.strip_prefix("use ")),
        };
        let Some(tree) = visible else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            let Some(more) = lines.next() else { break };
            tree.push_str(more.trim());
        }
        uses.push((is_public, tree.replace(';', "")));
    }
    (uses, rest)
}

/// The paths of a `use` tree, and the name that each binds.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        let (path, bound) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Vec<String> = path.split("::").map(|word| word.trim().to_owned()).collect();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        let bound = if bound.is_empty() { last } else { bound.trim().to_owned() };
        return vec![(path, bound)];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let mut depth = 0;
    let parts = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| expand(&format!("{before}{}", part.trim())))
        .collect()
}

/// Every path of more than one word in a code.
fn paths(code: &str) -> Vec<Vec<String>> {
    let words = code.split(|c: char| !is_word(c) && c != ':');
    words
        .filter(|word| word.contains("::"))
        .map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect())
        .collect()
}

/// The circles: files that reach each other, each set once.
pub(crate) fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<&String> = graph.get(from).into_iter().flatten().collect();
        while let Some(file) = waiting.pop() {
            if reached.insert(file.clone()) {
                waiting.extend(graph.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|file| (file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, others) in reached.iter().filter(|(file, others)| others.contains(**file)) {
        let back = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(*file));
        found.insert(others.iter().filter(back).cloned().collect::<BTreeSet<String>>());
    }
    found.into_iter().collect()
}
