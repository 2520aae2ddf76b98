/* What functions answer when something stands in the way: no threads, wrong places, handlers, ends of threads, full
 * crews, other identities. Each in a process of its own, which nothing was done in before. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslet/acall.h>
#include <syslet/async_submit.h>
#include <syslet/dragonfly.h>
#include <syslet/fibrils.h>
#include <syslet/indirect.h>
#include <syslet/syslets.h>
#include <syslet/threadlets.h>

static long seven(void *data)
{
    (void)data;
    return 7;
}

/* The kernel makes no thread for this process any more. */
static void deny_threads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 435 /* clone3 */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* -EAGAIN: what needs a thread says so; what can do without is done. */
static void no_threads(void)
{
    struct syslet_queue *queue;
    struct syslet_pending *pending;
    struct syslet_call call = call3(SYS_close, (unsigned long)-1, 0, 0);
    struct syslet_uatom atom, *ring[2] = {NULL, NULL};
    struct async_head_user head = {0, 0, ring, sizeof ring, 0, 0, 0, 0};
    long result = 0;
    EQUAL(syslet_queue_new(&queue, 8, 0), 0);
    deny_threads();
    struct syslet_attach_options options = way_options();
    if (!way_is("pool"))
        EQUAL(syslet_attach(&options), -EAGAIN);
    EQUAL(syslet_threadlet(seven, NULL, &result, &pending), -EAGAIN);
    EQUAL(syslet_queue_threadlet(queue, 1, seven, NULL, &result, NULL), -EAGAIN);
    errno = 0;
    EQUAL(threadlet_exec(seven, NULL, NULL), -1);
    EQUAL(errno, EAGAIN);
    memset(&atom, 0, sizeof atom);
    atom.nr = SYS_getpid;
    errno = 0;
    CHECK(async_exec(&atom, &head) == (struct syslet_uatom *)-1);
    EQUAL(errno, EAGAIN);
    atom.flags = SYSLET_ASYNC;
    errno = 0;
    CHECK(async_exec(&atom, &head) == (struct syslet_uatom *)-1);
    EQUAL(errno, EAGAIN);
    atom.flags = SYSLET_SYNC;
    CHECK(async_exec(&atom, &head) == &atom);
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_DONE);
    EQUAL(result, -EBADF);
    syslet_queue_free(queue);
}

static long attaches(void *data)
{
    (void)data;
    struct syslet_attach_options options = way_options();
    EQUAL(syslet_is_attached(), 0);
    EQUAL(syslet_detach(), -EINVAL);
    EQUAL(syslet_refresh(), -EINVAL);
    return syslet_attach(&options);
}

/* -EDEADLK: a function on a crew thread cannot attach that. */
static void on_a_crew_thread(void)
{
    struct syslet_pending *pending;
    long result = 0;
    attach();
    if (syslet_threadlet(attaches, NULL, &result, &pending) == SYSLET_PENDING)
        result = syslet_wait(pending);
    EQUAL(result, -EDEADLK);
    EQUAL(syslet_detach(), 0);
}

static int ends[2];
static char byte;
static volatile sig_atomic_t handled;

/* The thread is in one of fibrils' functions, or will be soon. */
static int fibrils_are_busy;

static void handler(int signal)
{
    struct asys_input bad = {SYS_fork, 1, 0, NULL}; /* refused, where it is looked at */
    struct asys_completion done;
    /* It may have come before the function, or after. */
    int told = !fibrils_are_busy;
    if (!told && asys_submit(&bad, 1) == -EDEADLK) {
        EQUAL(asys_await_completion(&done), -EDEADLK);
        told = 1;
    }
    if (told)
        handled = signal;
}

static int returned;

/* Sends signals to the process until the waiting thread has been told, and then what ends `asys_await_completion`. */
static void *interrupter(void *unused)
{
    while (!__atomic_load_n(&returned, __ATOMIC_ACQUIRE)) {
        CHECK(kill(getpid(), SIGUSR1) == 0);
        sched_yield();
        if (fibrils_are_busy && handled) {
            CHECK(write(ends[1], "f", 1) == 1);
            break;
        }
    }
    return unused;
}

#define INTERRUPTED(call, answer)                                                                \
    do {                                                                                         \
        start_interrupting();                                                                    \
        long got_ = (long)(call);                                                                \
        stop_interrupting();                                                                     \
        EQUAL(got_, answer);                                                                     \
        CHECK(handled == SIGUSR1);                                                               \
    } while (0)

static pthread_t sender;

