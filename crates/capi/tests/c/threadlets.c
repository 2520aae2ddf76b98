/* Threadlets: inline, away, told of by a futex and by a ring. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <syslet/syslets.h>
#include <syslet/threadlets.h>

static int ends[2];
static int finished;

static long quick(void *data)
{
    *(int *)data += 1;
    return threadlet_complete();
}

static long slow(void *data)
{
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    *(int *)data += 1;
    __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
    return threadlet_complete();
}

static struct async_head_user head;

static long telling(void *data)
{
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    EQUAL(async_thread(data, &head), 0);
    return threadlet_complete();
}

static volatile sig_atomic_t signalled;

static void handler(int signal)
{
    signalled = signal;
}

static int notes[2];
static unsigned word;

/* Tells its end in each way that there is. */
static long tells(void *data)
{
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    *(int *)data += 1;
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
    CHECK(write(notes[1], "n", 1) == 1);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    return threadlet_complete();
}

/* A futex between head and threadlet, poll, a signal: whatever the program likes. */
static void told_by_any_means(void)
{
    struct sigaction action;
    struct pollfd polled = {-1, POLLIN, 0};
    int count = 0;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(pipe(notes) == 0);
    polled.fd = notes[0];
    EQUAL(threadlet_exec(tells, &count, NULL), 0);
    EQUAL(poll(&polled, 1, 0), 0);
    CHECK(write(ends[1], "", 1) == 1);
    while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
        syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    EQUAL(count, 1);
    while (poll(&polled, 1, -1) != 1)
        EQUAL(errno, EINTR);
    EQUAL(polled.revents, POLLIN);
    while (!signalled)
        sched_yield();
    EQUAL(signalled, SIGUSR1);
}

/* What does not sleep has finished when threadlet_exec returns, unless it is preempted, which few are. Threads that are
 * not attached send every function to the pool. */
static void inline_unless_in_a_pool(int is_attached)
{
    enum { TIMES = 100 };
    int count = 0, finished_here = 0;
    for (int n = 1; n <= TIMES; n++) {
        long done = threadlet_exec(quick, &count, NULL);
        CHECK(done >= 0);
        if (done) {
            EQUAL(count, n);
            finished_here++;
        } else {
            EQUAL(syslet_drain(-1), 0);
        }
        EQUAL(count, n);
    }
    if (is_attached && !way_is("pool"))
        CHECK(finished_here >= TIMES / 2);
    else
        EQUAL(finished_here, 0);
}

int main(void)
{
    struct syslet_uatom *ring[2] = {NULL, NULL};
    int count = 0;
    CHECK(pipe(ends) == 0);
    inline_unless_in_a_pool(0);
    attach();
    inline_unless_in_a_pool(1);
    EQUAL(threadlet_complete() != 0, 1);
    EQUAL(threadlet_exec(slow, &count, NULL), 0);
    CHECK(!__atomic_load_n(&finished, __ATOMIC_ACQUIRE));
    CHECK(write(ends[1], "", 1) == 1);
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE))
        sched_yield();
    EQUAL(count, 1);
    told_by_any_means();
    head.completion_ring = ring;
    head.ring_size_bytes = sizeof ring;
    EQUAL(threadlet_exec(telling, &count, &head), 0);
    CHECK(write(ends[1], "", 1) == 1);
    EQUAL(async_wait(1, 0, &head), 0);
    CHECK((void *)ring[0] == (void *)&count);
    errno = 0;
    EQUAL(threadlet_exec(NULL, &count, NULL), -1);
    EQUAL(errno, EFAULT);
    EQUAL(syslet_detach(), 0);
    return 0;
}
