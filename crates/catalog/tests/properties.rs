//! What holds for every row.

use std::collections::BTreeSet;

use syslet_catalog::{
    Cancel, Dir, ENTRIES, Entry, Kind, Length, Makes, Runs, Timeout, Twin, Waits, by_name, class,
    lookup,
};

/// What argument `index` of `entry` is; fails if there is none.
fn kind(entry: &Entry, index: u8) -> Kind {
    entry.arg(index).unwrap_or_else(|| panic!("{} has no argument {index}", entry.name)).kind
}

#[test]
fn rows_are_ordered_and_names_unique() {
    assert!(ENTRIES.windows(2).all(|pair| pair[0].nr < pair[1].nr));
    let names: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), ENTRIES.len());
    assert!(ENTRIES.iter().all(|entry| entry.nr < 512), "x32 numbers begin at 512");
}

#[test]
fn no_call_has_more_than_six_arguments_nor_two_of_a_name() {
    for entry in ENTRIES {
        assert!(entry.args.len() <= 6, "{}", entry.name);
        let names: BTreeSet<_> = entry.args.iter().map(|arg| arg.name).collect();
        assert_eq!(names.len(), entry.args.len(), "{}", entry.name);
    }
}

#[test]
fn every_length_is_where_the_argument_says() {
    for entry in ENTRIES {
        for arg in entry.args {
            let found = match arg.kind {
                Kind::Buf {
                    len: Length::Arg(n) | Length::AfterLong(n) | Length::Pages(n), ..
                } => kind(entry, n) == Kind::Len,
                Kind::Buf { len: Length::Bits(n), .. } => kind(entry, n) == Kind::Count,
                Kind::Buf { len: Length::At(n), .. } => {
                    matches!(kind(entry, n), Kind::Struct { dir: Dir::InOut, of } if of.size == 4)
                }
                Kind::Buf { len: Length::ByOp, .. } | Kind::Opaque => {
                    entry.position(Kind::Op).or(entry.position(Kind::Flags)).is_some()
                }
                Kind::Array { count, .. } | Kind::Iovec { count, .. } => {
                    kind(entry, count) == Kind::Count
                }
                Kind::Struct { of, .. } => of.size > 0,
                _ => true,
            };
            assert!(found, "{}: {}", entry.name, arg.name);
        }
    }
}

#[test]
fn readiness_is_that_of_a_descriptor() {
    for entry in ENTRIES {
        if let Waits::Readiness { fd, .. } = entry.waits {
            assert_eq!(kind(entry, fd), Kind::Fd, "{}", entry.name);
        }
    }
}

#[test]
fn a_time_limit_is_an_argument_that_holds_a_time() {
    for entry in ENTRIES {
        let limit = match entry.timeout {
            Timeout::None => continue,
            Timeout::RelTimespec { updated: true, .. } => Kind::Timespec(Dir::InOut),
            Timeout::RelTimeval { updated: true, .. } => Kind::Timeval(Dir::InOut),
            Timeout::RelTimeval { updated: false, .. } => Kind::Timeval(Dir::In),
            Timeout::RelMillis { .. } => Kind::Millis,
            _ => Kind::Timespec(Dir::In),
        };
        assert_eq!(kind(entry, entry.timeout.arg().unwrap()), limit, "{}", entry.name);
        assert_ne!(entry.waits, Waits::Never, "{}", entry.name);
        let decider = match entry.timeout {
            Timeout::ByFlags { .. } => Kind::Flags,
            Timeout::ByOp { .. } => Kind::Op,
            _ => continue,
        };
        assert!(entry.position(decider).is_some(), "{}", entry.name);
    }
}

#[test]
fn a_twin_changes_an_argument_of_the_right_kind() {
    for entry in ENTRIES {
        let Some(twin) = entry.twin else { continue };
        assert_ne!(entry.waits, Waits::Never, "{}", entry.name);
        let right = match (twin, twin.arg()) {
            (Twin::RwfNowait, _) => kind(entry, 0) == Kind::Fd,
            (Twin::ZeroTimeout { .. }, arg) => arg == entry.timeout.arg(),
            (Twin::LockNb { arg } | Twin::SetLk { arg }, _) => kind(entry, arg) == Kind::Op,
            (Twin::IpcNowaitEach { arg }, _) => matches!(kind(entry, arg), Kind::Array { .. }),
            (_, arg) => kind(entry, arg.unwrap()) == Kind::Flags,
        };
        assert!(right, "{}: {twin:?}", entry.name);
    }
}

