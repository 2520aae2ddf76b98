/* Syslets, version 7. */
#define _GNU_SOURCE
#include "check.h"

#include "historic.h"

#include <linux/futex.h>
#include <syslet/indirect.h>
#include <sys/mman.h>

IS(ESYSLETPENDING, 132);
SIZE(struct syslet_frame, 16);
AT(struct syslet_frame, ip, 0);
AT(struct syslet_frame, sp, 8);
SIZE(struct syslet_args, 32);
AT(struct syslet_args, completion_ring_ptr, 0);
AT(struct syslet_args, caller_data, 8);
AT(struct syslet_args, frame, 16);
SIZE(struct syslet_completion, 16);
AT(struct syslet_completion, status, 0);
AT(struct syslet_completion, caller_data, 8);
SIZE(struct syslet_ring, 16);
AT(struct syslet_ring, kernel_head, 0);
AT(struct syslet_ring, user_tail, 4);
AT(struct syslet_ring, elements, 8);
AT(struct syslet_ring, wait_group, 12);
AT(struct syslet_ring, comp, 16);
SIZE(union indirect_params, 32);
SIZE(((union indirect_params *)0)->file_flags, 4);
SIZE(struct indirect_registers, 56);
AT(struct indirect_registers, rax, 0);
AT(struct indirect_registers, rdi, 8);
AT(struct indirect_registers, rsi, 16);
AT(struct indirect_registers, rdx, 24);
AT(struct indirect_registers, r10, 32);
AT(struct indirect_registers, r8, 40);
AT(struct indirect_registers, r9, 48);

enum { ELEMENTS = 4 };
static struct {
    struct syslet_ring ring;
    struct syslet_completion comp[ELEMENTS];
} memory;
static int ends[2];
static char bytes[16];

static void reset(void)
{
    memset(&memory, 0, sizeof memory);
    memory.ring.elements = ELEMENTS;
}

static struct indirect_registers registers(long nr, unsigned long a, unsigned long b,
                                           unsigned long c)
{
    struct indirect_registers regs = {(uint64_t)nr, a, b, c, 0, 0, 0};
    return regs;
}

static union indirect_params params(void *ring, uint64_t data)
{
    union indirect_params made;
    memset(&made, 0, sizeof made);
    made.syslet.completion_ring_ptr = (uint64_t)(uintptr_t)ring;
    made.syslet.caller_data = data;
    return made;
}

static long read_one(uint64_t data, char *place)
{
    struct indirect_registers regs =
        registers(SYS_read, (unsigned long)ends[0], (unsigned long)place, 1);
    union indirect_params par = params(&memory, data);
    return indirect(&regs, &par, sizeof par, 0);
}

static struct syslet_completion take(void)
{
    EQUAL(syslet_ring_wait(&memory.ring, memory.ring.user_tail), 0);
    CHECK(__atomic_load_n(&memory.ring.kernel_head, __ATOMIC_ACQUIRE) != memory.ring.user_tail);
    struct syslet_completion done = memory.comp[memory.ring.user_tail & (ELEMENTS - 1)];
    __atomic_store_n(&memory.ring.user_tail, memory.ring.user_tail + 1, __ATOMIC_RELEASE);
    return done;
}

static void inline_and_away(void)
{
    struct indirect_registers regs = registers(SYS_getpid, 0, 0, 0);
    union indirect_params par = params(&memory, 1);
    reset();
    EQUAL(indirect(&regs, NULL, 0, 0), getpid());
    EQUAL(indirect(&regs, &par, sizeof par, 0), getpid());
    EQUAL(memory.ring.kernel_head, 0);
    EQUAL(read_one(42, bytes), -ESYSLETPENDING);
    EQUAL(memory.ring.kernel_head, 0);
    CHECK(write(ends[1], "q", 1) == 1);
    struct syslet_completion done = take();
    EQUAL(done.caller_data, 42);
    EQUAL(done.status, 1);
    CHECK(bytes[0] == 'q');
    EQUAL(memory.ring.kernel_head, 1);
    /* A shorter structure is filled up with 0. */
    regs = registers(SYS_close, (unsigned long)-1, 0, 0);
    par.syslet.completion_ring_ptr = 0;
    EQUAL(indirect(&regs, &par, 8, 0), -EBADF);
}

