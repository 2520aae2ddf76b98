/* What signal handlers may call, they may call wherever they interrupt: in the library, which may hold its locks, and
 * where the program allocates. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <syslet/acall.h>
#include <syslet/async_submit.h>
#include <syslet/dragonfly.h>
#include <syslet/fibrils.h>
#include <syslet/nonseqfd.h>
#include <syslet/syslets.h>
#include <syslet/threadlets.h>

enum { HANDLED = 2000, KEPT = 4711 };
static unsigned long added;
static volatile sig_atomic_t handled, over;
static int ends[2];

/* Every function whose page says "Handlers: yes". */
static void handler(int signal)
{
    int before = errno;
    (void)signal;
    errno = KEPT;
    CHECK(umem_add(&added, 1) > 0);
    EQUAL(threadlet_complete(), 1);
    CHECK(strcmp(syslet_version(), "") != 0);
    CHECK(way_is("pool") ? !syslet_is_attached() : syslet_is_attached() <= 1);
    CHECK(sysmsg_limit(0) == 0 && sysmsg_limit(-1) == 0);
    int made = nonseqfd(ends[0], 0);
    CHECK(made >= 0);
    EQUAL(nonseqfd(made, NONSEQFD_CLOSE | 2), -EINVAL);
    EQUAL(errno, KEPT);
    CHECK(close(made) == 0);
    errno = before;
    handled++;
}

static void *interrupter(void *unused)
{
    while (!over) {
        sig_atomic_t before = handled;
        CHECK(kill(getpid(), SIGUSR1) == 0);
        while (handled == before && !over)
            sched_yield();
    }
    return unused;
}

static long quick(void *data)
{
    free(malloc(100));
    return (long)data;
}

/* One of each that takes locks or allocates. */
static void use_everything(void)
{
    static char byte;
    unsigned long args[3] = {(unsigned long)ends[0], (unsigned long)&byte, 1};
    struct syslet_call call = call3(SYS_read, args[0], args[1], args[2]);
    struct syslet_pending *pending;
    struct syslet_uatom atom, *ring[2] = {NULL, NULL};
    struct async_head_user head = {0, 0, ring, sizeof ring, 0, 0, 0, 0};
    struct {
        union usrmsg usrmsg;
        long args[3];
    } message;
    long result;
    free(malloc(1000));
    EQUAL(syslet_submit(&call, &result, &pending), SYSLET_PENDING);
    CHECK(write(ends[1], "", 1) == 1);
    EQUAL(syslet_wait(pending), 1);
    long cookie = async_submit(0, &result, SYS_read, args);
    CHECK(cookie > 0 && write(ends[1], "", 1) == 1);
    while (wait_for_async(cookie, NULL) != 0)
        ;
    memset(&message, 0, sizeof message);
    message.usrmsg.umsg.ms_cmd.cm_op = SYS_read;
    message.usrmsg.umsg.ms_flags = MSGF_ASYNC;
    memcpy(message.args, args, sizeof args);
    int asynchronous = sendsys2(NULL, &message, (int)sizeof message), got;
    CHECK(asynchronous >= 4096 && write(ends[1], "", 1) == 1);
    while ((got = waitsys2(NULL, NULL, 0)) == EINTR)
        ;
    EQUAL(got, asynchronous);
    memset(&atom, 0, sizeof atom);
    atom.nr = SYS_getpid;
    atom.flags = SYSLET_ASYNC;
    CHECK(async_exec(&atom, &head) == NULL);
    while (async_wait(1, 0, &head) != 0)
        ;
    if (syslet_threadlet(quick, NULL, &result, &pending) == SYSLET_PENDING)
        EQUAL(syslet_wait(pending), 0);
    int number = nonseqfd(ends[0], 0);
    CHECK(number >= 0 && close(number) == 0);
}

int main(void)
{
    struct sigaction action;
    sigset_t set;
    pthread_t sender;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && pipe(ends) == 0);
    attach();
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0); /* the sender inherits that */
    CHECK(pthread_create(&sender, NULL, interrupter, NULL) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    while (handled < HANDLED)
        use_everything();
    over = 1;
    CHECK(pthread_join(sender, NULL) == 0);
    EQUAL(added, (unsigned long)handled);
    EQUAL(syslet_detach(), 0);
    return 0;
}
