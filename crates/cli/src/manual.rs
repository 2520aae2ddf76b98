//! Completions and manual pages, made of the command line itself.

use std::path::Path;

use clap_complete::Shell;

use crate::args;
use crate::exit::{Exit, Trouble, print};

/// Prints the completions for `shell`.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Trouble> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "syslet", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Writes `syslet.1`, and a page for each subcommand, into `folder`.
pub(crate) fn pages(folder: &Path) -> Result<Exit, Trouble> {
    let name = folder.display().to_string();
    clap_mangen::generate_to(args::command(), folder).map_err(Trouble::at(name))?;
    Ok(Exit::Done)
}
