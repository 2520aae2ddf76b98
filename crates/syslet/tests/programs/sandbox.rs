//! What a sandbox, the processor's state or an allocator forbids: attach works, or says why not.

use std::time::Instant;

use syslet::{Mode as Working, Submitted, Unsupported};

use crate::container::{
    check_docker, check_scheduling, deny, deny_everywhere, docker, forbid, trap,
};
use crate::runner::{FOLLOW, GUESTS, Scenario};
use crate::sys;
use crate::work::{attach, away_reads, finish_all, hand_off, make, settings};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("attach_works_under_what_containers_forbid", GUESTS, container),
    Scenario::new("without_scheduler_calls_the_pool_says_why", FOLLOW, no_scheduler),
    Scenario::new("a_used_gs_base_leads_to_the_pool", FOLLOW, gs_base),
    Scenario::new("a_shadow_stack_leads_to_the_pool", FOLLOW, shadow_stack),
    Scenario::new("a_sandbox_without_membarrier_is_no_obstacle", GUESTS, no_membarrier),
    Scenario::new(
        "a_sandbox_that_takes_membarrier_away_later_holds_no_guest_up",
        GUESTS,
        membarrier_goes,
    ),
    Scenario::new("a_cpu_on_which_nothing_may_run_is_no_placement", FOLLOW, forbidden_cpu),
    Scenario::new("a_c_library_told_to_leave_rseq_alone_is_no_obstacle", FOLLOW, no_rseq),
    Scenario::new("an_rseq_area_of_somebody_elses_leads_to_the_pool", FOLLOW, foreign_rseq),
    Scenario::new("an_allocator_with_caches_per_cpu_leads_to_the_pool", FOLLOW, allocator),
    Scenario::new("a_sandbox_without_close_range_or_seccomp_is_answered", FOLLOW, no_seal),
    Scenario::new("a_kernel_without_epoll_pwait2_is_no_obstacle", crate::runner::ALL, no_pwait2),
    Scenario::new("a_sentinel_that_the_sandbox_kills_leads_to_the_pool", FOLLOW, killed_sentinel),
    Scenario::new("without_threads_attach_is_an_error_and_no_panic", GUESTS, no_threads),
    Scenario::new("calls_bound_to_their_thread_are_refused_and_not_run", crate::runner::ALL, bound),
];

pub(crate) fn works() {
    for _ in 0..5 {
        let guard = attach();
        hand_off();
        finish_all(away_reads(3));
        drop(guard);
    }
    let child = sys::fork(|| {
        let _guard = attach();
        hand_off();
        0
    });
    assert_eq!(child.end(), 0);
}

fn container() {
    check_scheduling();
    docker();
    check_docker();
    works();
}

/// Attaches where the mechanism cannot be used: the reason. The pool must work.
#[track_caller]
fn pool_because() -> Unsupported {
    let guard = settings().attach().expect("the pool at least");
    let Working::Pool(why) = guard.mode().clone() else { panic!("{:?}", guard.mode()) };
    assert!(settings().require().attach().is_err(), "required, and not to be had");
    assert!(!syslet::is_attached());
    finish_all(away_reads(3));
    assert_eq!(syslet::threadlet(|| 3).join(), 3);
    why
}

fn no_scheduler() {
    for nr in [libc::SYS_sched_setaffinity, libc::SYS_sched_setattr] {
        let child = sys::fork(move || {
            docker();
            deny(&[(nr, libc::EPERM), (libc::SYS_sched_setscheduler, libc::EPERM)]);
            let why = pool_because();
            let right = matches!(&why, Unsupported::Refused(name, libc::EPERM)
                if name.starts_with("sched_seta"));
            if !right {
                eprintln!("{why}");
            }
            assert!(sys::wait_any(libc::__WALL).is_err(), "a failed sentinel is left behind");
            i32::from(!right)
        });
        assert_eq!(child.end(), 0, "call {nr} denied");
    }
}

fn gs_base() {
    sys::set_gs_base(0x1000);
    assert_eq!(pool_because(), Unsupported::GsInUse);
    let other = std::thread::spawn(works);
    // GS is inherited by threads: it is in use there too.
    assert!(other.join().is_err(), "a thread inherits the GS base");
    sys::set_gs_base(0);
    hand_off();
    std::thread::spawn(works).join().expect("a thread without GS base can be attached");
}

/// asm/prctl.h, Linux 6.6.
const ARCH_SHSTK_STATUS: i64 = 0x5005;
const ARCH_SHSTK_SHSTK: u64 = 1;