/* Nothing is overwritten: what there is no room for is not begun. */
static void full_ring(void)
{
    unsigned seen = 0;
    reset();
    memory.ring.kernel_head = memory.ring.user_tail = 0xfffffffe; /* and it wraps */
    for (unsigned n = 0; n < ELEMENTS; n++)
        EQUAL(read_one(n, bytes + n), -ESYSLETPENDING);
    EQUAL(read_one(9, bytes + 9), -ENOBUFS);
    CHECK(write(ends[1], "abcd", 4) == 4);
    for (unsigned n = 0; n < ELEMENTS; n++) {
        while (__atomic_load_n(&memory.ring.kernel_head, __ATOMIC_ACQUIRE) != 2)
            sched_yield();
        /* The ring is full of completions that nobody has read. */
        if (n == 0)
            EQUAL(read_one(9, bytes + 9), -ENOBUFS);
        struct syslet_completion done = take();
        EQUAL(done.status, 1);
        CHECK(done.caller_data < ELEMENTS && !(seen & 1u << done.caller_data));
        seen |= 1u << done.caller_data;
    }
    EQUAL(read_one(7, bytes), -ESYSLETPENDING);
    CHECK(write(ends[1], "e", 1) == 1);
    EQUAL(take().caller_data, 7);
}

/* What fails when it is away has -errno as its status; any group will do. */
static void failing(void)
{
    static unsigned word;
    struct timespec brief = {0, 20000000};
    struct indirect_registers regs =
        registers(SYS_futex, (unsigned long)&word, FUTEX_WAIT, 0);
    union indirect_params par = params(&memory, ~0ull);
    reset();
    memory.ring.wait_group = ~0u;
    regs.r10 = (unsigned long)&brief;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -ESYSLETPENDING);
    struct syslet_completion done = take();
    EQUAL((int64_t)done.status, -ETIMEDOUT);
    EQUAL(done.caller_data, ~0ull);
    EQUAL(memory.ring.wait_group, ~0u);
}

static uint64_t framed;

static void frame(void *sp)
{
    __atomic_store_n(&framed, *(uint64_t *)sp, __ATOMIC_RELEASE);
}

static void frames(void)
{
    uint64_t number = 99;
    struct indirect_registers regs =
        registers(SYS_read, (unsigned long)ends[0], (unsigned long)bytes, 1);
    union indirect_params par = params(&memory, 5);
    reset();
    par.syslet.frame.ip = (uint64_t)(uintptr_t)frame;
    par.syslet.frame.sp = (uint64_t)(uintptr_t)&number;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -ESYSLETPENDING);
    EQUAL(framed, 0);
    CHECK(write(ends[1], "f", 1) == 1);
    EQUAL(take().caller_data, 5);
    while (__atomic_load_n(&framed, __ATOMIC_ACQUIRE) != 99)
        sched_yield();
    par.syslet.frame.sp = 0;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    par.syslet.frame.ip = 0;
    par.syslet.frame.sp = 1 << 20;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    par.syslet.frame.ip = ~0ull;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
}

enum { SHARERS = 8, READS = 500, LAST = SHARERS * READS };
static char shared_bytes[SHARERS][READS];
static int shared_seen[SHARERS][READS]; /* 1: here; 2: in the ring */
static int through;

static long read_of(int fd, uint64_t data, char *place)
{
    struct indirect_registers regs = registers(SYS_read, (unsigned long)fd, (unsigned long)place, 1);
    union indirect_params par = params(&memory, data);
    long answer;
    /* What the ring has no room for was not begun. */
    while ((answer = indirect(&regs, &par, sizeof par, 0)) == -ENOBUFS)
        sched_yield();
    return answer;
}

