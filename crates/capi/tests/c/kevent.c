/* kevent, take 30: each command, flag and return rule. Types: kevent-types.c. */
#define _GNU_SOURCE
#include "kevent-check.h"

#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>

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
    EQUAL(kevent_init(ring, (1 << 24) + 1, 0), -EINVAL);
    EQUAL(kevent_init((struct kevent_ring *)8, (1 << 24) + 1, 0), -EINVAL);
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
    EQUAL(kevent_hand_on(other, 1, &event), -EBADF);
    EQUAL(kevent_hand_on(other, 0, NULL), -EBADF);
    EQUAL(kevent_close(0), -EBADF);
    EQUAL(kevent_close(-1), -EBADF);
    EQUAL(kevent_get_events(7, 0, 1, now, &event, 0), -EBADF);
    free(ring);
}

/* Places for queues; each that was closed is another handle. */
static void as_many_as_there_can_be(void)
{
    enum { MOST = 65536 };
    int *all = malloc(MOST * sizeof *all), count = 0, again;
    struct ukevent event;
    while ((again = kevent_init(NULL, 0, 0)) > 0) {
        CHECK(count < MOST);
        all[count++] = again;
    }
    EQUAL(again, -EMFILE);
    EQUAL(count, MOST);
    EQUAL(kevent_close(all[7]), 0);
    again = kevent_init(NULL, 0, 0);
    CHECK(again > 0 && again != all[7]);
    EQUAL(kevent_get_events(all[7], 0, 1, now, &event, 0), -EBADF);
    EQUAL(kevent_get_events(again, 0, 1, now, &event, 0), 0);
    all[7] = again;
    while (count)
        EQUAL(kevent_close(all[--count]), 0);
    free(all);
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
    for (unsigned int command = KEVENT_CTL_ADD; command <= KEVENT_CTL_READY; command++)
        EQUAL(kevent_ctl(queue, command, 1, (struct ukevent *)8), -EFAULT);
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

/* What cannot be modified is none any more. */
static void changing_what_was_closed(void)
{
    struct ukevent event = make(KEVENT_POLL, (uint32_t)dup(ends[0]), POLLIN, KEVENT_REQ_ET), again;
    EQUAL(add(user(1)), 0);
    EQUAL(add(event), 0);
    EQUAL(close((int)event.id.raw[0]), 0);
    again = event;
    EQUAL(kevent_ctl(queue, KEVENT_CTL_MODIFY, 1, &again), 0);
    EQUAL(again.ret_flags, KEVENT_RET_BROKEN | KEVENT_RET_DONE);
    EQUAL((int)again.ret_data[1], -EBADF);
    put();
    nothing();
    empty();
    again = event;
    EQUAL(kevent_ctl(queue, KEVENT_CTL_REMOVE, 2, (struct ukevent[]){again, user(1)}), -EINVAL);
    CHECK(take_out(user(1)));
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

static int over;

/* Signals to the process, which this thread blocks: in every way they are for the one that waits. */
static void *interrupts(void *unused)
{
    sigset_t set;
    (void)unused;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    EQUAL(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        EQUAL(kill(getpid(), SIGUSR1), 0);
        usleep(5000);
    }
    return NULL;
}

static void interrupted(void)
{
    struct kevent_ring *ring = malloc(sizeof *ring + 4 * sizeof(struct ukevent));
    struct ukevent event;
    pthread_t other;
    int with_ring = kevent_init(ring, 4, 0);
    signal(SIGUSR1, ignore);
    EQUAL(pthread_create(&other, NULL, interrupts, NULL), 0);
    EQUAL(kevent_get_events(queue, 1, 1, later, &event, 0), -EINTR);
    EQUAL(kevent_wait(with_ring, 1, 0, later, 0), -EINTR);
    __atomic_store_n(&over, 1, __ATOMIC_RELEASE);
    EQUAL(pthread_join(other, NULL), 0);
    EQUAL(kevent_close(with_ring), 0);
    free(ring);
}

static void an_eventfd(void)
{
    struct ukevent event = user(1);
    uint64_t count;
    int notes = eventfd(0, EFD_CLOEXEC);
    EQUAL(kevent_eventfd(queue, 1000), -EBADF);
    EQUAL(kevent_eventfd(queue, ends[0]), -EINVAL);
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
    struct timespec date, after;
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
    /* What is handed on comes to the ring again. */
    uidx = ring->ring_kidx;
    EQUAL(kevent_hand_on(queue, 2, fetched), 0);
    EQUAL(kevent_wait(queue, 4, uidx, now, 0), 2);
    EQUAL(memcmp(&ring->event[uidx], &fetched[0], sizeof fetched[0]), 0);
    uidx = (uidx + 2) % 4;
    EQUAL(kevent_commit(queue, uidx, ring->ring_over), 2);
    /* Points in time. */
    EQUAL(clock_gettime(CLOCK_REALTIME, &date), 0);
    EQUAL(kevent_wait(queue, 4, uidx, date, KEVENT_FLAGS_ABSTIME), 0);
    date.tv_nsec += soon.tv_nsec;
    if (date.tv_nsec >= 1000000000)
        date.tv_sec++, date.tv_nsec -= 1000000000;
    EQUAL(kevent_wait(queue, 4, uidx, date, KEVENT_FLAGS_ABSTIME), 0);
    EQUAL(clock_gettime(CLOCK_REALTIME, &after), 0);
    CHECK(after.tv_sec > date.tv_sec || (after.tv_sec == date.tv_sec && after.tv_nsec >= date.tv_nsec));
    date.tv_sec += 20;
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, all), 1);
    EQUAL(kevent_wait(queue, 4, uidx, date, KEVENT_FLAGS_ABSTIME), 1);
    date.tv_nsec = 1000000000;
    EQUAL(kevent_wait(queue, 4, uidx, date, KEVENT_FLAGS_ABSTIME), -EINVAL);
    EQUAL(kevent_wait(queue, 4, uidx, now, 2), -EINVAL);
    EQUAL(kevent_close(queue), 0);
    free(ring);
    queue = old;
}

struct waiting {
    struct kevent_ring *ring;
    int queue, thread;
};

static void *waits(void *place)
{
    struct waiting *here = place;
    struct ukevent event;
    __atomic_store_n(&here->thread, gettid(), __ATOMIC_RELEASE);
    if (here->ring)
        EQUAL(kevent_wait(here->queue, 1, 0, later, 0), -EBADF);
    else
        EQUAL(kevent_get_events(here->queue, 1, 1, later, &event, 0), -EBADF);
    return NULL;
}

static void closed_under_a_waiting_thread(struct kevent_ring *ring)
{
    struct waiting here = {ring, kevent_init(ring, ring ? 4 : 0, 0), 0};
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, waits, &here), 0);
    asleep(&here.thread);
    EQUAL(kevent_close(here.queue), 0);
    EQUAL(pthread_join(thread, NULL), 0);
    free(ring);
}

int main(void)
{
    begin_test();
    layout();
    beginning_and_ending();
    as_many_as_there_can_be();
    queue = kevent_init(NULL, 0, 0);
    CHECK(queue > 0);
    adding();
    changing();
    changing_what_was_closed();
    made_ready();
    flags();
    waiting();
    interrupted();
    an_eventfd();
    in_memory();
    closed_under_a_waiting_thread(NULL);
    closed_under_a_waiting_thread(malloc(sizeof(struct kevent_ring) + 4 * sizeof(struct ukevent)));
    end_test();
    return 0;
}
