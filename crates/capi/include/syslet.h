/*
 * syslet.h - any Linux system call and any blocking function, asynchronous, at the price of the call
 * itself whenever it does not block.
 *
 * A call runs where the caller stands. If it does not sleep its answer is there at once. If it does, another
 * kernel thread carries the caller on within microseconds, with its stack and its thread-locals, and the
 * answer comes when the call ends. That is so on threads that are attached (syslet_attach); on others,
 * and where attaching is not possible, calls go to a pool of threads, by the same functions.
 *
 * Answers. Functions that return int give a negative error number (-EINVAL ...) if they have failed; what a
 * system call has answered is never mixed with that. Nothing here is told by errno.
 *
 * Pointers. What a function finds wrong with one it answers by -EFAULT (some of the historic ones by EFAULT, or -1 and
 * errno), and nothing was made, taken or written then. NULL, where it may not be, and what no address of a program can
 * be is found everywhere but in what is inline here. Memory that is not mapped, or may not be written to, is found or
 * not, by what finding it costs, a system call for each page; where it is not, the access faults in the library as it
 * would in the program:
 *   each time     options of syslet_attach; stats of syslet_get_stats, syslet_queue_get_stats; probe of
 *                 syslet_get_probe; text of syslet_check_identity (which leaves it out then); queue of
 *                 syslet_queue_new; chain of syslet_chain_new; submissions of acall_submit, and what they point to;
 *                 ids, t, m of acall_comp_pwait; r, t, m of acall_ring_pwait; id of acall_cancel; result, args of
 *                 async_submit; timeout of wait_for_async; msg of sendsys2; requests of asys_submit, and what they
 *                 point to; comp of asys_await_completion; regs, params of indirect; ring of syslet_ring_wait,
 *                 kevent_init; arg of kevent_ctl; events of kevent_hand_on; call of kevent_submit; sevp, timer of
 *                 kevent_timer_create; value of kevent_timer_settime; uptr of umem_add
 *   once          when a thread uses a page for the first time: pending, result of syslet_wait_timeout; completion of
 *                 syslet_queue_pop_slow; args of syslet_chain_push, and words that are named by SYSLET_ARG_AT; result
 *                 of syslet_chain_result; buf of kevent_get_events; atom, head of async_exec, and what they point to;
 *                 head of async_wait, async_thread
 *   never         call, result, pending of syslet_submit, syslet_try_submit; result, pending of syslet_threadlet; call,
 *                 result, id of syslet_queue_submit; result, id of syslet_queue_threadlet; queue, completion of
 *                 syslet_queue_pop (not even NULL)
 *   handles       are what the library has given, and not freed: pending of syslet_wait, syslet_cancel,
 *                 syslet_pending_free; queue of syslet_queue_free, syslet_queue_submit, syslet_queue_threadlet,
 *                 syslet_queue_post, syslet_queue_wait, syslet_queue_cancel, syslet_queue_cancel_all,
 *                 syslet_queue_cancel_fd, syslet_queue_eventfd, syslet_queue_pop_slow, syslet_queue_refill,
 *                 syslet_queue_get_stats; chain of syslet_chain_push, syslet_chain_stop_on, syslet_chain_skip_on,
 *                 syslet_chain_clear, syslet_chain_submit, syslet_chain_wait, syslet_chain_cancel,
 *                 syslet_chain_result, syslet_chain_last, syslet_chain_free
 *   functions     are called: function of syslet_threadlet, syslet_queue_threadlet, kevent_threadlet; fn of
 *                 threadlet_exec
 *   not followed  data of syslet_threadlet, syslet_queue_threadlet, kevent_threadlet; ptr of kevent_submit,
 *                 kevent_threadlet; stack, head of threadlet_exec; event of async_thread; port of sendsys2, waitsys2;
 *                 msg of waitsys2
 * What a call's own arguments point to the kernel finds: the call answers -EFAULT.
 *
 * Memory that a call uses (buffers, paths, structures that its arguments point to) belongs to the call until
 * it has ended: it must stay valid and, where the kernel writes, unused by others. Freeing a handle or a
 * queue does not end its calls. A buffer on the caller's stack is right only if the caller waits.
 *
 * Threads. Every function may be called on any thread, at any time. A handle (struct syslet_pending, struct
 * syslet_chain) is used by one thread at a time; a queue by any number at once. After a handoff the same
 * code runs on another kernel thread: what is about the kernel thread (gettid, its CPU clock) is not to be kept.
 *
 * A program whose main thread has ended by pthread_exit ends, as without the library, with its last thread; and not
 * before functions, calls that have a thread, and writes are over.
 *
 * Functions that are given to the library run on a crew thread's own stack, with its thread-locals, at the
 * same time as their caller if they sleep. They return: they do not leave by longjmp, by an exception or by
 * pthread_exit.
 *
 * Signal handlers may call what is marked "Handlers: yes"; the others allocate, or take locks that the code which was
 * interrupted may hold. (If the library was loaded by dlopen: on threads that have called it before, because a thread's
 * first access to a loaded library's thread-locals allocates.)
 *
 * In a child that was forked, everything starts afresh: handles, chains and queues of the parent are lost there
 * (they can be freed), calls that were away stay with the parent.
 *
 * Licensed under MIT or Apache-2.0.
 */
