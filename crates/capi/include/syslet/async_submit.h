/*
 * syslet/async_submit.h - Linus Torvalds' interface of 2007 (LWN 220897): one call, one result word.
 *
 * Attach the thread first (syslet_attach): else every call that may wait goes to a pool. Memory that the
 * call uses, and the result word, belong to the call until the word is 0 or below. Functions answer -errno.
 */
#ifndef SYSLET_ASYNC_SUBMIT_H
#define SYSLET_ASYNC_SUBMIT_H

#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `result` is two words: result[0] as without, result[1] what the call has answered. */
#define ASYNC_SUBMIT_VALUE 0x1ul

/*
 * Makes system call `nr`; `args` has as many words as it takes. While the call is outstanding *result is a
 * positive cookie, which is also the answer here. When it is over, *result is 0 if it has succeeded and
 * -errno if not; read it with acquire (__atomic_load_n). What it has answered beyond that (a count, a
 * descriptor) is in result[1] with ASYNC_SUBMIT_VALUE only: in one word it could not be told from a
 * cookie. 0: the call is over already. Else nothing was run:
 *   -EINVAL  unknown flags, or a result word that is not aligned
 *   -EFAULT  result or args cannot be used
 *   -EPERM   the call is about the thread that makes it
 *   -ENOSYS  there is no such call
 * Handlers: no.
 */
long async_submit(unsigned long flags, long *result, long nr, unsigned long *args);

/*
 * Waits until the call of this cookie is over; 0, also if it was already or there never was one. `timeout`,
 * relative, may be NULL. -ETIMEDOUT, -EINTR if a signal handler has run, -EINVAL for what is no cookie or no
 * time, -EFAULT. Handlers: no.
 */
long wait_for_async(long cookie, const struct timespec *timeout);

/*
 * Asks the call of this cookie to end: 0; *result says what happened, -ECANCELED or its own end. -ENOENT: it is
 * over. Handlers: no.
 */
long cancel_async(long cookie);

#ifdef __cplusplus
}
#endif

#endif
