/* syslet.h: every function, every answer. */
#define _GNU_SOURCE
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

static struct syslet_call read_of(int fd, void *buffer, size_t size)
{
    return call3(SYS_read, (unsigned long)fd, (unsigned long)buffer, size);
}

static void attaching(void)
{
    struct syslet_attach_options options = {0x80, 0, 0, 0};
    EQUAL(syslet_detach(), -EINVAL);
    EQUAL(syslet_refresh(), -EINVAL);
    EQUAL(syslet_attach(&options), -EINVAL);
    options.flags = 0;
    options.cpu = 1;
    EQUAL(syslet_attach(&options), -EINVAL);
    options.cpu = 0;
    options.max_crew = 1;
    EQUAL(syslet_attach(&options), -EINVAL);
    EQUAL(syslet_attach((void *)8), -EFAULT);
    options.max_crew = 0;
    options.flags = SYSLET_ATTACH_REQUIRE;
    EQUAL(syslet_attach(&options), way_is("pool") ? -ENOTSUP : SYSLET_ATTACHED);
    if (!way_is("pool"))
        EQUAL(syslet_detach(), 0);
    attach();
    attach();
    EQUAL(syslet_is_attached(), !way_is("pool"));
    EQUAL(syslet_refresh(), 0);
    EQUAL(syslet_detach(), 0);
    EQUAL(syslet_is_attached(), !way_is("pool"));
    EQUAL(syslet_detach(), 0);
    EQUAL(syslet_is_attached(), 0);
    EQUAL(syslet_detach(), -EINVAL);
}

static void calls(void)
{
    struct syslet_pending *pending = NULL;
    struct syslet_call call = call3(SYS_getpid, 0, 0, 0);
    char buffer[8] = "";
    long result = -1;
    int ends[2];
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_DONE);
    EQUAL(result, getpid());
    CHECK(pending == NULL);
    call = call3(SYS_close, (unsigned long)-1, 0, 0);
    if (syslet_submit(&call, &result, &pending) == SYSLET_PENDING)
        result = syslet_wait(pending);
    EQUAL(result, -EBADF);

    CHECK(pipe(ends) == 0);
    call = read_of(ends[0], buffer, sizeof buffer);
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    EQUAL(syslet_wait_timeout(&pending, &result, 0), SYSLET_PENDING);
    EQUAL(syslet_wait_timeout(&pending, &result, 1000000), SYSLET_PENDING);
    EQUAL(write(ends[1], "abc", 3), 3);
    EQUAL(syslet_wait_timeout(&pending, &result, -1), SYSLET_DONE);
    CHECK(pending == NULL);
    EQUAL(result, 3);
    CHECK(memcmp(buffer, "abc", 3) == 0);

    EQUAL(syslet_try_submit(&call, &result, &pending), SYSLET_PENDING);
    EQUAL(syslet_cancel(pending), SYSLET_CANCEL_ASKED);
    EQUAL(syslet_wait(pending), -ECANCELED);

    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    syslet_pending_free(pending); /* goes on, unheard */
    EQUAL(write(ends[1], "x", 1), 1);
    while (__atomic_load_n(buffer, __ATOMIC_ACQUIRE) != 'x')
        sched_yield();

    call = call3(SYS_fork, 0, 0, 0);
    EQUAL(syslet_submit(&call, &result, &pending), -EPERM);
    CHECK(syslet_refusal(SYS_fork) != NULL && syslet_refusal(SYS_read) == NULL);
    CHECK(syslet_refusal(100000) != NULL && syslet_refusal(~0ul) != NULL);
    call = call3(100000, 0, 0, 0);
    EQUAL(syslet_submit(&call, &result, &pending), -ENOSYS);
    EQUAL(syslet_submit(NULL, &result, &pending), -EFAULT);
    EQUAL(syslet_submit(&call, NULL, &pending), -EFAULT);
    EQUAL(syslet_submit(&call, &result, NULL), -EFAULT);
    EQUAL(syslet_submit((void *)-8l, &result, &pending), -EFAULT);
    EQUAL(syslet_try_submit(NULL, NULL, NULL), -EFAULT);
    EQUAL(syslet_wait(NULL), -EFAULT);
    pending = NULL;
    EQUAL(syslet_wait_timeout(&pending, &result, 0), -EFAULT);
    EQUAL(syslet_wait_timeout(NULL, &result, 0), -EFAULT);
    EQUAL(syslet_wait_timeout(&pending, NULL, 0), -EFAULT);
    EQUAL(syslet_cancel(NULL), -EFAULT);
    syslet_pending_free(NULL);
    /* What the kernel finds is the call's own answer. */
    call = call3(SYS_pipe, 0, 0, 0);
    if (syslet_submit(&call, &result, &pending) == SYSLET_PENDING)
        result = syslet_wait(pending);
    EQUAL(result, -EFAULT);
    close(ends[0]);
    close(ends[1]);
}

