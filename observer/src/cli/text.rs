//! Completions and manual pages. In: a shell, a command's name. Out: the text.

use clap::CommandFactory as _;
use clap_complete::Shell;
use model::user_error::UserError;

use super::args::Args;

/// The completion script of a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "goobserve", &mut text);
    text
}

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
    fn pages_are_roff_and_unknown_commands_are_refused() {
        let page = String::from_utf8(man(None).unwrap()).unwrap();
        assert!(page.contains(".TH goobserve 1"), "{page}");
        let page = String::from_utf8(man(Some("run")).unwrap()).unwrap();
        assert!(page.contains("goobserve\\-run") || page.contains("goobserve-run"), "{page}");
        assert!(page.contains("anonymize"), "{page}");
        assert!(man(Some("fly")).is_err());
    }
}
