/*
 * syslet/threadlets.h - the threadlets of 2007: functions that the caller runs itself unless they sleep.
 *
 * Attach the thread first (syslet_attach): else every function goes to a pool. Of the types of threadlet_exec only the
 * use was published; those here are chosen to fit it.
 */
#ifndef SYSLET_THREADLETS_H
#define SYSLET_THREADLETS_H

#ifdef __cplusplus
extern "C" {
#endif

struct async_head_user;

/*
 * Calls `fn(stack)`. Not 0: it has finished. 0: it has slept, and goes on beside the caller; how it tells its end is
 * its own affair (a futex, a pipe, async_thread). Functions run on the stack of a crew thread, so `stack` is not
 * used as one: it is a pointer for the function. `head` is not looked at. -1 and errno: EFAULT without a
 * function, EAGAIN if no thread can be made. Handlers: no.
 */
long threadlet_exec(long (*fn)(void *), void *stack, struct async_head_user *head);

/* What a threadlet ends with: `return threadlet_complete();`. Handlers: yes. */
long threadlet_complete(void);

#ifdef __cplusplus
}
#endif

#endif
