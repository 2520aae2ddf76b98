/* A thousand threads at a time, attached, with and without a detach at their end; a queue that all share; reading it
 * without a system call. */
#define _GNU_SOURCE
#include "check.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>

enum { THREADS = 1000, ROUNDS = 20, READ = 1000 };
/* Each has a crew thread that carries it, and may need another. (In the pool there is nothing to carry.) */
enum { MOST_CREW = 4096 };
static struct syslet_queue *queue;
static pthread_barrier_t barrier;

static long slowly(void *data)
{
    struct timespec brief = {0, 100000};
    nanosleep(&brief, NULL);
    return (long)data;
}

static void attach_with_room(void)
{
    struct syslet_attach_options options = way_options();
    options.max_crew = way_is("pool") ? 0 : MOST_CREW;
    EQUAL(syslet_attach(&options), way_is("pool") ? SYSLET_POOL : SYSLET_ATTACHED);
}

static void *one_of_many(void *data)
{
    struct syslet_call call = call3(SYS_close, (unsigned long)-1, 0, 0);
    long result;
    attach_with_room();
    EQUAL(syslet_is_attached(), !way_is("pool"));
    /* All are there before the first goes on. */
    pthread_barrier_wait(&barrier);
    for (int round = 0; round < ROUNDS; round++) {
        int how = syslet_queue_submit(queue, 1, &call, &result, NULL);
        CHECK(how == SYSLET_PENDING);
    }
    CHECK(syslet_queue_threadlet(queue, 2, slowly, data, &result, NULL) == SYSLET_PENDING);
    pthread_barrier_wait(&barrier);
    if ((long)data % 2) /* the others end as they are */
        EQUAL(syslet_detach(), 0);
    return data;
}

static int popped;

/* Any call but read, write and exit would end this thread. */
static void *reader(void *unused)
{
    struct syslet_queue_completion completion;
    int count = 0;
#ifndef __SANITIZE_ADDRESS__ /* it wants its threads to end by pthread_exit */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0)
        return unused;
#endif
    for (int n = 0; n < READ; n++)
        if (syslet_queue_pop(queue, &completion) == 1 && completion.res == n)
            count++;
    if (syslet_queue_pop(queue, &completion) == 0)
        count++;
    __atomic_store_n(&popped, count, __ATOMIC_RELEASE);
#ifndef __SANITIZE_ADDRESS__
    syscall(SYS_exit, 0);
#endif
    return unused;
}

int main(void)
{
    static pthread_t threads[THREADS];
    struct syslet_queue_completion completion;
    struct syslet_stats stats;
    pthread_attr_t attr;
    pthread_t one;
    unsigned long sum = 0, calls = 0;
    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setstacksize(&attr, 256 << 10) == 0);
    CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
    EQUAL(syslet_queue_new(&queue, 1024, SYSLET_QUEUE_ALWAYS), 0);
    attach_with_room();
    for (int n = 0; n < READ; n++)
        EQUAL(syslet_queue_post(queue, 0, n), 0);
    CHECK(pthread_create(&one, &attr, reader, NULL) == 0);
    CHECK(pthread_join(one, NULL) == 0);
    EQUAL(popped, READ + 1);

    for (unsigned long n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], &attr, one_of_many, (void *)n) == 0);
    pthread_barrier_wait(&barrier);
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    EQUAL(stats.attached, way_is("pool") ? 0 : THREADS + 1);
    for (int n = 0; n < THREADS * (ROUNDS + 1); n++) {
        while (!syslet_queue_pop(queue, &completion))
            CHECK(syslet_queue_wait(queue, 1, -1) >= 0);
        if (completion.user_data == 1) {
            EQUAL(completion.res, -EBADF);
            calls++;
        } else {
            sum += (unsigned long)completion.res;
        }
    }
    EQUAL(calls, THREADS * ROUNDS);
    EQUAL(sum, THREADS * (THREADS - 1ul) / 2);
    CHECK(syslet_queue_pop(queue, &completion) == 0);
    pthread_barrier_wait(&barrier);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    EQUAL(syslet_get_stats(&stats, sizeof stats), 0);
    EQUAL(stats.attached, way_is("pool") ? 0 : 1);
    syslet_queue_free(queue);
    EQUAL(syslet_detach(), 0);
    return 0;
}