/* The program closes its descriptors right after the calls were submitted. */
static void outlive_their_descriptors(void)
{
    enum { CALLS = 20 };
    struct syslet_pending *pending[CALLS];
    char byte[CALLS];
    int ends[CALLS][2];
    long result;
    syslet_hold_files_at_once(1);
    for (int n = 0; n < CALLS; n++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[n]) == 0);
        struct syslet_call call = read_of(ends[n][0], &byte[n], 1);
        EQUAL(syslet_submit(&call, &result, &pending[n]), SYSLET_PENDING);
    }
    for (int n = 0; n < CALLS; n++)
        CHECK(close(ends[n][0]) == 0);
    for (int n = 0; n < CALLS; n++) {
        char number = (char)n;
        EQUAL(write(ends[n][1], &number, 1), 1);
        EQUAL(syslet_wait(pending[n]), 1);
        CHECK(byte[n] == number && close(ends[n][1]) == 0);
    }
    syslet_hold_files_at_once(0);
}

static long twice(void *data)
{
    return 2 * *(long *)data;
}

static int gate[2];

static long gated(void *data)
{
    char byte;
    CHECK(read(gate[0], &byte, 1) == 1);
    return (long)data;
}

static void open_gate(void)
{
    CHECK(write(gate[1], "", 1) == 1);
}

static void functions(void)
{
    struct syslet_pending *pending = NULL;
    long number = 21, result = 0;
    int how = syslet_threadlet(twice, &number, &result, &pending);
    if (how == SYSLET_PENDING)
        result = syslet_wait(pending);
    EQUAL(result, 42);
    EQUAL(syslet_threadlet(gated, (void *)-7l, &result, &pending), SYSLET_PENDING);
    EQUAL(syslet_wait_timeout(&pending, &result, 0), SYSLET_PENDING);
    EQUAL(syslet_cancel(pending), SYSLET_CANCEL_RUNNING);
    open_gate();
    EQUAL(syslet_wait(pending), -7);
    EQUAL(syslet_threadlet(gated, NULL, &result, &pending), SYSLET_PENDING);
    syslet_pending_free(pending);
    open_gate();
    EQUAL(syslet_drain(-1), 0);
    EQUAL(syslet_threadlet(NULL, NULL, &result, &pending), -EFAULT);
    EQUAL(syslet_threadlet(twice, &number, NULL, &pending), -EFAULT);
    EQUAL(syslet_threadlet(twice, &number, &result, NULL), -EFAULT);
}

