//! `cargo xtask install [--debug] [--prefix DIR] [--destdir DIR]`: builds and installs the C library.
//! `cargo xtask man`: makes its manual pages anew.

use std::path::PathBuf;
use std::process::ExitCode;

use xtask::Install;

const USAGE: &str = "usage: cargo xtask install [--debug] [--prefix DIR] [--destdir DIR]
       cargo xtask man
  --prefix DIR   where the files will be used; /usr/local, or what PREFIX says
  --destdir DIR  put before the prefix while copying; nothing, or what DESTDIR says
  --debug        without optimisation";

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["man"]) {
        return end(xtask::write_pages());
    }
    let install = match parse(std::env::args().skip(1)) {
        Some(install) => install,
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    end(install.run())
}

fn end(done: std::io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Install> {
    if args.next()? != "install" {
        return None;
    }
    let from = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut install = Install::new(from("PREFIX").unwrap_or_else(|| "/usr/local".into()));
    install.destdir = from("DESTDIR");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--debug" => install.release = false,
            "--prefix" => install.prefix = args.next()?.into(),
            "--destdir" => install.destdir = Some(args.next()?.into()),
            _ => return None,
        }
    }
    install.prefix.is_absolute().then_some(install)
}