#[test]
fn what_never_waits_needs_no_cancelling_and_the_other_way_round() {
    for entry in ENTRIES {
        let (never, nothing) = (entry.waits == Waits::Never, entry.cancel == Cancel::NoWait);
        assert_eq!(never, nothing, "{}", entry.name);
    }
}

#[test]
fn every_refusal_has_a_printable_reason() {
    for entry in ENTRIES {
        let Some(reason) = entry.runs.reason() else { continue };
        assert!(
            !reason.is_empty() && !reason.ends_with('.') && !reason.contains('\n'),
            "{}",
            entry.name
        );
    }
}

#[test]
fn new_descriptors_are_found() {
    for entry in ENTRIES {
        match entry.makes {
            Makes::Nothing | Makes::Fd => {}
            Makes::FdPair { arg } => {
                let Kind::Struct { dir: Dir::Out, of } = kind(entry, arg) else {
                    panic!("{}", entry.name)
                };
                assert_eq!(of.name, "int[2]", "{}", entry.name);
            }
            Makes::FdByOp { arg } => _ = kind(entry, arg),
        }
    }
}

#[test]
fn a_call_that_does_not_exist_does_nothing() {
    let gone: Vec<_> = ENTRIES.iter().filter(|entry| !entry.implemented()).collect();
    assert_eq!(gone.len(), 17);
    for entry in gone {
        assert_eq!((entry.waits, entry.runs), (Waits::Never, Runs::Anywhere), "{}", entry.name);
        assert!(entry.args.is_empty() && entry.makes == Makes::Nothing, "{}", entry.name);
    }
}

#[test]
fn versions_begin_where_they_should() {
    for entry in ENTRIES.iter().filter(|entry| entry.implemented()) {
        assert_eq!(entry.since.is_empty(), entry.nr < 256, "{}", entry.name);
        assert!(entry.since.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{}", entry.name);
    }
}

#[test]
fn a_row_is_found_by_number_and_by_name() {
    for entry in ENTRIES {
        assert_eq!(lookup(entry.nr), Some(entry));
        assert_eq!(by_name(entry.name), Some(entry));
    }
    assert_eq!(by_name("no_such_call"), None);
}

#[test]
fn the_class_says_what_the_row_says() {
    for entry in ENTRIES {
        let class = class(entry.nr);
        assert!(class.known(), "{}", entry.name);
        assert_eq!(class.movable(), entry.runs == Runs::Anywhere, "{}", entry.name);
        assert_eq!(class.may_wait(), entry.waits != Waits::Never, "{}", entry.name);
        assert_eq!(class.waits_for_disk(), entry.waits == Waits::Disk, "{}", entry.name);
        let stores = matches!(entry.makes, Makes::FdPair { .. });
        assert_eq!(class.stores_descriptors(), stores, "{}", entry.name);
        let relative = !matches!(entry.timeout, Timeout::None | Timeout::AbsTimespec { .. });
        assert_eq!(class.has_relative_timeout(), relative, "{}", entry.name);
        let of_descriptor = entry.arg(0).is_some_and(|arg| arg.kind == Kind::Fd);
        let parks_so = class.may_park() && of_descriptor;
        assert_eq!(class.parks_on_descriptor(), parks_so, "{}", entry.name);
    }
}

#[test]
fn what_waits_for_no_descriptor_is_not_judged_by_one() {
    let class_of = |name: &&str| class(by_name(name).expect("a call").nr);
    let others =
        ["clock_nanosleep", "nanosleep", "wait4", "waitid", "poll", "ppoll", "select", "pselect6"];
    for name in &others {
        assert!(class_of(name).may_park() && !class_of(name).parks_on_descriptor(), "{name}");
    }
    for name in
        &["read", "pread64", "preadv2", "write", "recvmsg", "accept4", "connect", "epoll_wait"]
    {
        assert!(class_of(name).parks_on_descriptor(), "{name}");
    }
}

#[test]
fn of_an_unknown_number_nothing_is_true() {
    let rows: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.nr).collect();
    for nr in (0..2048).filter(|nr| !rows.contains(nr)).chain([0x4000_0000, u32::MAX]) {
        assert_eq!(lookup(nr), None);
        let class = class(nr);
        assert!(!class.known() && !class.movable(), "{nr}");
        assert!(!class.may_wait() && !class.waits_for_disk(), "{nr}");
        assert!(!class.stores_descriptors() && !class.has_relative_timeout(), "{nr}");
        assert!(!class.may_park() && !class.parks_on_descriptor(), "{nr}");
    }
}
