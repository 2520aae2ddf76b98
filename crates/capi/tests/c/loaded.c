/* The library is loaded with dlopen, in a program that has threads already; they use it, each interface of it. All
 * that thread-locals of the library are to a thread is made at its first call then. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <syslet/acall.h>
#include <syslet/async_submit.h>
#include <syslet/dragonfly.h>
#include <syslet/fibrils.h>
#include <syslet/indirect.h>
#include <syslet/kevent.h>
#include <syslet/nonseqfd.h>
#include <syslet/syslets.h>
#include <syslet/threadlets.h>

/* Version 6 has an interface of its own: of two headers only one can be included. */
struct atom6 {
    uint32_t flags, nr;
    uint64_t ret_ptr, next, arg_ptr[6], own;
};
struct atom6 *async_exec_v6(struct atom6 *atom, struct async_head_user *head);

/* What is looked up. Of every header something is here: programs.rs sees to that. */
#define FUNCTIONS(X)                                                                             \
    X(syslet_attach) X(syslet_detach) X(syslet_submit) X(syslet_wait) X(syslet_threadlet)        \
    X(syslet_queue_new) X(syslet_queue_submit) X(syslet_queue_wait) X(syslet_queue_pop_slow)     \
    X(syslet_queue_free) X(syslet_chain_new) X(syslet_chain_push) X(syslet_chain_submit)         \
    X(syslet_chain_wait) X(syslet_chain_result) X(syslet_chain_free) X(syslet_version)           \
    X(async_submit) X(wait_for_async) X(async_exec) X(async_wait) X(umem_add) X(async_exec_v6)   \
    X(threadlet_exec) X(threadlet_complete) X(indirect) X(syslet_ring_wait) X(asys_submit)       \
    X(asys_await_completion) X(acall_submit) X(acall_comp_pwait) X(acall_ring_pwait)             \
    X(acall_cancel) X(sendsys2) X(waitsys2) X(nonseqfd) X(kevent_init) X(kevent_ctl)             \
    X(kevent_submit) X(kevent_get_events) X(kevent_close)
#define DECLARE(name) static __typeof__(name) *name##_;
FUNCTIONS(DECLARE)

enum { THREADS = 16, ROUNDS = 5 };
static pthread_barrier_t loaded;

/* What a thread has: a pipe that is empty, and a place for what is read of it. */
struct own {
    int ends[2];
    char byte;
};

static void feed(struct own *own)
{
    CHECK(write(own->ends[1], "x", 1) == 1);
}

static struct syslet_call reading(struct own *own)
{
    return call3(SYS_read, (unsigned long)own->ends[0], (unsigned long)&own->byte, 1);
}

static long function(void *data)
{
    struct own *own = data;
    return read(own->ends[0], &own->byte, 1);
}

static void calls(struct own *own)
{
    struct syslet_call call = reading(own);
    struct syslet_pending *pending;
    long result;
    EQUAL(syslet_submit_(&call, &result, &pending), SYSLET_PENDING);
    feed(own);
    EQUAL(syslet_wait_(pending), 1);
    EQUAL(syslet_threadlet_(function, own, &result, &pending), SYSLET_PENDING);
    feed(own);
    EQUAL(syslet_wait_(pending), 1);
    CHECK(strchr(syslet_version_(), '.'));
}

static void queues(struct own *own)
{
    struct syslet_call call = reading(own);
    struct syslet_queue_completion done;
    struct syslet_queue *queue;
    long result;
    EQUAL(syslet_queue_new_(&queue, 4, 0), 0);
    EQUAL(syslet_queue_submit_(queue, 7, &call, &result, NULL), SYSLET_PENDING);
    feed(own);
    EQUAL(syslet_queue_wait_(queue, 1, -1), 1);
    EQUAL(syslet_queue_pop_slow_(queue, &done), 1);
    EQUAL(done.user_data, 7);
    EQUAL(done.res, 1);
    syslet_queue_free_(queue);
}

static void chains(struct own *own)
{
    struct syslet_arg args[] = {{SYSLET_ARG_VALUE, 0, (unsigned long)own->ends[0]},
                                {SYSLET_ARG_VALUE, 0, (unsigned long)&own->byte},
                                {SYSLET_ARG_VALUE, 0, 1}};
    struct syslet_chain *chain;
    long result;
    EQUAL(syslet_chain_new_(&chain), 0);
    EQUAL(syslet_chain_push_(chain, SYS_read, args, 3), 0);
    EQUAL(syslet_chain_submit_(chain), SYSLET_PENDING);
    feed(own);
    EQUAL(syslet_chain_wait_(chain, -1), SYSLET_DONE);
    EQUAL(syslet_chain_result_(chain, 0, &result), 0);
    EQUAL(result, 1);
    syslet_chain_free_(chain);
}

