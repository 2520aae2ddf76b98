/* kevent, take 30: each type of source, and what calls and functions answer. */
#define _GNU_SOURCE
#include "kevent-check.h"

#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void times(void)
{
    struct ukevent event = make(KEVENT_TIMER, 0, KEVENT_TIMER_FIRED, KEVENT_REQ_ONESHOT);
    struct timespec before, after;
    long passed;
    event.id.raw[1] = 20000000;
    clock_gettime(CLOCK_MONOTONIC, &before);
    EQUAL(add(event), 0);
    event = next();
    clock_gettime(CLOCK_MONOTONIC, &after);
    passed = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    CHECK(passed >= 19);
    EQUAL(event.ret_data[1], 1);
    CHECK(event.ret_data[0] - (uint32_t)(before.tv_sec * 1000 + before.tv_nsec / 1000000) >= 20);
    event.req_flags = 0; /* again and again */
    EQUAL(add(event), 0);
    next();
    next();
    CHECK(take_out(event));
    event.id.raw[1] = 0;
    EQUAL(add(event), 1); /* a period of nothing */
    event.req_flags = KEVENT_REQ_ONESHOT;
    event.event = KEVENT_TIMER_FIRED | KEVENT_TIMER_ABSTIME | KEVENT_TIMER_REALTIME;
    clock_gettime(CLOCK_REALTIME, &after);
    event.id.raw[0] = (uint32_t)after.tv_sec + 1;
    EQUAL(add(event), 0);
    next();
    clock_gettime(CLOCK_REALTIME, &after);
    CHECK((uint32_t)after.tv_sec >= event.id.raw[0]);
}

static void posix_timers(void)
{
    struct itimerspec value = {{0, 0}, {0, 5000000}};
    struct sigevent wanted;
    struct ukevent event;
    uint64_t timer;
    memset(&wanted, 0, sizeof wanted);
    wanted.sigev_notify = SIGEV_NONE;
    EQUAL(kevent_timer_create(CLOCK_MONOTONIC, &wanted, &timer), -EINVAL);
    wanted.sigev_notify = SIGEV_KEVENT;
    wanted.sigev_value.sival_ptr = &timer;
    EQUAL(kevent_timer_create(CLOCK_MONOTONIC, &wanted, &timer), -EBADF);
    wanted.sigev_kevent_fd = queue;
    EQUAL(kevent_timer_create(CLOCK_MONOTONIC, &wanted, &timer), 0);
    EQUAL(kevent_timer_settime(queue, timer, 0, &value), 0);
    event = next();
    EQUAL(event.type, KEVENT_POSIX_TIMER);
    EQUAL(event.id.raw_u64, timer);
    CHECK(event.ptr == &timer);
    nothing();
    value.it_interval.tv_nsec = 3000000;
    EQUAL(kevent_timer_settime(queue, timer, 0, &value), 0);
    next();
    next();
    memset(&value, 0, sizeof value);
    EQUAL(kevent_timer_settime(queue, timer, 0, &value), 0); /* disarmed */
    nothing();
    EQUAL(kevent_timer_settime(queue, timer + 2, 0, &value), -EINVAL);
    EQUAL(kevent_timer_settime(queue, timer, 2, &value), -EINVAL);
    EQUAL(kevent_timer_settime(queue, timer, 0, (struct itimerspec *)8), -EFAULT);
    for (int i = 0; i < 4; i++) {
        static const struct itimerspec wrong[] = {
            {{0, 0}, {-1, 0}}, {{0, 0}, {0, 1000000000}}, {{0, -1}, {1, 0}}, {{-1, 0}, {1, 0}}};
        EQUAL(kevent_timer_settime(queue, timer, 0, &wrong[i]), -EINVAL);
    }
    nothing(); /* none of these has armed it */
    EQUAL(kevent_timer_delete(queue, timer), 0);
    EQUAL(kevent_timer_delete(queue, timer), -EINVAL);
}

static int64_t nanoseconds(struct timespec time) { return time.tv_sec * INT64_C(1000000000) + time.tv_nsec; }

