/* kevent, take 30: each command, type, flag and return rule. */
#define _GNU_SOURCE
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslet/kevent.h>

static const struct timespec now = {0, 0}, soon = {0, 30000000}, later = {20, 0};
static int queue, ends[2];

static struct ukevent make(uint32_t type, uint32_t id, uint32_t event, uint32_t flags)
{
    struct ukevent made;
    memset(&made, 0, sizeof made);
    made.id.raw[0] = id;
    made.type = type;
    made.event = event;
    made.req_flags = flags;
    made.ptr = &queue;
    return made;
}

static struct ukevent user(uint32_t id) { return make(KEVENT_USER, id, 1, 0); }

static struct ukevent receiving(uint32_t flags)
{
    return make(KEVENT_SOCKET, (uint32_t)ends[0], KEVENT_SOCKET_RECV, flags);
}

static int add(struct ukevent event) { return kevent_ctl(queue, KEVENT_CTL_ADD, 1, &event); }

static int take_out(struct ukevent event)
{
    EQUAL(kevent_ctl(queue, KEVENT_CTL_REMOVE, 1, &event), 0);
    return event.ret_flags == KEVENT_RET_DONE;
}

static struct ukevent next(void)
{
    struct ukevent event;
    int answer;
    do
        answer = kevent_get_events(queue, 1, 1, later, &event, 0);
    while (answer == -EINTR); /* a handler of a signal that is tested has run */
    EQUAL(answer, 1);
    return event;
}

static void nothing(void)
{
    struct ukevent event;
    int answer = kevent_get_events(queue, 1, 1, soon, &event, 0);
    CHECK(answer == 0 || answer == -EINTR);
}

static void put(void) { EQUAL(write(ends[1], "!", 1), 1); }

static void empty(void)
{
    char bytes[64];
    EQUAL(recv(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0, 1);
}

static void layout(void)
{
    EQUAL(sizeof(struct ukevent), 40);
    EQUAL(offsetof(struct ukevent, ptr), 32);
    EQUAL(sizeof(struct kevent_ring), 8);
    EQUAL(offsetof(struct kevent_ring, event), 8);
}

static void beginning_and_ending(void)
{
    struct kevent_ring *ring = malloc(sizeof *ring + 4 * sizeof(struct ukevent));
    struct ukevent event = user(1);
    int other;
    EQUAL(kevent_init(ring, 0, 0), -EINVAL);
    EQUAL(kevent_init(NULL, 4, 0), -EINVAL);
    EQUAL(kevent_init(ring, 1, 0), -EINVAL);
    EQUAL(kevent_init(ring, 4, 1), -EINVAL);
    EQUAL(kevent_init((struct kevent_ring *)8, 4, 0), -EFAULT);
    other = kevent_init(ring, 4, 0);
    CHECK(other > 1 << 20);                /* above all descriptors */
    EQUAL(fcntl(other, F_GETFD), -1);      /* and none */
    EQUAL(kevent_close(other), 0);
    EQUAL(kevent_close(other), -EBADF);
    EQUAL(kevent_ctl(other, KEVENT_CTL_ADD, 1, &event), -EBADF);
    EQUAL(kevent_get_events(other, 0, 1, now, &event, 0), -EBADF);
    EQUAL(kevent_wait(other, 0, 0, now, 0), -EBADF);
    EQUAL(kevent_commit(other, 0, 0), -EBADF);
    EQUAL(kevent_eventfd(other, 0), -EBADF);
    EQUAL(kevent_close(0), -EBADF);
    EQUAL(kevent_close(-1), -EBADF);
    EQUAL(kevent_get_events(7, 0, 1, now, &event, 0), -EBADF);
    free(ring);
}

/* What is ready at once or bad stands at the front, and is counted. */
static void adding(void)
{
    struct ukevent events[6];
    put();
    events[0] = user(1);
    events[1] = make(99, 0, 0, 0);
    events[2] = receiving(KEVENT_REQ_ET);
    events[3] = make(KEVENT_SOCKET, 1000, KEVENT_SOCKET_RECV, 0);
    events[4] = user(1);
    events[5] = make(KEVENT_POSIX_TIMER, 1, 1, 0);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_ADD, 6, events), 5);
    EQUAL(events[0].ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL(events[0].type, 99);
    EQUAL((int)events[0].ret_data[1], -ENOSYS);
    EQUAL(events[1].type, KEVENT_SOCKET);
    EQUAL(events[1].ret_flags, KEVENT_RET_DONE);
    EQUAL(events[1].ret_data[0], KEVENT_SOCKET_RECV);
    CHECK(events[1].ptr == &queue);
    EQUAL((int)events[2].ret_data[1], -EBADF);
    EQUAL(events[3].type, KEVENT_USER);
    EQUAL((int)events[3].ret_data[1], -EEXIST);
    EQUAL((int)events[4].ret_data[1], -ENOSYS);
    nothing(); /* what was ready at once is not queued */
    empty();
    put();
    EQUAL(next().id.raw[0], ends[0]); /* and goes on */
    empty();
    /* The same id with another type is another. */
    EQUAL(add(make(KEVENT_POLL, (uint32_t)ends[0], POLLIN, KEVENT_REQ_ET)), 0);
    CHECK(take_out(make(KEVENT_POLL, (uint32_t)ends[0], 0, 0)));
    EQUAL(add(make(KEVENT_USER, 2, 1, 0x40)), 1); /* unknown flag */
    EQUAL(add(make(KEVENT_NAIO, 1, 1, 0)), 1);    /* none of ours */
    EQUAL(add(make(KEVENT_AIO, 1, 1, 0)), 1);     /* comes by kevent_submit only */
    EQUAL(kevent_ctl(queue, 4, 1, events), -EINVAL);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_ADD, 1, (struct ukevent *)8), -EFAULT);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_ADD, 0, NULL), 0);
    CHECK(take_out(receiving(0)));
    CHECK(take_out(user(1)));
}

