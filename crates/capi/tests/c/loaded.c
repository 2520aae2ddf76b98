/* The library is loaded with dlopen, in a program that has threads already; they use it. */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>

enum { THREADS = 16 };
static pthread_barrier_t loaded;
static int (*attach_)(const struct syslet_attach_options *);
static int (*detach_)(void);
static int (*submit_)(const struct syslet_call *, long *, struct syslet_pending **);
static long (*wait_)(struct syslet_pending *);

static void *user(void *unused)
{
    char byte = 0;
    int ends[2];
    CHECK(pipe(ends) == 0);
    pthread_barrier_wait(&loaded); /* not there before */
    struct syslet_attach_options options = way_options();
    EQUAL(attach_(&options), way_is("pool") ? SYSLET_POOL : SYSLET_ATTACHED);
    for (int n = 0; n < 50; n++) {
        struct syslet_call call =
            call3(SYS_read, (unsigned long)ends[0], (unsigned long)&byte, 1);
        struct syslet_pending *pending;
        long result;
        EQUAL(submit_(&call, &result, &pending), SYSLET_PENDING);
        CHECK(write(ends[1], "", 1) == 1);
        EQUAL(wait_(pending), 1);
    }
    EQUAL(detach_(), 0);
    close(ends[0]);
    close(ends[1]);
    return unused;
}

int main(void)
{
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&loaded, NULL, THREADS + 1) == 0);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, user, NULL) == 0);
    void *library = dlopen("libsyslet.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    *(void **)&attach_ = dlsym(library, "syslet_attach");
    *(void **)&detach_ = dlsym(library, "syslet_detach");
    *(void **)&submit_ = dlsym(library, "syslet_submit");
    *(void **)&wait_ = dlsym(library, "syslet_wait");
    CHECK(attach_ && detach_ && submit_ && wait_);
    pthread_barrier_wait(&loaded);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    return 0;
}
