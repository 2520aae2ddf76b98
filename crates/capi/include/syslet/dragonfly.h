/*
 * syslet/dragonfly.h - system calls as messages: sendsys2 and waitsys2 of DragonFly BSD (2003 to 2006).
 *
 * A message is a struct lwkt_msg and after it the call's arguments, each a long. Numbers of calls and errors are those
 * of this system. Attach the thread first (syslet_attach): else every call that may wait goes to a pool. A message, and
 * memory that its call uses, belong to the call until its cookie was fetched.
 */
#ifndef SYSLET_DRAGONFLY_H
#define SYSLET_DRAGONFLY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EASYNC 99

#define MSGF_DONE 0x0001
#define MSGF_REPLY1 0x0002
#define MSGF_QUEUED 0x0004
#define MSGF_ASYNC 0x0008
#define MSGF_ABORTED 0x0010
#define MSGF_PCATCH 0x0020
#define MSGF_REPLY2 0x0040
#define MSGF_ABORTABLE 0x0080
#define MSGF_RETRIEVED 0x0100

struct lwkt_msg {
    struct {
        struct lwkt_msg *tqe_next;
        struct lwkt_msg **tqe_prev;
    } ms_node;
    union {
        struct lwkt_msg *ms_next;
        void *ms_umsg;
    } opaque;
    void *ms_target_port;
    void *ms_reply_port;
    void *ms_abort_port;
    union {
        int cm_op; /* SYS_... */
        void *cm_func;
    } ms_cmd;
    union {
        int cm_op;
        void *cm_func;
    } ms_abort;
    int ms_flags; /* 0 or MSGF_ASYNC; MSGF_DONE and MSGF_REPLY1 do no harm */
    int ms_msgsize;
    int ms_error; /* written */
    union {       /* written */
        void *ms_resultp;
        int ms_result;
        long ms_lresult;
        int ms_fds[2];
        int32_t ms_result32;
        int64_t ms_result64;
        int64_t ms_offset;
    } u;
    int ms_pad[2];
};

union usrmsg {
    struct lwkt_msg umsg;
};

/*
 * Makes the call of message `msg` of `msgsize` bytes; `port` is NULL. 0: it is over, ms_error is 0 and u has its
 * result. An error number: it has failed with that, ms_error has it and u is -1. With MSGF_ASYNC, if it sleeps:
 * ms_error is EASYNC, and the answer a cookie, 4096 or more, for waitsys2. Without, the caller waits. Or nothing was
 * run:
 *   ENOSYS   msgsize is too small or too large, or there is no such call
 *   ENOTSUP  port is not NULL; call 0 without arguments
 *   EPERM    the call is about the thread that makes it
 *   E2BIG    as many cookies are out as sysmsg_limit allows
 *   EFAULT   the message cannot be read and written
 *   EINVAL   unknown flags; the message is not aligned
 * Handlers: no.
 */
int sendsys2(void *port, void *msg, int msgsize);

/*
 * With a cookie as `msg`: that cookie if its call is over, 0 if it is not (it does not wait); ENOENT if there is none
 * such. With
 * NULL: the cookie of a call that is over; `how` is 0 to wait for one, -1 to look; 0 if there is none, ENOSYS for
 * another `how`. Ends of calls are fetched so, once each: only then the message has its result. EINTR if
 * a signal handler has run, ENOTSUP if port is not NULL. Handlers: no.
 */
int waitsys2(void *port, void *msg, int how);

/* Asks the call of a cookie to end: 0; its end is fetched all the same, ECANCELED or its own. ENOENT. Handlers: no. */
int abortsys2(int cookie);

/*
 * kern.max_sysmsg: most cookies that may be out; 0: any number. Answers what it was; below 0 asks only. Handlers: yes.
 */
int sysmsg_limit(int most);

#ifdef __cplusplus
}
#endif

#endif