static void changing(void)
{
    struct ukevent events[3];
    EQUAL(add(user(1)), 0);
    EQUAL(add(receiving(KEVENT_REQ_ET)), 0);
    events[0] = events[1] = events[2] = user(9);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_REMOVE, 3, events), -EINVAL); /* more than there are */
    events[1] = receiving(KEVENT_REQ_ET);
    events[1].event = KEVENT_SOCKET_RECV | KEVENT_SOCKET_SEND;
    events[1].ptr = &ends;
    EQUAL(kevent_ctl(queue, KEVENT_CTL_MODIFY, 2, events), 0);
    EQUAL(events[0].ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL((int)events[0].ret_data[1], -ENOENT);
    EQUAL(events[1].ret_flags, KEVENT_RET_DONE);
    events[0] = next();
    EQUAL(events[0].ret_data[0], KEVENT_SOCKET_SEND);
    CHECK(events[0].ptr == &ends);
    put();
    CHECK(take_out(receiving(0))); /* ready, but taken out: not told */
    nothing();
    CHECK(!take_out(receiving(0)));
    CHECK(take_out(user(1)));
    empty();
}

static void made_ready(void)
{
    struct ukevent events[3] = {user(7), user(1), user(8)};
    EQUAL(add(user(1)), 0);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 3, events), 1);
    EQUAL(events[0].id.raw[0], 7);
    EQUAL(events[0].ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL(events[1].id.raw[0], 8);
    EQUAL(next().id.raw[0], 1);
    nothing();
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 0, NULL), 0);
    CHECK(take_out(user(1)));
    EQUAL(add(make(KEVENT_USER, 1, 1, KEVENT_REQ_READY | KEVENT_REQ_ONESHOT)), 0);
    EQUAL(next().id.raw[0], 1);
    CHECK(kevent_ctl(queue, KEVENT_CTL_REMOVE, 1, events) == -EINVAL); /* it was the only one */
}

