/*
 * syslet/syslets6.h - the syslets of 2007, version 6: as syslet/syslets.h, which has the flags' meaning and says what
 * the functions do, with fields of the same size on every machine.
 */
#ifndef SYSLET_SYSLETS6_H
#define SYSLET_SYSLETS6_H

#ifdef SYSLET_SYSLETS_H
#error "syslet/syslets.h and syslet/syslets6.h are two versions of one interface"
#endif

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SYSLET_ASYNC 0x00000001
#define SYSLET_SYNC 0x00000002
#define SYSLET_NO_COMPLETE 0x00000004
#define SYSLET_STOP_ON_NONZERO 0x00000008
#define SYSLET_STOP_ON_ZERO 0x00000010
#define SYSLET_STOP_ON_NEGATIVE 0x00000020
#define SYSLET_STOP_ON_NON_POSITIVE 0x00000040
#define SYSLET_STOP_MASK 0x00000078
#define SYSLET_SKIP_TO_NEXT_ON_STOP 0x00000080

#define SYSLET_NR_UMEM_ADD 0x73790001u

struct syslet_uatom {
    uint32_t flags;
    uint32_t nr;
    uint64_t ret_ptr;
    uint64_t next;
    uint64_t arg_ptr[6];
#ifdef __cplusplus
    uint64_t private_;
#else
    uint64_t private;
#endif
};

struct async_head_user {
    uint64_t kernel_ring_idx;
    uint64_t user_ring_idx;
    uint64_t completion_ring_ptr;
    uint64_t ring_size_bytes;
    uint64_t head_stack;
    uint64_t head_ip;
    uint64_t new_thread_stack;
    uint64_t new_thread_ip;
};

/* As async_exec(3), for atoms of version 6. Handlers: no. */
struct syslet_uatom *async_exec(struct syslet_uatom *atom, struct async_head_user *head)
    __asm__("async_exec_v6");

long async_wait(unsigned long min_wait_events, unsigned long user_ring_idx,
                struct async_head_user *head);

long async_thread(void *event, struct async_head_user *head);

long umem_add(unsigned long *uptr, unsigned long inc);

#ifdef __cplusplus
}
#endif

#endif
