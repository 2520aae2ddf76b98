/* sendsys2 and waitsys2. */
#define _GNU_SOURCE
#include "check.h"

#include <syslet/dragonfly.h>
#include <sys/mman.h>

struct message {
    union usrmsg usrmsg;
    long args[6];
};

static int ends[2];
static char byte;

static struct message make(int nr, int flags, long a, long b, long c)
{
    struct message made;
    memset(&made, 0, sizeof made);
    made.usrmsg.umsg.ms_cmd.cm_op = nr;
    made.usrmsg.umsg.ms_flags = flags;
    made.usrmsg.umsg.ms_msgsize = (int)sizeof made;
    made.usrmsg.umsg.ms_error = -7;
    made.args[0] = a;
    made.args[1] = b;
    made.args[2] = c;
    return made;
}

static int send(struct message *message)
{
    return sendsys2(NULL, message, (int)sizeof *message);
}

static void synchronous(void)
{
    struct message message = make(SYS_getpid, 0, 0, 0, 0), bad;
    EQUAL(send(&message), 0);
    EQUAL(message.usrmsg.umsg.ms_error, 0);
    EQUAL(message.usrmsg.umsg.u.ms_result64, getpid());
    EQUAL(message.usrmsg.umsg.ms_msgsize, sizeof message);
    EQUAL(message.usrmsg.umsg.ms_flags, 0);
    /* As short as the call allows. */
    message = make(SYS_getpid, 0, 0, 0, 0);
    EQUAL(sendsys2(NULL, &message, (int)sizeof(union usrmsg)), 0);
    EQUAL(message.usrmsg.umsg.u.ms_result, getpid());
    bad = make(SYS_close, 0, -1, 0, 0);
    EQUAL(send(&bad), EBADF);
    EQUAL(bad.usrmsg.umsg.ms_error, EBADF);
    EQUAL(bad.usrmsg.umsg.u.ms_lresult, -1);
    /* The hint may be left without effect. */
    message = make(SYS_getpid, MSGF_ASYNC | MSGF_DONE | MSGF_REPLY1, 0, 0, 0);
    EQUAL(send(&message), 0);
    EQUAL(message.usrmsg.umsg.u.ms_result, getpid());
    /* Without it the caller waits. */
    CHECK(write(ends[1], "s", 1) == 1);
    message = make(SYS_read, 0, ends[0], (long)&byte, 1);
    EQUAL(send(&message), 0);
    EQUAL(message.usrmsg.umsg.u.ms_result, 1);
    CHECK(byte == 's');
}

static void asynchronous(void)
{
    struct message one = make(SYS_read, MSGF_ASYNC, ends[0], (long)&byte, 1), two = one, three = one;
    int first, second, third;
    EQUAL(waitsys2(NULL, NULL, -1), 0);
    EQUAL(waitsys2(NULL, NULL, 0), 0);
    first = send(&one);
    CHECK(first >= 4096);
    EQUAL(one.usrmsg.umsg.ms_error, EASYNC);
    EQUAL(waitsys2(NULL, (void *)(long)first, 0), 0);
    EQUAL(waitsys2(NULL, NULL, -1), 0);
    CHECK(write(ends[1], "t", 1) == 1);
    EQUAL(waitsys2(NULL, NULL, 0), first);
    EQUAL(one.usrmsg.umsg.ms_error, 0);
    EQUAL(one.usrmsg.umsg.u.ms_result, 1);
    CHECK(byte == 't');
    EQUAL(waitsys2(NULL, (void *)(long)first, 0), ENOENT);
    /* Cookies are not used again at once. */
    second = send(&two);
    third = send(&three);
    CHECK(second >= 4096 && third >= 4096 && second != first && third != second);
    EQUAL(abortsys2(second), 0);
    while (waitsys2(NULL, (void *)(long)second, 0) == 0)
        sched_yield();
    EQUAL(two.usrmsg.umsg.ms_error, ECANCELED);
    EQUAL(two.usrmsg.umsg.u.ms_lresult, -1);
    EQUAL(abortsys2(second), ENOENT);
    EQUAL(abortsys2(0), ENOENT);
    EQUAL(three.usrmsg.umsg.ms_error, EASYNC);
    CHECK(write(ends[1], "u", 1) == 1);
    EQUAL(waitsys2(NULL, NULL, 0), third);
    EQUAL(waitsys2(NULL, NULL, -1), 0);
}

