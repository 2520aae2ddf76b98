//! `cargo xtask install [--debug] [--prefix DIR] [--destdir DIR]`: builds and installs the command, the C
//! library and the drop-in libraries.
//! `cargo xtask libaio [--debug] DIR`: builds the drop-in libaio.so.1 only, into a folder.
//! `cargo xtask man`: makes its manual pages anew.
//! `cargo xtask abi [--update]`: compares what compiled programs rely on with what is kept in `abi/`.

use std::path::PathBuf;
use std::process::ExitCode;

use xtask::Install;

const USAGE: &str = "usage: cargo xtask install [--debug] [--prefix DIR] [--destdir DIR]
       cargo xtask libaio [--debug] DIR
       cargo xtask man
       cargo xtask abi [--update]
  --prefix DIR   where the files will be used; /usr/local, or what PREFIX says
  --destdir DIR  put before the prefix while copying; nothing, or what DESTDIR says
  --debug        without optimisation";

fn main() -> ExitCode {
    if std::env::args().skip(1).eq(["man"]) {
        return end(xtask::write_pages());
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["abi"] => return end(abi(false)),
        ["abi", "--update"] => return end(abi(true)),
        _ => {}
    }
    if let Some((folder, release)) = libaio(std::env::args().skip(1)) {
        let mut install = Install::new(folder.clone());
        install.release = release;
        return end(install.libaio(&folder));
    }
    let install = match parse(std::env::args().skip(1)) {
        Some(install) => install,
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    end(install.command().and_then(|()| install.run()).and_then(|()| install.drop_ins()))
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

/// In a folder of its own, which is removed.
fn abi(update: bool) -> std::io::Result<()> {
    let folder = std::env::temp_dir().join(format!("syslet-abi-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let done = xtask::abi::check(&folder, update);
    std::fs::remove_dir_all(&folder)?;
    done
}

/// The folder, and whether to optimise.
fn libaio(mut args: impl Iterator<Item = String>) -> Option<(PathBuf, bool)> {
    if args.next()? != "libaio" {
        return None;
    }
    let (mut folder, mut release) = (None, true);
    for arg in args {
        match arg.as_str() {
            "--debug" => release = false,
            _ if folder.is_none() && !arg.starts_with('-') => folder = Some(PathBuf::from(arg)),
            _ => return None,
        }
    }
    Some((folder?, release))
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
