//! A headless browser with a profile of its own. In: an address. Out: what it wrote, and what its console was
//! reported of the page.

use std::path::Path;
use std::process::{Command, Output};

/// Opens a page; the profile is made in `folder` and removed again.
///
/// # Panics
/// When there is no browser, or no folder for its profile.
pub fn browse(folder: &Path, url: &str, args: &[&str]) -> Output {
    let profile = tempfile::tempdir_in(folder).expect("a folder for the profile");
    Command::new("timeout")
        .args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--disable-sync", "--enable-logging=stderr", "--allow-file-access-from-files"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(url)
        .output()
        .expect("a browser")
}

/// Lines of its console.
pub fn complaints(output: &Output) -> Vec<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    stderr.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect()
}
