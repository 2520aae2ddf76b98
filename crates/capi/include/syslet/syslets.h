/*
 * syslet/syslets.h - the syslets of 2007, versions 3 to 5: lists of system calls ("atoms"). Version 6, with fields
 * of fixed size, is in syslet/syslets6.h; a source file includes one of them.
 *
 * Attach the thread first (syslet_attach): else every list goes to a pool. Atoms, arguments, results, head and ring
 * belong to the list until its last atom is in the ring and async_exec has returned. Functions answer as libc's system
 * calls do: -1, and why in errno. Memory that is not mapped is found when a thread uses its page for the first time:
 * EFAULT.
 *
 * Atoms form loops as they did; a list that never ends keeps its crew thread for ever.
 */
#ifndef SYSLET_SYSLETS_H
#define SYSLET_SYSLETS_H

#ifdef SYSLET_SYSLETS6_H
#error "syslet/syslets.h and syslet/syslets6.h are two versions of one interface"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Queue asynchronously at once, do not even try to run here. */
#define SYSLET_ASYNC 0x00000001
/* This atom never makes the caller leave: if it blocks, so does the caller. */
#define SYSLET_SYNC 0x00000002
/* The list is not put into the completion ring if this is its last atom. */
#define SYSLET_NO_COMPLETE 0x00000004
/* The list ends with this atom if what it has answered is so. */
#define SYSLET_STOP_ON_NONZERO 0x00000008
#define SYSLET_STOP_ON_ZERO 0x00000010
#define SYSLET_STOP_ON_NEGATIVE 0x00000020
#define SYSLET_STOP_ON_NON_POSITIVE 0x00000040
#define SYSLET_STOP_MASK 0x00000078
/* Instead of ending, go on with the atom that follows in memory, sizeof(struct syslet_uatom) on. */
#define SYSLET_SKIP_TO_NEXT_ON_STOP 0x00000080

/* umem_add() as an atom: a number of the library's, because that of 2007 is another call's today. */
#define SYSLET_NR_UMEM_ADD 0x73790001u

struct syslet_uatom {
    unsigned long flags;
    unsigned long nr; /* a system call */
    long *ret_ptr;    /* where its answer goes; may be NULL */
    struct syslet_uatom *next;
    unsigned long *arg_ptr[6]; /* up to the first NULL, after which the atom may end in memory */
#ifdef __cplusplus
    void *private_;
#else
    void *private; /* not looked at */
#endif
};

struct async_head_user {
    unsigned long kernel_ring_idx; /* the library's: where the next completion goes */
    unsigned long user_ring_idx;   /* the program's own */
    struct syslet_uatom **completion_ring;
    unsigned long ring_size_bytes;
    unsigned long head_stack; /* head_...: not looked at */
    unsigned long head_eip;
    unsigned long new_thread_stack; /* set to 0 when a list goes away; the stack is not used */
    unsigned long new_thread_eip;   /* not looked at */
};

/*
 * Runs a list of atoms. The last atom that was made, if none has slept: nothing is in the ring then. NULL if the list
 * went away: its last atom will be in the ring, unless that says SYSLET_NO_COMPLETE. (void *)-1 and errno:
 *   EINVAL  unknown flags, SYSLET_SYNC with SYSLET_ASYNC, an atom, head or ring that is not aligned, a ring
 *           without room or whose size is not that of pointers
 *   EFAULT  something cannot be read or written
 *   EAGAIN  no thread can be made
 * Atoms before the bad one were made. A list that finds a bad atom when it is away ends there, and that atom is in
 * the ring. What a refused or unknown call answers is -EPERM or -ENOSYS, in *ret_ptr. A call of a list that has gone
 * away is made again, with the time that is left, if a handler on its thread breaks it off; before that its answer is
 * -EINTR. Handlers: no.
 */
struct syslet_uatom *async_exec(struct syslet_uatom *atom, struct async_head_user *head);

/*
 * Waits until `min_wait_events` completions are in the ring from index `user_ring_idx` on: 0. EINVAL if there is no
 * room for so many, EINTR if a signal handler has run, EFAULT. What has found the ring full comes into it
 * here, and with every other completion. Handlers: no.
 */
long async_wait(unsigned long min_wait_events, unsigned long user_ring_idx,
                struct async_head_user *head);

/*
 * Puts `event` into the ring of `head`, as the end of a list does: 0. Without both, ENOSYS: the crew has threads enough
 * and takes none from the program. Handlers: no.
 */
long async_thread(void *event, struct async_head_user *head);

/* Adds `inc` to *uptr in one step; answers the new value. EFAULT, EINVAL (not aligned). Handlers: yes. */
long umem_add(unsigned long *uptr, unsigned long inc);

#ifdef __cplusplus
}
#endif

#endif
