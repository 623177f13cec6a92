//! Completions and manual pages. In: a shell, a command's name. Out: the text.

use clap::CommandFactory as _;
use clap_complete::Shell;
use model::user_error::UserError;

use super::args::{Args, SchemaName, kinds};

/// The completion script of a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "goobserve", &mut text);
    // clap knows files, and of those only recordings are wanted here; bash it gives no words in a place.
    match shell {
        Shell::Bash => {
            text.extend_from_slice(BASH.replace("KINDS", &kinds().join(" ")).as_bytes());
            text
        }
        Shell::Zsh => String::from_utf8_lossy(&text).replace(ZSH_FILES, ZSH_RECORDINGS).into_bytes(),
        Shell::Fish => {
            text.extend_from_slice(FISH.replace("KINDS", &kinds().join(" ")).as_bytes());
            text
        }
        _ => text,
    }
}

/// Around clap's own function.
const BASH: &str = r#"
_goobserve_words() {
    local cur="${COMP_WORDS[COMP_CWORD]}" IFS=$'\n'
    case "${COMP_WORDS[1]}:${COMP_WORDS[COMP_CWORD-1]}:${cur}" in
        *:--*:* | *:*:-*) ;;
        report:* | replay:*)
            compopt -o filenames 2>/dev/null
            COMPREPLY=( $(compgen -f -X '!*.jsonl*' -- "${cur}") $(compgen -d -- "${cur}") )
            return 0
            ;;
        explain:explain:*)
            IFS=' '
            COMPREPLY=( $(compgen -W "KINDS" -- "${cur}") )
            return 0
            ;;
    esac
    unset IFS
    _goobserve "$@"
}
complete -F _goobserve_words -o nosort -o bashdefault -o default goobserve 2>/dev/null ||
    complete -F _goobserve_words -o bashdefault -o default goobserve
"#;
/// A recording's place, as clap writes it, and as it is to be.
const ZSH_FILES: &str = "recording:_files";
const ZSH_RECORDINGS: &str = "recording:_files -g \"*.jsonl*\"";
/// Recordings first.
const FISH: &str = r#"complete -c goobserve -n "__fish_goobserve_using_subcommand explain" -f -a "KINDS"
complete -c goobserve -n "__fish_goobserve_using_subcommand report" -k -a "(__fish_complete_suffix .jsonl)"
complete -c goobserve -n "__fish_goobserve_using_subcommand replay" -k -a "(__fish_complete_suffix .jsonl)"
"#;

/// The manual page of goobserve, or of one of its commands, in roff.
pub fn man(name: Option<&str>) -> Result<Vec<u8>, UserError> {
    let mut root = Args::command();
    root.build();
    let command = match name {
        None => root,
        Some(name) => {
            let found = root.get_subcommands().find(|command| command.get_name() == name);
            let found = found.ok_or_else(|| {
                UserError::new(format!("there is no command {name:?}"), "goobserve --help lists them")
            })?;
            // Built, it is named `goobserve-run` for display.
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| UserError::new(format!("the page cannot be made: {error}"), ""))?;
    Ok(text)
}

/// The JSON schema of one of goobserve's files.
pub const fn schema(name: SchemaName) -> &'static str {
    match name {
        SchemaName::Report => include_str!("../../schema/report.schema.json"),
        SchemaName::Recording => include_str!("../../schema/recording.schema.json"),
        SchemaName::Compare => include_str!("../../schema/compare.schema.json"),
        SchemaName::Fix => include_str!("../../schema/fix.schema.json"),
        SchemaName::Gate => include_str!("../../schema/gate.schema.json"),
        SchemaName::Baseline => include_str!("../../schema/baseline.schema.json"),
        SchemaName::Doctor => include_str!("../../schema/doctor.schema.json"),
    }
}

/// `--version --json`: what a script must know of the program before it relies on it.
pub fn version_json() -> String {
    let schemas = [
        model::report::SCHEMA,
        pipeline::record::SCHEMA,
        stats::compare::SCHEMA,
        stats::fix::SCHEMA,
        stats::gate::outcome::SCHEMA,
        stats::gate::baseline::SCHEMA,
        model::doctor::SCHEMA,
    ];
    let version = serde_json::json!({
        "name": "goobserve",
        "version": env!("CARGO_PKG_VERSION"),
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "schemas": schemas,
    });
    format!("{version}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(completions(shell)).unwrap();
            assert!(script.contains("report") && script.contains("watch"), "{shell}");
        }
    }

    #[test]
    fn every_schema_is_json_and_the_version_names_them() {
        let names = [
            SchemaName::Report,
            SchemaName::Recording,
            SchemaName::Compare,
            SchemaName::Fix,
            SchemaName::Gate,
            SchemaName::Baseline,
            SchemaName::Doctor,
        ];
        let version: serde_json::Value = serde_json::from_str(&version_json()).unwrap();
        assert_eq!(version["schemas"].as_array().unwrap().len(), names.len());
        for name in names {
            let schema: serde_json::Value = serde_json::from_str(schema(name)).unwrap();
            assert!(schema["$schema"].is_string(), "{name:?}");
        }
    }

    /// What bash offers for the last of the words, in a folder with a recording, another file and a folder.
    fn offered(words: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["slow.jsonl", "other.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("ci")).unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, completions(Shell::Bash)).unwrap();
        let ask = "source ./script; shift; COMP_WORDS=(goobserve \"$@\"); COMP_CWORD=$#; \
            _goobserve_words goobserve \"${!#}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = std::process::Command::new("bash");
        bash.current_dir(folder.path()).args(["--norc", "-c", ask, "-", "-"]).args(words);
        let output = bash.output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_recordings_kinds_remedies_and_what_clap_knows() {
        assert_eq!(offered(&["report", ""]), ["slow.jsonl", "ci"]);
        assert_eq!(offered(&["replay", "sl"]), ["slow.jsonl"]);
        assert_eq!(offered(&["explain", "dns-t"]), ["dns-timeout"]);
        assert_eq!(offered(&["run", "--with", "ht"]), ["http1"]);
        assert_eq!(offered(&["report", "--form"]), ["--format"]);
        assert_eq!(offered(&["report", "--format", "h"]), ["html"]);
        assert!(offered(&["ex"]).contains(&"explain".to_owned()));
    }

    #[test]
    fn zsh_and_fish_complete_recordings_and_kinds() {
        let zsh = String::from_utf8(completions(Shell::Zsh)).unwrap();
        assert!(zsh.matches(ZSH_RECORDINGS).count() == 2 && zsh.contains("dns-timeout"), "{}", zsh.len());
        let fish = String::from_utf8(completions(Shell::Fish)).unwrap();
        assert!(
            fish.contains("dns-timeout") && fish.contains("__fish_complete_suffix .jsonl"),
            "{}",
            fish.len()
        );
    }

    #[test]
    fn pages_are_roff_and_unknown_commands_are_refused() {
        let page = String::from_utf8(man(None).unwrap()).unwrap();
        assert!(page.contains(".TH goobserve 1"), "{page}");
        let page = String::from_utf8(man(Some("run")).unwrap()).unwrap();
        assert!(page.contains("goobserve\\-run") || page.contains("goobserve-run"), "{page}");
        assert!(page.contains("anonymize"), "{page}");
        assert!(man(Some("fly")).is_err());
    }
}
