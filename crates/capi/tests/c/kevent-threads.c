/* kevent: threads that are cancelled, several that wait for one ring, handles that were closed. */
#define _GNU_SOURCE
#include "kevent-check.h"

#include <pthread.h>
#include <sys/eventfd.h>

static void *fetches(void *fetched)
{
    struct ukevent event;
    for (;;) {
        int answer = kevent_get_events(queue, 0, 1, now, &event, 0);
        CHECK(answer == 0 || answer == 1);
        __atomic_add_fetch((int *)fetched, answer, __ATOMIC_RELEASE);
        pthread_testcancel();
    }
}

/* A thread is cancelled where it says so, and not in kevent_get_events: what lasts is told to others. */
static void cancelled(void)
{
    queue = kevent_init(NULL, 0, 0);
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    EQUAL(add(receiving(0)), 0);
    put();
    for (int round = 0; round < 100; round++) {
        pthread_t thread;
        void *answer;
        int fetched = 0;
        EQUAL(pthread_create(&thread, NULL, fetches, &fetched), 0);
        while (__atomic_load_n(&fetched, __ATOMIC_ACQUIRE) < 3)
            ;
        EQUAL(pthread_cancel(thread), 0);
        EQUAL(pthread_join(thread, &answer), 0);
        CHECK(answer == PTHREAD_CANCELED);
        EQUAL(next().id.raw[0], ends[0]);
    }
    EQUAL(kevent_close(queue), 0);
    close(ends[0]), close(ends[1]);
}

static int is_asked, is_told;

static void *tells(void *event)
{
    while (!__atomic_load_n(&is_asked, __ATOMIC_ACQUIRE))
        ; /* no cancellation point */
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, event), 1);
    __atomic_store_n(&is_told, 1, __ATOMIC_RELEASE);
    for (;;)
        pthread_testcancel();
}

/* A thread that is to be cancelled, and tells an eventfd first, is not cancelled within: what others need is let go. */
static void cancelled_while_telling(void)
{
    int told = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct ukevent event = user(1);
    pthread_t thread;
    void *answer;
    uint64_t count;
    queue = kevent_init(NULL, 0, 0);
    EQUAL(add(event), 0);
    EQUAL(kevent_eventfd(queue, told), 0);
    EQUAL(pthread_create(&thread, NULL, tells, &event), 0);
    EQUAL(pthread_cancel(thread), 0);
    __atomic_store_n(&is_asked, 1, __ATOMIC_RELEASE);
    EQUAL(pthread_join(thread, &answer), 0);
    CHECK(answer == PTHREAD_CANCELED);
    EQUAL(is_told, 1);
    EQUAL(read(told, &count, sizeof count), sizeof count);
    EQUAL(next().id.raw[0], 1);
    /* And it is told on. */
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, &event), 1);
    EQUAL(read(told, &count, sizeof count), sizeof count);
    EQUAL(kevent_close(queue), 0);
    close(told);
}

static int threads[3], returned;

static void *waits(void *thread)
{
    __atomic_store_n((int *)thread, gettid(), __ATOMIC_RELEASE);
    CHECK(kevent_wait(queue, 1, 0, later, 0) >= 0);
    __atomic_add_fetch(&returned, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Whoever moves the index of the first event that was not committed, all who wait for that go on. */
static void index_moves(int by_fetching)
{
    enum { WAITING = 3 };
    struct kevent_ring *ring = malloc(sizeof *ring + 16 * sizeof(struct ukevent));
    struct ukevent event = user(1);
    pthread_t all[WAITING];
    queue = kevent_init(ring, 16, 0);
    EQUAL(add(event), 0);
    returned = 0;
    for (int at = 0; at < WAITING; at++) {
        threads[at] = 0;
        EQUAL(pthread_create(&all[at], NULL, waits, &threads[at]), 0);
        asleep(&threads[at]);
    }
    EQUAL(kevent_ctl(queue, KEVENT_CTL_READY, 1, &event), 1);
    if (by_fetching)
        EQUAL(kevent_get_events(queue, 1, 1, now, &event, 0), 1);
    else
        EQUAL(kevent_commit(queue, 1, 0), 1);
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int at = 0; at < WAITING; at++)
        EQUAL(pthread_join(all[at], NULL), 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    CHECK(ended.tv_sec - begun.tv_sec < later.tv_sec / 2);
    EQUAL(returned, WAITING);
    EQUAL(kevent_close(queue), 0);
    free(ring);
}

/* A handle that was closed names no other queue, however many come. */
static void handles(void)
{
    int first = kevent_init(NULL, 0, 0);
    EQUAL(kevent_close(first), 0);
    for (int at = 0; at < 70000; at++) {
        int other = kevent_init(NULL, 0, 0);
        CHECK(other > 0 && other != first);
        EQUAL(kevent_close(other), 0);
    }
    EQUAL(kevent_ctl(first, KEVENT_CTL_READY, 0, NULL), -EBADF);
}

int main(void)
{
    begin_test();
    handles();
    cancelled();
    cancelled_while_telling();
    index_moves(0);
    index_moves(1);
    queue = kevent_init(NULL, 0, 0);
    end_test();
    return 0;
}