#ifndef SYSLET_H
#define SYSLET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SYSLET_VERSION_MAJOR 0
#define SYSLET_VERSION_MINOR 1

/* What functions answer that may find their work done or not. */
#define SYSLET_DONE 0    /* over: the answer is here */
#define SYSLET_PENDING 1 /* it waits; the caller has gone on */

/* ---- attaching -------------------------------------------------------------------------------------- */

/* Guest and crew run on one CPU only, `cpu`: for programs with a thread per core. */
#define SYSLET_ATTACH_PINNED 0x1u
/* It is an error (-ENOTSUP) if the thread cannot be attached here, instead of using the pool. */
#define SYSLET_ATTACH_REQUIRE 0x2u

struct syslet_attach_options {
    uint32_t flags;      /* SYSLET_ATTACH_... */
    uint32_t cpu;        /* for SYSLET_ATTACH_PINNED, else 0 */
    uint64_t max_crew;   /* most crew threads of the process, 2 to 4096; 0: the default, 512; the largest holds */
    uint64_t stack_size; /* of each crew thread in bytes, 256 KiB to 1 GiB; 0: the default, 2 MiB */
};

#define SYSLET_ATTACHED 0 /* calls run inline and are handed off if they sleep */
#define SYSLET_POOL 1     /* the mechanism cannot be used here: calls go to a pool; see syslet_probe */

/*
 * Attaches the calling thread until syslet_detach, or its end; nests. `options` may be NULL. Answers
 * SYSLET_ATTACHED or SYSLET_POOL, or:
 *   -EINVAL   a setting is out of range, or another value is in force; unknown flags
 *   -ENOTSUP  SYSLET_ATTACH_REQUIRE, and it cannot be done
 *   -EDEADLK  the code runs in a function on a crew thread, or in a signal handler inside a call
 *   -EPERM    the thread is in another sandbox, or has other ids, than the crew
 *   -EAGAIN   no thread, or no crew thread, can be had
 *   -ESRCH    the thread is ending
 * A program that gives up rights (seccomp, Landlock, namespaces) does so before. Handlers: no.
 */
int syslet_attach(const struct syslet_attach_options *options);

/* Detaches, if called as often as syslet_attach. -EINVAL if the thread is not attached. Handlers: no. */
int syslet_detach(void);

/*
 * Has those who carry this thread from now on take over its signal mask, nice value, policy, timer slack and
 * affinity as they are now. -EINVAL if the thread is not attached. Handlers: no.
 */
int syslet_refresh(void);

/* 1 if the running code is attached and calls run inline, else 0. Handlers: yes. */
int syslet_is_attached(void);

/* ---- calls ------------------------------------------------------------------------------------------ */

/* A system call: its number (SYS_... of <sys/syscall.h>) and six arguments. */
struct syslet_call {
    unsigned long nr;
    unsigned long args[6];
};

