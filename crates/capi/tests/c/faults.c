/* Bad pointers: every function with every kind of them, and calls whose memory the library looks at itself. What is
 * found is answered, nothing is run, errno stays as it was. */
#define _GNU_SOURCE
#include "check.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <syslet/acall.h>
#include <syslet/async_submit.h>
#include <syslet/dragonfly.h>
#include <syslet/fibrils.h>
#include <syslet/indirect.h>
#include <syslet/nonseqfd.h>

enum { KEPT = 4711 };

/* The call answers `value`, and leaves errno. */
#define ANSWERS(call, value)                                                                     \
    do {                                                                                         \
        errno = KEPT;                                                                            \
        EQUAL(call, value);                                                                      \
        EQUAL(errno, KEPT);                                                                      \
    } while (0)
#define FAULTS(call) ANSWERS(call, -EFAULT)

static long function(void *data)
{
    return (long)data;
}

/* syslet.h finds what no address can be: `bad` is that. */
static void of_syslet_h(void *bad)
{
    struct syslet_call call = call3(SYS_getpid, 0, 0, 0);
    struct syslet_queue_completion completion;
    struct syslet_queue_stats queue_stats;
    struct syslet_pending *pending = bad;
    struct syslet_queue *queue;
    struct syslet_chain *chain;
    struct syslet_arg arg = {SYSLET_ARG_AT, 0, (unsigned long)bad};
    long result = 5;
    if (bad)
        FAULTS(syslet_attach(bad));
    FAULTS(syslet_submit(bad, &result, &pending));
    FAULTS(syslet_submit(&call, bad, &pending));
    FAULTS(syslet_submit(&call, &result, bad));
    FAULTS(syslet_try_submit(bad, &result, &pending));
    FAULTS(syslet_try_submit(&call, bad, &pending));
    FAULTS(syslet_try_submit(&call, &result, bad));
    FAULTS(syslet_wait(bad));
    FAULTS(syslet_wait_timeout(bad, &result, 0));
    FAULTS(syslet_wait_timeout(&pending, &result, 0));
    FAULTS(syslet_cancel(bad));
    syslet_pending_free(bad);
    FAULTS(syslet_threadlet(function, NULL, bad, &pending));
    FAULTS(syslet_threadlet(function, NULL, &result, bad));
    FAULTS(syslet_threadlet(NULL, NULL, &result, &pending));

    EQUAL(syslet_queue_new(&queue, 8, 0), 0);
    FAULTS(syslet_queue_new(bad, 8, 0));
    FAULTS(syslet_queue_submit(bad, 0, &call, &result, NULL));
    FAULTS(syslet_queue_submit(queue, 0, bad, &result, NULL));
    FAULTS(syslet_queue_submit(queue, 0, &call, bad, NULL));
    FAULTS(syslet_queue_threadlet(bad, 0, function, NULL, &result, NULL));
    FAULTS(syslet_queue_threadlet(queue, 0, function, NULL, bad, NULL));
    FAULTS(syslet_queue_threadlet(queue, 0, NULL, NULL, &result, NULL));
    if (bad) {
        FAULTS(syslet_queue_submit(queue, 0, &call, &result, bad));
        FAULTS(syslet_queue_threadlet(queue, 0, function, NULL, &result, bad));
    }
    FAULTS(syslet_queue_post(bad, 0, 0));
    FAULTS(syslet_queue_wait(bad, 1, 0));
    FAULTS(syslet_queue_cancel(bad, 1));
    FAULTS(syslet_queue_cancel_all(bad, 0));
    FAULTS(syslet_queue_cancel_fd(bad, 0));
    FAULTS(syslet_queue_eventfd(bad, -1));
    FAULTS(syslet_queue_pop_slow(bad, &completion));
    FAULTS(syslet_queue_pop_slow(queue, bad));
    FAULTS(syslet_queue_get_stats(bad, &queue_stats, sizeof queue_stats));
    FAULTS(syslet_queue_get_stats(queue, bad, sizeof queue_stats));
    syslet_queue_refill(bad);
    syslet_queue_free(bad);
    syslet_queue_free(queue);

    EQUAL(syslet_chain_new(&chain), 0);
    FAULTS(syslet_chain_new(bad));
    FAULTS(syslet_chain_push(bad, SYS_getpid, NULL, 0));
    FAULTS(syslet_chain_push(chain, SYS_read, bad, 1));
    FAULTS(syslet_chain_push(chain, SYS_read, &arg, 1));
    FAULTS(syslet_chain_stop_on(bad, 0, 0));
    FAULTS(syslet_chain_skip_on(bad, 0, 0, 0));
    FAULTS(syslet_chain_clear(bad));
    FAULTS(syslet_chain_submit(bad));
    FAULTS(syslet_chain_wait(bad, 0));
    FAULTS(syslet_chain_cancel(bad));
    FAULTS(syslet_chain_result(bad, 0, &result));
    FAULTS(syslet_chain_result(chain, 0, bad));
    FAULTS(syslet_chain_last(bad));
    syslet_chain_free(bad);
    syslet_chain_free(chain);

    FAULTS(syslet_get_stats(bad, 8));
    FAULTS(syslet_get_probe(bad, 8));
    ANSWERS(syslet_check_identity(bad, 8), 0); /* written to only if threads differ */
    EQUAL(result, 5);
}