/* Points in time, of each clock; what was settled by the other clock would be years off. */
static void posix_timers_at(int clock)
{
    struct itimerspec value = {{0, 0}, {0, 0}};
    struct sigevent wanted;
    struct timespec begun, ended;
    struct ukevent event;
    uint64_t timer;
    memset(&wanted, 0, sizeof wanted);
    wanted.sigev_notify = SIGEV_KEVENT;
    wanted.sigev_value.sival_ptr = &timer;
    wanted.sigev_kevent_fd = queue;
    EQUAL(kevent_timer_create(CLOCK_PROCESS_CPUTIME_ID, &wanted, &timer), -EINVAL);
    EQUAL(kevent_timer_create(clock, &wanted, &timer), 0);
    for (int at = 0; at < 3; at++) {
        int64_t due = at == 2 ? 1 : 30000000; /* the last one has passed */
        EQUAL(clock_gettime(clock, &begun), 0);
        if (at == 1)
            due += nanoseconds(begun);
        value.it_value.tv_sec = due / 1000000000;
        value.it_value.tv_nsec = due % 1000000000;
        EQUAL(kevent_timer_settime(queue, timer, at ? TIMER_ABSTIME : 0, &value), 0);
        event = next();
        EQUAL(clock_gettime(clock, &ended), 0);
        EQUAL(event.type, KEVENT_POSIX_TIMER);
        EQUAL(event.id.raw_u64, timer);
        EQUAL(event.ret_data[1], 1);
        CHECK(nanoseconds(ended) >= (at ? due : nanoseconds(begun) + due));
    }
    nothing();
    EQUAL(kevent_timer_delete(queue, timer), 0);
}

static volatile sig_atomic_t handled;
static void handle(int number)
{
    (void)number;
    handled++;
}

static void readiness(void)
{
    struct ukevent event = make(KEVENT_POLL, (uint32_t)ends[0], POLLIN | POLLOUT, KEVENT_REQ_ET);
    EQUAL(add(event), 1); /* there is room */
    put();
    event = next();
    EQUAL(event.type, KEVENT_POLL);
    EQUAL(event.id.raw_u64, ends[0]);
    EQUAL(event.ret_flags, KEVENT_RET_DONE);
    CHECK(event.ret_data[0] & KEVENT_POLL_POLLIN);
    EQUAL(event.ret_data[0] & ~(uint32_t)(KEVENT_POLL_POLLIN | KEVENT_POLL_POLLOUT), 0);
    CHECK(take_out(event));
    empty();
}

static void connections(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    struct ukevent event;
    int listens = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), asks, answers;
    EQUAL(bind(listens, (struct sockaddr *)&address, size), 0);
    EQUAL(listen(listens, 4), 0);
    EQUAL(getsockname(listens, (struct sockaddr *)&address, &size), 0);
    event = make(KEVENT_SOCKET, (uint32_t)listens, KEVENT_SOCKET_ACCEPT, KEVENT_REQ_ET);
    EQUAL(add(event), 0);
    nothing();
    asks = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EQUAL(connect(asks, (struct sockaddr *)&address, size), 0);
    event = next();
    EQUAL(event.type, KEVENT_SOCKET);
    EQUAL(event.id.raw[0], listens);
    EQUAL(event.ret_data[0], KEVENT_SOCKET_ACCEPT);
    answers = accept4(listens, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(answers >= 0);
    nothing();
    CHECK(take_out(event));
    close(answers);
    close(asks);
    close(listens);
}

static void signals(void)
{
    struct ukevent event = make(KEVENT_SIGNAL, SIGUSR2, KEVENT_SIGNAL_DELIVERY, 0);
    signal(SIGUSR2, handle);
    EQUAL(add(event), 0);
    EQUAL(kill(getpid(), SIGUSR2), 0);
    event = next();
    EQUAL(event.id.raw_u64, SIGUSR2);
    EQUAL(event.ret_data[0], 1);
    while (!handled)
        sched_yield();
    CHECK(take_out(event));
    event.id.raw_u64 |= KEVENT_SIGNAL_NOMASK;
    EQUAL(add(event), 0);
    EQUAL(kill(getpid(), SIGUSR2), 0);
    EQUAL(next().ret_data[0], 1);
    EQUAL(handled, 1);
    CHECK(take_out(event));
    EQUAL(add(make(KEVENT_SIGNAL, SIGKILL, 1, 0)), 1);
}

