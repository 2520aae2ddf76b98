/* What the tests of kevent share: a queue, a socket, and the ways to events. */
#ifndef KEVENT_CHECK_H
#define KEVENT_CHECK_H

#include "check.h"

#include <signal.h>
#include <sys/socket.h>
#include <syslet/kevent.h>

static const struct timespec now = {0, 0}, soon = {0, 30000000}, later = {20, 0};
static int queue, ends[2];

static inline struct ukevent make(uint32_t type, uint32_t id, uint32_t event, uint32_t flags)
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

static inline struct ukevent user(uint32_t id) { return make(KEVENT_USER, id, 1, 0); }

static inline struct ukevent receiving(uint32_t flags)
{
    return make(KEVENT_SOCKET, (uint32_t)ends[0], KEVENT_SOCKET_RECV, flags);
}

static inline int add(struct ukevent event) { return kevent_ctl(queue, KEVENT_CTL_ADD, 1, &event); }

static inline int take_out(struct ukevent event)
{
    EQUAL(kevent_ctl(queue, KEVENT_CTL_REMOVE, 1, &event), 0);
    return event.ret_flags == KEVENT_RET_DONE;
}

static inline struct ukevent next(void)
{
    struct ukevent event;
    int answer;
    do
        answer = kevent_get_events(queue, 1, 1, later, &event, 0);
    while (answer == -EINTR); /* a handler of a signal that is tested has run */
    EQUAL(answer, 1);
    return event;
}

static inline void nothing(void)
{
    struct ukevent event;
    int answer = kevent_get_events(queue, 1, 1, soon, &event, 0);
    CHECK(answer == 0 || answer == -EINTR);
}

static inline void put(void) { EQUAL(write(ends[1], "!", 1), 1); }

static inline void empty(void)
{
    char bytes[64];
    EQUAL(recv(ends[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0, 1);
}

/* Waits until a thread sleeps in the kernel. */
static inline void asleep(const int *thread)
{
    char path[64], line[256], *state;
    for (int seen = 0; seen < 3;) {
        FILE *file;
        int number = __atomic_load_n(thread, __ATOMIC_ACQUIRE);
        if (!number)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", number);
        CHECK((file = fopen(path, "re")) && fgets(line, sizeof line, file));
        fclose(file);
        state = strrchr(line, ')');
        seen = state && state[2] == 'S' ? seen + 1 : 0;
        sched_yield();
    }
}

static inline void begin_test(void)
{
    alarm(120); /* what hangs has failed */
    attach();
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static inline void end_test(void)
{
    EQUAL(kevent_close(queue), 0);
    EQUAL(syslet_detach(), 0);
}

#endif
