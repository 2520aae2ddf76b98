/* acall, second generation. */
#define _GNU_SOURCE
#include "check.h"

#include "historic.h"

#include <dirent.h>
#include <signal.h>
#include <syslet/acall.h>
#include <sys/mman.h>
#include <sys/wait.h>

IS(ACALL_SUBMIT_THREAD_POOL, 1);
SIZE(struct acall_submission, 88);
AT(struct acall_submission, nr, 0);
AT(struct acall_submission, flags, 4);
AT(struct acall_submission, cookie, 8);
AT(struct acall_submission, completion_ring_pointer, 16);
AT(struct acall_submission, completion_pointer, 24);
AT(struct acall_submission, id_pointer, 32);
AT(struct acall_submission, args, 40);
SIZE(struct acall_id, 16);
SIZE(struct acall_completion, 16);
AT(struct acall_completion, return_code, 0);
AT(struct acall_completion, cookie, 8);
SIZE(struct acall_completion_ring, 8);
AT(struct acall_completion_ring, head, 0);
AT(struct acall_completion_ring, nr, 4);
AT(struct acall_completion_ring, comps, 8);

enum { PLACES = 4 };
static struct {
    struct acall_completion_ring ring;
    struct acall_completion comps[PLACES];
} memory;
static int ends[2];
static char byte;

static struct acall_submission make(long nr, uint64_t cookie, long a, long b, long c)
{
    struct acall_submission made;
    memset(&made, 0, sizeof made);
    made.nr = (uint32_t)nr;
    made.cookie = cookie;
    made.args[0] = (uint64_t)a;
    made.args[1] = (uint64_t)b;
    made.args[2] = (uint64_t)c;
    return made;
}

static struct acall_submission reading(uint64_t cookie)
{
    return make(SYS_read, cookie, ends[0], (long)&byte, 1);
}

static void reset(void)
{
    memset(&memory, 0, sizeof memory);
    memory.ring.nr = PLACES;
}

static uint64_t cookie_of(struct acall_completion *completion)
{
    return __atomic_load_n(&completion->cookie, __ATOMIC_ACQUIRE);
}

/* No id was given yet. */
static void before_the_first_id(void)
{
    struct acall_id id;
    memset(&id, 0, sizeof id);
    EQUAL(acall_comp_pwait(&id, 1, NULL, NULL, 0), -EINVAL);
    EQUAL(acall_comp_pwait(NULL, 0, NULL, NULL, 0), 0);
    EQUAL(acall_cancel(&id), -EAGAIN);
}

static void submitting(void)
{
    struct acall_completion done = {0, 0};
    struct acall_submission both[2] = {make(SYS_getpid, 1, 0, 0, 0), reading(2)};
    struct acall_id id, other;
    reset();
    EQUAL(acall_submit(NULL, 0), 0);
    both[0].completion_pointer = (uint64_t)(uintptr_t)&done;
    both[1].completion_ring_pointer = (uint64_t)(uintptr_t)&memory;
    both[1].id_pointer = (uint64_t)(uintptr_t)&id;
    both[1].flags = ACALL_SUBMIT_THREAD_POOL;
    EQUAL(acall_submit(both, 2), 2);
    memset(both, 0xff, sizeof both); /* not used any more */
    EQUAL(cookie_of(&done), 1);
    EQUAL(done.return_code, getpid());
    EQUAL(memory.ring.head, 0);
    CHECK(write(ends[1], "a", 1) == 1);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, NULL, NULL, 0), 0);
    EQUAL(memory.ring.head, 1);
    EQUAL(cookie_of(&memory.comps[0]), 2);
    EQUAL(memory.comps[0].return_code, 1);
    EQUAL(acall_comp_pwait(&id, 1, NULL, NULL, 0), 1);
    EQUAL(acall_cancel(&id), -EAGAIN);
    /* All pointers may be NULL: the call runs. */
    both[0] = reading(3);
    EQUAL(acall_submit(both, 1), 1);
    byte = 0;
    CHECK(write(ends[1], "b", 1) == 1);
    while (__atomic_load_n(&byte, __ATOMIC_ACQUIRE) != 'b')
        sched_yield();
    /* Ids differ. */
    both[0] = make(SYS_getpid, 4, 0, 0, 0);
    both[0].id_pointer = (uint64_t)(uintptr_t)&other;
    EQUAL(acall_submit(both, 1), 1);
    CHECK(memcmp(&id, &other, sizeof id) != 0);
    /* A bad one ends the submission, and those before it stand. */
    both[0] = make(SYS_getpid, 5, 0, 0, 0);
    both[1] = make(SYS_getpid, 6, 0, 0, 0);
    both[1].flags = 2;
    EQUAL(acall_submit(both, 2), 1);
    for (int bit = 1; bit < 32; bit++) {
        both[1].flags = 1u << bit;
        EQUAL(acall_submit(both + 1, 1), -EINVAL);
    }
}

