/* A program whose main thread ends by pthread_exit ends with the last thread that is not the library's. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

static atomic_int *came_to_its_end;
static int ends[2];

/* The state of the main thread of a process; Z if it has ended and the process has not. */
static char state_of(pid_t process)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *stat = fopen(path, "r");
    CHECK(stat);
    CHECK(fgets(line, sizeof line, stat));
    fclose(stat);
    return strrchr(line, ')')[2];
}

static void wait_for_end_of_main(pid_t process)
{
    while (state_of(process) != 'Z')
        sched_yield();
}

/* One call that waits. */
static void use(void)
{
    char byte = 0;
    int pair[2];
    struct syslet_pending *pending;
    long result;
    CHECK(pipe(pair) == 0);
    struct syslet_call call = call3(SYS_read, (unsigned long)pair[0], (unsigned long)&byte, 1);
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    CHECK(write(pair[1], "", 1) == 1);
    EQUAL(syslet_wait(pending), 1);
}

static void idle(void)
{
    attach();
    use();
    EQUAL(syslet_detach(), 0);
}

static void attached(void)
{
    attach();
    use();
}

static void unattached(void)
{
    use();
}

/* Long enough for the process to end, were this thread overlooked. */
static void *goes_on(void *unused)
{
    struct timespec time = {0, 600000000};
    wait_for_end_of_main(getpid());
    nanosleep(&time, NULL);
    ++*came_to_its_end;
    return unused;
}

static void another_thread(void)
{
    pthread_t thread;
    idle();
    CHECK(pthread_create(&thread, NULL, goes_on, NULL) == 0);
}

static long wait_for_byte(void *unused)
{
    char byte;
    CHECK(read(ends[0], &byte, 1) == 1);
    ++*came_to_its_end;
    return (long)unused;
}

static void closure(void)
{
    struct syslet_pending *pending;
    long result;
    attach();
    EQUAL(syslet_threadlet(wait_for_byte, NULL, &result, &pending), SYSLET_PENDING);
    syslet_pending_free(pending);
}

static void *begins_late(void *unused)
{
    wait_for_end_of_main(getpid());
    use();
    ++*came_to_its_end;
    return unused;
}

static void late(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, begins_late, NULL) == 0);
}

static pid_t grandchild;

static long forks(void *unused)
{
    grandchild = fork();
    return (long)unused;
}

/* Where the function runs inline, both return from it. */
static void forked_in_a_function(void)
{
    struct syslet_pending *pending;
    long result;
    int status;
    attach();
    int how = syslet_threadlet(forks, NULL, &result, &pending);
    CHECK(how >= 0);
    if (how == SYSLET_PENDING)
        syslet_wait(pending);
    CHECK(grandchild >= 0);
    if (grandchild == 0) {
        alarm(30);
        late();
        return;
    }
    CHECK(waitpid(grandchild, &status, 0) == grandchild);
    if (how == SYSLET_DONE)
        EQUAL(status, 0);
    else
        *came_to_its_end = 1; /* its guest may have gone on in this process only */
}

static void check(void (*program)(void), int ending)
{
    int status;
    struct timespec time = {0, 600000000};
    *came_to_its_end = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(30);
        program();
        pthread_exit(NULL);
    }
    if (program == closure) {
        wait_for_end_of_main(child);
        nanosleep(&time, NULL);
        EQUAL(waitpid(child, &status, WNOHANG), 0);
        CHECK(write(ends[1], "", 1) == 1);
    }
    for (int tries = 0; waitpid(child, &status, WNOHANG) == 0; tries++) {
        struct timespec pause = {0, 1000000};
        if (tries > 20000) {
            kill(child, SIGKILL);
            CHECK(!"the program ends");
        }
        nanosleep(&pause, NULL);
    }
    EQUAL(status, 0);
    EQUAL(*came_to_its_end, ending);
}

int main(void)
{
    came_to_its_end = mmap(NULL, sizeof *came_to_its_end, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(came_to_its_end != MAP_FAILED);
    CHECK(pipe(ends) == 0);
    check(idle, 0);
    check(attached, 0);
    check(unattached, 0);
    check(another_thread, 1);
    check(closure, 1);
    check(late, 1);
    if (!way_is("pool"))
        check(forked_in_a_function, 1);
    /* And this program itself, which has never attached a thread. */
    use();
    pthread_exit(NULL);
}