static void one_word(struct own *own)
{
    struct syslet_call call = reading(own);
    long result[2] = {-1, -1}, cookie = async_submit_(ASYNC_SUBMIT_VALUE, result, SYS_read, call.args);
    CHECK(cookie > 0);
    feed(own);
    EQUAL(wait_for_async_(cookie, NULL), 0);
    EQUAL(__atomic_load_n(&result[0], __ATOMIC_ACQUIRE), 0);
    EQUAL(result[1], 1);
}

static void atoms(struct own *own)
{
    struct syslet_call call = reading(own);
    long result = 0;
    unsigned long sum = 40;
    struct syslet_uatom atom = {
        0, SYS_read, &result, NULL, {&call.args[0], &call.args[1], &call.args[2]}, NULL};
    struct atom6 six = {0, SYS_read, (uint64_t)(uintptr_t)&result, 0, {0}, 0};
    void *ring[4] = {NULL};
    struct async_head_user head = {0, 0, (void *)ring, sizeof ring, 0, 0, 0, 0};
    for (int n = 0; n < 3; n++)
        six.arg_ptr[n] = (uint64_t)(uintptr_t)&call.args[n];
    CHECK(async_exec_(&atom, &head) == NULL);
    feed(own);
    EQUAL(async_wait_(1, 0, &head), 0);
    CHECK(__atomic_load_n(&ring[0], __ATOMIC_ACQUIRE) == &atom);
    EQUAL(result, 1);
    result = 0;
    CHECK(async_exec_v6_(&six, &head) == NULL);
    feed(own);
    EQUAL(async_wait_(1, 1, &head), 0);
    CHECK(__atomic_load_n(&ring[1], __ATOMIC_ACQUIRE) == &six);
    EQUAL(result, 1);
    EQUAL(umem_add_(&sum, 2), 42);
}

static long threadlet(void *data)
{
    struct own *two = data;
    CHECK(function(&two[0]) == 1);
    feed(&two[1]);
    return threadlet_complete_();
}

static void threadlets(struct own *own)
{
    struct own two[2] = {*own, *own};
    CHECK(pipe(two[1].ends) == 0);
    EQUAL(threadlet_exec_(threadlet, two, NULL), 0);
    feed(own);
    EQUAL(function(&two[1]), 1);
    close(two[1].ends[0]);
    close(two[1].ends[1]);
}

static void indirectly(struct own *own)
{
    struct {
        struct syslet_ring ring;
        struct syslet_completion comp[2];
    } memory = {{0, 0, 2, 0}, {{0, 0}}};
    struct indirect_registers regs = {
        SYS_read, (uint64_t)own->ends[0], (uint64_t)(uintptr_t)&own->byte, 1, 0, 0, 0};
    union indirect_params params;
    memset(&params, 0, sizeof params);
    params.syslet.completion_ring_ptr = (uint64_t)(uintptr_t)&memory;
    params.syslet.caller_data = 9;
    EQUAL(indirect_(&regs, &params, sizeof params, 0), -ESYSLETPENDING);
    feed(own);
    EQUAL(syslet_ring_wait_(&memory.ring, 0), 0);
    EQUAL(__atomic_load_n(&memory.ring.kernel_head, __ATOMIC_ACQUIRE), 1);
    EQUAL(memory.comp[0].status, 1);
    EQUAL(memory.comp[0].caller_data, 9);
}

static void fibrils(struct own *own)
{
    struct syslet_call call = reading(own);
    struct asys_input input = {SYS_read, 11, 3, call.args};
    struct asys_completion done;
    EQUAL(asys_submit_(&input, 1), 1);
    feed(own);
    EQUAL(asys_await_completion_(&done), 0);
    EQUAL(done.cookie, 11);
    EQUAL(done.return_code, 1);
}

