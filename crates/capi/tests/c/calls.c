/* What the interfaces that are given calls one by one have in common: what does not sleep is made here, arguments are
 * those that they are to the kernel, and where no completion is asked for the call is waited for. */
#define _GNU_SOURCE
#include "check.h"

#include "six.h"

#include <sys/stat.h>
#include <syslet/acall.h>
#include <syslet/async_submit.h>
#include <syslet/dragonfly.h>
#include <syslet/fibrils.h>
#include <syslet/indirect.h>

enum { ARGS = 6 };

/* Each of these makes a call and waits for its end: the answer; and whether it was over at once, if that is said. */

static long by_submit(long nr, unsigned long *args, int *at_once)
{
    struct syslet_call call;
    struct syslet_pending *pending = NULL;
    long result = -1;
    call.nr = (unsigned long)nr;
    memcpy(call.args, args, sizeof call.args);
    int how = syslet_submit(&call, &result, &pending);
    *at_once = how == SYSLET_DONE;
    CHECK(*at_once || how == SYSLET_PENDING);
    return *at_once ? result : syslet_wait(pending);
}

static long by_chain(long nr, unsigned long *args, int *at_once)
{
    struct syslet_chain *chain = NULL;
    struct syslet_arg given[ARGS];
    long result = -1;
    for (int n = 0; n < ARGS; n++)
        given[n] = (struct syslet_arg){SYSLET_ARG_VALUE, 0, args[n]};
    EQUAL(syslet_chain_new(&chain), 0);
    EQUAL(syslet_chain_push(chain, (unsigned long)nr, given, ARGS), 0);
    int how = syslet_chain_submit(chain);
    *at_once = how == SYSLET_DONE;
    CHECK(*at_once || how == SYSLET_PENDING);
    EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
    EQUAL(syslet_chain_result(chain, 0, &result), 0);
    syslet_chain_free(chain);
    return result;
}

static long by_async_submit(long nr, unsigned long *args, int *at_once)
{
    long result[2] = {-1, -1}, cookie = async_submit(ASYNC_SUBMIT_VALUE, result, nr, args);
    *at_once = cookie == 0;
    CHECK(cookie >= 0);
    if (!*at_once)
        EQUAL(wait_for_async(cookie, NULL), 0);
    CHECK(__atomic_load_n(result, __ATOMIC_ACQUIRE) <= 0);
    return result[1];
}

static long by_acall(long nr, unsigned long *args, int *at_once)
{
    struct acall_completion done = {0, 0};
    struct acall_submission one;
    struct acall_id id;
    memset(&one, 0, sizeof one);
    one.nr = (uint32_t)nr;
    one.cookie = 1;
    one.completion_pointer = (uint64_t)(uintptr_t)&done;
    one.id_pointer = (uint64_t)(uintptr_t)&id;
    memcpy(one.args, args, sizeof one.args);
    EQUAL(acall_submit(&one, 1), 1);
    *at_once = __atomic_load_n(&done.cookie, __ATOMIC_ACQUIRE) == 1;
    EQUAL(acall_comp_pwait(&id, 1, NULL, NULL, 0), 1);
    EQUAL(__atomic_load_n(&done.cookie, __ATOMIC_ACQUIRE), 1);
    return (long)done.return_code;
}

static struct indirect_registers registers(long nr, const unsigned long *args)
{
    struct indirect_registers made = {(uint64_t)nr, args[0], args[1], args[2], args[3], args[4], args[5]};
    return made;
}

static long by_indirect(long nr, unsigned long *args, int *at_once)
{
    struct {
        struct syslet_ring ring;
        struct syslet_completion comp[1];
    } memory;
    struct indirect_registers regs = registers(nr, args);
    union indirect_params params;
    memset(&memory, 0, sizeof memory);
    memset(&params, 0, sizeof params);
    memory.ring.elements = 1;
    params.syslet.completion_ring_ptr = (uint64_t)(uintptr_t)&memory;
    long answer = indirect(&regs, &params, sizeof params, 0);
    *at_once = answer != -ESYSLETPENDING;
    if (*at_once)
        return answer;
    EQUAL(syslet_ring_wait(&memory.ring, 0), 0);
    return (long)memory.comp[0].status;
}

