//! Commands that start containers (`podman run`, `docker build`): where a variable has to stand so that it
//! reaches the go command inside. In: a command's words and remedies. Out: the words with `-e NAME=VALUE` or
//! `--build-arg NAME=VALUE` among them, or why a remedy cannot reach it.

use std::ffi::{OsStr, OsString};

use super::{Kind, Remedies, Remedy};
use crate::user_error::UserError;

/// Programs that start containers.
const CLIENTS: [&str; 7] =
    ["podman", "docker", "nerdctl", "buildah", "docker-compose", "podman-compose", "podman-remote"];
/// Of their own flags, those that take the next word, without hyphens.
const VALUES: &str = "url connection c H host context config log-level l root runroot storage-driver storage-opt \
                      cgroup-manager identity n namespace a address f file p project-name profile events-backend";

/// What such a command does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verb {
    /// Starts a container, or something in one: `-e`
    Run,
    /// Builds an image: `--build-arg`
    Build,
}

/// A command that starts containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client<'a> {
    words: &'a [OsString],
    /// The program's name
    program: &'a str,
    /// What it does, and where that word is; `None` when it sets no variables
    verb: Option<(Verb, usize)>,
}

impl<'a> Client<'a> {
    /// The client that a command is; `None` when it is none.
    pub fn of(words: &'a [OsString]) -> Option<Self> {
        let program = words.first()?.to_str()?.rsplit('/').next()?;
        if !CLIENTS.contains(&program) {
            return None;
        }
        let mut at = 1;
        while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
            let verb = match word {
                "run" | "exec" | "create" => Some(Verb::Run),
                "build" | "bud" => Some(Verb::Build),
                // `docker container run`, `docker compose run`, `docker buildx build`
                "container" | "image" | "compose" | "buildx" | "builder" => None,
                flag if flag.starts_with('-') => {
                    let name = flag.trim_start_matches('-');
                    at +=
                        usize::from(!flag.contains('=') && VALUES.split_whitespace().any(|one| one == name));
                    None
                }
                _ => break,
            };
            if let Some(verb) = verb {
                return Some(Self { words, program, verb: Some((verb, at)) });
            }
            at += 1;
        }
        Some(Self { words, program, verb: None })
    }

    /// Whether a service runs the containers: docker's always does, podman's by a flag of its own.
    pub fn is_remote(&self) -> bool {
        let is_flag = |word: &OsString| {
            let flag = word.to_str().unwrap_or_default();
            matches!(flag, "--remote" | "-r" | "--remote=true" | "--url" | "--connection" | "-c")
                || flag.starts_with("--url=")
                || flag.starts_with("--connection=")
        };
        let own = self.verb.map_or(self.words.len(), |(_, at)| at);
        match self.program {
            "docker" | "docker-compose" | "nerdctl" | "podman-remote" => true,
            "podman" => self.words[1..own].iter().any(is_flag),
            _ => false,
        }
    }

    /// Its program's name.
    pub const fn program(&self) -> &str {
        self.program
    }

    /// The words of the command with what remedies set in it. `declares`: whether the build file has an `ARG`
    /// of that name; `None` when it cannot be read.
    pub fn with(
        &self,
        remedies: &Remedies,
        declares: impl Fn(&str) -> Option<bool>,
    ) -> Result<Vec<OsString>, UserError> {
        for remedy in remedies.iter().filter(|remedy| !remedy.is_deadline()) {
            self.reaches(remedy, &declares)?;
        }
        let mut words = self.words.to_vec();
        let Some((verb, at)) = self.verb else { return Ok(words) };
        // One variable at a time: what is behind it moves.
        loop {
            let client = Client { words: &words, program: self.program, verb: self.verb };
            let mut env = client.variables(at);
            let before = env.clone();
            remedies.change(&mut env);
            let Some((name, value)) = env.into_iter().find(|pair| !before.contains(pair)) else {
                return Ok(words);
            };
            let pair = [name.as_os_str(), OsStr::new("="), &value].join(OsStr::new(""));
            match client.place(at, &name) {
                // In the place of the value that is there: the last one counts.
                Some((place, joined)) => words[place] = [OsStr::new(joined), &pair].join(OsStr::new("")),
                None => {
                    let flag = if verb == Verb::Run { "-e" } else { "--build-arg" };
                    words.splice((at + 1)..=at, [flag.into(), pair]);
                }
            }
        }
    }

    fn reaches(&self, remedy: &Remedy, declares: &impl Fn(&str) -> Option<bool>) -> Result<(), UserError> {
        let program = self.program;
        let refused = |why: String, hint: String| {
            Err(UserError::new(format!("{remedy} does not reach the go command: {why}"), hint))
        };
        let (Kind::Setting(_) | Kind::Switch(_), Some(variable)) = (&remedy.kind, remedy.variable()) else {
            let (why, hint) = match &remedy.kind {
                Kind::Line(_) => (
                    format!("{program} makes a resolv.conf of its own for the container"),
                    format!("`{program} run` takes --dns, --dns-search and --dns-option"),
                ),
                _ => (
                    "it is a server on this machine's loopback, where a container is not".to_owned(),
                    format!(
                        "run goobserve in the container, or `goobserve serve` at an address that it reaches, and {program} run -e GOPROXY=…"
                    ),
                ),
            };
            return refused(why, hint);
        };
        match self.verb {
            None => refused(
                format!("{program} sets no variable in the container by this command"),
                "set it where the container's variables are (a compose file, a pod), or run one command: run -e, exec -e, build --build-arg".to_owned(),
            ),
            Some((Verb::Build, _)) if declares(variable) == Some(false) => refused(
                format!("the build file has no ARG {variable}, so that --build-arg does not reach RUN"),
                format!("put `ARG {variable}` in front of that RUN"),
            ),
            Some(_) => Ok(()),
        }
    }

    /// Variables that it sets itself, by `-e NAME=VALUE` and its like.
    fn variables(&self, at: usize) -> Vec<(OsString, OsString)> {
        let assigned = self.assigned(at);
        let pair = |(_, _, text): (usize, &str, &str)| {
            text.split_once('=').map(|(name, value)| (OsString::from(name), OsString::from(value)))
        };
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        assigned.into_iter().filter_map(pair).for_each(|(name, value)| super::set(&mut env, name, value));
        env
    }

    /// Where it sets that variable last: the word, and what stands in front of the name in it.
    fn place(&self, at: usize, name: &OsStr) -> Option<(usize, &'static str)> {
        let is = |text: &str| text.split_once('=').is_some_and(|(of, _)| OsStr::new(of) == name);
        let assigned = self.assigned(at);
        let found = assigned.into_iter().rev().find(|(_, _, text)| is(text))?;
        let joined =
            ["--env=", "--build-arg=", "-e=", "-e", ""].into_iter().find(|joined| *joined == found.1)?;
        Some((found.0, joined))
    }

    /// `-e NAME=VALUE`, `--env=NAME=VALUE`, `-eNAME=VALUE`, `--build-arg …`: word, what stands in front of the
    /// name in it, and the rest. What the container runs may have such words, too: they are behind the first
    /// word that is neither a flag nor could be a flag's value.
    fn assigned(&self, at: usize) -> Vec<(usize, &str, &str)> {
        let mut found = Vec::new();
        let (mut follows, mut plain) = (false, 0);
        for (index, word) in self.words.iter().enumerate().skip(at + 1) {
            let Some(word) = word.to_str() else { continue };
            if follows {
                (follows, plain) = (false, 0);
                found.push((index, "", word));
            } else if matches!(word, "-e" | "--env" | "--build-arg") {
                follows = true;
            } else if let Some(joined) = ["--env=", "--build-arg=", "-e=", "-e"].into_iter().find(|joined| {
                word.strip_prefix(joined).is_some_and(|rest| rest.contains('=') && !rest.starts_with('-'))
            }) {
                plain = 0;
                found.push((index, joined, &word[joined.len()..]));
            } else {
                plain = if word.starts_with('-') { 0 } else { plain + 1 };
                // Two in a row: at most one is a flag's value, the other is the image.
                if plain == 2 {
                    break;
                }
            }
        }
        found
    }
}

