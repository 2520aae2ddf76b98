//! Calls that belong to a kernel thread are refused.

use syslet::{Arg, Chain, Refusal, SubmitError};
use syslet_catalog::{ENTRIES, Runs};

use crate::util::calls::{checked, checked_chain, number_call, try_go, try_hand_over};
use crate::util::{LIMIT, attached, bounded};

/// No argument of these calls is used: nothing runs.
fn refused(nr: usize) -> (syslet::Call, Refusal) {
    let outcome = checked(number_call(nr as i64, [usize::MAX; 6]));
    match outcome {
        Err(SubmitError::Refused(call, why)) => (call, why),
        other => panic!("call {nr} is not refused: {other:?}"),
    }
}

#[test]
fn every_call_that_is_bound_to_its_thread() {
    attached(|| {
        let mut count = 0;
        let bound = |runs| matches!(runs, Runs::Bound(_) | Runs::Refused(_));
        for entry in ENTRIES.iter().filter(|entry| bound(entry.runs)) {
            let (call, why) = refused(entry.nr as usize);
            assert_eq!(call.nr(), entry.nr as usize);
            let reason = entry.runs.reason().expect("such a row has a reason");
            assert_eq!(why, Refusal::BoundToThread(entry.name, reason));
            let text = why.to_string();
            assert!(text.contains(entry.name) && text.contains(reason), "{text}");
            count += 1;
        }
        assert!(count > 30, "only {count} rows");
    });
}

#[test]
fn calls_known_to_be_dangerous_on_another_thread() {
    let names = [
        "exit",
        "exit_group",
        "fork",
        "vfork",
        "clone",
        "clone3",
        "execve",
        "execveat",
        "rt_sigreturn",
        "sigaltstack",
        "rt_sigprocmask",
        "set_robust_list",
        "rseq",
        "arch_prctl",
        "prctl",
        "setuid",
        "setgid",
        "setreuid",
        "setresuid",
        "setgroups",
        "setfsuid",
        "capset",
        "unshare",
        "setns",
        "seccomp",
        "gettid",
        "set_tid_address",
        "landlock_restrict_self",
    ];
    attached(move || {
        for name in names {
            let entry = syslet_catalog::by_name(name).unwrap_or_else(|| panic!("no row of {name}"));
            let (_, why) = refused(entry.nr as usize);
            assert!(matches!(why, Refusal::BoundToThread(named, _) if named == name), "{why:?}");
        }
    });
}

#[test]
fn calls_that_an_argument_binds_to_the_thread() {
    let unshare = |flags: u32| {
        let top = u32::MAX as usize - 1;
        number_call(libc::SYS_close_range, [top, top, flags as usize])
    };
    // The process is no child of its own. Any child (-1) could be another test's.
    let nobody = std::process::id() as usize;
    let children = move |options: i32| number_call(libc::SYS_wait4, [nobody, 0, options as usize]);
    let futex = |op: i32| number_call(libc::SYS_futex, [0, op as usize, 0]);
    attached(move || {
        for (call, decides) in [
            (unshare(libc::CLOSE_RANGE_UNSHARE), 2),
            (children(libc::WNOHANG | libc::__WNOTHREAD), 2),
            (futex(libc::FUTEX_LOCK_PI | libc::FUTEX_PRIVATE_FLAG), 1),
        ] {
            let name = call.name().expect("it has one");
            let why = match checked(call) {
                Err(SubmitError::Refused(_, why)) => why,
                other => panic!("{name} is not refused: {other:?}"),
            };
            assert!(matches!(why, Refusal::BoundToThread(named, _) if named == name), "{why:?}");
            // In a chain also while the argument is not known.
            for unknown in [false, true] {
                let mut args: [Arg; 6] = std::array::from_fn(|at| call.args()[at].into());
                if unknown {
                    args[decides] = Arg::At(8);
                }
                let mut chain = Chain::new();
                chain.push(call.nr(), args);
                let why = match checked_chain(chain) {
                    Err(SubmitError::Refused(_, why)) => why,
                    other => panic!("{name} is not refused: {other:?}"),
                };
                assert!(matches!(why, Refusal::BoundStep { name: n, .. } if n == name), "{why:?}");
            }
        }
        for call in [unshare(0), children(libc::WNOHANG), futex(libc::FUTEX_WAKE)] {
            let ended = checked(call).expect("nothing speaks against it").wait();
            assert!(ended.errno() != Some(libc::ENOSYS), "{call:?}: {ended:?}");
            let mut chain = Chain::new();
            let args = call.args();
            chain.push(call.nr(), [args[0].into(), args[1].into(), args[2].into()]);
            let result = checked_chain(chain).expect("nothing speaks against it").wait();
            assert!(result.last().is_some());
        }
    });
}

#[test]
fn unknown_numbers() {
    attached(|| {
        for nr in [511, 512, 4096, u32::MAX as usize, (1 << 32) | 39, usize::MAX] {
            let (call, why) = refused(nr);
            assert_eq!(call.nr(), nr);
            assert_eq!(why, Refusal::Unknown(nr), "{nr}");
            assert!(why.to_string().contains(&nr.to_string()));
        }
    });
}

#[test]
fn refused_everywhere_and_the_call_comes_back() {
    let exit = || number_call(libc::SYS_exit, [3]);
    bounded(LIMIT, move || {
        let error = checked(exit()).expect_err("exit is refused");
        assert!(!error.is_busy());
        assert_eq!(error.into_inner(), exit());
    });
    attached(move || {
        for refused in [try_go(exit()), try_hand_over(exit())] {
            let error = refused.expect_err("exit is refused");
            assert!(error.to_string().contains("exit"), "{error}");
            assert_eq!(error.into_inner(), exit());
        }
    });
}