static void queues(unsigned flags)
{
    struct syslet_queue *queue = NULL;
    struct syslet_queue_completion completion;
    struct syslet_queue_stats stats;
    struct syslet_call call;
    char bytes[64];
    long result;
    uint64_t id = 0, seen = 0;
    int ends[2], how;
    CHECK(pipe(ends) == 0);
    EQUAL(syslet_queue_new(&queue, 0, 0), -EINVAL);
    EQUAL(syslet_queue_new(&queue, 8, 0x10), -EINVAL);
    EQUAL(syslet_queue_new(&queue, ((size_t)1 << 22) + 1, 0), -EINVAL);
    EQUAL(syslet_queue_new(NULL, 8, 0), -EFAULT);
    EQUAL(syslet_queue_new(&queue, 5, flags), 0);
    EQUAL(queue->ring->magic, SYSLET_RING_MAGIC);
    EQUAL(queue->ring->entry_size, sizeof(struct syslet_queue_entry));
    EQUAL(queue->ring->capacity, 8);

    call = call3(SYS_getpid, 0, 0, 0);
    how = syslet_queue_submit(queue, 5, &call, &result, &id);
    EQUAL(how, flags ? SYSLET_PENDING : SYSLET_DONE);
    if (flags) {
        CHECK(syslet_queue_pop(queue, &completion) == 1);
        EQUAL(completion.user_data, 5);
        result = completion.res;
    }
    EQUAL(result, getpid());
    CHECK(syslet_queue_pop(queue, &completion) == 0);

    /* More than the ring has room for: none is lost, each comes once. */
    for (unsigned n = 0; n < 64; n++) {
        call = read_of(ends[0], &bytes[n], 1);
        EQUAL(syslet_queue_submit(queue, n, &call, &result, &id), SYSLET_PENDING);
    }
    CHECK(syslet_queue_pop(queue, &completion) == 0);
    EQUAL(syslet_queue_wait(queue, 1, 1000000), 0);
    EQUAL(syslet_queue_cancel(queue, id), SYSLET_CANCEL_ASKED);
    EQUAL(syslet_queue_wait(queue, 1, -1), 1);
    CHECK(syslet_queue_pop(queue, &completion) == 1);
    EQUAL(completion.user_data, 63);
    EQUAL(completion.res, -ECANCELED);
    EQUAL(syslet_queue_cancel(queue, id), SYSLET_CANCEL_TOO_LATE);
    EQUAL(syslet_queue_cancel_all(queue, 62), 1);
    EQUAL(syslet_queue_cancel_all(queue, 99), 0);
    EQUAL(syslet_queue_wait(queue, 1, -1), 1);
    CHECK(syslet_queue_pop(queue, &completion) == 1 && completion.user_data == 62);
    memset(bytes, 'b', sizeof bytes);
    CHECK(write(ends[1], bytes, 50) == 50);
    EQUAL(syslet_queue_wait(queue, 50, -1), 50);
    for (unsigned n = 0; n < 50; n++) {
        CHECK(syslet_queue_pop(queue, &completion) == 1);
        EQUAL(completion.res, 1);
        CHECK(!(seen & (uint64_t)1 << completion.user_data));
        seen |= (uint64_t)1 << completion.user_data;
    }
    CHECK(syslet_queue_pop(queue, &completion) == 0);
    EQUAL(syslet_queue_cancel_fd(queue, ends[0]), 12);
    EQUAL(syslet_queue_cancel_fd(queue, -1), 0);
    EQUAL(syslet_queue_wait(queue, 12, -1), 12);
    for (unsigned n = 0; n < 12; n++)
        CHECK(syslet_queue_pop(queue, &completion) == 1 && completion.res == -ECANCELED);
    EQUAL(syslet_queue_get_stats(queue, &stats, sizeof stats), 0);
    EQUAL(stats.pushed, flags ? 65 : 64);
    CHECK(stats.overflowed > 0);
    EQUAL(stats.outstanding, 0);
    EQUAL(syslet_queue_get_stats(queue, &stats, 0), -EINVAL);
    EQUAL(syslet_queue_get_stats(queue, NULL, 8), -EFAULT);
    EQUAL(syslet_queue_get_stats(NULL, &stats, 8), -EFAULT);

    EQUAL(syslet_queue_threadlet(queue, 8, gated, (void *)3, &result, NULL), SYSLET_PENDING);
    open_gate();
    EQUAL(syslet_queue_wait(queue, 1, -1), 1);
    CHECK(syslet_queue_pop(queue, &completion) == 1 && completion.user_data == 8);
    EQUAL(completion.res, 3);

    int event = eventfd(0, EFD_CLOEXEC);
    struct pollfd ready = {event, POLLIN, 0};
    EQUAL(syslet_queue_eventfd(queue, ends[0]), -EINVAL);
    EQUAL(syslet_queue_eventfd(queue, -5), -EINVAL);
    EQUAL(syslet_queue_eventfd(queue, event), 0);
    CHECK(poll(&ready, 1, 0) == 0);
    EQUAL(syslet_queue_post(queue, 4, -9), 0);
    CHECK(poll(&ready, 1, -1) == 1);
    CHECK(syslet_queue_pop(queue, &completion) == 1);
    EQUAL(completion.user_data, 4);
    EQUAL(completion.res, -9);
    EQUAL(syslet_queue_eventfd(queue, -1), 0);
    close(event);

    call = call3(SYS_gettid, 0, 0, 0);
    EQUAL(syslet_queue_submit(queue, 0, &call, &result, NULL), -EPERM);
    call = call3(99999, 0, 0, 0);
    EQUAL(syslet_queue_submit(queue, 0, &call, &result, NULL), -ENOSYS);
    EQUAL(syslet_queue_submit(NULL, 0, &call, &result, NULL), -EFAULT);
    EQUAL(syslet_queue_submit(queue, 0, NULL, &result, NULL), -EFAULT);
    EQUAL(syslet_queue_submit(queue, 0, &call, NULL, NULL), -EFAULT);
    EQUAL(syslet_queue_threadlet(queue, 0, NULL, NULL, &result, NULL), -EFAULT);
    EQUAL(syslet_queue_post(NULL, 0, 0), -EFAULT);
    EQUAL(syslet_queue_wait(NULL, 1, 0), -EFAULT);
    EQUAL(syslet_queue_cancel(NULL, 0), -EFAULT);
    EQUAL(syslet_queue_cancel_all(NULL, 0), -EFAULT);
    EQUAL(syslet_queue_cancel_fd(NULL, 0), -EFAULT);
    EQUAL(syslet_queue_eventfd(NULL, -1), -EFAULT);
    EQUAL(syslet_queue_pop_slow(NULL, &completion), -EFAULT);
    EQUAL(syslet_queue_pop_slow(queue, NULL), -EFAULT);
    syslet_queue_refill(NULL);
    syslet_queue_free(NULL);
    syslet_queue_free(queue);
    close(ends[0]);
    close(ends[1]);
}

