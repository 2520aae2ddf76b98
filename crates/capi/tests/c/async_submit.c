/* async_submit: every flag and answer. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <syslet/async_submit.h>
#include <sys/mman.h>

static int ends[2];
static char buffer[16];
static unsigned long read_args[3];

static long state_of(long *result)
{
    return __atomic_load_n(result, __ATOMIC_ACQUIRE);
}

static void inline_calls(void)
{
    long result[2] = {77, 77};
    unsigned long close_args[1] = {(unsigned long)-1};
    long answer = async_submit(0, result, SYS_getpid, NULL);
    EQUAL(answer, 0);
    EQUAL(result[0], 0);
    EQUAL(result[1], 77);
    EQUAL(async_submit(ASYNC_SUBMIT_VALUE, result, SYS_getpid, NULL), 0);
    EQUAL(result[0], 0);
    EQUAL(result[1], getpid());
    answer = async_submit(ASYNC_SUBMIT_VALUE, result, SYS_close, close_args);
    if (answer > 0)
        EQUAL(wait_for_async(answer, NULL), 0);
    EQUAL(result[0], -EBADF);
    EQUAL(result[1], -EBADF);
}

static void outstanding_calls(void)
{
    struct timespec brief = {0, 1000000}, bad = {0, 1000000000}, negative = {-1, 0};
    long one[2], two[2], first, second;
    first = async_submit(ASYNC_SUBMIT_VALUE, one, SYS_read, read_args);
    CHECK(first > 0);
    EQUAL(state_of(one), first);
    second = async_submit(0, two, SYS_read, read_args);
    CHECK(second > 0 && second != first);
    EQUAL(wait_for_async(first, &brief), -ETIMEDOUT);
    EQUAL(wait_for_async(first, &bad), -EINVAL);
    EQUAL(wait_for_async(first, &negative), -EINVAL);
    EQUAL(wait_for_async(first, (void *)8), -EFAULT);
    EQUAL(cancel_async(second), 0);
    EQUAL(wait_for_async(second, NULL), 0);
    EQUAL(state_of(two), -ECANCELED);
    EQUAL(cancel_async(second), -ENOENT);
    EQUAL(state_of(one), first);
    CHECK(write(ends[1], "hello", 5) == 5);
    EQUAL(wait_for_async(first, NULL), 0);
    EQUAL(state_of(one), 0);
    EQUAL(one[1], 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
    EQUAL(wait_for_async(first, &brief), 0);
    EQUAL(wait_for_async(first + 1000, &brief), 0);
    EQUAL(wait_for_async(0, NULL), -EINVAL);
    EQUAL(wait_for_async(-1, NULL), -EINVAL);
    EQUAL(cancel_async(0), -ENOENT);
    EQUAL(cancel_async(-1), -ENOENT);
}

static void bad_input(void)
{
    long page = sysconf(_SC_PAGESIZE);
    char *gone = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long result[2] = {5, 5};
    CHECK(mprotect(gone + page, (size_t)page, PROT_NONE) == 0);
    EQUAL(async_submit(2, result, SYS_getpid, NULL), -EINVAL);
    EQUAL(async_submit(~0ul, result, SYS_getpid, NULL), -EINVAL);
    EQUAL(async_submit(0, NULL, SYS_getpid, NULL), -EFAULT);
    EQUAL(async_submit(0, (long *)(gone + page), SYS_getpid, NULL), -EFAULT);
    EQUAL(async_submit(0, (long *)(gone + page - 8), SYS_getpid, NULL), 0);
    EQUAL(async_submit(1, (long *)(gone + page - 8), SYS_getpid, NULL), -EFAULT);
    EQUAL(async_submit(0, (long *)((char *)result + 1), SYS_getpid, NULL), -EINVAL);
    EQUAL(async_submit(0, result, SYS_read, NULL), -EFAULT);
    EQUAL(async_submit(0, result, SYS_read, (void *)(gone + page)), -EFAULT);
    EQUAL(async_submit(0, result, SYS_read, (void *)(gone + page - 16)), -EFAULT);
    EQUAL(async_submit(0, result, SYS_fork, NULL), -EPERM);
    EQUAL(async_submit(0, result, 77777, NULL), -ENOSYS);
    EQUAL(async_submit(0, result, -1, NULL), -ENOSYS);
    EQUAL(result[0], 5);
    EQUAL(result[1], 5);
    CHECK(mprotect(gone, (size_t)page, PROT_READ) == 0);
    munmap(gone, (size_t)page);
}

/* Memory that can be read only is no place for a result. */
static void read_only(void)
{
    long *memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EQUAL(async_submit(0, memory, SYS_getpid, NULL), -EFAULT);
    munmap(memory, 4096);
}

enum { THREADS = 8, ROUNDS = 500 };

/* Many threads, each with calls of its own that wait for its own pipe. */
static void *many(void *unused)
{
    int mine[2];
    (void)unused;
    CHECK(pipe(mine) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        char bytes[2];
        unsigned long args[3] = {(unsigned long)mine[0], (unsigned long)bytes, 1};
        long result[2], cookie;
        cookie = async_submit(ASYNC_SUBMIT_VALUE, result, SYS_read, args);
        CHECK(cookie > 0);
        if (round % 3 == 0)
            EQUAL(cancel_async(cookie), 0);
        else
            CHECK(write(mine[1], "z", 1) == 1);
        EQUAL(wait_for_async(cookie, NULL), 0);
        EQUAL(state_of(result), round % 3 == 0 ? -ECANCELED : 0);
        EQUAL(result[1], round % 3 == 0 ? -ECANCELED : 1);
    }
    close(mine[0]);
    close(mine[1]);
    return NULL;
}

static long watched[2];
static int turn, watched_pipe[2];

/* Asks for each cookie as soon as it can be read: the call may not be made yet, but is not over. */
static void *watch(void *unused)
{
    struct timespec none = {0, 0};
    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        long cookie;
        while ((cookie = state_of(watched)) <= 0)
            ;
        if (round % 2 == 0) {
            EQUAL(wait_for_async(cookie, &none), -ETIMEDOUT);
            CHECK(write(watched_pipe[1], "z", 1) == 1);
        } else {
            EQUAL(cancel_async(cookie), 0);
        }
        EQUAL(wait_for_async(cookie, NULL), 0);
        EQUAL(state_of(watched), round % 2 == 0 ? 0 : -ECANCELED);
        __atomic_store_n(&turn, round + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void seen_at_once(void)
{
    char byte;
    pthread_t thread;
    CHECK(pipe(watched_pipe) == 0);
    unsigned long args[3] = {(unsigned long)watched_pipe[0], (unsigned long)&byte, 1};
    CHECK(pthread_create(&thread, NULL, watch, NULL) == 0);
    for (int round = 0; round < ROUNDS; round++) {
        CHECK(async_submit(0, watched, SYS_read, args) >= 0);
        while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) <= round)
            CHECK(sched_yield() == 0);
        __atomic_store_n(watched, 0, __ATOMIC_RELEASE);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

int main(void)
{
    pthread_t threads[THREADS];
    CHECK(pipe(ends) == 0);
    read_args[0] = (unsigned long)ends[0];
    read_args[1] = (unsigned long)buffer;
    read_args[2] = sizeof buffer;
    attach();
    inline_calls();
    outstanding_calls();
    bad_input();
    read_only();
    seen_at_once();
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, many, NULL) == 0);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    EQUAL(syslet_detach(), 0);
    return 0;
}