struct message {
    union usrmsg usrmsg;
    unsigned long args[ARGS];
};

static long by_message(long nr, unsigned long *args, int *at_once, int flags)
{
    struct message message;
    memset(&message, 0, sizeof message);
    message.usrmsg.umsg.ms_cmd.cm_op = (int)nr;
    message.usrmsg.umsg.ms_flags = flags;
    memcpy(message.args, args, sizeof message.args);
    int answer = sendsys2(NULL, &message, (int)sizeof message);
    *at_once = answer < 4096;
    if (!*at_once)
        EQUAL(waitsys2(NULL, NULL, 0), answer);
    EQUAL(message.usrmsg.umsg.ms_error, 0);
    return message.usrmsg.umsg.u.ms_lresult;
}

static long by_sendsys2(long nr, unsigned long *args, int *at_once)
{
    return by_message(nr, args, at_once, MSGF_ASYNC);
}

static long by_fibrils(long nr, unsigned long *args, int *at_once)
{
    struct asys_input input = {(int)nr, 1, ARGS, args};
    struct asys_completion done;
    EQUAL(asys_submit(&input, 1), 1);
    EQUAL(asys_await_completion(&done), 0);
    EQUAL(done.cookie, 1);
    *at_once = 1; /* it is not said */
    return done.return_code;
}

static const struct {
    const char *name;
    long (*make)(long nr, unsigned long *args, int *at_once);
} ways[] = {
    {"syslet_submit", by_submit}, {"syslet_chain_submit", by_chain}, {"async_submit", by_async_submit},
    {"acall_submit", by_acall},   {"indirect", by_indirect},         {"sendsys2", by_sendsys2},
    {"asys_submit", by_fibrils},
};
enum { WAYS = sizeof ways / sizeof *ways };

static struct syslet_stats counted(void)
{
    struct syslet_stats stats;
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    return stats;
}

/* A call that could sleep, and does not, is over at once, and no thread but this one has made it; a call that is
 * preempted is handed off, which few are. */
static void stays_if_it_does_not_sleep(void)
{
    enum { TIMES = 100 };
    char text[] = "cached", name[8];
    int file = memfd_create("cached", 0);
    unsigned long args[ARGS] = {(unsigned long)file, (unsigned long)name, sizeof text, 0, 0, 0};
    CHECK(file >= 0 && write(file, text, sizeof text) == sizeof text);
    for (int way = 0; way < WAYS; way++) {
        int stayed = 0;
        for (int n = 0; n < TIMES; n++) {
            uint64_t before = counted().inlined;
            int at_once;
            memset(name, 0, sizeof name);
            EQUAL(ways[way].make(SYS_pread64, args, &at_once), sizeof text);
            CHECK(strcmp(name, text) == 0);
            stayed += at_once && counted().inlined == before + 1;
        }
        if (way_is("pool") || stayed >= TIMES / 2)
            continue;
        fprintf(stderr, "%s: %d of %d have stayed\n", ways[way].name, stayed, TIMES);
        abort();
    }
    close(file);
}

/* Each argument is the one that it is to the kernel. */
static void six_arguments(void)
{
    for (int way = 0; way < WAYS; way++) {
        struct six six = six_begin();
        int at_once;
        long answer = ways[way].make(SYS_mmap, six.args, &at_once);
        if (answer != (long)six.args[0])
            fprintf(stderr, "%s answers %ld\n", ways[way].name, answer);
        six_end(&six, answer);
    }
}

static long without_parameters(long nr, unsigned long *args)
{
    struct indirect_registers regs = registers(nr, args);
    return indirect(&regs, NULL, 0, 0);
}

static long without_ring(long nr, unsigned long *args)
{
    struct indirect_registers regs = registers(nr, args);
    union indirect_params params;
    memset(&params, 0, sizeof params);
    return indirect(&regs, &params, sizeof params, 0);
}

static long with_file_flags(long nr, unsigned long *args)
{
    struct indirect_registers regs = registers(nr, args);
    union indirect_params params;
    params.file_flags.flags = O_CLOEXEC;
    return indirect(&regs, &params, sizeof params.file_flags, 0);
}