static struct syslet_arg value(unsigned long number)
{
    struct syslet_arg arg = {SYSLET_ARG_VALUE, 0, number};
    return arg;
}

static struct syslet_arg result_of(int step)
{
    struct syslet_arg arg = {SYSLET_ARG_RESULT, 0, (unsigned long)step};
    return arg;
}

static void chains(void)
{
    struct syslet_chain *chain = NULL;
    struct syslet_arg args[7] = {{0, 0, 0}};
    char buffer[16] = "";
    unsigned long size = 7;
    long result = 0;
    int open_step, read_step, close_step, how, ends[2];
    EQUAL(syslet_chain_new(NULL), -EFAULT);
    EQUAL(syslet_chain_new(&chain), 0);
    EQUAL(syslet_chain_wait(chain, 0), -EINVAL);
    EQUAL(syslet_chain_cancel(chain), -EINVAL);
    EQUAL(syslet_chain_last(chain), -EINVAL);

    args[0] = value((unsigned long)AT_FDCWD);
    args[1] = value((unsigned long)"/proc/self/comm");
    args[2] = value(O_RDONLY | O_CLOEXEC);
    open_step = syslet_chain_push(chain, SYS_openat, args, 3);
    EQUAL(open_step, 0);
    EQUAL(syslet_chain_stop_on(chain, open_step, SYSLET_WHEN_NEGATIVE), 0);
    args[0] = result_of(open_step);
    args[1] = value((unsigned long)buffer);
    args[2].kind = SYSLET_ARG_AT;
    args[2].value = (unsigned long)&size;
    read_step = syslet_chain_push(chain, SYS_read, args, 3);
    close_step = syslet_chain_push(chain, SYS_close, args, 1);
    EQUAL(close_step, 2);
    for (int round = 0; round < 3; round++) {
        how = syslet_chain_submit(chain);
        CHECK(how == SYSLET_DONE || how == SYSLET_PENDING);
        EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
        EQUAL(syslet_chain_result(chain, read_step, &result), 0);
        CHECK(result > 0 && result <= 7);
        EQUAL(syslet_chain_result(chain, close_step, &result), 0);
        EQUAL(result, 0);
        EQUAL(syslet_chain_last(chain), close_step);
        EQUAL(syslet_chain_cancel(chain), SYSLET_CANCEL_TOO_LATE);
    }
    EQUAL(syslet_chain_skip_on(chain, open_step, SYSLET_WHEN_ALWAYS, close_step), 0);
    CHECK(syslet_chain_submit(chain) >= 0);
    EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
    EQUAL(syslet_chain_result(chain, read_step, &result), -ENOENT);
    EQUAL(syslet_chain_result(chain, 3, &result), -EINVAL);
    EQUAL(syslet_chain_result(chain, -1, &result), -EINVAL);
    EQUAL(syslet_chain_result(chain, 0, NULL), -EFAULT);

    EQUAL(syslet_chain_clear(chain), 0);
    CHECK(pipe(ends) == 0);
    args[0] = value((unsigned long)ends[0]);
    args[2] = value(1);
    EQUAL(syslet_chain_push(chain, SYS_read, args, 3), 0);
    EQUAL(syslet_chain_push(chain, SYS_getpid, NULL, 0), 1);
    EQUAL(syslet_chain_submit(chain), SYSLET_PENDING);
    EQUAL(syslet_chain_wait(chain, 1000000), SYSLET_PENDING);
    EQUAL(syslet_chain_submit(chain), -EBUSY);
    EQUAL(syslet_chain_push(chain, SYS_getpid, NULL, 0), -EBUSY);
    EQUAL(syslet_chain_stop_on(chain, 0, SYSLET_WHEN_ZERO), -EBUSY);
    EQUAL(syslet_chain_clear(chain), -EBUSY);
    EQUAL(syslet_chain_result(chain, 0, &result), -EINVAL);
    CHECK(syslet_chain_cancel(chain) >= SYSLET_CANCEL_NOT_BEGUN);
    EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
    EQUAL(syslet_chain_result(chain, 0, &result), 0);
    EQUAL(result, -ECANCELED);
    EQUAL(syslet_chain_last(chain), 0);

    /* Bad steps and rules. */
    EQUAL(syslet_chain_push(chain, SYS_read, args, 7), -EINVAL);
    EQUAL(syslet_chain_push(chain, SYS_read, NULL, 1), -EFAULT);
    args[0] = result_of(2);
    EQUAL(syslet_chain_push(chain, SYS_read, args, 1), -EINVAL);
    args[0].kind = 9;
    EQUAL(syslet_chain_push(chain, SYS_read, args, 1), -EINVAL);
    args[0].kind = SYSLET_ARG_AT;
    args[0].value = 0;
    EQUAL(syslet_chain_push(chain, SYS_read, args, 1), -EFAULT);
    EQUAL(syslet_chain_stop_on(chain, 0, 5), -EINVAL);
    EQUAL(syslet_chain_stop_on(chain, 2, SYSLET_WHEN_ZERO), -EINVAL);
    EQUAL(syslet_chain_skip_on(chain, 1, SYSLET_WHEN_ZERO, 1), -EINVAL);
    EQUAL(syslet_chain_skip_on(chain, 1, SYSLET_WHEN_ZERO, 2), -EINVAL);
    EQUAL(syslet_chain_push(chain, SYS_exit, NULL, 0), 2);
    EQUAL(syslet_chain_submit(chain), -EPERM);
    EQUAL(syslet_chain_clear(chain), 0);
    EQUAL(syslet_chain_push(chain, 99999, NULL, 0), 0);
    EQUAL(syslet_chain_submit(chain), -ENOSYS);
    EQUAL(syslet_chain_push(NULL, 0, NULL, 0), -EFAULT);
    EQUAL(syslet_chain_submit(NULL), -EFAULT);
    EQUAL(syslet_chain_wait(NULL, 0), -EFAULT);
    EQUAL(syslet_chain_cancel(NULL), -EFAULT);
    EQUAL(syslet_chain_last(NULL), -EFAULT);
    EQUAL(syslet_chain_clear(NULL), -EFAULT);
    syslet_chain_free(NULL);
    syslet_chain_free(chain);
    close(ends[0]);
    close(ends[1]);
}