/* What is away: a call, or a function. */
struct syslet_pending;

/*
 * Makes a system call. SYSLET_DONE: it is over, *result has its answer (-errno if it has failed).
 * SYSLET_PENDING: it waits; *pending is its handle. Else nothing was run:
 *   -EPERM   the call is about the kernel thread that makes it: syslet_refusal says why
 *   -ENOSYS  there is no such call
 *   -EFAULT  an argument is NULL
 * Handlers: no: a call that goes away allocates.
 */
int syslet_submit(const struct syslet_call *call, long *result, struct syslet_pending **pending);

/* As syslet_submit, but -EBUSY if no crew thread is left and the call would have to wait for one. Handlers: no. */
int syslet_try_submit(const struct syslet_call *call, long *result, struct syslet_pending **pending);

/* Why calls of this number are refused; NULL if they are not, or if it depends on arguments. Handlers: no. */
const char *syslet_refusal(unsigned long nr);

/* Waits for the answer and frees the handle; -EFAULT if that is NULL. Handlers: no. */
long syslet_wait(struct syslet_pending *pending);

/*
 * Waits for the answer for `timeout` nanoseconds at most; below 0: without limit; 0: looks. SYSLET_DONE:
 * *result has the answer, the handle is freed and *pending is NULL. SYSLET_PENDING: not yet. Handlers: no.
 */
int syslet_wait_timeout(struct syslet_pending **pending, long *result, int64_t timeout);

#define SYSLET_CANCEL_TOO_LATE 0 /* it had ended */
#define SYSLET_CANCEL_NOT_BEGUN 1 /* it has not begun, and will not */
#define SYSLET_CANCEL_ASKED 2     /* it was told; its answer says what happened: -ECANCELED or its own */
#define SYSLET_CANCEL_RUNNING 3   /* a function that runs: it is not disturbed */

/* Asks what is away to end; answers SYSLET_CANCEL_.... Wait for the answer afterwards. Handlers: no. */
int syslet_cancel(const struct syslet_pending *pending);

/* Frees the handle; what is away goes on, and its answer is dropped. NULL is nothing. Handlers: no. */
void syslet_pending_free(struct syslet_pending *pending);

/* ---- functions -------------------------------------------------------------------------------------- */

typedef long (*syslet_function)(void *data);

/*
 * Calls `function(data)`. SYSLET_DONE: it has returned *result. SYSLET_PENDING: it sleeps, and goes on beside
 * the caller; *pending is its handle. -EAGAIN if no thread can be made, -EFAULT for NULL. Handlers: no.
 */
int syslet_threadlet(syslet_function function, void *data, long *result,
                     struct syslet_pending **pending);

/* ---- the completion queue --------------------------------------------------------------------------- */

struct syslet_queue_completion {
    uint64_t user_data; /* as the operation was sent */
    int64_t res;        /* the answer; -errno if a call has failed */
};

/* An entry of the ring. `turn` is the low half of a position. */
struct syslet_queue_entry {
    uint32_t turn;
    uint32_t reserved0;
    uint64_t user_data;
    int64_t res;
    uint64_t reserved1;
};

#define SYSLET_RING_MAGIC 0x31716c73u /* "slq1" */

/* The ring that a queue's completions are in: memory that any thread may read without a call. */
struct syslet_queue_ring {
    uint32_t magic;
    uint32_t entry_size;
    uint64_t capacity; /* a power of two */
    struct syslet_queue_entry *entries;
    uint32_t backlog; /* not 0: completions wait for room in the ring */
    uint32_t reserved0[25];
    uint64_t tail; /* the next position to be filled */
    uint64_t reserved1[15];
    uint64_t head; /* the next position to be popped */
    uint64_t reserved2[15];
};

/* A queue. The fields are for the functions below; what comes after them is the library's. */
struct syslet_queue {
    struct syslet_queue_ring *ring;
    const uint32_t *life; /* counts forks */
    uint32_t born;        /* *life when the queue was made: else it is the parent's */
    uint32_t reserved0;
};