/// Whether a build file declares an argument of that name.
pub fn declares(build_file: &str, name: &str) -> bool {
    build_file.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("ARG"))
            && words.any(|word| word.split('=').next() == Some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn with(remedies: &[&str], line: &str) -> Result<String, String> {
        let remedies = Remedies::new(remedies.iter().map(|text| text.parse().unwrap()).collect()).unwrap();
        let words = words(line);
        let client = Client::of(&words).expect("a client");
        let changed = client.with(&remedies, |name| Some(name == "GOMAXPROCS"));
        changed.map(|words| words.join(OsStr::new(" ")).into_string().unwrap()).map_err(|error| error.what)
    }

    #[test]
    fn a_variable_is_set_where_go_runs() {
        for (remedy, line, expected) in [
            ("concurrency=16", "podman run --rm lab go", "podman run -e GOMAXPROCS=16 --rm lab go"),
            ("http1", "/usr/bin/docker run lab", "/usr/bin/docker run -e GODEBUG=http2client=0 lab"),
            (
                "http1",
                "docker -H tcp://h:1 container run x",
                "docker -H tcp://h:1 container run -e GODEBUG=http2client=0 x",
            ),
            (
                "http1",
                "docker compose -f c.yaml run x",
                "docker compose -f c.yaml run -e GODEBUG=http2client=0 x",
            ),
            (
                "proxy=off",
                "podman --remote --url unix:///s exec c go",
                "podman --remote --url unix:///s exec -e GOPROXY=off c go",
            ),
            ("concurrency=2", "buildah bud -t x .", "buildah bud --build-arg GOMAXPROCS=2 -t x ."),
            ("concurrency=2", "docker buildx build .", "docker buildx build --build-arg GOMAXPROCS=2 ."),
            // A value that is there gives way, and GODEBUG's other keys stay.
            ("proxy=off", "podman run -e GOPROXY=direct -e A=1 lab", "podman run -e GOPROXY=off -e A=1 lab"),
            ("proxy=off", "podman run --env=GOPROXY=direct lab", "podman run --env=GOPROXY=off lab"),
            (
                "http1",
                "podman run -eGODEBUG=netdns=go lab",
                "podman run -eGODEBUG=netdns=go,http2client=0 lab",
            ),
            // What is inside is not the engine's.
            (
                "proxy=off",
                "podman run lab env -e GOPROXY=x",
                "podman run -e GOPROXY=off lab env -e GOPROXY=x",
            ),
            ("deadline", "podman run lab", "podman run lab"),
        ] {
            assert_eq!(with(&[remedy], line).as_deref(), Ok(expected), "{remedy} {line}");
        }
        let both = with(&["http1", "concurrency=3"], "podman run lab").unwrap();
        assert!(both.contains("-e GODEBUG=http2client=0") && both.contains("-e GOMAXPROCS=3"), "{both}");
    }

    #[test]
    fn what_cannot_reach_it_is_refused_with_the_reason() {
        for (remedy, line, why) in [
            ("http1", "podman build .", "has no ARG GODEBUG"),
            ("resolv=options timeout:1", "podman run lab", "a resolv.conf of its own"),
            ("gateway", "docker run lab", "loopback"),
            ("dns-cache", "docker run lab", "loopback"),
            ("http1", "docker compose up", "sets no variable"),
            ("http1", "podman start c", "sets no variable"),
        ] {
            let refused = with(&[remedy], line).unwrap_err();
            assert!(refused.contains("does not reach the go command") && refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn a_client_has_a_service_run_it_when_it_says_so_or_always() {
        for (line, remote) in [
            ("docker build .", true),
            ("podman --remote --url unix:///s run lab", true),
            ("podman --url=unix:///s build .", true),
            ("podman run -r lab", false),
            ("podman build .", false),
            ("buildah bud .", false),
        ] {
            assert_eq!(Client::of(&words(line)).unwrap().is_remote(), remote, "{line}");
        }
    }

    #[test]
    fn other_commands_are_no_clients() {
        assert_eq!(Client::of(&words("go mod download")), None);
        assert_eq!(Client::of(&words("sh -c podman")), None);
        assert_eq!(Client::of(&[]), None);
    }

    #[test]
    fn a_build_file_says_which_arguments_it_takes() {
        let file = "FROM x\nARG GOPROXY\narg A=1 GOMAXPROCS=2\nRUN echo ARG GODEBUG\n";
        assert!(declares(file, "GOPROXY") && declares(file, "GOMAXPROCS") && declares(file, "A"));
        assert!(!declares(file, "GODEBUG") && !declares(file, "GO"));
    }
}