/// Answers arch_prctl as a kernel does whose thread has a shadow stack.
extern "C" fn with_shadow_stack(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let registers = sys::trapped(context);
    let answer = match registers[libc::REG_RDI as usize] {
        ARCH_SHSTK_STATUS => {
            sys::store_at(registers[libc::REG_RSI as usize] as usize, ARCH_SHSTK_SHSTK);
            0
        }
        _ => -i64::from(libc::EINVAL),
    };
    registers[libc::REG_RAX as usize] = answer;
}

fn shadow_stack() {
    sys::handle(libc::SIGSYS, with_shadow_stack);
    trap(libc::SYS_arch_prctl);
    assert_eq!(pool_because(), Unsupported::ShadowStack);
}

fn no_membarrier() {
    deny(&[(libc::SYS_membarrier, libc::EPERM)]);
    works();
    let _guard = attach();
    (0..200).for_each(|_| hand_off());
}

/// The read that is made next ends only by what its guest does after it.
fn membarrier_goes() {
    let guard = attach();
    hand_off();
    let before = syslet::probe().expect("the thread is attached").membarrier;
    if !before {
        crate::runner::skip("no membarrier here");
    }
    let other = std::thread::spawn(|| {
        let _guard = attach();
        (0..100).for_each(|_| hand_off());
    });
    deny_everywhere(&[(libc::SYS_membarrier, libc::EPERM)]);
    finish_all(away_reads(3));
    assert!(!syslet::probe().expect("the thread is attached").membarrier, "it is believed in");
    other.join().expect("another guest ends well");
    (0..200).for_each(|_| hand_off());
    drop(guard);
    works();
}

/// What the kernel says of a CPU that is offline or outside the cpuset.
fn forbidden_cpu() {
    drop(attach()); // the crew is there: what fails is the placement
    let cpus = sys::affinity(0);
    let [one, other, ..] = cpus[..] else { crate::runner::skip("there is one CPU") };
    sys::set_affinity(0, &[one]);
    deny_everywhere(&[(libc::SYS_sched_setaffinity, libc::EINVAL)]);
    let guard = settings().placement(syslet::Placement::Pinned(other)).attach();
    assert!(guard.is_err(), "{guard:?}");
    let guard = settings().placement(syslet::Placement::Pinned(one)).attach();
    assert!(guard.is_ok(), "{guard:?}");
}

fn no_rseq() {
    let program = std::process::Command::new("/proc/self/exe")
        .args(["--part", "works"])
        .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        .status();
    assert!(program.expect("the program starts").success());
}

/// As an allocator does it that is linked statically and has no symbol to look up.
fn foreign_rseq() {
    let program = std::process::Command::new("/proc/self/exe")
        .args(["--part", "foreign-rseq"])
        .env("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        .status();
    assert!(program.expect("the program starts").success());
}

/// The program without an area of the C library's.
pub(crate) fn with_foreign_rseq() {
    let Some(area) = sys::RseqArea::register() else {
        println!("rseq: not to be had here");
        return;
    };
    for _ in 0..2 {
        let why = pool_because();
        assert!(matches!(&why, Unsupported::Rseq(what) if what.contains("not glibc's")), "{why}");
    }
    for cpu in sys::affinity(0) {
        sys::set_affinity(0, &[cpu]);
        assert_eq!(area.cpu(), cpu, "the kernel keeps the area up to date");
    }
    // It is a matter of the thread.
    std::thread::spawn(works).join().expect("a thread without such an area can be attached");
    area.unregister();
    works();
}

/// A library with the symbol by which tcmalloc is known, built by the C compiler and preloaded.
fn allocator() {
    let library = std::env::temp_dir().join(format!("syslet-programs-{}.so", sys::getpid()));
    let source = "int TCMalloc_Internal_GetPerCpuCachesActive(void) { return 1; }";
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-x", "c", "-o"])
        .arg(&library)
        .arg("-")
        .stdin(std::process::Stdio::from(sys::file_with(source)))
        .status();
    if !built.is_ok_and(|status| status.success()) {
        crate::runner::skip("no C compiler");
    }
    let program = std::process::Command::new("/proc/self/exe")
        .args(["--part", "allocator"])
        .env("LD_PRELOAD", &library)
        .status();
    let removed = std::fs::remove_file(&library);
    assert!(program.expect("the program starts").success());
    removed.expect("the library can be removed");
}

/// The program with that library.
pub(crate) fn with_allocator() {
    let why = pool_because();
    assert!(matches!(&why, Unsupported::Rseq(what) if what.contains("tcmalloc")), "{why}");
}

fn no_seal() {
    for nr in [libc::SYS_close_range, libc::SYS_seccomp] {
        let child = sys::fork(move || {
            deny(&[(nr, libc::EPERM)]);
            let guard = settings().attach().expect("the pool at least");
            hand_off();
            drop(guard);
            0
        });
        assert_eq!(child.end(), 0, "call {nr} denied");
    }
}

/// Linux 5.10, which has the rest of what parking needs.
#[expect(clippy::zombie_processes, reason = "the library waits for it")]
fn no_pwait2() {
    use std::time::Duration;
    deny(&[(libc::SYS_epoll_pwait2, libc::ENOSYS)]);
    let _guard = attach();
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("cat can be started");
    let Submitted::Pending(wait) = make(libc::SYS_wait4, [child.id() as usize, 0, 0, 0, 0, 0])
    else {
        panic!("cat waits for its input")
    };
    let before = sys::cpu_time();
    let Err(wait) = wait.wait_deadline(Instant::now() + Duration::from_millis(400)) else {
        panic!("cat waits for its input")
    };
    let spent = sys::cpu_time() - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} spent on waiting");
    drop(child.stdin.take());
    let ended = wait.wait_deadline(Instant::now() + sys::PATIENCE).expect("the child ends");
    assert_eq!(ended.raw(), child.id() as isize);
}