/* Queue the answers of what finishes inline too, so that all come in one place. */
#define SYSLET_QUEUE_ALWAYS 0x1u

/*
 * Makes a queue whose ring has room for `capacity` completions, rounded up to a power of two. No completion
 * is lost if the ring is full: it waits for room. -EINVAL: capacity 0 or above 2^22, unknown flags. Handlers: no.
 */
int syslet_queue_new(struct syslet_queue **queue, size_t capacity, unsigned flags);

/*
 * Frees the queue. What is away goes on, its answers are dropped; descriptors that nobody has popped are closed.
 * No other thread may be using the queue. NULL is nothing. Handlers: no.
 */
void syslet_queue_free(struct syslet_queue *queue);

/*
 * As syslet_submit, with the answer in the queue if the call waits. SYSLET_DONE: *result has the answer, nothing
 * will be in the queue. SYSLET_PENDING: it will, or is there; *id, if `id` is not NULL, names the
 * operation for syslet_queue_cancel. -ECHILD: the queue belongs to the parent process. Handlers: no.
 */
int syslet_queue_submit(struct syslet_queue *queue, uint64_t user_data,
                        const struct syslet_call *call, long *result, uint64_t *id);

/* As syslet_threadlet, with what the function returns in the queue if it sleeps. Handlers: no. */
int syslet_queue_threadlet(struct syslet_queue *queue, uint64_t user_data, syslet_function function,
                           void *data, long *result, uint64_t *id);

/* Puts a completion of the program's own in. -ECHILD as above. Handlers: no. */
int syslet_queue_post(struct syslet_queue *queue, uint64_t user_data, int64_t res);

/*
 * Waits until `min` completions can be popped, `timeout` nanoseconds at most (below 0: without limit); says
 * how many can, at least: less than `min` if the time is over. Handlers: no.
 */
long syslet_queue_wait(struct syslet_queue *queue, size_t min, int64_t timeout);

/* Asks operation `id` to end: SYSLET_CANCEL_.... Its completion comes all the same. Handlers: no. */
int syslet_queue_cancel(struct syslet_queue *queue, uint64_t id);

/* Asks all operations with this number to end; says how many were told in time. Handlers: no. */
long syslet_queue_cancel_all(struct syslet_queue *queue, uint64_t user_data);

/* Asks all calls with descriptor `fd` among their arguments to end; says how many were told in time. Handlers:
 * no. */
long syslet_queue_cancel_fd(struct syslet_queue *queue, int fd);

/*
 * Has one added to eventfd(2) `fd` for each completion from now on, for a loop of epoll; -1: none, as at
 * first. The descriptor stays the program's, and open until it is taken off or the queue is freed. -EINVAL
 * if it is not an eventfd. Handlers: no.
 */
int syslet_queue_eventfd(struct syslet_queue *queue, int fd);

/* The part of syslet_queue_pop that is not inline: 1 if there was a completion. Handlers: no. */
int syslet_queue_pop_slow(struct syslet_queue *queue, struct syslet_queue_completion *completion);

/* Lets completions that wait for room into the ring. Handlers: no. */
void syslet_queue_refill(struct syslet_queue *queue);

/*
 * Takes the oldest completion out: 1, or 0 if there is none. No system call, and no call of the library unless
 * completions wait for room. Handlers: no.
 */
