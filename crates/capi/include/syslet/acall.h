/*
 * syslet/acall.h - acall, second generation (Zach Brown, 2008).
 *
 * Attach the thread first (syslet_attach): else every call that may wait goes to a pool. Memory that a call uses, its
 * completion and its ring belong to the call until it is over; the submission itself does not after acall_submit.
 * Functions answer -errno.
 */
#ifndef SYSLET_ACALL_H
#define SYSLET_ACALL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/select.h> /* sigset_t, whatever standard is asked for */
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From a pool of threads: here always so. */
#define ACALL_SUBMIT_THREAD_POOL 1

struct acall_submission {
    uint32_t nr;    /* a system call */
    uint32_t flags; /* 0 or ACALL_SUBMIT_THREAD_POOL */
    uint64_t cookie;
    uint64_t completion_ring_pointer; /* struct acall_completion_ring, or 0 */
    uint64_t completion_pointer;      /* struct acall_completion, or 0 */
    uint64_t id_pointer;              /* struct acall_id, or 0 */
    uint64_t args[6];
};

/* Names a call for as long as the process lives: none is used again. */
struct acall_id {
    unsigned char opaque[16];
};

/* Read the cookie with acquire, then the code. */
struct acall_completion {
    uint64_t return_code;
    uint64_t cookie;
};

/* Completions follow: comps[head % nr] is the next one. The program sees to it that there is room. */
struct acall_completion_ring {
    uint32_t head; /* counts completions; read it with acquire */
    uint32_t nr;   /* not 0 */
#ifndef __cplusplus
    struct acall_completion comps[];
#endif
};

/*
 * Submits `nr` calls, one after the other; says how many were accepted: fewer if one is bad. Those that did not sleep
 * are completed already. Below 0, why the first was not:
 *   -EINVAL  unknown flags, a completion or ring that is not aligned
 *   -EFAULT  something cannot be read or written
 *   -EPERM   the call is about the thread that makes it
 *   -ENOSYS  there is no such call
 * Handlers: no.
 */
long acall_submit(struct acall_submission *submissions, unsigned long nr);

/*
 * Waits until one of these calls is over: 1. An id that was never given counts as over. 0: `nr` is 0, or the time `t`
 * (relative; NULL:
 * without limit) is over. With `m`, of `sz` bytes, those signals are blocked meanwhile, and no others. -EINVAL: no id
 * was ever given in this process, or sz is wrong; -EINTR if a signal handler has run; -EFAULT. A signal that only
 * `m` lets through is noticed within a millisecond. Handlers: no.
 */
long acall_comp_pwait(struct acall_id *ids, unsigned long nr, struct timespec *t, const sigset_t *m,
                      size_t sz);

/*
 * Waits until `min` completions came to the ring after the first `tail`: 0. Else as acall_comp_pwait, but -ETIMEDOUT
 * if the time is over. Handlers: no.
 */
long acall_ring_pwait(struct acall_completion_ring *r, uint32_t tail, uint32_t min,
                      struct timespec *t, const sigset_t *m, size_t sz);

/*
 * Asks a call to end: 0; it completes all the same, with -ECANCELED or its own answer. -EAGAIN: it is over. -EFAULT.
 * Handlers: no.
 */
long acall_cancel(struct acall_id *id);

#ifdef __cplusplus
}
#endif

#endif
