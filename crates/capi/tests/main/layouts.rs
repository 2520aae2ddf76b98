//! Of the historic headers too the library knows every structure, and every number that it uses.

use std::fs;
use std::mem::offset_of;

use syslet_capi::abi::historic::{
    AcallCompletion, AcallId, AcallRing, AcallSubmission, Atom5, Atom6, AtomHead, FibrilCompletion,
    FibrilInput, FileFlags, Frame, IndirectArgs, IndirectCompletion, IndirectRing, Message,
    Registers, SigEvent,
};
use syslet_kevent::{Event, Flags, Happened, Kind, RingHeader};

use crate::headers::{assert_in_c, constants, same};

/// Numbers by the names that Rust and C have for them, one test for each header.
macro_rules! numbers {
    ($($test:ident: $header:literal, [$($name:ident),*], $more:expr;)*) => {
        $(#[test]
        fn $test() {
            let mut text = String::from($more());
            constants(
                &mut text,
                &[$((stringify!($name), syslet_capi::abi::historic::$name as i64)),*],
            );
            assert_in_c($header, &text);
        })*

        /// Every number that is compared somewhere.
        const COMPARED: &[&str] = &[$($(stringify!($name),)*)*];
    };
}

numbers! {
    the_library_and_async_submit_h_agree: "syslet/async_submit.h", [ASYNC_SUBMIT_VALUE], || "";
    the_library_and_nonseqfd_h_agree: "syslet/nonseqfd.h", [NONSEQFD_CLOSE], || "";
    the_library_and_syslets_h_agree: "syslet/syslets.h", [
        SYSLET_ASYNC, SYSLET_SYNC, SYSLET_NO_COMPLETE, SYSLET_STOP_ON_NONZERO, SYSLET_STOP_ON_ZERO,
        SYSLET_STOP_ON_NEGATIVE, SYSLET_STOP_ON_NON_POSITIVE, SYSLET_SKIP_TO_NEXT_ON_STOP, SYSLET_NR_UMEM_ADD
    ], atoms;
    the_library_and_syslets6_h_agree: "syslet/syslets6.h", [
        SYSLET_ASYNC, SYSLET_SYNC, SYSLET_NO_COMPLETE, SYSLET_STOP_ON_NONZERO, SYSLET_STOP_ON_ZERO,
        SYSLET_STOP_ON_NEGATIVE, SYSLET_STOP_ON_NON_POSITIVE, SYSLET_SKIP_TO_NEXT_ON_STOP, SYSLET_NR_UMEM_ADD
    ], atoms_of_version_6;
    the_library_and_indirect_h_agree: "syslet/indirect.h", [ESYSLETPENDING], indirect;
    the_library_and_acall_h_agree: "syslet/acall.h", [ACALL_SUBMIT_THREAD_POOL], acall;
    the_library_and_dragonfly_h_agree: "syslet/dragonfly.h",
        [EASYNC, MSGF_DONE, MSGF_REPLY1, MSGF_ASYNC], messages;
    the_library_and_fibrils_h_agree: "syslet/fibrils.h", [], fibrils;
    the_library_and_kevent_h_agree: "syslet/kevent.h", [
        KEVENT_CTL_ADD, KEVENT_CTL_REMOVE, KEVENT_CTL_MODIFY, KEVENT_CTL_READY, KEVENT_FLAGS_ABSTIME,
        KEVENT_RET_BROKEN, KEVENT_RET_DONE, KEVENT_SIGNAL_NOMASK, KEVENT_TIMER_ABSTIME, KEVENT_TIMER_REALTIME,
        SIGEV_KEVENT
    ], kevent;
}

fn atoms() -> String {
    let mut text = String::new();
    same!(text, "struct syslet_uatom", Atom5, [flags, nr, ret_ptr, next, arg_ptr, private]);
    same!(
        text,
        "struct async_head_user",
        AtomHead,
        [
            kernel_ring_idx,
            user_ring_idx,
            completion_ring,
            ring_size_bytes,
            head_stack,
            head_eip,
            new_thread_stack,
            new_thread_eip
        ]
    );
    text
}

fn atoms_of_version_6() -> String {
    let mut text = String::new();
    same!(text, "struct syslet_uatom", Atom6, [flags, nr, ret_ptr, next, arg_ptr, private]);
    same!(
        text,
        "struct async_head_user",
        AtomHead,
        [
            kernel_ring_idx,
            user_ring_idx,
            completion_ring = completion_ring_ptr,
            ring_size_bytes,
            head_stack,
            head_eip = head_ip,
            new_thread_stack,
            new_thread_eip = new_thread_ip
        ]
    );
    text
}

fn indirect() -> String {
    let mut text = String::new();
    same!(text, "struct syslet_frame", Frame, [ip, sp]);
    same!(text, "struct syslet_args", IndirectArgs, [completion_ring_ptr, caller_data, frame]);
    same!(text, "union indirect_params", IndirectArgs, []);
    constants(
        &mut text,
        &[
            ("sizeof ((union indirect_params *)0)->file_flags", size_of::<FileFlags>() as i64),
            ("offsetof(union indirect_params, file_flags.flags)", 0),
            ("offsetof(union indirect_params, syslet)", 0),
        ],
    );
    same!(text, "struct indirect_registers", Registers, [rax, rdi, rsi, rdx, r10, r8, r9]);
    same!(text, "struct syslet_completion", IndirectCompletion, [status, caller_data]);
    same!(
        text,
        "struct syslet_ring",
        IndirectRing,
        [kernel_head, user_tail, elements, wait_group, comp]
    );
    text
}