enum { ROUNDS = 20000 };
static int waits_are_over;

static void *sends(void *unused)
{
    struct message message = make(SYS_getpid, MSGF_ASYNC, 0, 0, 0);
    while (!__atomic_load_n(&waits_are_over, __ATOMIC_ACQUIRE))
        EQUAL(send(&message), 0);
    return unused;
}

/* Who waits for any is told when the last one is over that was begun and did not go away. */
static void waiting_for_none(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sends, NULL) == 0);
    for (int n = 0; n < ROUNDS; n++)
        EQUAL(waitsys2(NULL, NULL, 0), 0);
    __atomic_store_n(&waits_are_over, 1, __ATOMIC_RELEASE);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void limits(void)
{
    struct message one = make(SYS_read, MSGF_ASYNC, ends[0], (long)&byte, 1), two = one;
    int cookie;
    EQUAL(sysmsg_limit(-1), 0);
    EQUAL(sysmsg_limit(1), 0);
    EQUAL(sysmsg_limit(-1), 1);
    cookie = send(&one);
    CHECK(cookie >= 4096);
    EQUAL(send(&two), E2BIG);
    CHECK(write(ends[1], "v", 1) == 1);
    EQUAL(waitsys2(NULL, NULL, 0), cookie);
    EQUAL(sysmsg_limit(0), 1);
}

static void bad_input(void)
{
    char *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct message message = make(SYS_getpid, 0, 0, 0, 0);
    int size = (int)sizeof(union usrmsg);
    CHECK(mprotect(gone, 4096, PROT_NONE) == 0);
    EQUAL(sendsys2(NULL, &message, size - 1), ENOSYS);
    EQUAL(sendsys2(NULL, &message, -1), ENOSYS);
    EQUAL(sendsys2(NULL, &message, (int)sizeof message + 1), ENOSYS);
    EQUAL(sendsys2(&message, &message, size), ENOTSUP);
    EQUAL(sendsys2(NULL, NULL, size), EFAULT);
    EQUAL(sendsys2(NULL, gone, size), EFAULT);
    EQUAL(sendsys2(NULL, (char *)&message + 4, size), EINVAL);
    message.usrmsg.umsg.ms_flags = MSGF_PCATCH;
    EQUAL(send(&message), EINVAL);
    message = make(0, 0, 0, 0, 0);
    EQUAL(sendsys2(NULL, &message, size), ENOTSUP);
    message = make(SYS_fork, 0, 0, 0, 0);
    EQUAL(send(&message), EPERM);
    message = make(SYS_fork, MSGF_ASYNC, 0, 0, 0);
    EQUAL(send(&message), EPERM);
    message = make(44444, 0, 0, 0, 0);
    EQUAL(send(&message), ENOSYS);
    message = make(-1, 0, 0, 0, 0);
    EQUAL(send(&message), ENOSYS);
    EQUAL(message.usrmsg.umsg.ms_error, -7);
    EQUAL(waitsys2(&message, NULL, 0), ENOTSUP);
    EQUAL(waitsys2(NULL, NULL, 1), ENOSYS);
    EQUAL(waitsys2(NULL, (void *)4096, 0), ENOENT);
    EQUAL(waitsys2(NULL, (void *)1, 0), ENOENT);
    EQUAL(waitsys2(NULL, (void *)-1l, 0), ENOENT);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
    attach();
    synchronous();
    asynchronous();
    waiting_for_none();
    limits();
    bad_input();
    EQUAL(syslet_detach(), 0);
    return 0;
}
