//! Who runs a command, by its environment. In: variables. Out: the trace that it belongs to (W3C Trace Context in
//! `TRACEPARENT` and `TRACESTATE`, as OpenTelemetry's "environment variables as context propagation carriers"
//! has it), and the job of a CI system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Variables that are looked at.
pub const VARIABLES: [&str; 29] = [
    "TRACEPARENT",
    "TRACESTATE",
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_WORKFLOW",
    "GITHUB_RUN_ID",
    "GITHUB_JOB",
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "RUNNER_NAME",
    "GITLAB_CI",
    "CI_PROJECT_PATH",
    "CI_PIPELINE_ID",
    "CI_JOB_NAME",
    "CI_JOB_ID",
    "CI_JOB_URL",
    "CI_RUNNER_DESCRIPTION",
    "JENKINS_URL",
    "JOB_NAME",
    "BUILD_ID",
    "BUILD_URL",
    "NODE_NAME",
    "STAGE_NAME",
    "BUILDKITE",
    "BUILDKITE_PIPELINE_SLUG",
    "BUILDKITE_BUILD_NUMBER",
    "BUILDKITE_LABEL",
    "BUILDKITE_JOB_ID",
    "BUILDKITE_BUILD_URL",
];
/// Longest name that is taken, bytes; longer ones are cut.
const NAME_MAX: usize = 256;
/// What W3C Trace Context has a `tracestate` be at least allowed to hold, bytes; a longer one is left out.
const STATE_MAX: usize = 512;

/// Who ran a command.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The trace that the command belongs to, 32 hexadecimal digits
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The span that it is part of, 16 hexadecimal digits; there whenever `trace_id` is
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// The flags of `TRACEPARENT`; 1: sampled
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_flags: Option<u8>,
    /// `TRACESTATE`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_state: Option<String>,
    /// The job of a CI system
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
}

/// A job of a CI system.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Which one
    pub system: CiSystem,
    /// The pipeline's name; of GitLab's, its project's path
    pub pipeline: Option<String>,
    /// Which run of the pipeline
    pub run: Option<String>,
    /// The job's name in it
    pub task: Option<String>,
    /// Which run of that
    pub task_run: Option<String>,
    /// The runner's name
    pub worker: Option<String>,
    /// Where it can be seen
    pub url: Option<String>,
}

/// CI systems whose variables are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names")]
pub enum CiSystem {
    Github,
    Gitlab,
    Jenkins,
    Buildkite,
    /// `CI` is set
    #[default]
    Other,
}

impl Caller {
    /// What the environment says; `None` when it says nothing. `get`: a variable's value.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let get = |name: &str| get(name).map(str::trim).filter(|value| !value.is_empty());
        let parent = get("TRACEPARENT").and_then(parent);
        let state = || get("TRACESTATE").filter(|text| text.len() <= STATE_MAX && text.is_ascii());
        let job = job(get);
        if parent.is_none() && job.is_none() {
            return None;
        }
        let trace_state = parent.as_ref().and_then(|_| state()).map(str::to_owned);
        let (ids, trace_flags) = parent.unzip();
        let (trace_id, parent_span_id) = ids.unzip();
        Some(Self { trace_id, parent_span_id, trace_flags, trace_state, job })
    }
}

/// `00-TRACE-SPAN-FLAGS`; of a later version, which may have more behind it, the same.
fn parent(text: &str) -> Option<((String, String), u8)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |text: &str| text.bytes().any(|byte| byte != b'0');
    let well = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let ids = hex(trace, 32) && some(trace) && hex(span, 16) && some(span) && hex(flags, 2);
    if !well || !ids {
        return None;
    }
    Some(((trace.to_owned(), span.to_owned()), u8::from_str_radix(flags, 16).ok()?))
}

