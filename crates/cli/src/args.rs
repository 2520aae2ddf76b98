//! The command line: what clap parses, and the checked plans that the subcommands work by.

use std::ffi::{CString, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::run::Library;

/// Units in flight at most, unless `--jobs` says otherwise.
///
/// Enough to keep the queue of one fast disk full, as measured on a virtual NVMe disk: fewer leave
/// it idle, and more gain nothing but hold stacks and page-cache references. A cached tree never
/// has more than a few in flight, whatever the limit.
const DEFAULT_JOBS: usize = 32;
/// Largest `--jobs`: the engine allows 4096 crew threads, of which some carry and stand by.
const MAX_JOBS: i64 = 4000;

/// Any Linux system call, asynchronous, at the price of the call itself whenever it does not block.
#[derive(Debug, Parser)]
#[command(name = "syslet", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done, 1 a negative answer (files that could not be read), \
                        2 bad usage or other trouble.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Scan(ScanArgs),
    Probe(ProbeArgs),
    Calls(CallsArgs),
    Run(RunArgs),
    Top(TopArgs),
    Completions(CompletionsArgs),
    Manual(ManualArgs),
}

/// Walk trees, and read and hash (BLAKE3) every regular file.
///
/// One thread does it all through threadlets: what is cached costs what the plain calls cost, and
/// what has to wait for the disk goes on beside the walk.
///
/// Symbolic links are counted, not followed, also when given as PATH (as du does; PATH/ with a
/// slash at its end names what the link points to). Every name counts: a file with two hard links
/// in the tree is read twice. FIFOs, sockets and devices are counted, never opened. In kernel-made
/// file systems such as /proc at most 64 MiB are read of one file, because some have no end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet scan /usr/share
  syslet scan --no-read --json /home
  syslet scan --manifest sums.b3 photos && b3sum -c --quiet sums.b3
  syslet scan --manifest - src | sort -k2
  syslet scan --mode pool --jobs 16 /usr   # the same work by ordinary threads

Exit status: 0 done, 1 some files could not be read, 2 bad usage or other trouble.")]
struct ScanArgs {
    /// Files and directories to scan
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<OsString>,
    /// Metadata only: open no files
    #[arg(long)]
    no_read: bool,
    /// Write a line per file that `b3sum -c` accepts, in the order in which they are finished;
    /// `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "no_read")]
    manifest: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
    /// How the work is done
    #[arg(long, value_enum, default_value_t = Mode::Syslet)]
    mode: Mode,
    /// Units of work in flight at most (syslet), threads (pool)
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_JOBS))]
    jobs: Option<u16>,
    /// Skip what is on another file system than its PATH
    #[arg(long, short = 'x')]
    one_file_system: bool,
}

/// How `scan` works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Threadlets of one attached thread
    Syslet,
    /// Plain calls, one after the other
    Sync,
    /// Ordinary threads
    Pool,
}

/// Say what this machine and sandbox allow, and how fast it is.
///
/// Shows whether threads can be attached here, or why the pool is used; kernel and CPUs; what a
/// threadlet costs on top of a plain call; and how long it takes until the caller goes on when a
/// call blocks. Takes well under a second.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet probe
  syslet probe --json | jq .mechanism
  SYSLET_FORCE_POOL=1 syslet probe")]
struct ProbeArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Print the catalogue of system calls.
///
/// Without CALL, a line per call. With CALL, everything that is known of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet calls
  syslet calls preadv2
  syslet calls 0
  syslet calls --json | jq -r '.[] | select(.waits.for == \"lock\") | .name'")]
struct CallsArgs {
    /// Name or number of a call
    #[arg(value_name = "CALL")]
    call: Option<String>,
    /// Print JSON: an array, or one object
    #[arg(long)]
    json: bool,
}

