//! GOPRIVATE, GONOPROXY, GONOSUMDB: lists of patterns of module paths, as the go command matches them: a
//! pattern is compared with as many of the path's first elements as it has itself.

/// A list of patterns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Reads a list with commas.
    pub fn parse(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect())
    }

    /// Whether a module's path is covered.
    pub fn cover(&self, module: &str) -> bool {
        self.0.iter().any(|pattern| {
            let pattern = pattern.trim_end_matches('/');
            let elements = pattern.matches('/').count() + 1;
            let end = module.match_indices('/').nth(elements - 1).map_or(module.len(), |(at, _)| at);
            let prefix = &module[..end];
            prefix.matches('/').count() + 1 == elements && matches(pattern.as_bytes(), prefix.as_bytes())
        })
    }
}

/// `path.Match`: `*` and `?` stop at slashes, `[…]` is a set, `\` takes what follows as it is. A pattern that
/// is cut matches nothing.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star when the rest does not fit: greedy, so it takes no recursion.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            None => None,
            Some(_) => name.get(n).and_then(|byte| one(&pattern[p..], *byte)),
        };
        if let Some(used) = fits {
            p += used;
            n += 1;
            continue;
        }
        match star {
            Some((after, from)) if name.get(from).is_some_and(|byte| *byte != b'/') => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the pattern's first piece takes this byte: how long the piece is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => (byte != b'/').then_some(1),
        b'\\' => (*pattern.get(1)? == byte).then_some(2),
        b'[' => {
            let negated = pattern.get(1) == Some(&b'^');
            let mut at = 1 + usize::from(negated);
            let (first, mut found) = (at, false);
            while *pattern.get(at)? != b']' || at == first {
                let low = *pattern.get(at)?;
                let ranged = pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2) != Some(&b']');
                let high = if ranged { *pattern.get(at + 2)? } else { low };
                found |= (low..=high).contains(&byte);
                at += if ranged { 3 } else { 1 };
            }
            (found != negated && byte != b'/').then_some(at + 1)
        }
        other => (other == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_first_elements() {
        for (list, module, covered) in [
            ("corp.test", "corp.test/a/b", true),
            ("corp.test", "git.corp.test/a", false),
            ("*.corp.test", "git.corp.test/a", true),
            ("*.corp.test", "corp.test/a", false),
            ("*", "x.test/y", true),
            ("x.test/team", "x.test/team/m", true),
            ("x.test/team", "x.test/teams", false),
            ("x.test/*/m", "x.test/a/m/v2", true),
            ("x.test/*/m", "x.test/a", false),
            ("a.test,b.test/", "b.test/c", true),
            ("[a-c].test", "b.test", true),
            ("[^a-c].test", "b.test", false),
            ("x?.test", "xy.test/z", true),
            ("[a", "a", false),
            ("", "a.test", false),
            ("*a*a*a*b.test", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test", false),
        ] {
            assert_eq!(Patterns::parse(list).cover(module), covered, "{list} {module}");
        }
    }
}