static void files(void)
{
    char folder[] = "/tmp/syslet-kevent-XXXXXX", file[64];
    struct ukevent event;
    int directory, fd;
    CHECK(mkdtemp(folder));
    directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    event = make(KEVENT_INODE, (uint32_t)directory, KEVENT_INODE_CREATE | KEVENT_INODE_REMOVE, 0);
    EQUAL(add(event), 0);
    snprintf(file, sizeof file, "%s/file", folder);
    fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    EQUAL(next().ret_data[0], KEVENT_INODE_CREATE);
    EQUAL(unlink(file), 0);
    EQUAL(next().ret_data[0], KEVENT_INODE_REMOVE);
    CHECK(take_out(event));
    close(fd);
    close(directory);
    EQUAL(rmdir(folder), 0);
}

static void room_in_a_pipe(void)
{
    struct ukevent event;
    static char bytes[65536];
    int both[2], size;
    EQUAL(pipe2(both, O_CLOEXEC | O_NONBLOCK), 0);
    size = fcntl(both[1], F_GETPIPE_SZ);
    for (int filled = 0; filled < size; filled += (int)sizeof bytes)
        CHECK(write(both[1], bytes, sizeof bytes) > 0);
    event = make(KEVENT_PIPE, (uint32_t)both[1], KEVENT_SOCKET_SEND, KEVENT_REQ_ET);
    EQUAL(add(event), 0);
    nothing(); /* it is full */
    while (read(both[0], bytes, sizeof bytes) > 0)
        ;
    event = next();
    EQUAL(event.type, KEVENT_PIPE);
    EQUAL(event.id.raw[0], both[1]);
    EQUAL(event.ret_data[0], KEVENT_SOCKET_SEND);
    CHECK(take_out(event));
    EQUAL(add(event), 1); /* and at once */
    CHECK(take_out(event));
    close(both[0]);
    close(both[1]);
}

static void pipes_and_children(void)
{
    struct ukevent event;
    int both[2], status;
    pid_t child;
    EQUAL(pipe2(both, O_CLOEXEC), 0);
    event = make(KEVENT_PIPE, (uint32_t)both[0], KEVENT_SOCKET_RECV, KEVENT_REQ_ET);
    EQUAL(add(event), 0);
    child = fork();
    if (child == 0) {
        struct ukevent taken;
        /* A handle of the parent is none here. */
        int dead = kevent_get_events(queue, 0, 1, now, &taken, 0) == -EBADF;
        _exit(dead && read(both[0], &status, 1) == 1 ? 5 : 1);
    }
    event = make(KEVENT_CHILD, (uint32_t)child, KEVENT_CHILD_EXITED, 0);
    EQUAL(add(event), 0);
    EQUAL(write(both[1], "x", 1), 1);
    do
        event = next();
    while (event.type == KEVENT_PIPE);
    EQUAL(event.id.raw[0], child);
    EQUAL(event.ret_data[0], 5);
    EQUAL(event.ret_data[1], CLD_EXITED);
    EQUAL(waitpid(child, &status, 0), child);
    CHECK(take_out(make(KEVENT_PIPE, (uint32_t)both[0], 0, 0)));
    close(both[0]);
    close(both[1]);
}

static void calls(void)
{
    struct syslet_call call = call3(SYS_read, (unsigned long)ends[0], 0, 1);
    struct ukevent event;
    static char byte;
    call.args[1] = (unsigned long)&byte;
    EQUAL(kevent_submit(queue, &call, 77, &byte), 0);
    nothing();
    put();
    event = next();
    EQUAL(event.type, KEVENT_AIO);
    EQUAL(event.id.raw_u64, 77);
    CHECK(event.ptr == &byte);
    EQUAL(event.ret_data[0], 1);
    EQUAL(byte, '!');
    call = call3(SYS_exit, 0, 0, 0);
    EQUAL(kevent_submit(queue, &call, 1, NULL), -EPERM);
    EQUAL(kevent_submit(queue, (struct syslet_call *)8, 1, NULL), -EFAULT);
}