/// Run a program with asynchronous I/O that does not block, without changing it.
///
/// Puts syslet's drop-in libraries in front of libaio and of the C library's POSIX AIO (aio_read and its kin), for
/// COMMAND and for whatever it starts. Its buffered reads and writes become asynchronous, which they are
/// with neither.
///
/// The libraries are looked for beside this command, in ../lib/syslet and in ../lib, or in SYSLET_LIBDIR alone, if
/// that is set. Set-user-ID and statically linked programs are refused: no library can be put in front of
/// them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet run -- fio --name=x --ioengine=posixaio --rw=randread --size=1g
  syslet run --report -- qemu-img bench -n -c 10000 image
  syslet run --report=what.json --json --posix-aio -- ./server
  syslet run --attach --libaio -- mariadbd

Exit status: that of COMMAND; with --report a signal that ends COMMAND ends this command too. 125 the
libraries or the report cannot be had, 126 COMMAND cannot be run, 127 it is not found, 2 bad usage.

A report covers COMMAND and all that it started, until COMMAND has ended.")]
struct RunArgs {
    /// When the program has ended, say what went through, to standard error or FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    report: Option<Option<PathBuf>>,
    /// The report as one JSON object
    #[arg(long, requires = "report")]
    json: bool,
    /// Only libaio, unless --posix-aio is given too
    #[arg(long)]
    libaio: bool,
    /// Only POSIX AIO, unless --libaio is given too
    #[arg(long)]
    posix_aio: bool,
    /// Attach the program's threads, so that buffered writes are made where it asks for them; their thread ids are
    /// others then
    #[arg(long)]
    attach: bool,
    /// The program, looked for in PATH, and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

/// Show what a program does: its guests, its crew threads, and where each call sits that is away.
///
/// The program must publish it: start it with SYSLET_STATS=1, or have it call syslet::publish_stats(). Nothing is
/// sampled there but when this command asks. A program's descriptors and paths are shown as they are when
/// it is asked, those that have been away longest first.
///
/// On a terminal the picture is drawn again every second until the program ends or this command is
/// interrupted. Elsewhere it is written once, unless --interval is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet top 1234
  SYSLET_STATS=1 ./server & syslet top $!
  syslet top --once --json 1234 | jq '.crew[] | select(.doing == \"away\") | .call.name'
  syslet top --json --interval 10 1234 >> log   # a line each time

Exit status: 0 done, or the program has ended while it was watched; 2 there is no such process, it
publishes nothing, is another user's, or does not answer within two seconds.")]
struct TopArgs {
    /// The process
    pid: u32,
    /// Show it once
    #[arg(long, conflicts_with = "interval")]
    once: bool,
    /// Print JSON: an object, or one on each line
    #[arg(long)]
    json: bool,
    /// Seconds between two pictures, 0.1 to 3600
    #[arg(long, value_name = "SECS", value_parser = interval)]
    interval: Option<Duration>,
}

/// Print completions for a shell.
///
/// Installed packages have them already. Otherwise, have the shell read what this prints.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  syslet completions bash > ~/.local/share/bash-completion/completions/syslet
  syslet completions fish > ~/.config/fish/completions/syslet.fish")]
struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual pages of the command and its subcommands into a folder.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
struct ManualArgs {
    /// The folder, which exists
    folder: PathBuf,
}

/// What is to be done; everything in it has been checked.
#[derive(Debug)]
pub(crate) enum Plan {
    Scan(ScanPlan),
    Probe(ProbePlan),
    Calls(CallsPlan),
    Run(RunPlan),
    Top(TopPlan),
    Completions(Shell),
    /// The folder for the pages.
    Manual(PathBuf),
}

#[derive(Debug)]
pub(crate) struct ScanPlan {
    pub(crate) paths: Vec<CString>,
    pub(crate) read: bool,
    pub(crate) manifest: Option<ManifestTo>,
    pub(crate) json: bool,
    pub(crate) mode: Mode,
    pub(crate) jobs: usize,
    pub(crate) one_file_system: bool,
}

/// Where the manifest goes.
#[derive(Debug)]
pub(crate) enum ManifestTo {
    Stdout,
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) struct ProbePlan {
    pub(crate) json: bool,
}

#[derive(Debug)]
pub(crate) struct CallsPlan {
    pub(crate) call: Option<String>,
    pub(crate) json: bool,
}

#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) command: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) libraries: Vec<Library>,
    pub(crate) report: Option<ReportTo>,
    pub(crate) json: bool,
    pub(crate) attach: bool,
}