static inline int syslet_queue_pop(struct syslet_queue *queue, struct syslet_queue_completion *completion)
{
    struct syslet_queue_ring *ring = queue->ring;
    uint32_t backlog;
    uint64_t at;
    if (__atomic_load_n(queue->life, __ATOMIC_RELAXED) != queue->born)
        return 0;
    /* First: completions move from there to the ring, so that one which is on its way is not missed. */
    backlog = __atomic_load_n(&ring->backlog, __ATOMIC_ACQUIRE);
    at = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
    for (;;) {
        struct syslet_queue_entry *entry = &ring->entries[at & (ring->capacity - 1)];
        int32_t turn = (int32_t)(__atomic_load_n(&entry->turn, __ATOMIC_ACQUIRE) - (uint32_t)(at + 1));
        if (turn < 0)
            return backlog ? syslet_queue_pop_slow(queue, completion) : 0;
        if (turn > 0) { /* another thread was faster */
            at = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
            continue;
        }
        if (!__atomic_compare_exchange_n(&ring->head, &at, at + 1, 0, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED))
            continue;
        completion->user_data = __atomic_load_n(&entry->user_data, __ATOMIC_RELAXED);
        completion->res = __atomic_load_n(&entry->res, __ATOMIC_RELAXED);
        __atomic_store_n(&entry->turn, (uint32_t)(at + ring->capacity), __ATOMIC_RELEASE);
        if (backlog)
            syslet_queue_refill(queue);
        return 1;
    }
}

struct syslet_queue_stats {
    uint64_t pushed;      /* completions that came to the queue so far */
    uint64_t overflowed;  /* of them, those that found the ring full and waited for room */
    uint64_t outstanding; /* operations that are away now */
};

/* Reads the counters; `size` is sizeof *stats. -EINVAL if that is 0. Handlers: no. */
int syslet_queue_get_stats(const struct syslet_queue *queue, struct syslet_queue_stats *stats,
                           size_t size);

/* ---- chains ----------------------------------------------------------------------------------------- */

/* Calls that are made one after the other and feed each other, submitted as one. */
struct syslet_chain;

#define SYSLET_ARG_VALUE 0u  /* `value` itself */
#define SYSLET_ARG_RESULT 1u /* the result of step `value`, an earlier one */
#define SYSLET_ARG_AT 2u     /* the word at address `value`, read when the step begins */

struct syslet_arg {
    uint32_t kind; /* SYSLET_ARG_... */
    uint32_t reserved0;
    unsigned long value;
};

/* Results of a step. */
#define SYSLET_WHEN_NONZERO 0u
#define SYSLET_WHEN_ZERO 1u
#define SYSLET_WHEN_NEGATIVE 2u
#define SYSLET_WHEN_NON_POSITIVE 3u
#define SYSLET_WHEN_ALWAYS 4u

/* Makes an empty chain. Handlers: no. */
int syslet_chain_new(struct syslet_chain **chain);

/*
 * Adds the call of number `nr` with `count` arguments; those that are not given are 0. Answers the number of the
 * step, 0 for the first. -EINVAL: more than six, an unknown kind, the result of a step that does not come
 * before; -EBUSY: the chain is away. A refused call is found by syslet_chain_submit. Handlers: no.
 */
int syslet_chain_push(struct syslet_chain *chain, unsigned long nr, const struct syslet_arg *args,
                      unsigned count);

/* The chain ends after `step` if its result is `when`. -EINVAL: no such step or condition. Handlers: no. */
int syslet_chain_stop_on(struct syslet_chain *chain, int step, unsigned when);

/* The chain goes on with step `to`, a later one, after `step` if its result is `when`. Handlers: no. */
int syslet_chain_skip_on(struct syslet_chain *chain, int step, unsigned when, int to);

/* Removes all steps. -EBUSY: the chain is away. Handlers: no. */
int syslet_chain_clear(struct syslet_chain *chain);

/*
 * Makes the calls. SYSLET_DONE: all are over. SYSLET_PENDING: one waits; wait for the chain. -EPERM, -ENOSYS: a
 * step is refused, nothing was run. -EBUSY: the chain is away. A chain that is over can be submitted again. Handlers:
 * no.
 */
int syslet_chain_submit(struct syslet_chain *chain);

/*
 * Waits for the end for `timeout` nanoseconds (below 0: without limit; 0: looks): SYSLET_DONE or
 * SYSLET_PENDING. -EINVAL: the chain was not submitted. Handlers: no.
 */
int syslet_chain_wait(struct syslet_chain *chain, int64_t timeout);

/* Asks a chain that is away to end: SYSLET_CANCEL_.... No step after the present one is made. Handlers: no. */
int syslet_chain_cancel(const struct syslet_chain *chain);