static void waiting(void)
{
    struct timespec brief = {0, 1000000}, none = {0, 0}, bad = {0, -1};
    struct acall_submission one = reading(7), two = reading(8);
    struct acall_id ids[3];
    reset();
    one.id_pointer = (uint64_t)(uintptr_t)&ids[0];
    two.id_pointer = (uint64_t)(uintptr_t)&ids[1];
    one.completion_ring_pointer = two.completion_ring_pointer = (uint64_t)(uintptr_t)&memory;
    EQUAL(acall_submit(&one, 1), 1);
    EQUAL(acall_submit(&two, 1), 1);
    EQUAL(acall_comp_pwait(ids, 2, &brief, NULL, 0), 0);
    EQUAL(acall_comp_pwait(ids, 2, &none, NULL, 0), 0);
    EQUAL(acall_comp_pwait(ids, 2, &bad, NULL, 0), -EINVAL);
    EQUAL(acall_comp_pwait(ids, 2, (void *)8, NULL, 0), -EFAULT);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, &brief, NULL, 0), -ETIMEDOUT);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, &bad, NULL, 0), -EINVAL);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, (void *)8, NULL, 0), -EFAULT);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 0, NULL, NULL, 0), 0);
    memset(&ids[2], 'x', sizeof ids[2]); /* never given */
    EQUAL(acall_comp_pwait(ids, 3, NULL, NULL, 0), 1);
    EQUAL(acall_cancel(&ids[1]), 0);
    EQUAL(acall_comp_pwait(&ids[1], 1, NULL, NULL, 0), 1);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, NULL, NULL, 0), 0);
    EQUAL(cookie_of(&memory.comps[0]), 8);
    EQUAL((int64_t)memory.comps[0].return_code, -ECANCELED);
    CHECK(write(ends[1], "c", 1) == 1);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 2, NULL, NULL, 0), 0);
    EQUAL(cookie_of(&memory.comps[1]), 7);
}

/* A ring of any size but 0, which is looked at with each completion; it is the program that sees to the room. */
static void rings(void)
{
    struct acall_submission one = make(SYS_getpid, 1, 0, 0, 0);
    reset();
    memory.ring.nr = 3;
    memory.ring.head = 0xfffffffe; /* and it wraps */
    one.completion_ring_pointer = (uint64_t)(uintptr_t)&memory;
    for (unsigned n = 0; n < 5; n++) {
        uint32_t at = memory.ring.head % 3;
        one.cookie = n + 1;
        EQUAL(acall_submit(&one, 1), 1);
        EQUAL(memory.ring.head, 0xffffffff + n);
        EQUAL(cookie_of(&memory.comps[at]), n + 1);
    }
    EQUAL(cookie_of(&memory.comps[3]), 0);
    EQUAL(memory.ring.head, 3);
    memory.ring.nr = 4;
    one.cookie = 6;
    EQUAL(acall_submit(&one, 1), 1);
    EQUAL(cookie_of(&memory.comps[3]), 6);
    /* How many there are is not said; they are counted over the wrap. */
    EQUAL(acall_ring_pwait(&memory.ring, 0xfffffffe, 1, NULL, NULL, 0), 0);
    EQUAL(acall_ring_pwait(&memory.ring, 0xfffffffe, 6, NULL, NULL, 0), 0);
    struct timespec none = {0, 0};
    EQUAL(acall_ring_pwait(&memory.ring, 0xfffffffe, 7, &none, NULL, 0), -ETIMEDOUT);
}