static long receives(void *place)
{
    return recv(ends[0], place, 1, 0) == 1 ? -4096 : 0;
}

/* What is run as one threadlet: the next step has what the first has made. */
static long makes_a_chain(void *place)
{
    struct syslet_chain *chain;
    struct syslet_arg count = {SYSLET_ARG_VALUE, 0, 0}, from = {SYSLET_ARG_RESULT, 0, 0};
    long result = -1;
    (void)place;
    EQUAL(syslet_chain_new(&chain), 0);
    EQUAL(syslet_chain_push(chain, SYS_eventfd2, (struct syslet_arg[]){count, count}, 2), 0);
    EQUAL(syslet_chain_push(chain, SYS_close, &from, 1), 1);
    CHECK(syslet_chain_submit(chain) >= 0);
    EQUAL(syslet_chain_wait(chain, -1), SYSLET_DONE);
    EQUAL(syslet_chain_last(chain), 1);
    EQUAL(syslet_chain_result(chain, 1, &result), 0);
    syslet_chain_free(chain);
    return result;
}

static void functions(void)
{
    struct ukevent event;
    static char byte;
    EQUAL(kevent_threadlet(queue, receives, &byte, 78, &byte), 0);
    nothing();
    put();
    event = next();
    EQUAL(event.type, KEVENT_AIO);
    EQUAL(event.id.raw_u64, 78);
    CHECK(event.ptr == &byte);
    EQUAL((int64_t)((uint64_t)event.ret_data[1] << 32 | event.ret_data[0]), -4096);
    EQUAL(byte, '!');
    EQUAL(kevent_threadlet(queue, makes_a_chain, NULL, 79, NULL), 0);
    event = next();
    EQUAL(event.id.raw_u64, 79);
    EQUAL(event.ret_data[0], 0);
    nothing();
    EQUAL(kevent_threadlet(queue, NULL, NULL, 1, NULL), -EFAULT);
    EQUAL(kevent_threadlet(7, receives, &byte, 1, NULL), -EBADF);
}

/* io_submit(2) tells an eventfd, and that is a source. */
static void requests_of_aio(void)
{
    struct ukevent event;
    struct io_event done;
    struct iocb request, *list = &request;
    aio_context_t context = 0;
    uint64_t count;
    int notes = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    EQUAL(syscall(SYS_io_setup, 8, &context), 0);
    event = make(KEVENT_POLL, (uint32_t)notes, POLLIN, KEVENT_REQ_ET);
    EQUAL(add(event), 0);
    memset(&request, 0, sizeof request);
    request.aio_data = 80;
    request.aio_lio_opcode = IOCB_CMD_POLL;
    request.aio_fildes = (uint32_t)ends[0];
    request.aio_buf = POLLIN;
    request.aio_flags = IOCB_FLAG_RESFD;
    request.aio_resfd = (uint32_t)notes;
    EQUAL(syscall(SYS_io_submit, context, 1, &list), 1);
    nothing();
    put();
    event = next();
    EQUAL(event.type, KEVENT_POLL);
    EQUAL(event.id.raw[0], notes);
    EQUAL(read(notes, &count, sizeof count), 8);
    EQUAL(count, 1);
    EQUAL(syscall(SYS_io_getevents, context, 1, 1, &done, NULL), 1);
    EQUAL(done.data, 80);
    nothing();
    CHECK(take_out(event));
    EQUAL(syscall(SYS_io_destroy, context), 0);
    close(notes);
    empty();
}