/* How many of two queues are told of one event of a socket. */
static void told_everywhere(uint32_t flags, int expected)
{
    struct ukevent event = receiving(KEVENT_REQ_ET | flags), copy = event, got;
    int other = kevent_init(NULL, 0, 0), told;
    EQUAL(add(event), 0);
    EQUAL(kevent_ctl(other, KEVENT_CTL_ADD, 1, &copy), 0);
    put();
    /* The first is told in any case. */
    told = kevent_get_events(queue, 1, 1, later, &got, 0);
    told += kevent_get_events(other, 1, 1, expected > 1 ? later : soon, &got, 0);
    EQUAL(told, expected);
    EQUAL(kevent_close(other), 0);
    CHECK(take_out(event));
    empty();
}

static void flags(void)
{
    struct ukevent event;
    put();
    EQUAL(add(receiving(KEVENT_REQ_ONESHOT)), 1); /* ready at once, and gone */
    EQUAL(add(receiving(KEVENT_REQ_ALWAYS_QUEUE | KEVENT_REQ_ONESHOT)), 0);
    event = next();
    EQUAL(event.ret_flags, KEVENT_RET_DONE);
    EQUAL(add(receiving(0)), 1); /* level-triggered */
    next();
    next();
    empty();
    nothing();
    CHECK(take_out(receiving(0)));
    EQUAL(add(receiving(KEVENT_REQ_LAST_CHECK | KEVENT_REQ_ET)), 0);
    put();
    usleep(20000);
    empty();
    nothing();
    put();
    next();
    empty();
    CHECK(take_out(receiving(0)));
    told_everywhere(0, 1);
    told_everywhere(KEVENT_REQ_WAKEUP_ALL, 2);
}

static void waiting(void)
{
    struct ukevent events[4];
    struct timespec wrong = {0, 1000000000}, past = {1, 0}, date;
    EQUAL(add(user(1)), 0);
    EQUAL(add(user(2)), 0);
    events[0] = user(1);
    events[1] = user(2);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 2, events), 2);
    EQUAL(kevent_get_events(queue, 3, 2, now, events, 0), -EINVAL);
    EQUAL(kevent_get_events(queue, 0, 0, now, events, 0), -EINVAL);
    EQUAL(kevent_get_events(queue, 1, 1, wrong, events, 0), -EINVAL);
    EQUAL(kevent_get_events(queue, 1, 1, now, events, 2), -EINVAL);
    EQUAL(kevent_get_events(queue, 1, 1, now, (struct ukevent *)8, 0), -EFAULT);
    EQUAL(kevent_get_events(queue, 3, 4, soon, events, 0), 2); /* fewer than the minimum: the time is over */
    EQUAL(kevent_get_events(queue, 1, 4, past, events, KEVENT_FLAGS_ABSTIME), 0);
    clock_gettime(CLOCK_REALTIME, &date);
    date.tv_sec += 20;
    events[0] = user(2);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, events), 1);
    EQUAL(kevent_get_events(queue, 1, 4, date, events, KEVENT_FLAGS_ABSTIME), 1);
    CHECK(take_out(user(1)));
    CHECK(take_out(user(2)));
}

static void ignore(int number) { (void)number; }

static void *interrupts(void *thread)
{
    for (int i = 0; i < 400; i++) {
        usleep(5000);
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
    }
    return NULL;
}

static void interrupted(void)
{
    struct ukevent event;
    pthread_t self = pthread_self(), other;
    struct kevent_ring *ring;
    int with_ring;
    if (!way_is("pool"))
        return; /* a thread-directed signal to a guest is not supported */
    ring = malloc(sizeof *ring + 4 * sizeof(struct ukevent));
    signal(SIGUSR1, ignore);
    EQUAL(pthread_create(&other, NULL, interrupts, &self), 0);
    EQUAL(kevent_get_events(queue, 1, 1, later, &event, 0), -EINTR);
    with_ring = kevent_init(ring, 4, 0);
    EQUAL(kevent_wait(with_ring, 1, 0, later, 0), -EINTR);
    EQUAL(kevent_close(with_ring), 0);
    EQUAL(pthread_join(other, NULL), 0);
    free(ring);
}

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
    EQUAL(kevent_timer_delete(queue, timer), 0);
    EQUAL(kevent_timer_delete(queue, timer), -EINVAL);
}