static void telling(void)
{
    struct syslet_stats stats;
    struct syslet_probe probe;
    char text[4] = "abc", larger[sizeof(struct syslet_stats) + 8];
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    EQUAL(stats.attached, !way_is("pool"));
    CHECK(stats.crew_limit >= 2);
    if (!way_is("pool"))
        CHECK(stats.inlined > 0 && stats.handed_off > 0);
    memset(larger, 'x', sizeof larger);
    EQUAL(syslet_get_stats((void *)larger, sizeof larger), 0);
    CHECK(memcmp(larger + sizeof larger - 8, "\0\0\0\0\0\0\0\0", 8) == 0);
    memset(&stats, 'x', sizeof stats);
    EQUAL(syslet_get_stats(&stats, 8), 0);
    EQUAL(stats.handed_off, 0x7878787878787878);
    EQUAL(syslet_get_stats(&stats, 0), -EINVAL);
    EQUAL(syslet_get_stats(NULL, 8), -EFAULT);
    EQUAL(syslet_get_probe(&probe, sizeof probe), 0);
    EQUAL(probe.attachable, !way_is("pool"));
    CHECK((probe.why[0] != 0) == way_is("pool"));
    CHECK(probe.cpus >= 1);
    EQUAL(syslet_get_probe(NULL, 8), -EFAULT);
    EQUAL(syslet_check_identity(text, sizeof text), 0);
    EQUAL(syslet_check_identity(NULL, 0), 0);
    CHECK(strncmp(syslet_version(), "0.1.", 4) == 0);
}