fn acall() -> String {
    let mut text = String::new();
    same!(
        text,
        "struct acall_submission",
        AcallSubmission,
        [nr, flags, cookie, completion_ring_pointer, completion_pointer, id_pointer, args]
    );
    same!(text, "struct acall_completion", AcallCompletion, [return_code, cookie]);
    same!(text, "struct acall_completion_ring", AcallRing, [head, nr, comps]);
    same!(text, "struct acall_id", AcallId, [opaque]);
    text
}

fn messages() -> String {
    let mut text = String::new();
    same!(
        text,
        "struct lwkt_msg",
        Message,
        [
            ms_node,
            opaque,
            ms_target_port,
            ms_reply_port,
            ms_abort_port,
            ms_cmd,
            ms_abort,
            ms_flags,
            ms_msgsize,
            ms_error,
            u,
            ms_pad
        ]
    );
    text
}

fn fibrils() -> String {
    let mut text = String::new();
    same!(text, "struct asys_input", FibrilInput, [syscall_nr, cookie, nr_args, args]);
    same!(text, "struct asys_completion", FibrilCompletion, [return_code, cookie]);
    text
}

/// Most of it is `syslet-kevent`'s.
fn kevent() -> String {
    let mut text = String::new();
    same!(
        text,
        "struct ukevent",
        Event,
        [
            id,
            kind = type,
            asked = event,
            flags = req_flags,
            state = ret_flags,
            data = ret_data,
            user_data = user
        ]
    );
    same!(text, "struct kevent_ring", RingHeader, [kidx = ring_kidx, over = ring_over]);
    let kind = |kind: Kind| kind as i64;
    let flag = |flags: Flags| i64::from(flags.bits());
    constants(
        &mut text,
        &[
            // The beginning of a larger one.
            ("offsetof(struct sigevent, sigev_value)", offset_of!(SigEvent, sigev_value) as i64),
            ("offsetof(struct sigevent, sigev_signo)", offset_of!(SigEvent, sigev_signo) as i64),
            ("offsetof(struct sigevent, sigev_notify)", offset_of!(SigEvent, sigev_notify) as i64),
            (
                "offsetof(struct sigevent, sigev_kevent_fd)",
                offset_of!(SigEvent, sigev_kevent_fd) as i64,
            ),
            ("KEVENT_SOCKET", kind(Kind::Socket)),
            ("KEVENT_INODE", kind(Kind::Inode)),
            ("KEVENT_TIMER", kind(Kind::Timer)),
            ("KEVENT_POLL", kind(Kind::Poll)),
            ("KEVENT_AIO", kind(Kind::Completion)),
            ("KEVENT_PIPE", kind(Kind::Pipe)),
            ("KEVENT_SIGNAL", kind(Kind::Signal)),
            ("KEVENT_POSIX_TIMER", kind(Kind::PosixTimer)),
            ("KEVENT_USER", kind(Kind::User)),
            ("KEVENT_CHILD", kind(Kind::Child)),
            ("KEVENT_REQ_ONESHOT", flag(Flags::ONESHOT)),
            ("KEVENT_REQ_WAKEUP_ALL", flag(Flags::WAKEUP_ALL)),
            ("KEVENT_REQ_ET", flag(Flags::ET)),
            ("KEVENT_REQ_LAST_CHECK", flag(Flags::LAST_CHECK)),
            ("KEVENT_REQ_ALWAYS_QUEUE", flag(Flags::ALWAYS_QUEUE)),
            ("KEVENT_REQ_READY", flag(Flags::READY)),
            ("KEVENT_SOCKET_RECV", Happened::RECV.into()),
            ("KEVENT_SOCKET_ACCEPT", Happened::ACCEPT.into()),
            ("KEVENT_SOCKET_SEND", Happened::SEND.into()),
            ("KEVENT_INODE_CREATE", Happened::CREATE.into()),
            ("KEVENT_INODE_REMOVE", Happened::REMOVE.into()),
            ("KEVENT_TIMER_FIRED", Happened::FIRED.into()),
            ("KEVENT_SIGNAL_DELIVERY", Happened::DELIVERY.into()),
            ("KEVENT_CHILD_EXITED", Happened::EXITED.into()),
            ("KEVENT_AIO_BIO", Happened::DONE.into()),
        ],
    );
    text
}

/// What is added to the library later is not forgotten here.
#[test]
fn every_structure_and_every_number_is_compared() {
    let library =
        fs::read_to_string(xtask::source().join("src/abi/historic.rs")).expect("it is there");
    let this =
        fs::read_to_string(xtask::source().join("tests/main/layouts.rs")).expect("it is there");
    let named = |what: &'static str| {
        let lines = library.lines().filter_map(move |line| line.strip_prefix(what));
        lines.map(|rest| rest.split([' ', ':']).next().unwrap_or(rest))
    };
    let forgotten: Vec<_> = named("pub const ").filter(|name| !COMPARED.contains(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    // What is imported is used, or clippy says so.
    let forgotten: Vec<_> = named("pub struct ").filter(|name| !this.contains(name)).collect();
    assert!(forgotten.is_empty() && named("pub struct ").count() > 10, "{forgotten:?}");
}