/* Reads bytes out of a pipe that all read, and writes one for each; then one of its own, which it has to wait for. */
static void *sharer(void *data)
{
    int number = (int)(long)data, own[2];
    char byte;
    attach();
    CHECK(pipe(own) == 0);
    for (int n = 0; n < READS; n++) {
        int all = number * READS + n;
        long answer = read_of(ends[0], (uint64_t)all, &shared_bytes[number][n]);
        CHECK(answer == 1 || answer == -ESYSLETPENDING);
        if (answer == 1)
            shared_seen[number][n]++;
        byte = (char)all;
        CHECK(write(ends[1], &byte, 1) == 1);
    }
    EQUAL(read_of(own[0], (uint64_t)(LAST + number), &byte), -ESYSLETPENDING);
    CHECK(write(own[1], "", 1) == 1);
    while (!__atomic_load_n(&through, __ATOMIC_ACQUIRE))
        sched_yield();
    close(own[0]);
    close(own[1]);
    EQUAL(syslet_detach(), 0);
    return NULL;
}

/* Many threads share a ring, which is much too small: each call has its end once, here or in the ring. */
static void one_ring_for_many(void)
{
    pthread_t threads[SHARERS];
    int last = 0, inlined = 0, away = 0;
    long sum = 0;
    reset();
    for (long n = 0; n < SHARERS; n++)
        CHECK(pthread_create(&threads[n], NULL, sharer, (void *)n) == 0);
    while (last < SHARERS || inlined + away < SHARERS * READS) {
        struct syslet_completion done = take();
        EQUAL(done.status, 1);
        if (done.caller_data < LAST) {
            (&shared_seen[0][0])[done.caller_data] += 2;
            away++;
            continue;
        }
        CHECK(done.caller_data < LAST + SHARERS);
        for (int n = 0; n < READS; n++)
            inlined += shared_seen[done.caller_data - LAST][n] & 1;
        last++;
    }
    EQUAL(memory.ring.kernel_head, memory.ring.user_tail);
    __atomic_store_n(&through, 1, __ATOMIC_RELEASE);
    for (int n = 0; n < SHARERS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    for (int n = 0; n < SHARERS * READS; n++) {
        int seen = (&shared_seen[0][0])[n];
        CHECK(seen == 1 || seen == 2);
        sum += (&shared_bytes[0][0])[n] - (char)n;
    }
    EQUAL(sum, 0); /* each byte was read once */
}

enum { SLEEPERS = 64, ROUNDS = 30 };

/* Many calls end at the same time, each on a thread of its own: each has its place in the ring. */
static void ends_at_once(void)
{
    static struct {
        struct syslet_ring ring;
        struct syslet_completion comp[SLEEPERS];
    } large;
    large.ring.elements = SLEEPERS;
    for (int round = 0; round < ROUNDS; round++) {
        static unsigned word;
        uint64_t seen = 0;
        struct indirect_registers regs = registers(SYS_futex, (unsigned long)&word, FUTEX_WAIT_PRIVATE, 0);
        __atomic_store_n(&word, 0, __ATOMIC_RELEASE);
        for (unsigned n = 0; n < SLEEPERS; n++) {
            union indirect_params par = params(&large, n);
            EQUAL(indirect(&regs, &par, sizeof par, 0), -ESYSLETPENDING);
        }
        /* Who does not sleep yet finds that the word has changed. */
        __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
        CHECK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, SLEEPERS, NULL, NULL, 0) >= 0);
        for (unsigned n = 0; n < SLEEPERS; n++, large.ring.user_tail++) {
            EQUAL(syslet_ring_wait(&large.ring, large.ring.user_tail), 0);
            struct syslet_completion *done = &large.comp[large.ring.user_tail % SLEEPERS];
            CHECK(done->status == 0 || done->status == (uint64_t)-EAGAIN);
            CHECK(done->caller_data < SLEEPERS && !(seen & 1ull << done->caller_data));
            seen |= 1ull << done->caller_data;
        }
        EQUAL(__atomic_load_n(&large.ring.kernel_head, __ATOMIC_ACQUIRE), large.ring.user_tail);
    }
}

static int reached;

/* Waits for the second completion. */
static void waiting_frame(void *unused)
{
    (void)unused;
    while (syslet_ring_wait(&memory.ring, 1) != 0)
        ;
    __atomic_store_n(&reached, 1, __ATOMIC_RELEASE);
}

