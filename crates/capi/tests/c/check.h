/* What the C tests share: checks that say what failed, and attaching in the way that is tested. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <syslet.h>

#define CHECK(condition)                                                                         \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

#define EQUAL(left, right)                                                                       \
    do {                                                                                         \
        long long left_ = (long long)(left), right_ = (long long)(right);                        \
        if (left_ != right_) {                                                                   \
            fprintf(stderr, "%s:%d: %s is %lld, not %s, which is %lld\n", __FILE__, __LINE__,    \
                    #left, left_, #right, right_);                                               \
            abort();                                                                             \
        }                                                                                        \
    } while (0)

#ifdef __SANITIZE_ADDRESS__
/* In a child that was forked leaks are not looked for: what only threads of the parent hold is nobody's there. */
static pid_t process;

__attribute__((constructor)) static void remember_process(void)
{
    process = getpid();
}

int __lsan_is_turned_off(void)
{
    return getpid() != process;
}
#endif

static inline int way_is(const char *name)
{
    const char *way = getenv("SYSLET_TEST_MODE");
    return strcmp(way ? way : "follow", name) == 0;
}

/* How a thread is attached in the way that is tested. */
static inline struct syslet_attach_options way_options(void)
{
    struct syslet_attach_options options = {0, 0, 0, 0};
    if (way_is("pinned")) {
        cpu_set_t set;
        CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
        options.flags = SYSLET_ATTACH_PINNED;
        while (!CPU_ISSET(options.cpu, &set))
            options.cpu++;
    }
    return options;
}

/* Attaches the thread in that way. */
static inline void attach(void)
{
    struct syslet_attach_options options = way_options();
    EQUAL(syslet_attach(&options), way_is("pool") ? SYSLET_POOL : SYSLET_ATTACHED);
}

static inline struct syslet_call call3(long nr, unsigned long a, unsigned long b, unsigned long c)
{
    struct syslet_call call = {(unsigned long)nr, {a, b, c, 0, 0, 0}};
    return call;
}

#endif