/* The result of a step of a chain that is over. -ENOENT: it was left out. -EINVAL: not over. Handlers: no. */
int syslet_chain_result(const struct syslet_chain *chain, int step, long *result);

/* The last step that was made. -ENOENT: none. -EINVAL: not over. Handlers: no. */
int syslet_chain_last(const struct syslet_chain *chain);

/* Frees the chain. If it is away it goes on; descriptors that it has made and not closed are closed. NULL is nothing.
 * Handlers: no. */
void syslet_chain_free(struct syslet_chain *chain);

/* ---- the rest --------------------------------------------------------------------------------------- */

struct syslet_stats {
    uint64_t inlined;        /* calls and functions that finished inline, of attached threads */
    uint64_t handed_off;     /* that were left to a crew thread while the caller went on */
    uint64_t in_place;       /* made in place, without protection, because no crew thread was left */
    uint64_t queued;         /* queued, because no crew thread was left at once */
    uint64_t false_handoffs; /* handoffs of what computed, or waited for a CPU */
    uint64_t rescued;        /* handoffs that the watchdog had to start */
    uint64_t attached;       /* threads that are attached now */
    uint64_t crew;           /* crew threads now */
    uint64_t crew_limit;     /* most crew threads */
    uint64_t outstanding;    /* calls and functions that are away or queued now */
    uint64_t parked;         /* calls that wait without a thread now */
    uint64_t spawn_failures; /* crew threads that could not be made */
    uint64_t lost;           /* answers of the historic interfaces whose place was taken away before they came */
};

/* Reads the counters of the process; `size` is sizeof *stats. -EINVAL if that is 0. Handlers: no. */
int syslet_get_stats(struct syslet_stats *stats, size_t size);

struct syslet_probe {
    uint32_t attachable; /* 1 if threads can be attached here, else 0: `why` says why the pool is used */
    uint32_t membarrier; /* 1 if membarrier(2) takes a fence off the inline path */
    uint32_t ring_reads; /* 1 if cold reads go to io_uring */
    uint32_t cpus;       /* CPUs that the calling thread may run on */
    char why[112];       /* text, ended by 0 */
};

/* Finds out what this machine and sandbox allow; errors as of syslet_attach. Handlers: no. */
int syslet_get_probe(struct syslet_probe *probe, size_t size);

/*
 * Has calls that wait without a thread go on when their descriptor is closed, from the time at which syslet_submit(3)
 * is back, in the whole process and in children that it forks (0: no more). Without it they do after 50 ms, and not at
 * all where pidfd_getfd(2) is forbidden, as by Docker's default profile; a call whose descriptor is closed before that
 * answers -EBADF. Not so for accept and messages with control data, what gets a thread when it is ready (terminals,
 * inotify), message queues, and what is beyond RLIMIT_NOFILE. Each call that waits takes up to a tenth of a
 * millisecond more, and syslet_submit waits for a part of it. One thread makes such calls: while it waits for memory
 * that userfaultfd(2) or the server of a mapped file withholds, syslet_submit of another call that waits does too, and
 * so may cancels and times: who serves that memory must wait for none of them. Where pidfd_getfd is forbidden the file
 * is sent, and no other thread may close all descriptors just then. Handlers: yes.
 */
void syslet_hold_files_at_once(int on);

/*
 * Waits until no call and no function has a thread or waits for one, and no write is parked, `timeout`
 * nanoseconds at most (below 0: without limit): for the end of a program, which would lose them. Says how many are
 * left. Other calls that wait without a thread (struct syslet_stats, parked) are not among them. Handlers: no.
 */
long syslet_drain(int64_t timeout);

/*
 * 0 if every thread of the process is to the kernel who the calling thread is; else -EXDEV, with a text that
 * names the one that differs in `text` (of `size` bytes, may be NULL). Handlers: no.
 */
int syslet_check_identity(char *text, size_t size);

/* The library's version, as text. Handlers: yes. */
const char *syslet_version(void);

#ifdef __cplusplus
}
#endif

#endif
