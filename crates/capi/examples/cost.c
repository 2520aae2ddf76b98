/*
 * cost [ROUNDS [raw]] - what calls through the library cost over plain ones, everything cached: the median over rounds
 * in which both are made in turn. `raw`: the nanoseconds of both in each round instead, and what the library has
 * counted: what finished inline, was handed off, was made without protection or queued, and came to the queue.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <syslet.h>
#include <syslet/syslets.h>

enum { CALLS = 64, MOST = 100000 };

static int file;
static char buffer[4096];
static struct syslet_uatom atoms[3], *ring[4];
static struct async_head_user head = {0, 0, ring, sizeof ring, 0, 0, 0, 0};
static struct syslet_queue *queue;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void plain_getppid(void)
{
    syscall(SYS_getppid);
}

static void plain_pread(void)
{
    syscall(SYS_pread64, file, buffer, sizeof buffer, 0);
}

static void submit(struct syslet_call call)
{
    struct syslet_pending *pending;
    long result;
    if (syslet_submit(&call, &result, &pending) == SYSLET_PENDING)
        syslet_wait(pending);
}

static void submit_getppid(void)
{
    struct syslet_call call = {SYS_getppid, {0, 0, 0, 0, 0, 0}};
    submit(call);
}

static void submit_pread(void)
{
    struct syslet_call call = {
        SYS_pread64, {(unsigned long)file, (unsigned long)buffer, sizeof buffer, 0, 0, 0}};
    submit(call);
}

static void plain_three(void)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/usr/lib/os-release", O_RDONLY | O_CLOEXEC);
    syscall(SYS_read, fd, buffer, sizeof buffer);
    syscall(SYS_close, fd);
}

static long three(void *data)
{
    plain_three();
    return (long)data;
}

static void threadlet_three(void)
{
    struct syslet_pending *pending;
    long result;
    if (syslet_threadlet(three, NULL, &result, &pending) == SYSLET_PENDING)
        syslet_wait(pending);
}

static void exec_three(void)
{
    struct syslet_uatom *last = async_exec(atoms, &head);
    if (last)
        return;
    async_wait(1, head.user_ring_idx, &head);
    ring[head.user_ring_idx] = NULL;
    head.user_ring_idx = (head.user_ring_idx + 1) % 4;
}

static void nothing(void)
{
}

static void post_and_pop(void)
{
    struct syslet_queue_completion completion;
    syslet_queue_post(queue, 1, 2);
    syslet_queue_pop(queue, &completion);
}

static void pop_nothing(void)
{
    struct syslet_queue_completion completion;
    syslet_queue_pop(queue, &completion);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double time_of(void (*work)(void))
{
    uint64_t start = now();
    for (int n = 0; n < CALLS; n++)
        work();
    return (double)(now() - start) / CALLS;
}

static int raw;

struct counts {
    struct syslet_stats calls;
    struct syslet_queue_stats queue;
};

static struct counts counts(void)
{
    struct counts counts;
    if (syslet_get_stats(&counts.calls, sizeof counts.calls) < 0 ||
        syslet_queue_get_stats(queue, &counts.queue, sizeof counts.queue) < 0)
        exit(2);
    return counts;
}

static void say_since(const char *name, struct counts before)
{
    struct counts after = counts();
    uint64_t alone = after.calls.in_place - before.calls.in_place;
    printf("counted %s %llu %llu %llu %llu\n", name,
           (unsigned long long)(after.calls.inlined - before.calls.inlined),
           (unsigned long long)(after.calls.handed_off - before.calls.handed_off),
           (unsigned long long)(alone + after.calls.queued - before.calls.queued),
           (unsigned long long)(after.queue.pushed - before.queue.pushed));
}

static void compare(const char *name, void (*plain)(void), void (*ours)(void), int rounds)
{
    static double plains[MOST], extras[MOST];
    struct counts before = counts();
    for (int n = 0; n < rounds; n++) {
        plains[n] = time_of(plain);
        extras[n] = time_of(ours) - plains[n];
    }
    for (int n = 0; n < rounds && raw; n++)
        printf("%s %.2f %.2f\n", name, plains[n], plains[n] + extras[n]);
    if (raw) {
        say_since(name, before);
        return;
    }
    qsort(plains, (size_t)rounds, sizeof *plains, by_size);
    qsort(extras, (size_t)rounds, sizeof *extras, by_size);
    printf("%-22s plain %7.1f ns, extra %6.1f ns\n", name, plains[rounds / 2], extras[rounds / 2]);
}

static void prepare_atoms(void)
{
    static long fd, got;
    static unsigned long at = (unsigned long)AT_FDCWD, flags = O_RDONLY | O_CLOEXEC;
    static unsigned long path, place, size = sizeof buffer;
    path = (unsigned long)"/usr/lib/os-release";
    place = (unsigned long)buffer;
    memset(atoms, 0, sizeof atoms);
    atoms[0].nr = SYS_openat;
    atoms[0].ret_ptr = &fd;
    atoms[0].flags = SYSLET_STOP_ON_NEGATIVE;
    atoms[0].next = &atoms[1];
    atoms[0].arg_ptr[0] = &at;
    atoms[0].arg_ptr[1] = &path;
    atoms[0].arg_ptr[2] = &flags;
    atoms[1].nr = SYS_read;
    atoms[1].ret_ptr = &got;
    atoms[1].next = &atoms[2];
    atoms[1].arg_ptr[0] = (unsigned long *)&fd;
    atoms[1].arg_ptr[1] = &place;
    atoms[1].arg_ptr[2] = &size;
    atoms[2].nr = SYS_close;
    atoms[2].arg_ptr[0] = (unsigned long *)&fd;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 2000;
    raw = argc > 2 && strcmp(argv[2], "raw") == 0;
    if (rounds < 1 || rounds > MOST) {
        fprintf(stderr, "usage: cost [ROUNDS [raw]]\n");
        return 2;
    }
    file = open("/usr/lib/os-release", O_RDONLY | O_CLOEXEC);
    prepare_atoms();
    if (file < 0 || syslet_attach(NULL) < 0 || syslet_queue_new(&queue, 8, 0) < 0)
        return 2;
    compare("getppid", plain_getppid, submit_getppid, rounds);
    compare("pread4k", plain_pread, submit_pread, rounds);
    compare("open_read_close", plain_three, threadlet_three, rounds);
    compare("open_read_close_atoms", plain_three, exec_three, rounds);
    compare("post_pop", nothing, post_and_pop, rounds);
    compare("pop_nothing", nothing, pop_nothing, rounds);
    syslet_queue_free(queue);
    return syslet_detach();
}