static void closed_by_the_program(void)
{
    int pair[2], number;
    struct ukevent event;
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    EQUAL(add(make(KEVENT_SOCKET, (uint32_t)pair[0], KEVENT_SOCKET_RECV, KEVENT_REQ_ET)), 0);
    number = pair[0];
    EQUAL(dup2(ends[0], number), number); /* closed, and another's */
    put();
    event = next();
    EQUAL(event.id.raw[0], number);
    EQUAL(event.ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL((int)event.ret_data[1], -EBADF);
    nothing();
    empty();
    close(number);
    close(pair[1]);
}

static void hands_on(void *event) { EQUAL(kevent_hand_on(queue, 1, event), 0); }

/* Fetches an event, and ends without having worked on it. */
static void *dies(void *event)
{
    EQUAL(kevent_get_events(queue, 1, 1, later, event, 0), 1);
    pthread_cleanup_push(hands_on, event);
    pthread_exit(NULL);
    pthread_cleanup_pop(0);
    return NULL;
}

/* What is next comes to one that dies, and then again, as it was. */
static struct ukevent twice(void)
{
    struct ukevent first, again;
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, dies, &first), 0);
    EQUAL(pthread_join(thread, NULL), 0);
    again = next();
    EQUAL(memcmp(&first, &again, sizeof first), 0);
    nothing();
    return again;
}

struct heir {
    struct ukevent event;
    int thread;
};

static void *inherits(void *place)
{
    struct heir *heir = place;
    __atomic_store_n(&heir->thread, gettid(), __ATOMIC_RELEASE);
    EQUAL(kevent_get_events(queue, 1, 1, later, &heir->event, 0), 1);
    return NULL;
}