fn job<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Job> {
    let name = |name: &str| {
        get(name).map(|value| {
            let end = (0..=value.len().min(NAME_MAX)).rev().find(|at| value.is_char_boundary(*at));
            value[..end.unwrap_or(0)].to_owned()
        })
    };
    Some(if get("GITHUB_ACTIONS").is_some() {
        let page = get("GITHUB_SERVER_URL").zip(get("GITHUB_REPOSITORY")).zip(get("GITHUB_RUN_ID"));
        Job {
            system: CiSystem::Github,
            pipeline: name("GITHUB_WORKFLOW"),
            run: name("GITHUB_RUN_ID"),
            task: name("GITHUB_JOB"),
            task_run: None,
            worker: name("RUNNER_NAME"),
            url: page.map(|((server, repository), run)| format!("{server}/{repository}/actions/runs/{run}")),
        }
    } else if get("GITLAB_CI").is_some() {
        Job {
            system: CiSystem::Gitlab,
            pipeline: name("CI_PROJECT_PATH"),
            run: name("CI_PIPELINE_ID"),
            task: name("CI_JOB_NAME"),
            task_run: name("CI_JOB_ID"),
            worker: name("CI_RUNNER_DESCRIPTION"),
            url: name("CI_JOB_URL"),
        }
    } else if get("JENKINS_URL").is_some() {
        Job {
            system: CiSystem::Jenkins,
            pipeline: name("JOB_NAME"),
            run: name("BUILD_ID"),
            task: name("STAGE_NAME"),
            task_run: None,
            worker: name("NODE_NAME"),
            url: name("BUILD_URL"),
        }
    } else if get("BUILDKITE").is_some() {
        Job {
            system: CiSystem::Buildkite,
            pipeline: name("BUILDKITE_PIPELINE_SLUG"),
            run: name("BUILDKITE_BUILD_NUMBER"),
            task: name("BUILDKITE_LABEL"),
            task_run: name("BUILDKITE_JOB_ID"),
            worker: None,
            url: name("BUILDKITE_BUILD_URL"),
        }
    } else {
        get("CI").filter(|value| *value != "false")?;
        Job::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &'static str)]) -> Option<Caller> {
        Caller::of(|name| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| *value))
    }

    #[test]
    fn a_parent_is_taken_as_the_standard_has_it_and_not_otherwise() {
        let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = of(&[("TRACEPARENT", whole), ("TRACESTATE", "congo=t61rcWkgMzE")]).unwrap();
        assert_eq!(caller.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(caller.parent_span_id.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!((caller.trace_flags, caller.trace_state.as_deref()), (Some(1), Some("congo=t61rcWkgMzE")));
        // A later version may say more.
        assert!(
            of(&[("TRACEPARENT", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x")]).is_some()
        );
        for wrong in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            assert_eq!(of(&[("TRACEPARENT", wrong), ("TRACESTATE", "a=b")]), None, "{wrong}");
        }
    }

    #[test]
    fn jobs_are_known_by_their_systems_variables() {
        let github = of(&[
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_WORKFLOW", "Build and test"),
            ("GITHUB_RUN_ID", "17"),
            ("GITHUB_SERVER_URL", "https://git.corp.test"),
            ("GITHUB_REPOSITORY", "team/app"),
        ]);
        let job = github.unwrap().job.unwrap();
        assert_eq!((job.system, job.pipeline.as_deref()), (CiSystem::Github, Some("Build and test")));
        assert_eq!(job.url.as_deref(), Some("https://git.corp.test/team/app/actions/runs/17"));
        let gitlab = of(&[("GITLAB_CI", "true"), ("CI_JOB_ID", "9"), ("CI_RUNNER_DESCRIPTION", "runner-1")]);
        assert_eq!(gitlab.unwrap().job.unwrap().worker.as_deref(), Some("runner-1"));
        assert_eq!(of(&[("CI", "1")]).unwrap().job, Some(Job::default()));
        assert_eq!(of(&[("CI", "false")]), None);
        assert_eq!(of(&[("HOME", "/root")]), None);
    }
}
