/* Threadlets: inline, away, told of by a futex and by a ring. */
#define _GNU_SOURCE
#include "check.h"

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

int main(void)
{
    struct syslet_uatom *ring[2] = {NULL, NULL};
    int count = 0;
    CHECK(pipe(ends) == 0);
    attach();
    for (int n = 1; n <= 100; n++) {
        long done = threadlet_exec(quick, &count, NULL);
        if (!done)
            EQUAL(syslet_drain(-1), 0);
        EQUAL(count, n);
    }
    EQUAL(threadlet_complete() != 0, 1);
    EQUAL(threadlet_exec(slow, &count, NULL), 0);
    CHECK(!__atomic_load_n(&finished, __ATOMIC_ACQUIRE));
    CHECK(write(ends[1], "", 1) == 1);
    while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE))
        sched_yield();
    EQUAL(count, 101);
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
