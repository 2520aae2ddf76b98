/*
 * syslet/indirect.h - syslets, version 7 (2007): one system call each, by indirect().
 *
 * Attach the thread first (syslet_attach): else every call that may wait goes to a pool. The ring, and memory that the
 * call uses, belong to the call until its completion is in the ring. Functions answer -errno.
 */
#ifndef SYSLET_INDIRECT_H
#define SYSLET_INDIRECT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* indirect() answers -ESYSLETPENDING if the call went away. (Today's ERFKILL has the same number.) */
#define ESYSLETPENDING 132

/*
 * Both 0; or a function, void (*)(void *), and what it is called with once the completion is stored, on a crew thread.
 */
struct syslet_frame {
    uint64_t ip;
    uint64_t sp;
};

struct syslet_args {
    uint64_t completion_ring_ptr; /* 0: no syslet, the call is waited for */
    uint64_t caller_data;
    struct syslet_frame frame;
};

struct syslet_completion {
    uint64_t status; /* -errno if the call has failed */
    uint64_t caller_data;
};

/* Completions follow: comp[kernel_head & (elements - 1)] is the next one. */
struct syslet_ring {
    uint32_t kernel_head; /* counts completions; read it with acquire */
    uint32_t user_tail;   /* counts those that the program has read; write it with release */
    uint32_t elements;    /* a power of two */
    uint32_t wait_group;  /* not looked at */
#ifndef __cplusplus
    struct syslet_completion comp[];
#endif
};

union indirect_params {
    struct {
        uint32_t flags; /* O_CLOEXEC */
    } file_flags;
    struct syslet_args syslet;
};

struct indirect_registers {
    uint64_t rax; /* the number */
    uint64_t rdi, rsi, rdx, r10, r8, r9;
};

/*
 * Makes a system call; what it has answered, if it did not sleep. -ESYSLETPENDING: it went away, and its completion
 * will be in the ring. `paramslen` is sizeof(union indirect_params), less (the rest is 0), or that of file_flags:
 * then the descriptor that the call makes is closed on exec. Else nothing was run:
 *   -EINVAL   flags are not 0, paramslen is too large, a call that may not be made indirectly, elements is not a
 *             power of two, the ring is not aligned, half a frame, file_flags for what makes no descriptor
 *   -EFAULT   something cannot be read or written
 *   -ENOBUFS  the ring has no room for one more completion, with those that calls which are away will need
 * Handlers: no.
 */
long indirect(struct indirect_registers *regs, void *params, size_t paramslen, int flags);

/* Waits until kernel_head is not `user_idx`: 0. -EINTR if a signal handler has run, -EFAULT, -EINVAL. Handlers: no. */
long syslet_ring_wait(struct syslet_ring *ring, unsigned long user_idx);

#ifdef __cplusplus
}
#endif

#endif