static volatile sig_atomic_t handled;
static void handle(int number)
{
    (void)number;
    handled++;
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

static void an_eventfd(void)
{
    struct ukevent event = user(1);
    uint64_t count;
    int notes = eventfd(0, EFD_CLOEXEC);
    EQUAL(kevent_eventfd(queue, 1000), -EBADF);
    EQUAL(kevent_eventfd(queue, notes), 0);
    EQUAL(add(event), 0);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, &event), 1);
    EQUAL(read(notes, &count, 8), 8);
    next();
    EQUAL(kevent_eventfd(queue, -1), 0);
    CHECK(take_out(user(1)));
    close(notes);
}

/* The ring: size 4 has room for three. */
static void in_memory(void)
{
    struct kevent_ring *ring = malloc(sizeof *ring + 4 * sizeof(struct ukevent));
    struct ukevent all[5], fetched[4];
    unsigned int uidx = 0, read_events = 0;
    int old = queue;
    EQUAL(kevent_wait(queue, 1, 0, now, 0), -EINVAL); /* without a ring */
    EQUAL(kevent_commit(queue, 0, 0), -EINVAL);
    queue = kevent_init(ring, 4, 0);
    CHECK(queue > 0);
    EQUAL(ring->ring_kidx, 0);
    for (uint32_t i = 0; i < 5; i++) {
        all[i] = user(i);
        EQUAL(add(all[i]), 0);
    }
    EQUAL(kevent_wait(queue, 5, 0, now, 0), -EINVAL);
    EQUAL(kevent_wait(queue, 4, 0, soon, 0), 0);
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 5, all), 5);
    EQUAL(kevent_wait(queue, 4, 0, now, 0), 3);
    EQUAL(kevent_wait(queue, 2, 0, now, 0), 2);
    EQUAL(kevent_commit(queue, 4, 0), -EINVAL);
    EQUAL(kevent_commit(queue, 1, 3), -EOVERFLOW);
    while (read_events < 5) {
        unsigned int over = __atomic_load_n(&ring->ring_over, __ATOMIC_ACQUIRE);
        unsigned int kidx = __atomic_load_n(&ring->ring_kidx, __ATOMIC_ACQUIRE), count = 0;
        for (; uidx != kidx; uidx = (uidx + 1) % 4, count++)
            EQUAL(ring->event[uidx].id.raw[0], read_events++);
        CHECK(count);
        EQUAL(kevent_commit(queue, uidx, over), count);
        EQUAL(kevent_commit(queue, uidx, over), 0); /* said before */
    }
    EQUAL(ring->ring_over, 1);
    EQUAL(kevent_wait(queue, 4, 0, later, 0), 0); /* the index has moved on since 0 */
    EQUAL(kevent_wait(queue, 4, uidx, soon, 0), 0);
    /* Fetching takes what is in the ring. */
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 2, all), 2);
    EQUAL(kevent_get_events(queue, 2, 4, now, fetched, 0), 2);
    EQUAL(fetched[1].id.raw[0], 1);
    EQUAL(kevent_close(queue), 0);
    free(ring);
    queue = old;
}

static void *waits(void *handle)
{
    struct ukevent event;
    EQUAL(kevent_get_events(*(int *)handle, 1, 1, later, &event, 0), -EBADF);
    return NULL;
}

static void closed_under_a_waiting_thread(void)
{
    pthread_t thread;
    int other = kevent_init(NULL, 0, 0);
    EQUAL(pthread_create(&thread, NULL, waits, &other), 0);
    usleep(10000);
    EQUAL(kevent_close(other), 0);
    EQUAL(pthread_join(thread, NULL), 0);
}

int main(void)
{
    attach();
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    layout();
    beginning_and_ending();
    queue = kevent_init(NULL, 0, 0);
    CHECK(queue > 0);
    adding();
    changing();
    made_ready();
    flags();
    waiting();
    interrupted();
    times();
    posix_timers();
    signals();
    files();
    pipes_and_children();
    calls();
    closed_by_the_program();
    an_eventfd();
    in_memory();
    closed_under_a_waiting_thread();
    EQUAL(kevent_close(queue), 0);
    EQUAL(syslet_detach(), 0);
    return 0;
}