static uint64_t lost_answers(void)
{
    struct syslet_stats stats;
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    return stats.lost;
}

/* A ring of no places has no completion, which is counted; the call runs. */
static void rings_without_places(void)
{
    struct acall_submission one = make(SYS_getpid, 1, 0, 0, 0);
    struct acall_completion done = {0, 0};
    struct acall_id id;
    uint64_t lost = lost_answers();
    reset();
    memory.ring.nr = 0;
    one.completion_ring_pointer = (uint64_t)(uintptr_t)&memory;
    one.completion_pointer = (uint64_t)(uintptr_t)&done;
    EQUAL(acall_submit(&one, 1), 1);
    EQUAL(cookie_of(&done), 1);
    EQUAL(done.return_code, getpid());
    EQUAL(memory.ring.head, 0);
    EQUAL(cookie_of(&memory.comps[0]), 0);
    EQUAL(lost_answers(), lost + 1);
    /* Also if they go while the call is away. */
    memory.ring.nr = PLACES;
    one = reading(2);
    one.completion_ring_pointer = (uint64_t)(uintptr_t)&memory;
    one.id_pointer = (uint64_t)(uintptr_t)&id;
    EQUAL(acall_submit(&one, 1), 1);
    memory.ring.nr = 0;
    CHECK(write(ends[1], "n", 1) == 1);
    EQUAL(acall_comp_pwait(&id, 1, NULL, NULL, 0), 1);
    EQUAL(memory.ring.head, 0);
    EQUAL(lost_answers(), lost + 2);
}

static volatile sig_atomic_t handled;

static void handler(int signal)
{
    handled = signal;
}

/* True if thread `tid` of this process blocks a signal, or has ended. */
static int blocks(const char *tid, int signal)
{
    char path[300], line[200];
    unsigned long long mask = ~0ULL;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "SigBlk: %llx", &mask) == 1)
            break;
    if (status)
        fclose(status);
    return (mask >> (signal - 1)) & 1;
}

/* Waits until every thread blocks a signal. A thread that has just come out of a call of the guest's has the mask
 * that the guest had then, until it has run on. */
static void until_all_block(int signal)
{
    for (int all = 0; !all; sched_yield()) {
        DIR *threads = opendir("/proc/self/task");
        CHECK(threads != NULL);
        all = 1;
        for (struct dirent *thread; (thread = readdir(threads)) != NULL;)
            all &= thread->d_name[0] == '.' || blocks(thread->d_name, signal);
        closedir(threads);
    }
}

/* With a mask: signals that it does not block end the wait, those that it blocks do not. */
static void masks(void)
{
    struct timespec brief = {0, 1000000};
    struct sigaction action;
    struct acall_submission one = reading(9);
    struct acall_id id;
    sigset_t blocked, open;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    sigemptyset(&open);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    one.id_pointer = (uint64_t)(uintptr_t)&id;
    EQUAL(acall_submit(&one, 1), 1);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    if (!way_is("pool"))
        EQUAL(syslet_refresh(), 0);
    until_all_block(SIGUSR1);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    EQUAL(acall_comp_pwait(&id, 1, &brief, &blocked, 8), 0);
    EQUAL(handled, 0);
    EQUAL(acall_comp_pwait(&id, 1, NULL, &open, sizeof open), -EINTR);
    EQUAL(handled, SIGUSR1);
    /* For rings too. */
    reset();
    handled = 0;
    CHECK(kill(getpid(), SIGUSR1) == 0);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, &brief, &blocked, 8), -ETIMEDOUT);
    EQUAL(handled, 0);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, NULL, &open, 8), -EINTR);
    EQUAL(handled, SIGUSR1);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, NULL, &open, 4), -EINVAL);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 1, NULL, (void *)8, 8), -EFAULT);
    EQUAL(acall_ring_pwait(&memory.ring, 0, 0, NULL, &open, 4), 0);
    EQUAL(acall_comp_pwait(&id, 0, NULL, &open, 4), 0);
    /* A mask may name what cannot be blocked. */
    sigset_t every;
    sigfillset(&every);
    EQUAL(acall_comp_pwait(&id, 1, &brief, &every, 8), 0);
    EQUAL(acall_comp_pwait(&id, 1, NULL, &open, 4), -EINVAL);
    EQUAL(acall_comp_pwait(&id, 1, NULL, (void *)8, 8), -EFAULT);
    CHECK(write(ends[1], "d", 1) == 1);
    EQUAL(acall_comp_pwait(&id, 1, NULL, &open, 8), 1);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) == 0);
    if (!way_is("pool"))
        EQUAL(syslet_refresh(), 0);
}