/* What is called when a thread has waited anyway finds it too: the handle and the completion are there afterwards. */
static void of_what_has_waited(void *bad)
{
    static char byte;
    struct syslet_queue_completion completion;
    struct syslet_pending *pending;
    struct syslet_queue *queue;
    int ends[2];
    long result = 5;
    CHECK(pipe(ends) == 0);
    struct syslet_call call = call3(SYS_read, (unsigned long)ends[0], (unsigned long)&byte, 1);
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    CHECK(write(ends[1], "", 1) == 1);
    FAULTS(syslet_wait_timeout(&pending, bad, -1));
    FAULTS(syslet_wait_timeout(bad, &result, -1));
    EQUAL(result, 5);
    EQUAL(syslet_wait_timeout(&pending, &result, -1), SYSLET_DONE);
    EQUAL(result, 1);
    EQUAL(syslet_queue_new(&queue, 8, 0), 0);
    EQUAL(syslet_queue_post(queue, 7, 0), 0);
    FAULTS(syslet_queue_pop_slow(queue, bad));
    EQUAL(syslet_queue_pop_slow(queue, &completion), 1);
    EQUAL(completion.user_data, 7);
    syslet_queue_free(queue);
    close(ends[0]);
    close(ends[1]);
}

/* What is not called with each operation finds what is not mapped: `gone` is not, and its end is not. */
static void of_what_has_time(char *gone)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *edge = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(edge != MAP_FAILED && mprotect(edge + page, page, PROT_NONE) == 0);
    void *const bad[] = {gone, gone + 4, edge + page - 4}; /* the last begins where something is */
    struct syslet_queue *queue;
    struct syslet_chain *chain;
    EQUAL(syslet_queue_new(&queue, 8, 0), 0);
    EQUAL(syslet_chain_new(&chain), 0);
    EQUAL(syslet_chain_push(chain, SYS_getpid, NULL, 0), 0);
    if (syslet_chain_submit(chain) == SYSLET_PENDING)
        EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        FAULTS(syslet_attach(bad[n]));
        FAULTS(syslet_queue_new(bad[n], 8, 0));
        FAULTS(syslet_queue_get_stats(queue, bad[n], sizeof(struct syslet_queue_stats)));
        FAULTS(syslet_get_stats(bad[n], sizeof(struct syslet_stats)));
        FAULTS(syslet_get_probe(bad[n], sizeof(struct syslet_probe)));
        FAULTS(syslet_chain_new(bad[n]));
        FAULTS(syslet_chain_result(chain, 0, bad[n]));
        FAULTS(syslet_chain_push(chain, SYS_read, bad[n], 1));
        struct syslet_arg arg = {SYSLET_ARG_AT, 0, (unsigned long)bad[n]};
        FAULTS(syslet_chain_push(chain, SYS_read, &arg, 1));
        of_what_has_waited(bad[n]);
    }
    syslet_chain_free(chain);
    syslet_queue_free(queue);
    CHECK(munmap(edge, 2 * page) == 0);
}