/* A child begins afresh, and what the parent had is dead there. */
static void forking(void)
{
    struct syslet_queue *queue;
    struct syslet_queue_completion completion;
    struct syslet_pending *pending;
    struct syslet_call call;
    char byte;
    long result;
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    EQUAL(syslet_queue_new(&queue, 8, 0), 0);
    EQUAL(syslet_queue_post(queue, 1, 1), 0);
    call = read_of(ends[0], &byte, 1);
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    pid_t child = fork();
    if (child == 0) {
        CHECK(syslet_queue_pop(queue, &completion) == 0);
        EQUAL(syslet_queue_post(queue, 1, 1), -ECHILD);
        EQUAL(syslet_queue_submit(queue, 0, &call, &result, NULL), -ECHILD);
        EQUAL(syslet_queue_wait(queue, 1, -1), 0);
        EQUAL(syslet_wait(pending), -ECANCELED);
        syslet_queue_free(queue);
        EQUAL(syslet_detach(), -EINVAL);
        attach();
        functions();
        EQUAL(syslet_detach(), 0);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
    CHECK(write(ends[1], "y", 1) == 1);
    EQUAL(syslet_wait(pending), 1);
    CHECK(syslet_queue_pop(queue, &completion) == 1);
    syslet_queue_free(queue);
    close(ends[0]);
    close(ends[1]);
}

/* A thread may end while it is attached: it is joined, and the crew lives. */
static void *ends_attached(void *data)
{
    attach();
    calls();
    return data;
}

int main(void)
{
    pthread_t thread;
    void *value_of_thread;
    CHECK(pipe(gate) == 0);
    attaching();
    attach();
    calls();
    outlive_their_descriptors();
    functions();
    queues(0);
    queues(SYSLET_QUEUE_ALWAYS);
    chains();
    telling();
    forking();
    CHECK(pthread_create(&thread, NULL, ends_attached, &gate) == 0);
    CHECK(pthread_join(thread, &value_of_thread) == 0 && value_of_thread == &gate);
    EQUAL(syslet_detach(), 0);
    /* And on a thread that is not attached. */
    if (!way_is("pool"))
        setenv("SYSLET_TEST_MODE", "pool", 1);
    outlive_their_descriptors();
    functions();
    queues(0);
    chains();
    return 0;
}