/* A frame's function may wait for what others have to end. */
static void frames_that_wait(void)
{
    int others[2];
    char byte;
    CHECK(pipe(others) == 0);
    struct indirect_registers first =
        registers(SYS_read, (unsigned long)ends[0], (unsigned long)bytes, 1);
    struct indirect_registers second =
        registers(SYS_read, (unsigned long)others[0], (unsigned long)&byte, 1);
    union indirect_params par = params(&memory, 1);
    reset();
    par.syslet.frame.ip = (uint64_t)(uintptr_t)waiting_frame;
    par.syslet.frame.sp = (uint64_t)(uintptr_t)&memory;
    EQUAL(indirect(&first, &par, sizeof par, 0), -ESYSLETPENDING);
    par = params(&memory, 2);
    EQUAL(indirect(&second, &par, sizeof par, 0), -ESYSLETPENDING);
    CHECK(write(ends[1], "w", 1) == 1);
    EQUAL(take().caller_data, 1);
    CHECK(!__atomic_load_n(&reached, __ATOMIC_ACQUIRE));
    CHECK(write(others[1], "w", 1) == 1);
    EQUAL(take().caller_data, 2);
    while (!__atomic_load_n(&reached, __ATOMIC_ACQUIRE))
        sched_yield();
    close(others[0]);
    close(others[1]);
}

static void file_flags(void)
{
    union indirect_params par;
    struct indirect_registers regs =
        registers(SYS_open, (unsigned long)"/dev/null", O_RDONLY, 0);
    par.file_flags.flags = O_CLOEXEC;
    long fd = indirect(&regs, &par, sizeof par.file_flags, 0);
    CHECK(fd >= 0);
    EQUAL(fcntl((int)fd, F_GETFD), FD_CLOEXEC);
    close((int)fd);
    par.file_flags.flags = 0;
    fd = indirect(&regs, &par, sizeof par.file_flags, 0);
    EQUAL(fcntl((int)fd, F_GETFD), 0);
    close((int)fd);
    for (unsigned bit = 0; bit < 32; bit++) {
        par.file_flags.flags = 1u << bit;
        if (par.file_flags.flags != O_CLOEXEC)
            EQUAL(indirect(&regs, &par, sizeof par.file_flags, 0), -EINVAL);
    }
    par.file_flags.flags = O_CLOEXEC;
    regs = registers(SYS_getpid, 0, 0, 0);
    EQUAL(indirect(&regs, &par, sizeof par.file_flags, 0), -EINVAL);
}

static void bad_input(void)
{
    char *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct indirect_registers regs = registers(SYS_getpid, 0, 0, 0);
    union indirect_params par = params(&memory, 1);
    CHECK(mprotect(gone, 4096, PROT_NONE) == 0);
    reset();
    for (unsigned bit = 0; bit < 32; bit++)
        EQUAL(indirect(&regs, &par, sizeof par, (int)(1u << bit)), -EINVAL);
    EQUAL(indirect(&regs, &par, sizeof par + 1, 0), -EINVAL);
    EQUAL(indirect(NULL, &par, sizeof par, 0), -EFAULT);
    EQUAL(indirect((void *)gone, &par, sizeof par, 0), -EFAULT);
    EQUAL(indirect(&regs, NULL, sizeof par, 0), -EFAULT);
    EQUAL(indirect(&regs, gone, sizeof par, 0), -EFAULT);
    regs.rax = SYS_fork;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    regs.rax = 55555;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    regs.rax = SYS_getpid;
    memory.ring.elements = 3;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    memory.ring.elements = 0;
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    reset();
    par = params((char *)&memory + 4, 0);
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EINVAL);
    par = params(gone, 0);
    EQUAL(indirect(&regs, &par, sizeof par, 0), -EFAULT);
    EQUAL(syslet_ring_wait(NULL, 0), -EFAULT);
    EQUAL(syslet_ring_wait((void *)gone, 0), -EFAULT);
    EQUAL(syslet_ring_wait((void *)((char *)&memory + 4), 0), -EINVAL);
    EQUAL(syslet_ring_wait(&memory.ring, 1), 0);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
    attach();
    inline_and_away();
    full_ring();
    failing();
    frames();
    frames_that_wait();
    one_ring_for_many();
    ends_at_once();
    file_flags();
    bad_input();
    EQUAL(syslet_detach(), 0);
    return 0;
}