static long synchronous_message(long nr, unsigned long *args)
{
    int at_once;
    long answer = by_message(nr, args, &at_once, 0);
    CHECK(at_once);
    return answer;
}

/* When no call was away. */
static struct syslet_stats before_it;

/* True if a call is away; or never will be: in a pool who waits may make it, and so does who finds no crew thread. */
static int is_away(void)
{
    struct syslet_stats now = counted();
    return way_is("pool") || now.outstanding != 0 || now.in_place != before_it.in_place ||
           now.queued != before_it.queued;
}

/* The other end of a FIFO, once a call is away, and waits for it in open(2): before, that is ENXIO. */
static void *other_end(void *path)
{
    int fd;
    while (!is_away())
        sched_yield();
    while ((fd = open(path, O_WRONLY | O_NONBLOCK)) < 0) {
        EQUAL(errno, ENXIO);
        sched_yield();
    }
    CHECK(write(fd, "w", 1) == 1);
    CHECK(close(fd) == 0);
    return NULL;
}

/* What asks for no completion has the answer of a call that sleeps, and not before there is one. */
static void waits_if_it_sleeps(void)
{
    static const struct {
        long (*make)(long nr, unsigned long *args);
        int fd_flags;
    } waiting[] = {
        {without_parameters, 0}, {without_ring, 0}, {synchronous_message, 0}, {with_file_flags, FD_CLOEXEC}};
    char folder[] = "/tmp/syslet-calls-XXXXXX", path[64];
    struct timespec time = {0, 5000000}, begin, end;
    unsigned long opening[ARGS] = {(unsigned long)path, O_RDONLY, 0, 0, 0, 0};
    unsigned long sleeping[ARGS] = {(unsigned long)&time, 0, 0, 0, 0, 0};
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    for (size_t n = 0; n < sizeof waiting / sizeof *waiting; n++) {
        pthread_t thread;
        char byte = 0;
        EQUAL(syslet_drain(-1), 0);
        before_it = counted();
        CHECK(pthread_create(&thread, NULL, other_end, path) == 0);
        int fd = (int)waiting[n].make(SYS_open, opening);
        CHECK(read(fd, &byte, 1) == 1 && byte == 'w');
        EQUAL(fcntl(fd, F_GETFD), waiting[n].fd_flags);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(close(fd) == 0);
        if (waiting[n].fd_flags)
            continue; /* it may only make descriptors */
        CHECK(clock_gettime(CLOCK_MONOTONIC, &begin) == 0);
        EQUAL(waiting[n].make(SYS_nanosleep, sleeping), 0);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
        CHECK((end.tv_sec - begin.tv_sec) * 1000000000l + end.tv_nsec - begin.tv_nsec >= time.tv_nsec);
    }
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

/* Several are given, and a later one cannot be read: those before it stand. */
static void later_ones_that_are_not_mapped(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct acall_submission *submission = (void *)(memory + page - sizeof *submission);
    struct asys_input *input = (void *)(memory + page - sizeof *input);
    struct acall_completion done = {0, 0};
    struct asys_completion awaited;
    CHECK(memory != MAP_FAILED && mprotect(memory + page, page, PROT_NONE) == 0);
    submission->nr = SYS_getpid;
    submission->cookie = 1;
    submission->completion_pointer = (uint64_t)(uintptr_t)&done;
    EQUAL(acall_submit(submission, 2), 1);
    EQUAL(__atomic_load_n(&done.cookie, __ATOMIC_ACQUIRE), 1);
    EQUAL(done.return_code, getpid());
    *input = (struct asys_input){SYS_getpid, 2, 0, NULL};
    EQUAL(asys_submit(input, 2), 1);
    EQUAL(asys_await_completion(&awaited), 0);
    EQUAL(awaited.cookie, 2);
    EQUAL(awaited.return_code, getpid());
    EQUAL(asys_await_completion(&awaited), -ENOENT);
    CHECK(munmap(memory, 2 * page) == 0);
}

int main(void)
{
    attach();
    stays_if_it_does_not_sleep();
    six_arguments();
    waits_if_it_sleeps();
    later_ones_that_are_not_mapped();
    EQUAL(syslet_detach(), 0);
    return 0;
}