static pid_t masked_waiter;

static void *wait_with_a_mask(void *id)
{
    sigset_t none;
    sigemptyset(&none);
    __atomic_store_n(&masked_waiter, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    EQUAL(acall_comp_pwait(id, 1, NULL, &none, 8), 1);
    return NULL;
}

/* True if the thread that waits with a mask sleeps. */
static int it_sleeps(void)
{
    char path[64], call[16] = "";
    pid_t thread = __atomic_load_n(&masked_waiter, __ATOMIC_ACQUIRE);
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
    FILE *about = thread ? fopen(path, "r") : NULL;
    if (about == NULL)
        return 0;
    CHECK(fscanf(about, "%15s", call) == 1);
    fclose(about);
    return atoi(call) == SYS_futex || atoi(call) == SYS_ppoll;
}

/* Who waits with a mask has no descriptor, which the program might close, and open a file that gets the number. */
static void masks_without_descriptors(void)
{
    struct acall_submission one = reading(10);
    struct acall_id id;
    pthread_t thread;
    one.id_pointer = (uint64_t)(uintptr_t)&id;
    EQUAL(acall_submit(&one, 1), 1);
    int next = dup(0);
    CHECK(close(next) == 0);
    CHECK(pthread_create(&thread, NULL, wait_with_a_mask, &id) == 0);
    while (!it_sleeps())
        CHECK(sched_yield() == 0);
    EQUAL(dup(0), next);
    CHECK(close(next) == 0);
    CHECK(write(ends[1], "e", 1) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void bad_input(void)
{
    char *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct acall_submission one = make(SYS_getpid, 1, 0, 0, 0);
    struct acall_id id;
    CHECK(mprotect(gone, 4096, PROT_NONE) == 0);
    reset();
    EQUAL(acall_submit(NULL, 1), -EFAULT);
    EQUAL(acall_submit((void *)gone, 1), -EFAULT);
    one.completion_pointer = (uint64_t)(uintptr_t)gone;
    EQUAL(acall_submit(&one, 1), -EFAULT);
    one.completion_pointer = (uint64_t)(uintptr_t)&memory + 4;
    EQUAL(acall_submit(&one, 1), -EINVAL);
    one.completion_pointer = 0;
    one.completion_ring_pointer = (uint64_t)(uintptr_t)gone;
    EQUAL(acall_submit(&one, 1), -EFAULT);
    one.completion_ring_pointer = (uint64_t)(uintptr_t)&memory + 4;
    EQUAL(acall_submit(&one, 1), -EINVAL);
    one.completion_ring_pointer = 0;
    one.id_pointer = (uint64_t)(uintptr_t)gone;
    EQUAL(acall_submit(&one, 1), -EFAULT);
    one.id_pointer = 0;
    one.nr = SYS_fork;
    EQUAL(acall_submit(&one, 1), -EPERM);
    one.nr = 33333;
    EQUAL(acall_submit(&one, 1), -ENOSYS);
    EQUAL(acall_comp_pwait((void *)gone, 1, NULL, NULL, 0), -EFAULT);
    EQUAL(acall_ring_pwait((void *)gone, 0, 1, NULL, NULL, 0), -EFAULT);
    EQUAL(acall_ring_pwait(NULL, 0, 1, NULL, NULL, 0), -EFAULT);
    EQUAL(acall_cancel(NULL), -EFAULT);
    EQUAL(acall_cancel((void *)gone), -EFAULT);
    memset(&id, 0, sizeof id);
    EQUAL(acall_cancel(&id), -EAGAIN);
}

enum { MANY = 256 };

/* Many calls end at the same time: each has its place in the ring, and the head counts those that are there. */
static void one_ring_for_many(void)
{
    static struct {
        struct acall_completion_ring ring;
        struct acall_completion comps[MANY];
    } large;
    static struct acall_submission all[MANY];
    static char bytes[MANY];
    static int seen[MANY];
    large.ring.nr = MANY;
    for (int n = 0; n < MANY; n++) {
        all[n] = make(SYS_read, (uint64_t)n + 1, ends[0], (long)&bytes[n], 1);
        all[n].completion_ring_pointer = (uint64_t)(uintptr_t)&large;
    }
    EQUAL(acall_submit(all, MANY), MANY);
    CHECK(write(ends[1], bytes, MANY) == MANY);
    for (uint32_t tail = 0; tail < MANY; tail++) {
        EQUAL(acall_ring_pwait(&large.ring, tail, 1, NULL, NULL, 0), 0);
        uint64_t cookie = cookie_of(&large.comps[tail]);
        CHECK(cookie >= 1 && cookie <= MANY);
        EQUAL(large.comps[tail].return_code, 1);
        EQUAL(seen[cookie - 1]++, 0);
    }
}

enum { IDS = 2000, SUBMITTERS = 4 };
static struct acall_id ids[SUBMITTERS + 1][IDS];

static void *submitter(void *data)
{
    struct acall_id *mine = data;
    struct acall_submission one = make(SYS_getpid, 1, 0, 0, 0);
    for (int n = 0; n < IDS; n++) {
        one.id_pointer = (uint64_t)(uintptr_t)&mine[n];
        EQUAL(acall_submit(&one, 1), 1);
    }
    return NULL;
}

static int by_bytes(const void *left, const void *right)
{
    return memcmp(left, right, sizeof(struct acall_id));
}

/* No id is given twice: not to several threads, and not in a child, whose ids are not the parent's. */
static void unique_ids(void)
{
    pthread_t threads[SUBMITTERS];
    int ways[2], status;
    for (int n = 0; n < SUBMITTERS; n++)
        CHECK(pthread_create(&threads[n], NULL, submitter, ids[n]) == 0);
    for (int n = 0; n < SUBMITTERS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK(pipe(ways) == 0);
    pid_t child = fork();
    if (child == 0) {
        static struct acall_id none;
        EQUAL(acall_comp_pwait(&none, 1, NULL, NULL, 0), -EINVAL); /* never used there */
        submitter(ids[SUBMITTERS]);
        EQUAL(acall_cancel(&ids[0][0]), -EAGAIN);
        for (size_t done = 0; done < sizeof ids[0];) {
            ssize_t put = write(ways[1], (char *)ids[SUBMITTERS] + done, sizeof ids[0] - done);
            CHECK(put > 0);
            done += (size_t)put;
        }
        _exit(0);
    }
    for (size_t done = 0; done < sizeof ids[0];) {
        ssize_t got = read(ways[0], (char *)ids[SUBMITTERS] + done, sizeof ids[0] - done);
        CHECK(got > 0);
        done += (size_t)got;
    }
    CHECK(waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
    struct acall_id *all = &ids[0][0];
    qsort(all, (SUBMITTERS + 1) * IDS, sizeof *all, by_bytes);
    for (int n = 1; n < (SUBMITTERS + 1) * IDS; n++)
        CHECK(by_bytes(&all[n - 1], &all[n]) < 0);
    close(ways[0]);
    close(ways[1]);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
    attach();
    before_the_first_id();
    submitting();
    waiting();
    rings();
    rings_without_places();
    masks();
    masks_without_descriptors();
    one_ring_for_many();
    unique_ids();
    bad_input();
    EQUAL(syslet_detach(), 0);
    return 0;
}
