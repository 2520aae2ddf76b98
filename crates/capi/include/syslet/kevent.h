/*
 * syslet/kevent.h - kevent, take 30 (Evgeniy Polyakov, 2006-2007).
 *
 * One event queue in memory for sockets, pipes, timers, signals, directories, children, calls and whatever the
 * program says. No descriptor is kept for it: a queue is known by a handle, which is no descriptor, above all of
 * them. Functions answer -errno; -EBADF is the answer for a handle that is none, that was closed, or is of the
 * parent process. None of them is a cancellation point of pthread_cancel(3), also while it waits.
 */
#ifndef SYSLET_KEVENT_H
#define SYSLET_KEVENT_H

#include <signal.h>
#include <stdint.h>
#include <syslet.h>
#include <time.h>

/* In strict C the system's headers do not show them. */
struct itimerspec;
struct sigevent;

#ifdef __cplusplus
extern "C" {
#endif

/* Commands of kevent_ctl. */
#define KEVENT_CTL_ADD 0
#define KEVENT_CTL_REMOVE 1
#define KEVENT_CTL_MODIFY 2
#define KEVENT_CTL_READY 3

/* req_flags: removed when it is handed out; of several on one socket all are told; an event is a change (without it:
 * for as long as it lasts); looked at again when it is handed out (-EBADF if the descriptor was closed, or is another
 * file's); queued also if ready at once; ready when it is added. */
#define KEVENT_REQ_ONESHOT 0x1
#define KEVENT_REQ_WAKEUP_ALL 0x2
#define KEVENT_REQ_ET 0x4
#define KEVENT_REQ_LAST_CHECK 0x8
#define KEVENT_REQ_ALWAYS_QUEUE 0x10
#define KEVENT_REQ_READY 0x20

/* ret_flags: it is none (any more), and -errno is in ret_data[1]; it is over or ready. The third was for a ring that
 * was full, and is never set: nothing is lost then. */
#define KEVENT_RET_BROKEN 0x1
#define KEVENT_RET_DONE 0x2
#define KEVENT_RET_COPY_FAILED 0x4

/* Flags of waiting: the time is a point on CLOCK_REALTIME. */
#define KEVENT_FLAGS_ABSTIME 1

/* Types. Network and other AIO and POSIX timers cannot be added: see kevent_submit and kevent_timer_create.
 * KEVENT_USER and KEVENT_CHILD are not of 2006. */
#define KEVENT_SOCKET 0
#define KEVENT_INODE 1
#define KEVENT_TIMER 2
#define KEVENT_POLL 3
#define KEVENT_NAIO 4
#define KEVENT_AIO 5
#define KEVENT_PIPE 6
#define KEVENT_SIGNAL 7
#define KEVENT_POSIX_TIMER 8
#define KEVENT_USER 9
#define KEVENT_CHILD 10
#define KEVENT_MAX 11

/* event, of timers: id.raw[0] seconds and raw[1] nanoseconds from kevent_ctl, and again each time that these have
 * passed, unless KEVENT_REQ_ONESHOT is set; with KEVENT_TIMER_ABSTIME a point in time, once, of CLOCK_MONOTONIC, or
 * with KEVENT_TIMER_REALTIME of CLOCK_REALTIME (these two are not of 2006). ret_data: milliseconds of CLOCK_MONOTONIC
 * when it fired; how often it has, 2^32 - 1 at most. */
#define KEVENT_TIMER_FIRED 0x1
#define KEVENT_TIMER_ABSTIME 0x2
#define KEVENT_TIMER_REALTIME 0x4

/* event, of sockets and pipes: id.raw[0] is the descriptor. ret_data[0]: what of it has happened. */
#define KEVENT_SOCKET_RECV 0x1
#define KEVENT_SOCKET_ACCEPT 0x2
#define KEVENT_SOCKET_SEND 0x4

/* event, of inodes: id.raw[0] is a descriptor of the directory. ret_data[0]: what of it has happened; ret_data[1]: how
 * often. If more comes than the kernel keeps (/proc/sys/fs/inotify/max_queued_events) all that is asked for is told,
 * and how often is wrong. It goes on when the descriptor is closed, until its number is added as another directory's.
 */
#define KEVENT_INODE_CREATE 0x1
#define KEVENT_INODE_REMOVE 0x2

/* event, of readiness: as poll(2) has it. id.raw[0] is the descriptor. ret_data[0]: what has happened.
 *
 * A descriptor that is closed ends its entry: BROKEN, -EBADF, within a tenth of a second per 64 entries (a second if
 * the queue is not used). Until then an event that had come before may still be told under its number, and so may what
 * happens to the file, if that is open elsewhere too (dup, fork). What happens to another file that gets the number is
 * not, with two exceptions. Of files that share an inode (eventfds, timerfds, signalfds and epolls; masters of
 * terminals; a FIFO that was opened more than once), if more are watched than 4,096, or than a quarter of RLIMIT_NOFILE
 * if that is less, one that was copied there by dup2 may be, or not be watched any more when the closed one is removed.
 * And the same message queue, device (but terminals and TUN) or file of /proc or /sys, opened again, is taken for
 * the one before, as is an end of a pipe that is opened again through /proc/self/fd. KEVENT_REQ_LAST_CHECK excludes
 * what had come before and what happens to the old file. A signalfd tells of signals that are sent to the process, not
 * of those that are sent to one thread. A file of FUSE is refused: -EPERM. */
#define KEVENT_POLL_POLLIN 0x0001
#define KEVENT_POLL_POLLPRI 0x0002
#define KEVENT_POLL_POLLOUT 0x0004
#define KEVENT_POLL_POLLERR 0x0008
#define KEVENT_POLL_POLLHUP 0x0010
#define KEVENT_POLL_POLLNVAL 0x0020
#define KEVENT_POLL_POLLRDNORM 0x0040
#define KEVENT_POLL_POLLRDBAND 0x0080
#define KEVENT_POLL_POLLWRNORM 0x0100
#define KEVENT_POLL_POLLWRBAND 0x0200
#define KEVENT_POLL_POLLMSG 0x0400
#define KEVENT_POLL_POLLREMOVE 0x1000
#define KEVENT_POLL_POLLRDHUP 0x2000

/* event, of calls and functions: see kevent_submit and kevent_threadlet. */
#define KEVENT_AIO_BIO 0x1

/* event, of signals: id.raw_u64 is the number, with KEVENT_SIGNAL_NOMASK if it is to be delivered only through the
 * queue. ret_data[0]: how often. */
#define KEVENT_SIGNAL_DELIVERY 0x1
#define KEVENT_SIGNAL_NOMASK 0x8000000000000000ULL

/* event, of children: id.raw[0] is the process. ret_data: si_status and si_code of waitid(2). */
#define KEVENT_CHILD_EXITED 0x1

#define KEVENT_MASK_ALL 0xffffffff
#define KEVENT_MASK_EMPTY 0x0

/* sigev_notify of kevent_timer_create, and where sigevent has the handle. */
#define SIGEV_KEVENT 8
#define sigev_kevent_fd _sigev_un._tid

struct kevent_id {
    union {
        uint32_t raw[2];
        uint64_t raw_u64 __attribute__((aligned(8)));
    };
};

struct ukevent {
    struct kevent_id id; /* with the type: names the event in its queue */
    uint32_t type;
    uint32_t event;
    uint32_t req_flags;
    uint32_t ret_flags;
    uint32_t ret_data[2];
    union {
        uint32_t user[2];
        void *ptr;
    };
};

/* Events follow. The library fills up to ring_kidx (read it with acquire), and counts in ring_over how often the
 * program's index, the next event that was not committed, has come round. */
struct kevent_ring {
    unsigned int ring_kidx, ring_over;
#ifndef __cplusplus
    struct ukevent event[];
#endif
};

/*
 * Makes a queue, and answers its handle. With a ring of `ring_size` places, of which one stays free, events land
 * there, and what finds no room waits; it is the library's until kevent_close. `flags` is 0. -EINVAL: a ring without
 * a size or a size without a ring, a size of 1 or above 2^24, flags; -EFAULT: the ring cannot be written to; -EMFILE:
 * there are 65,536; -EAGAIN: there can be no threads. Handlers: no.
 */
int kevent_init(struct kevent_ring *ring, unsigned int ring_size, unsigned int flags);

/*
 * Ends a queue, its sources, and the waits of others for it, which answer -EBADF: 0. Descriptors that calls of
 * kevent_submit have made, and whose answers were neither fetched nor are in the ring, are closed. Handlers: no.
 */
int kevent_close(int ctl_fd);

/*
 * Changes a queue by the `num` entries at `arg`, each answered in place, whatever becomes of the others:
 *   KEVENT_CTL_ADD     adds them. Those that are ready at once (and are not queued then, unless
 *                      KEVENT_REQ_ALWAYS_QUEUE asks for it) or cannot be added stand at the front of `arg`
 *                      afterwards; the answer is how many. DONE: ready, and with KEVENT_REQ_ONESHOT gone again.
 *                      BROKEN and DONE, -errno in ret_data[1]: -EEXIST (type and id are in the queue), -ENOSYS (a
 *                      type that cannot be added), -EBADF, -EPERM (it has no readiness), -EINVAL, -ECHILD,
 *                      -EBUSY (a signal over whose handler eight others stand), -EAGAIN (there can be no thread),
 *                      what inotify_add_watch(2) says.
 *   KEVENT_CTL_MODIFY  sets event, flags and user data anew, of the entry of this type and id: DONE, with BROKEN if
 *                      there is none. 0. What had come of a signal, to a directory or by KEVENT_CTL_READY comes with
 *                      the new user data; the rest is found anew, and a timer that is set anew has not fired.
 *   KEVENT_CTL_REMOVE  takes them out, as above; nothing is told of them afterwards but what is in the ring. 0.
 *   KEVENT_CTL_READY   has them be ready, as if all that `event` asks for had happened; answers how many were found,
 *                      the others stand at the front. With `num` 0 it wakes one thread that waits. (To hand on an
 *                      event that was fetched: kevent_hand_on.)
 * -EINVAL: another command, or more entries are to be changed or taken out than there are; -EFAULT: nothing was
 * changed. Of descriptors, and of signals with KEVENT_SIGNAL_NOMASK, it waits until another thread has heard of
 * them, some microseconds. Handlers: no.
 */
int kevent_ctl(int ctl_fd, unsigned int cmd, unsigned int num, struct ukevent *arg);

/*
 * Waits until `min_nr` events are there, or for `timeout`, and hands out what is there, at most `max_nr`, to `buf`;
 * answers how many. Each event is handed to one caller; a thread that cannot work on it hands it on by
 * kevent_hand_on. {0, 0} does not wait. -EINTR: a handler has run before min_nr events were there, and none was
 * taken; -EINVAL: min_nr > max_nr, max_nr is 0, the time or the flags; -EFAULT: nothing was taken. What is there is
 * handed out without a system call, unless there are level-triggered entries or KEVENT_REQ_LAST_CHECK: these are
 * looked at, and if they share an inode with others (eventfds and their kin, terminals, FIFOs: see kevent_ctl) another
 * thread is asked, and waited for some microseconds, also by {0, 0}. Handlers: no.
 */
int kevent_get_events(int ctl_fd, unsigned int min_nr, unsigned int max_nr, struct timespec timeout,
                      struct ukevent *buf, unsigned int flags);

/*
 * Puts the `num` events at `events` back, as they were fetched, before all that are not in the ring yet, and has
 * another thread that waits fetch them: for a thread that cannot work on them, because it ends (in what
 * pthread_cleanup_push runs, for one). It does not matter whether their sources are still there: events of
 * KEVENT_REQ_ONESHOT, of children and calls, and broken ones have none left. (KEVENT_CTL_READY, made for this in
 * 2006, says of a source that is there that all it asks for has happened.) 0; -EINVAL: too many; -EFAULT: nothing was
 * put back. Handlers: no.
 */
int kevent_hand_on(int ctl_fd, unsigned int num, const struct ukevent *events);

/*
 * Waits until the ring has events that are not committed, or the index of the first of these is not `old_uidx`, or
 * for `timeout`; answers how many events there are, at most `num`. Look at ring_kidx first: this is for when there
 * is nothing. -EINVAL: there is no ring, or it is smaller than `num`, the time or the flags; -EINTR. Handlers: no.
 */
int kevent_wait(int ctl_fd, unsigned int num, unsigned int old_uidx, struct timespec timeout, unsigned int flags);

/*
 * Says that the ring was read up to index `new_uidx`, and that ring_over was `over` when it was looked at; answers
 * how many places are free by that: fewer if others were faster, and of the events that the caller has read the last
 * so many are its own then, the others were theirs. An index does not say of which round it is: who is so late that
 * the ring was filled once more since it looked frees what it has not read. Threads that cannot rule that out hold a
 * lock from the look at ring_over and ring_kidx to the commit, or fetch by kevent_get_events, all of them the one or
 * the other. -EINVAL: there is no ring, or nothing up to there; -EOVERFLOW: the index has come round more than once
 * since. What moves up is looked at as by kevent_get_events. Handlers: no.
 */
int kevent_commit(int ctl_fd, unsigned int new_uidx, unsigned int over);

/*
 * Has 1 added to `eventfd` when something comes to the queue, so that an epoll loop can watch it: 0. It stays the
 * program's, and must be open until -1 ends that, or the queue is closed. -EBADF: also if it is no descriptor; -EINVAL:
 * it is no eventfd. Handlers: no.
 */
int kevent_eventfd(int ctl_fd, int eventfd);

/*
 * Submits a call (see syslet_submit), whose answer comes to the queue: type KEVENT_AIO, this id and `ptr`, the
 * answer in ret_data, low half first. 0; -EPERM or what syslet_submit says: it was not made. Handlers: no.
 */
int kevent_submit(int ctl_fd, const struct syslet_call *call, uint64_t id, void *ptr);

/*
 * Runs function(data) as a threadlet (see syslet_threadlet), and what it returns comes to the queue as the answer of
 * kevent_submit does. A chain comes to it so: a function that submits the chain and waits for it. 0; -EFAULT: no
 * function; -EAGAIN: there can be no threads. Handlers: no.
 */
int kevent_threadlet(int ctl_fd, syslet_function function, void *data, uint64_t id, void *ptr);

/*
 * timer_create(2) for a queue: `sevp` has sigev_notify SIGEV_KEVENT, the handle in sigev_kevent_fd, and in
 * sigev_value what its events carry in `ptr`; they have type KEVENT_POSIX_TIMER, id `*timer`, and how often it has
 * fired in ret_data[1]. CLOCK_MONOTONIC and CLOCK_REALTIME. 0; -EINVAL; -EFAULT. Handlers: no.
 */
int kevent_timer_create(int clock, const struct sigevent *sevp, uint64_t *timer);

/*
 * timer_settime(2) for such a timer. 0; -EINVAL: there is none, the times, the flags; -EFAULT. Handlers: no.
 */
int kevent_timer_settime(int ctl_fd, uint64_t timer, int flags, const struct itimerspec *value);

/*
 * timer_delete(2) for such a timer. 0; -EINVAL. Handlers: no.
 */
int kevent_timer_delete(int ctl_fd, uint64_t timer);

#ifdef __cplusplus
}
#endif

#endif