/* The historic interfaces find what is not mapped too: `bad` is not. (Atoms are in atoms.h.) */
static void of_historic_interfaces(void *bad)
{
    struct asys_input input = {SYS_read, 1, 3, bad};
    struct timespec none = {0, 0};
    long result = 5;
    unsigned long args[6] = {0};
    FAULTS(async_submit(0, bad, SYS_getpid, args));
    FAULTS(async_submit(0, &result, SYS_read, bad));
    FAULTS(asys_submit(bad, 1));
    FAULTS(asys_submit(&input, 1));
    FAULTS(asys_await_completion(bad));
    FAULTS(acall_submit(bad, 1));
    FAULTS(acall_ring_pwait(bad, 0, 1, &none, NULL, 0));
    FAULTS(acall_cancel(bad));
    FAULTS(indirect(bad, NULL, 0, 0));
    FAULTS(syslet_ring_wait(bad, 0));
    ANSWERS(sendsys2(NULL, bad, (int)sizeof(union usrmsg)), EFAULT);
    if (bad)
        FAULTS(wait_for_async(1, bad));
    EQUAL(result, 5);
}

/* Of memory that goes with a ring the library looks at the ends first, and at each place when it is used. */
static void rings_with_holes(void)
{
    enum { PAGES = 4 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct syslet_ring *ring = (void *)memory;
    struct acall_completion_ring *other = (void *)memory;
    struct syslet_stats before, after;
    char byte;
    int ends[2];
    CHECK(pipe(ends) == 0);
    struct indirect_registers regs = {SYS_read, (uint64_t)ends[0], (uint64_t)(uintptr_t)&byte, 1, 0, 0, 0};
    union indirect_params params;
    struct acall_submission submission;
    struct acall_id id;
    memset(&params, 0, sizeof params);
    memset(&submission, 0, sizeof submission);
    params.syslet.completion_ring_ptr = (uint64_t)(uintptr_t)ring;
    ring->elements = 512;
    ring->kernel_head = ring->user_tail = 300; /* in the second page */
    EQUAL(syslet_get_stats(&before, sizeof before), 0);
    EQUAL(indirect(&regs, &params, sizeof params, 0), -ESYSLETPENDING);
    CHECK(mprotect(memory + page, page, PROT_NONE) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    do
        EQUAL(syslet_get_stats(&after, sizeof after), 0);
    while (after.lost == before.lost);
    EQUAL(after.lost, before.lost + 1);
    EQUAL(ring->kernel_head, 300);

    other->nr = 512;
    other->head = 300;
    submission.nr = SYS_getpid;
    submission.completion_ring_pointer = (uint64_t)(uintptr_t)other;
    submission.id_pointer = (uint64_t)(uintptr_t)&id;
    EQUAL(acall_submit(&submission, 1), 1);
    EQUAL(syslet_get_stats(&before, sizeof before), 0);
    EQUAL(before.lost, after.lost + 1);
    EQUAL(other->head, 300);
    CHECK(munmap(memory, PAGES * page) == 0);
    close(ends[0]);
    close(ends[1]);
}

enum { EMPTY = 1000, FULL, SOCKET, LISTENING, POLLED, FILE_THERE };

/* Calls of which the library reads something before the kernel does, or may: the answer is the kernel's. */
static const struct {
    const char *name;
    long nr;
    int pointers[6]; /* which arguments are pointers */
    long args[6];
} calls[] = {
    {"nanosleep", SYS_nanosleep, {1}, {0}},
    {"clock_nanosleep", SYS_clock_nanosleep, {0, 0, 1}, {1, 0, 0}},
    {"clock_nanosleep until", SYS_clock_nanosleep, {0, 0, 1}, {1, 1, 0}},
    {"poll", SYS_poll, {1}, {0, 1, 100}},
    {"poll of two", SYS_poll, {1}, {0, 2, 100}},
    {"ppoll", SYS_ppoll, {1}, {0, 1}},
    {"ppoll's time", SYS_ppoll, {0, 0, 1}, {0}},
    {"select", SYS_select, {0, 1}, {5}},
    {"select of many", SYS_select, {0, 1, 1, 1}, {1024}},
    {"select's time", SYS_select, {0, 0, 0, 0, 1}, {0}},
    {"pselect6", SYS_pselect6, {0, 1}, {5}},
    {"pselect6's time", SYS_pselect6, {0, 0, 0, 0, 1}, {0}},
    {"pselect6's mask", SYS_pselect6, {0, 0, 0, 0, 0, 1}, {0}},
    {"futex", SYS_futex, {1}, {0}},
    {"futex's time", SYS_futex, {1, 0, 0, 1}, {0}},
    {"readv of a pipe", SYS_readv, {0, 1}, {EMPTY, 0, 1}},
    {"writev to a pipe", SYS_writev, {0, 1}, {FULL, 0, 1}},
    {"readv of a file", SYS_readv, {0, 1}, {FILE_THERE, 0, 1}},
    {"writev to a file", SYS_writev, {0, 1}, {FILE_THERE, 0, 1}},
    {"preadv", SYS_preadv, {0, 1}, {FILE_THERE, 0, 1}},
    {"pwritev2", SYS_pwritev2, {0, 1}, {FILE_THERE, 0, 1}},
    {"pread64", SYS_pread64, {0, 1}, {FILE_THERE, 0, 4}},
    {"recvmsg", SYS_recvmsg, {0, 1}, {SOCKET}},
    {"sendmsg", SYS_sendmsg, {0, 1}, {SOCKET}},
    {"sendto", SYS_sendto, {0, 1}, {SOCKET, 0, 1}},
    {"connect", SYS_connect, {0, 1}, {LISTENING, 0, 16}},
    {"epoll_pwait2's time", 441, {0, 0, 0, 1}, {POLLED, 0, 1}},
    {"semtimedop", SYS_semtimedop, {0, 1, 0, 1}, {0, 0, 1}},
    {"rt_sigtimedwait", SYS_rt_sigtimedwait, {1, 0, 1}, {0, 0, 0, 8}},
    {"open", SYS_open, {1}, {0}},
    {"statx", SYS_statx, {0, 1}, {AT_FDCWD}},
    {"pipe", SYS_pipe, {1}, {0}},
};

static void prepare_descriptors(void)
{
    int ends[2], full[2], pair[2];
    CHECK(pipe(ends) == 0 && pipe(full) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    int listening = socket(AF_INET, SOCK_STREAM, 0), file = memfd_create("file", 0);
    CHECK(listening >= 0 && file >= 0 && write(file, "text", 4) == 4 && write(pair[1], "x", 1) == 1);
    CHECK(dup2(ends[0], EMPTY) == EMPTY && dup2(full[1], FULL) == FULL);
    CHECK(dup2(pair[0], SOCKET) == SOCKET && dup2(listening, LISTENING) == LISTENING);
    CHECK(dup2((int)syscall(SYS_epoll_create1, 0), POLLED) == POLLED);
    CHECK(dup2(file, FILE_THERE) == FILE_THERE);
}

static void of_calls(void *bad)
{
    for (size_t n = 0; n < sizeof calls / sizeof *calls; n++) {
        struct syslet_call call = call3(calls[n].nr, 0, 0, 0);
        struct syslet_pending *pending;
        long result = 5;
        for (int at = 0; at < 6; at++)
            call.args[at] = calls[n].pointers[at] ? (unsigned long)bad : (unsigned long)calls[n].args[at];
        errno = KEPT;
        int how = syslet_submit(&call, &result, &pending);
        if (how == SYSLET_PENDING) {
            /* Readers of what is empty may wait for it: the kernel looks at their memory later. */
            how = syslet_wait_timeout(&pending, &result, 100000000);
            if (how == SYSLET_PENDING) {
                EQUAL(syslet_cancel(pending), SYSLET_CANCEL_ASKED);
                result = syslet_wait(pending);
            }
        }
        EQUAL(errno, KEPT);
        if (how < 0)
            result = how; /* refused */
        if (result != -EFAULT && result != -ECANCELED && result != -EINVAL && result != -EPERM)
            fprintf(stderr, "%s answers %ld\n", calls[n].name, result);
        CHECK(result == -EFAULT || result == -ECANCELED || result == -EINVAL || result == -EPERM);
    }
}

int main(void)
{
    char *gone = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED);
    prepare_descriptors();
    for (int attached = 1; attached >= 0; attached--) {
        if (attached)
            attach();
        of_syslet_h(NULL);
        of_syslet_h((void *)8);
        of_syslet_h((void *)-8l);
        of_syslet_h((void *)-4096l);
        of_what_has_time(gone);
        of_historic_interfaces(NULL);
        of_historic_interfaces((void *)8);
        of_historic_interfaces((void *)-4096l);
        of_historic_interfaces(gone);
        of_calls((void *)8);
        of_calls(gone);
        of_calls(gone + 4);
        rings_with_holes();
        ANSWERS(nonseqfd(-1, 0), -EBADF);
        if (attached)
            EQUAL(syslet_detach(), 0);
    }
    return 0;
}
