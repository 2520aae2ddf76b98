//! Chores of the project that are not the compiler's: installing command and libraries, and making the manual
//! pages of the C library; and comparing what compiled programs rely on.

pub mod abi;
mod man;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The shared library's file, its name for the loader, and that for the linker.
const SHARED: [&str; 3] = [concat!("libsyslet.so.", "0.1.0"), "libsyslet.so.0", "libsyslet.so"];
/// Where drop-in libraries are put, below the folder of libraries.
pub const DROP_INS: &str = "syslet";
/// Shells, and where below `share` each looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/syslet"),
    ("zsh", "zsh/site-functions/_syslet"),
    ("fish", "fish/vendor_completions.d/syslet.fish"),
];
/// What Rust's library needs of the system, as `rustc --print native-static-libs` says it.
pub const SYSTEM_LIBRARIES: [&str; 5] = ["-lgcc_s", "-lpthread", "-lm", "-ldl", "-lc"];

/// Installing: the command with its pages and completions; the C library, headers, manual pages, pkg-config;
/// the drop-in libraries.
#[derive(Debug, Clone)]
pub struct Install {
    /// Where the files will be used.
    pub prefix: PathBuf,
    /// What stands before the prefix while they are copied.
    pub destdir: Option<PathBuf>,
    /// With optimisation.
    pub release: bool,
    /// Cargo's folder, if it is not the usual one.
    pub target_dir: Option<PathBuf>,
}

impl Install {
    /// An optimised build for `prefix`.
    pub fn new(prefix: PathBuf) -> Self {
        Self { prefix, destdir: None, release: true, target_dir: None }
    }

    /// Builds and copies.
    ///
    /// # Errors
    ///
    /// What the file system, cargo or the C compiler say.
    pub fn run(&self) -> io::Result<()> {
        let archive = self.library("syslet-capi")?;
        let (lib, include) = (self.place("lib"), self.place("include"));
        fs::create_dir_all(lib.join("pkgconfig"))?;
        copy(&archive, &lib.join("libsyslet.a"))?;
        link(&archive, &lib)?;
        copy_all(&source().join("include"), &include)?;
        copy_all(&source().join("man"), &self.place("share/man/man3"))?;
        let template = fs::read_to_string(source().join("syslet.pc.in"))?;
        let prefix = self.prefix.display().to_string();
        fs::write(lib.join("pkgconfig/syslet.pc"), template.replace("@PREFIX@", &prefix))
    }

    /// Builds the command, and makes its manual pages and completions.
    ///
    /// # Errors
    ///
    /// What the file system, cargo or the command say.
    pub fn command(&self) -> io::Result<()> {
        let built = self.build(&["--package", "syslet-cli", "--bin", "syslet"])?.join("syslet");
        let bin = self.place("bin");
        fs::create_dir_all(&bin)?;
        copy(&built, &bin.join("syslet"))?;
        fs::set_permissions(bin.join("syslet"), fs::Permissions::from_mode(0o755))?;
        let pages = self.place("share/man/man1");
        fs::create_dir_all(&pages)?;
        run(Command::new(&built).arg("manual").arg(&pages))?;
        for (shell, file) in COMPLETIONS {
            let file = self.place("share").join(file);
            fs::create_dir_all(file.parent().expect("it is in a folder"))?;
            run(Command::new(&built).args(["completions", shell]).stdout(fs::File::create(file)?))?;
        }
        Ok(())
    }

    /// Builds the drop-in libraries and puts them beside the C library.
    ///
    /// # Errors
    ///
    /// What the file system, cargo or the C compiler say.
    pub fn drop_ins(&self) -> io::Result<()> {
        let folder = self.place("lib").join(DROP_INS);
        self.libaio(&folder)?;
        self.posix_aio(&folder)
    }

    /// Builds the drop-in for POSIX AIO and puts it into `folder`.
    ///
    /// # Errors
    ///
    /// What the file system and cargo say.
    pub fn posix_aio(&self, folder: &Path) -> io::Result<()> {
        let built = self.library("syslet-posix-aio")?.with_extension("so");
        fs::create_dir_all(folder)?;
        copy(&built, &folder.join("libsyslet_posix_aio.so"))
    }

    /// Builds the drop-in `libaio.so.1` and puts it into `folder`, which no loader looks into by itself.
    ///
    /// # Errors
    ///
    /// What the file system, cargo or the C compiler say.
    pub fn libaio(&self, folder: &Path) -> io::Result<()> {
        const FILE: &str = "libaio.so.1";
        let archive = self.library("syslet-libaio")?;
        fs::create_dir_all(folder)?;
        let source = root().join("crates/libaio");
        let mut cc = compiler();
        cc.args(["-O2", "-fPIC", "-fomit-frame-pointer"]).arg(source.join("shim.c"));
        cc.args(["-shared", "-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,-z,relro,-z,now"]);
        // Nothing but the symbols of shim.c is seen from outside.
        cc.arg("-Wl,--exclude-libs,ALL").arg(format!("-Wl,-soname,{FILE}"));
        cc.arg(format!("-Wl,--version-script={}", source.join("libaio.map").display()));
        // At once, not behind what is there: a program may be running with it.
        let new = folder.join(format!("{FILE}.new"));
        cc.arg("-o").arg(&new).arg(archive).args(SYSTEM_LIBRARIES);
        run(&mut cc)?;
        fs::rename(&new, folder.join(FILE))
    }