static void start_interrupting(void)
{
    sigset_t set;
    handled = 0;
    __atomic_store_n(&returned, 0, __ATOMIC_RELEASE);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0); /* the sender inherits that */
    CHECK(pthread_create(&sender, NULL, interrupter, NULL) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void stop_interrupting(void)
{
    __atomic_store_n(&returned, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(sender, NULL) == 0);
}

/* -EINTR: every function that waits, and says that a handler has run. */
static void interrupted(void)
{
    static struct {
        struct syslet_ring ring;
        struct syslet_completion comp[2];
    } indirect_ring;
    static struct {
        struct acall_completion_ring ring;
        struct acall_completion comps[2];
    } acall_ring;
    struct sigaction action;
    long result;
    unsigned long args[3] = {(unsigned long)ends[0], (unsigned long)&byte, 1};
    struct acall_submission submission;
    struct acall_id id;
    struct syslet_uatom atom, *ring[2] = {NULL, NULL};
    struct async_head_user head = {0, 0, ring, sizeof ring, 0, 0, 0, 0};
    struct {
        union usrmsg usrmsg;
        long args[3];
    } message;
    struct asys_input input = {SYS_read, 11, 3, args};
    struct asys_completion done;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    attach();

    long cookie = async_submit(0, &result, SYS_read, args);
    CHECK(cookie > 0);
    INTERRUPTED(wait_for_async(cookie, NULL), -EINTR);
    EQUAL(cancel_async(cookie), 0);
    EQUAL(wait_for_async(cookie, NULL), 0);

    memset(&submission, 0, sizeof submission);
    submission.nr = SYS_read;
    submission.cookie = 1;
    memcpy(submission.args, args, sizeof args);
    submission.completion_ring_pointer = (uint64_t)(uintptr_t)&acall_ring;
    submission.id_pointer = (uint64_t)(uintptr_t)&id;
    acall_ring.ring.nr = 2;
    EQUAL(acall_submit(&submission, 1), 1);
    INTERRUPTED(acall_comp_pwait(&id, 1, NULL, NULL, 0), -EINTR);
    INTERRUPTED(acall_ring_pwait(&acall_ring.ring, 0, 1, NULL, NULL, 0), -EINTR);
    EQUAL(acall_cancel(&id), 0);
    EQUAL(acall_ring_pwait(&acall_ring.ring, 0, 1, NULL, NULL, 0), 0);

    indirect_ring.ring.elements = 2;
    INTERRUPTED(syslet_ring_wait(&indirect_ring.ring, 0), -EINTR);

    memset(&message, 0, sizeof message);
    message.usrmsg.umsg.ms_cmd.cm_op = SYS_read;
    message.usrmsg.umsg.ms_flags = MSGF_ASYNC;
    memcpy(message.args, args, sizeof args);
    int asynchronous = sendsys2(NULL, &message, (int)sizeof message);
    CHECK(asynchronous >= 4096);
    INTERRUPTED(waitsys2(NULL, NULL, 0), EINTR);
    EQUAL(abortsys2(asynchronous), 0);
    EQUAL(waitsys2(NULL, NULL, 0), asynchronous);

    memset(&atom, 0, sizeof atom);
    errno = 0;
    INTERRUPTED(async_wait(1, 0, &head), -1);
    EQUAL(errno, EINTR);

    /* One of fibrils' functions is interrupted: it goes on, and the handler may not use the thread's fibrils. */
    EQUAL(asys_submit(&input, 1), 1);
    fibrils_are_busy = 1;
    INTERRUPTED(asys_await_completion(&done), 0);
    fibrils_are_busy = 0;
    EQUAL(done.return_code, 1);
    EQUAL(syslet_detach(), 0);
}

static pthread_key_t key;

static void last_of_all(void *data)
{
    struct asys_input input = {SYS_getpid, 1, 0, NULL};
    struct asys_completion done;
    int *said = data;
    struct syslet_attach_options options = way_options();
    /* The thread's own variables are gone. */
    *said = syslet_attach(&options);
    EQUAL(asys_submit(&input, 1), -ESRCH);
    EQUAL(asys_await_completion(&done), -ESRCH);
}

static void *ends_soon(void *data)
{
    struct asys_input input = {SYS_getpid, 1, 0, NULL};
    struct asys_completion done;
    attach();
    EQUAL(asys_submit(&input, 1), 1);
    EQUAL(asys_await_completion(&done), 0);
    CHECK(pthread_setspecific(key, data) == 0);
    return NULL;
}

/* -ESRCH: a thread that is ending attaches no more. */
static void at_the_end_of_a_thread(void)
{
    pthread_t thread;
    int said = 1;
    CHECK(pthread_key_create(&key, last_of_all) == 0);
    CHECK(pthread_create(&thread, NULL, ends_soon, &said) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EQUAL(said, -ESRCH);
}

static void *sandboxed(void *data)
{
    char text[128] = "";
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    struct syslet_attach_options options = way_options();
    *(int *)data = syslet_attach(&options);
    void *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED);
    EQUAL(syslet_check_identity(gone, 128), -EXDEV); /* without a text */
    EQUAL(syslet_check_identity(text, sizeof text), -EXDEV);
    CHECK(strstr(text, "NoNewPrivs"));
    EQUAL(syslet_check_identity(text, 5), -EXDEV);
    EQUAL(strlen(text), 4);
    return NULL;
}

/* -EPERM: a thread that has given up rights does not mix with a crew that has them. */
static void another_identity(void)
{
    pthread_t thread;
    int said = 1;
    attach();
    CHECK(pthread_create(&thread, NULL, sandboxed, &said) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EQUAL(said, way_is("pool") ? SYSLET_POOL : -EPERM);
    EQUAL(syslet_detach(), 0);
}

static long gated(void *data)
{
    char opened;
    CHECK(read(ends[0], &opened, 1) == 1);
    return (long)data;
}

static void *comes_and_goes(void *options)
{
    CHECK(syslet_attach(options) >= 0);
    EQUAL(syslet_detach(), 0);
    return NULL;
}

/* -EBUSY: no crew thread is left, and the caller does not want to wait for one. */
static void a_full_crew(void)
{
    enum { MOST = 16 };
    struct syslet_attach_options options = way_options();
    struct syslet_pending *away[MOST], *pending;
    struct syslet_call call;
    int one = memfd_create("locked", 0), count = 0, how;
    char name[64];
    long result;
    snprintf(name, sizeof name, "/proc/self/fd/%d", one);
    int two = open(name, O_RDWR);
    CHECK(one >= 0 && two >= 0 && flock(one, LOCK_EX) == 0);
    options.max_crew = 2;
    CHECK(syslet_attach(&options) >= 0);
    call = call3(SYS_flock, (unsigned long)two, LOCK_EX, 0);
    do {
        CHECK(count < MOST);
        EQUAL(syslet_threadlet(gated, NULL, &result, &away[count++]), SYSLET_PENDING);
        how = syslet_try_submit(&call, &result, &pending);
        if (how == SYSLET_PENDING) {
            syslet_cancel(pending);
            EQUAL(syslet_wait(pending), -ECANCELED);
        }
    } while (how != -EBUSY);
    /* syslet_submit queues it. */
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    CHECK(flock(one, LOCK_UN) == 0);
    for (int n = 0; n < count; n++)
        CHECK(write(ends[1], "", 1) == 1);
    for (int n = 0; n < count; n++)
        EQUAL(syslet_wait(away[n]), 0);
    EQUAL(syslet_wait(pending), 0);
    /* This thread has asked for two; more are allowed if another one asks for more. */
    struct syslet_attach_options more = options;
    pthread_t another;
    more.max_crew = 7;
    EQUAL(syslet_attach(&more), -EINVAL);
    CHECK(pthread_create(&another, NULL, comes_and_goes, &more) == 0);
    CHECK(pthread_join(another, NULL) == 0);
    struct syslet_stats stats;
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    EQUAL(stats.crew_limit, 7);
    /* Out of range, or another value is in force. */
    options.max_crew = 5000;
    EQUAL(syslet_attach(&options), -EINVAL);
    options.max_crew = 0;
    options.stack_size = 1;
    EQUAL(syslet_attach(&options), -EINVAL);
    options.stack_size = 0;
    options.flags ^= SYSLET_ATTACH_PINNED; /* the other placement */
    uint32_t cpu = options.cpu;
    options.cpu = 0;
    EQUAL(syslet_attach(&options), way_is("pool") ? SYSLET_POOL : -EINVAL);
    if (way_is("pool"))
        EQUAL(syslet_detach(), 0);
    EQUAL(syslet_detach(), 0);
    options.flags ^= SYSLET_ATTACH_PINNED;
    options.cpu = cpu;
    options.stack_size = 1 << 20;
    if (!way_is("pool"))
        EQUAL(syslet_attach(&options), -EINVAL);
}

/* Waiting takes no descriptor, with a mask or without. */
static void no_descriptors(void)
{
    struct acall_submission submission;
    struct acall_id id;
    struct timespec none = {0, 0};
    struct rlimit limit, low;
    sigset_t open;
    attach();
    memset(&submission, 0, sizeof submission);
    submission.nr = SYS_read;
    submission.id_pointer = (uint64_t)(uintptr_t)&id;
    submission.args[0] = (uint64_t)ends[0];
    submission.args[1] = (uint64_t)(uintptr_t)&byte;
    submission.args[2] = 1;
    EQUAL(acall_submit(&submission, 1), 1);
    sigemptyset(&open);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    low.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    EQUAL(acall_comp_pwait(&id, 1, &none, &open, sizeof open), 0);
    EQUAL(acall_comp_pwait(&id, 1, &none, NULL, 0), 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EQUAL(acall_comp_pwait(&id, 1, &none, &open, sizeof open), 0);
    EQUAL(acall_cancel(&id), 0);
    EQUAL(acall_comp_pwait(&id, 1, NULL, NULL, 0), 1);
    EQUAL(syslet_detach(), 0);
}

static void in_a_process_of_its_own(const char *name, void (*test)(void))
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        test();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (status)
        fprintf(stderr, "%s\n", name);
    EQUAL(status, 0);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
#define RUN(test) in_a_process_of_its_own(#test, test)
    RUN(no_threads);
    RUN(on_a_crew_thread);
    RUN(interrupted);
    RUN(at_the_end_of_a_thread);
    RUN(another_identity);
    RUN(a_full_crew);
    RUN(no_descriptors);
    return 0;
}