/// The only one who seals itself is the sentinel; it dies of it before it is ready.
fn killed_sentinel() {
    forbid(libc::SYS_seccomp);
    let why = pool_because();
    assert_eq!(why, Unsupported::Refused("seccomp", libc::EPERM));
    assert!(sys::wait_any(libc::__WALL).is_err(), "the dead sentinel is left behind");
}

fn no_threads() {
    deny(&[(libc::SYS_clone3, libc::EAGAIN), (libc::SYS_clone, libc::EAGAIN)]);
    assert!(settings().attach().is_err(), "no thread can be made");
    assert!(!syslet::is_attached());
    // Whoever tries again and again must not run out of memory.
    let size = || {
        let size =
            crate::proc::process_field(sys::getpid(), "VmData").expect("a field of every process");
        size.trim_end_matches(" kB").parse::<usize>().expect("a number of KiB")
    };
    let before = size();
    (0..200).for_each(|_| assert!(settings().attach().is_err(), "no thread can be made"));
    let grown = size() - before;
    assert!(grown < 2000, "{grown} KiB for 200 crews that could not be made");
}

fn bound() {
    use syslet::{Call, Refusal, SubmitError};
    let _guard = attach();
    let calls = [
        ("exit", libc::SYS_exit),
        ("exit_group", libc::SYS_exit_group),
        ("fork", libc::SYS_fork),
        ("vfork", libc::SYS_vfork),
        ("clone", libc::SYS_clone),
        ("clone3", libc::SYS_clone3),
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("rt_sigreturn", libc::SYS_rt_sigreturn),
        ("sigaltstack", libc::SYS_sigaltstack),
        ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
        ("set_robust_list", libc::SYS_set_robust_list),
        ("rseq", libc::SYS_rseq),
        ("arch_prctl", libc::SYS_arch_prctl),
        ("prctl", libc::SYS_prctl),
        ("setuid", libc::SYS_setuid),
        ("setgid", libc::SYS_setgid),
        ("setresuid", libc::SYS_setresuid),
        ("setgroups", libc::SYS_setgroups),
        ("capset", libc::SYS_capset),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("seccomp", libc::SYS_seccomp),
        ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
        ("gettid", libc::SYS_gettid),
        ("set_tid_address", libc::SYS_set_tid_address),
        ("set_mempolicy", libc::SYS_set_mempolicy),
        ("setfsuid", libc::SYS_setfsuid),
        ("keyctl", libc::SYS_keyctl),
        ("ptrace", libc::SYS_ptrace),
    ];
    let mut wrong = Vec::new();
    for (name, nr) in calls {
        match crate::work::try_make(Call::new(nr as usize, [])) {
            Err(SubmitError::Refused(_, Refusal::BoundToThread(found, reason)))
                if found == name && !reason.is_empty() => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    for nr in [400, 9999, usize::MAX, (1 << 32) + 39] {
        match crate::work::try_make(Call::new(nr, [])) {
            Err(SubmitError::Refused(_, Refusal::Unknown(found))) if found == nr => {}
            other => wrong.push(format!("{nr}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