    /// Where a folder of the prefix is while files are copied.
    fn place(&self, folder: &str) -> PathBuf {
        let Some(destdir) = &self.destdir else { return self.prefix.join(folder) };
        destdir.join(self.prefix.strip_prefix("/").unwrap_or(&self.prefix)).join(folder)
    }

    /// Builds the library of a package and says where it is if it is a static one.
    fn library(&self, package: &str) -> io::Result<PathBuf> {
        let folder = self.build(&["--package", package, "--lib"])?;
        Ok(folder.join(format!("lib{}.a", package.replace('-', "_"))))
    }

    /// Has cargo build something, and says in which folder it is.
    fn build(&self, what: &[&str]) -> io::Result<PathBuf> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(root()).args(["build", "--quiet"]).args(what);
        if self.release {
            build.arg("--release");
        }
        let folder = match &self.target_dir {
            Some(folder) => folder.clone(),
            None => {
                let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
                named.map_or_else(
                    || root().join("target"),
                    |folder| std::path::absolute(&folder).unwrap_or(folder),
                )
            }
        };
        build.arg("--target-dir").arg(&folder);
        run(&mut build)?;
        Ok(folder.join(if self.release { "release" } else { "debug" }))
    }
}

/// Makes the manual pages of the headers anew, in the source tree.
///
/// # Errors
///
/// What the file system says.
pub fn write_pages() -> io::Result<()> {
    let folder = source().join("man");
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        fs::remove_file(entry?.path())?;
    }
    for (name, text) in pages()? {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// The manual pages as the headers have them: file name and text.
///
/// # Errors
///
/// If a header cannot be read.
pub fn pages() -> io::Result<std::collections::BTreeMap<String, String>> {
    man::pages(&source().join("include"))
}

/// The names that the shared library exports: those of the version script.
///
/// # Errors
///
/// If the script cannot be read.
pub fn exported() -> io::Result<Vec<String>> {
    let script = fs::read_to_string(script())?;
    let globals = script.lines().skip_while(|line| line.trim() != "global:").skip(1);
    let globals = globals.take_while(|line| line.trim() != "local:");
    let name = |line: &str| line.trim().strip_suffix(';').map(str::to_owned);
    Ok(globals.filter_map(name).collect())
}

/// The headers in a folder, as programs name them, in order.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn header_names(include: &Path) -> io::Result<Vec<String>> {
    let mut names = vec!["syslet.h".to_owned()];
    for entry in fs::read_dir(include.join("syslet"))? {
        names.push(format!("syslet/{}", entry?.file_name().display()));
    }
    names.sort();
    Ok(names)
}

/// Where the C library's sources are.
pub fn source() -> PathBuf {
    root().join("crates/capi")
}

fn script() -> PathBuf {
    source().join("libsyslet.map")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is in the workspace").into()
}

/// Links the shared library: of the archive, what the exported functions need.
fn link(archive: &Path, lib: &Path) -> io::Result<()> {
    let [file, soname, name] = SHARED;
    let mut cc = compiler();
    cc.args(["-shared", "-Wl,--gc-sections", "-Wl,-z,defs", "-Wl,-z,relro,-z,now"]);
    cc.arg(format!("-Wl,-soname,{soname}"));
    cc.arg(format!("-Wl,--version-script={}", script().display()));
    cc.args(exported()?.iter().map(|symbol| format!("-Wl,-u,{symbol}")));
    cc.arg("-o").arg(lib.join(file)).arg(archive).args(SYSTEM_LIBRARIES);
    run(&mut cc)?;
    for (link, to) in [(soname, file), (name, soname)] {
        let link = lib.join(link);
        let _ = fs::remove_file(&link);
        symlink(to, link)?;
    }
    Ok(())
}

fn compiler() -> Command {
    Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// Copies the files of a folder, and of those in it.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            copy(&entry.path(), &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let text = |error: io::Error| {
        io::Error::new(error.kind(), format!("{} to {}: {error}", from.display(), to.display()))
    };
    fs::copy(from, to).map_err(text)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644))
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = Path::new(command.get_program()).file_name().map(OsStr::to_owned);
    let name = name.unwrap_or_default().display().to_string();
    let status = command.status();
    let status =
        status.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{name}: {status}"))) }
}