/* Of events whose sources are gone, too. */
static void handed_on(void)
{
    struct syslet_call call = call3(SYS_getppid, 0, 0, 0);
    struct ukevent event, three[3];
    struct heir heir = {user(0), 0};
    pthread_t thread;
    int pair[2], status;
    pid_t child;
    put();
    EQUAL(add(receiving(KEVENT_REQ_ONESHOT | KEVENT_REQ_ALWAYS_QUEUE)), 0);
    event = twice();
    EQUAL(event.ret_data[0], KEVENT_SOCKET_RECV);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, &event), 0); /* there is no such source any more */
    empty();
    EQUAL(kevent_submit(queue, &call, 81, NULL), 0);
    event = twice();
    EQUAL(event.id.raw_u64, 81);
    EQUAL(event.ret_data[0], getppid());
    child = fork();
    if (child == 0)
        _exit(6);
    EQUAL(waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    EQUAL(add(make(KEVENT_CHILD, (uint32_t)child, KEVENT_CHILD_EXITED, KEVENT_REQ_ALWAYS_QUEUE)), 0);
    EQUAL(twice().ret_data[0], 6);
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    EQUAL(add(make(KEVENT_SOCKET, (uint32_t)pair[0], KEVENT_SOCKET_RECV, KEVENT_REQ_ET)), 0);
    close(pair[0]);
    event = twice();
    EQUAL(event.ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL((int)event.ret_data[1], -EBADF);
    close(pair[1]);
    /* One that waits is told. */
    EQUAL(pthread_create(&thread, NULL, inherits, &heir), 0);
    asleep(&heir.thread);
    EQUAL(kevent_hand_on(queue, 1, &event), 0);
    EQUAL(pthread_join(thread, NULL), 0);
    EQUAL(memcmp(&heir.event, &event, sizeof event), 0);
    /* Several, in their order, before all others. */
    for (uint32_t i = 0; i < 3; i++)
        EQUAL(add(make(KEVENT_USER, i, 1, KEVENT_REQ_READY | KEVENT_REQ_ONESHOT)), 0);
    EQUAL(kevent_get_events(queue, 2, 2, now, three, 0), 2);
    EQUAL(kevent_hand_on(queue, 2, three), 0);
    EQUAL(kevent_hand_on(queue, 0, NULL), 0);
    EQUAL(kevent_hand_on(queue, 1, (struct ukevent *)8), -EFAULT);
    EQUAL(kevent_hand_on(queue, 1u << 31, three), -EINVAL);
    EQUAL(kevent_get_events(queue, 3, 3, now, three, 0), 3);
    for (uint32_t i = 0; i < 3; i++)
        EQUAL(three[i].id.raw[0], i);
    nothing();
}

/* A source of some type, and what it is told of. */
static char folder[] = "/tmp/syslet-kevent-each-XXXXXX", entry[64];
static int both_ends[2], counter;

static void fill_pipe(void) { EQUAL(write(both_ends[1], "!", 1), 1); }
static void count_one(void) { EQUAL(write(counter, &(uint64_t){1}, 8), 8); }
static void send_signal(void) { EQUAL(raise(SIGRTMIN + 4), 0); }
static void make_entry(void) { EQUAL(close(open(entry, O_CREAT | O_RDWR | O_CLOEXEC, 0600)), 0); }
static void ignore(int number) { (void)number; }

static void undo(uint32_t type)
{
    char bytes[8];
    if (type == KEVENT_SOCKET)
        empty();
    else if (type == KEVENT_PIPE)
        EQUAL(read(both_ends[0], bytes, 1), 1);
    else if (type == KEVENT_POLL)
        EQUAL(read(counter, bytes, 8), 8);
    else if (type == KEVENT_INODE)
        EQUAL(unlink(entry), 0);
}

/* Of each type: one shot ends with its event, READY is ready when it is added, what is ready at once is queued. */
static void flags_of_each_type(void)
{
    int directory;
    CHECK(mkdtemp(folder));
    snprintf(entry, sizeof entry, "%s/entry", folder);
    directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    EQUAL(pipe2(both_ends, O_CLOEXEC | O_NONBLOCK), 0);
    counter = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(signal(SIGRTMIN + 4, ignore) != SIG_ERR);
    struct {
        struct ukevent event;
        void (*cause)(void);
        int is_readiness;
    } all[] = {
        {receiving(0), put, 1},
        {make(KEVENT_PIPE, (uint32_t)both_ends[0], KEVENT_SOCKET_RECV, 0), fill_pipe, 1},
        {make(KEVENT_POLL, (uint32_t)counter, POLLIN, 0), count_one, 1},
        {make(KEVENT_SIGNAL, (uint32_t)SIGRTMIN + 4, 1, 0), send_signal, 0},
        {make(KEVENT_INODE, (uint32_t)directory, KEVENT_INODE_CREATE, 0), make_entry, 0},
    };
    EQUAL(add(user(77)), 0); /* so that there is one to be removed */
    for (unsigned int at = 0; at < sizeof all / sizeof *all; at++) {
        struct ukevent event = all[at].event;
        event.req_flags = KEVENT_REQ_ONESHOT;
        EQUAL(add(event), 0);
        all[at].cause();
        EQUAL(next().type, event.type);
        CHECK(!take_out(event)); /* it has ended */
        undo(event.type);
        event.req_flags = KEVENT_REQ_READY | KEVENT_REQ_ET;
        EQUAL(add(event), 0);
        EQUAL(next().type, event.type); /* though nothing has happened */
        nothing();
        CHECK(take_out(event));
        if (!all[at].is_readiness)
            continue;
        all[at].cause();
        event.req_flags = KEVENT_REQ_ALWAYS_QUEUE | KEVENT_REQ_ET;
        EQUAL(add(event), 0);
        EQUAL(next().type, event.type);
        nothing(); /* nothing has changed since, though it is ready */
        CHECK(take_out(event));
        undo(event.type);
    }
    CHECK(take_out(user(77)));
    close(directory);
    close(both_ends[0]);
    close(both_ends[1]);
    close(counter);
    EQUAL(rmdir(folder), 0);
}

int main(void)
{
    begin_test();
    queue = kevent_init(NULL, 0, 0);
    CHECK(queue > 0);
    times();
    posix_timers();
    posix_timers_at(CLOCK_MONOTONIC);
    posix_timers_at(CLOCK_REALTIME);
    readiness();
    connections();
    signals();
    files();
    flags_of_each_type();
    room_in_a_pipe();
    pipes_and_children();
    calls();
    functions();
    requests_of_aio();
    closed_by_the_program();
    handed_on();
    end_test();
    return 0;
}