#[derive(Debug)]
pub(crate) struct TopPlan {
    pub(crate) pid: u32,
    pub(crate) json: bool,
    /// Between two pictures; none: there is one.
    pub(crate) interval: Option<Duration>,
}

/// Where the report goes.
#[derive(Debug)]
pub(crate) enum ReportTo {
    Stderr,
    File(PathBuf),
}

/// Reads the command line; does not return if it is wrong or asks for help.
pub(crate) fn plan() -> Plan {
    let checked = match Args::parse().command {
        Command::Scan(args) => args.check().map(Plan::Scan),
        Command::Probe(ProbeArgs { json }) => Ok(Plan::Probe(ProbePlan { json })),
        Command::Calls(CallsArgs { call, json }) => Ok(Plan::Calls(CallsPlan { call, json })),
        Command::Run(args) => Ok(Plan::Run(args.plan())),
        Command::Top(args) => Ok(Plan::Top(args.plan())),
        Command::Completions(CompletionsArgs { shell }) => Ok(Plan::Completions(shell)),
        Command::Manual(ManualArgs { folder }) => Ok(Plan::Manual(folder)),
    };
    checked.unwrap_or_else(|(kind, why)| Args::command().error(kind, why).exit())
}

/// The command line as clap knows it: completions and manual pages are made of it.
pub(crate) fn command() -> clap::Command {
    Args::command()
}

/// A number of seconds.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let known = (0.1..=3600.0).contains(&seconds);
    known
        .then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| "not within 0.1 to 3600".to_owned())
}

impl TopArgs {
    fn plan(self) -> TopPlan {
        let again = !self.once && std::io::stdout().is_terminal();
        let interval = self.interval.or_else(|| again.then_some(Duration::from_secs(1)));
        TopPlan { pid: self.pid, json: self.json, interval }
    }
}

impl RunArgs {
    fn plan(self) -> RunPlan {
        let wanted = |library| match library {
            Library::Libaio => self.libaio || !self.posix_aio,
            Library::PosixAio => self.posix_aio || !self.libaio,
        };
        let mut words = self.command.into_iter();
        RunPlan {
            command: words.next().unwrap_or_default(),
            args: words.collect(),
            libraries: Library::ALL.into_iter().filter(|library| wanted(*library)).collect(),
            report: self.report.map(|file| file.map_or(ReportTo::Stderr, ReportTo::File)),
            json: self.json,
            attach: self.attach,
        }
    }
}

impl ScanArgs {
    fn check(self) -> Result<ScanPlan, (ErrorKind, &'static str)> {
        let manifest = self.manifest.map(|path| match path.as_os_str().as_encoded_bytes() {
            b"-" => ManifestTo::Stdout,
            _ => ManifestTo::File(path),
        });
        if self.json && matches!(manifest, Some(ManifestTo::Stdout)) {
            let why = "--json and --manifest - both want standard output";
            return Err((ErrorKind::ArgumentConflict, why));
        }
        if self.mode == Mode::Sync && self.jobs.is_some_and(|jobs| jobs > 1) {
            return Err((ErrorKind::ArgumentConflict, "--mode sync does one thing at a time"));
        }
        let no_nul = (ErrorKind::InvalidValue, "a PATH holds a NUL byte");
        let paths = self.paths.into_iter().map(|path| CString::new(path.into_vec()));
        Ok(ScanPlan {
            paths: paths.collect::<Result<_, _>>().map_err(|_| no_nul)?,
            read: !self.no_read,
            manifest,
            json: self.json,
            mode: self.mode,
            jobs: match self.mode {
                Mode::Sync => 1,
                Mode::Syslet | Mode::Pool => self.jobs.map_or(DEFAULT_JOBS, usize::from),
            },
            one_file_system: self.one_file_system,
        })
    }
}