static void acalls(struct own *own)
{
    struct {
        struct acall_completion_ring ring;
        struct acall_completion comps[2];
    } memory = {{0, 2}, {{0, 0}}};
    struct acall_submission submission = {
        SYS_read, 0, 5, (uint64_t)(uintptr_t)&memory, 0, 0,
        {(uint64_t)own->ends[0], (uint64_t)(uintptr_t)&own->byte, 1}};
    struct acall_id id;
    submission.id_pointer = (uint64_t)(uintptr_t)&id;
    EQUAL(acall_submit_(&submission, 1), 1);
    feed(own);
    EQUAL(acall_ring_pwait_(&memory.ring, 0, 1, NULL, NULL, 0), 0);
    EQUAL(__atomic_load_n(&memory.comps[0].cookie, __ATOMIC_ACQUIRE), 5);
    EQUAL(memory.comps[0].return_code, 1);
    EQUAL(acall_comp_pwait_(&id, 1, NULL, NULL, 0), 1);
    EQUAL(acall_cancel_(&id), -EAGAIN);
}

static void messages(struct own *own)
{
    struct {
        union usrmsg usrmsg;
        long args[3];
    } message;
    struct lwkt_msg *msg = &message.usrmsg.umsg;
    int cookie, got;
    memset(&message, 0, sizeof message);
    msg->ms_cmd.cm_op = SYS_read;
    msg->ms_flags = MSGF_ASYNC;
    message.args[0] = own->ends[0];
    message.args[1] = (long)&own->byte;
    message.args[2] = 1;
    cookie = sendsys2_(NULL, &message, (int)sizeof message);
    CHECK(cookie >= 4096);
    feed(own);
    /* Its own: NULL would fetch another thread's. */
    while ((got = waitsys2_(NULL, (void *)(intptr_t)cookie, 0)) == 0)
        sched_yield();
    EQUAL(got, cookie);
    EQUAL(msg->u.ms_lresult, 1);
}

static void private_descriptors(struct own *own)
{
    struct own other = *own;
    other.ends[0] = nonseqfd_(own->ends[0], 0);
    CHECK(other.ends[0] > own->ends[0]);
    feed(own);
    EQUAL(function(&other), 1);
    close(other.ends[0]);
}

static void events(struct own *own)
{
    const struct timespec minute = {60, 0};
    struct syslet_call call = reading(own);
    struct ukevent event;
    int queue = kevent_init_(NULL, 0, 0);
    CHECK(queue > 0);
    memset(&event, 0, sizeof event);
    event.id.raw[0] = (uint32_t)own->ends[0];
    event.type = KEVENT_PIPE;
    event.event = KEVENT_SOCKET_RECV;
    event.req_flags = KEVENT_REQ_ONESHOT;
    EQUAL(kevent_ctl_(queue, KEVENT_CTL_ADD, 1, &event), 0);
    feed(own);
    EQUAL(kevent_get_events_(queue, 1, 1, minute, &event, 0), 1);
    EQUAL(event.ret_data[0], KEVENT_SOCKET_RECV);
    EQUAL(function(own), 1);
    EQUAL(kevent_submit_(queue, &call, 13, NULL), 0);
    feed(own);
    EQUAL(kevent_get_events_(queue, 1, 1, minute, &event, 0), 1);
    EQUAL(event.type, KEVENT_AIO);
    EQUAL(event.id.raw_u64, 13);
    EQUAL(event.ret_data[0], 1);
    EQUAL(kevent_close_(queue), 0);
}

static void (*const interfaces[])(struct own *) = {
    calls,      queues,  chains, one_word, atoms,  threadlets,
    indirectly, fibrils, acalls, messages, events, private_descriptors};
enum { INTERFACES = sizeof interfaces / sizeof *interfaces };

static void *user(void *number)
{
    struct own own;
    CHECK(pipe(own.ends) == 0);
    pthread_barrier_wait(&loaded); /* not there before */
    struct syslet_attach_options options = way_options();
    EQUAL(syslet_attach_(&options), way_is("pool") ? SYSLET_POOL : SYSLET_ATTACHED);
    /* Each interface is the first one of some thread. */
    for (int n = 0; n < ROUNDS * INTERFACES; n++)
        interfaces[((size_t)n + (size_t)number) % INTERFACES](&own);
    EQUAL(syslet_detach_(), 0);
    close(own.ends[0]);
    close(own.ends[1]);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&loaded, NULL, THREADS + 1) == 0);
    for (size_t n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, user, (void *)n) == 0);
    void *library = dlopen("libsyslet.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
#define LOOK_UP(name)                                                                            \
    *(void **)&name##_ = dlsym(library, #name);                                                  \
    CHECK(name##_);
    FUNCTIONS(LOOK_UP)
    pthread_barrier_wait(&loaded);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    return 0;
}
