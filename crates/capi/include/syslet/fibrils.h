/*
 * syslet/fibrils.h - the calls of Zach Brown's fibrils (2007).
 *
 * The names and types are recalled from the patch and could not be confirmed; what was not said is chosen here. Attach
 * the thread first (syslet_attach): else every call that may wait goes to a pool. Memory that a call uses belongs to it
 * until it was awaited. Calls belong to the thread that submits them: it alone awaits them. Functions answer -errno.
 */
#ifndef SYSLET_FIBRILS_H
#define SYSLET_FIBRILS_H

#ifdef __cplusplus
extern "C" {
#endif

struct asys_input {
    int syscall_nr;
    unsigned long cookie;
    unsigned long nr_args; /* 6 at most */
    unsigned long *args;
};

struct asys_completion {
    long return_code; /* -errno if the call has failed */
    unsigned long cookie;
};

/*
 * Submits calls, one after the other, each beginning at once; says how many were accepted: fewer if one is bad. Below
 * 0, why the first was not: -EINVAL for too many arguments, -EFAULT, -EPERM, -ENOSYS; -EDEADLK in a signal handler
 * that has interrupted one of these functions; -ESRCH at the end of the thread, when its own variables are gone;
 * -ENOMEM, of a thread's first: there is no memory for its calls. Each that was accepted completes once. Handlers: no.
 */
int asys_submit(struct asys_input *requests, unsigned long nr_requests);

/*
 * Waits for the next of this thread's calls to be over, in the order in which they are: 0, and *comp has it. -ENOENT:
 * none is outstanding. -EFAULT; -EDEADLK, -ESRCH, -ENOMEM as above. Handlers: no.
 */
int asys_await_completion(struct asys_completion *comp);

#ifdef __cplusplus
}
#endif

#endif
