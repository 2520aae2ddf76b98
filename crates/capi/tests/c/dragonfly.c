/* sendsys2 and waitsys2. */
#define _GNU_SOURCE
#include "check.h"

#include "historic.h"

#include <syslet/dragonfly.h>
#include <sys/mman.h>
#include <sys/wait.h>

IS(EASYNC, 99);
IS(MSGF_DONE, 0x1);
IS(MSGF_REPLY1, 0x2);
IS(MSGF_QUEUED, 0x4);
IS(MSGF_ASYNC, 0x8);
IS(MSGF_ABORTED, 0x10);
IS(MSGF_PCATCH, 0x20);
IS(MSGF_REPLY2, 0x40);
IS(MSGF_ABORTABLE, 0x80);
IS(MSGF_RETRIEVED, 0x100);
SIZE(struct lwkt_msg, 96);
SIZE(union usrmsg, 96);
AT(struct lwkt_msg, ms_node, 0);
AT(struct lwkt_msg, opaque, 16);
AT(struct lwkt_msg, ms_target_port, 24);
AT(struct lwkt_msg, ms_reply_port, 32);
AT(struct lwkt_msg, ms_abort_port, 40);
AT(struct lwkt_msg, ms_cmd, 48);
AT(struct lwkt_msg, ms_abort, 56);
AT(struct lwkt_msg, ms_flags, 64);
AT(struct lwkt_msg, ms_msgsize, 68);
AT(struct lwkt_msg, ms_error, 72);
AT(struct lwkt_msg, u, 80);
SIZE(((struct lwkt_msg *)0)->u, 8);
AT(struct lwkt_msg, ms_pad, 88);

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

/* Of a message only ms_error and the result are written (ms_msgsize, which is between, as it was). */
static void kept(const struct message *before, const struct message *after)
{
    struct message same = *after;
    same.usrmsg.umsg.ms_error = before->usrmsg.umsg.ms_error;
    same.usrmsg.umsg.u = before->usrmsg.umsg.u;
    CHECK(memcmp(&same, before, sizeof same) == 0);
}

/* All of a message's fields, as no program would leave them. */
static void fill(struct message *message)
{
    struct lwkt_msg *msg = &message->usrmsg.umsg;
    msg->ms_node.tqe_next = (void *)0x11;
    msg->ms_node.tqe_prev = (void *)0x12;
    msg->opaque.ms_umsg = (void *)0x13;
    msg->ms_target_port = (void *)0x14;
    msg->ms_reply_port = (void *)0x15;
    msg->ms_abort_port = (void *)0x16;
    msg->ms_abort.cm_func = (void *)0x17;
    msg->ms_msgsize = 0x18;
    msg->ms_pad[0] = msg->ms_pad[1] = 0x19;
}

/* Ends a read of `byte`, and waits until the library knows: there is nothing to abort then. */
static void over(int cookie, char with)
{
    CHECK(write(ends[1], &with, 1) == 1);
    while (__atomic_load_n(&byte, __ATOMIC_ACQUIRE) != with)
        sched_yield();
    while (abortsys2(cookie) == 0)
        sched_yield();
}

/* nanosleep, the one call that was ever asynchronous, and the order in which calls end. */
static void as_of_old(void)
{
    struct timespec brief = {0, 20000000};
    int others[2];
    CHECK(pipe(others) == 0);
    struct message sleeps = make(SYS_nanosleep, MSGF_ASYNC, (long)&brief, 0, 0), before, later, sooner;
    fill(&sleeps);
    before = sleeps;
    int cookie = send(&sleeps);
    CHECK(cookie >= 4096);
    kept(&before, &sleeps);
    EQUAL(waitsys2(NULL, NULL, 0), cookie);
    EQUAL(sleeps.usrmsg.umsg.ms_error, 0);
    EQUAL(sleeps.usrmsg.umsg.u.ms_result, 0);
    kept(&before, &sleeps);
    later = make(SYS_read, MSGF_ASYNC, ends[0], (long)&byte, 1);
    sooner = make(SYS_read, MSGF_ASYNC, others[0], (long)&byte, 1);
    int last = send(&later), first = send(&sooner);
    CHECK(write(others[1], "s", 1) == 1);
    EQUAL(waitsys2(NULL, NULL, 0), first);
    CHECK(write(ends[1], "l", 1) == 1);
    EQUAL(waitsys2(NULL, NULL, 0), last);
    /* Also of those that are over before somebody asks. */
    byte = 0;
    sooner = later = make(SYS_read, MSGF_ASYNC, ends[0], (long)&byte, 1);
    first = send(&sooner);
    over(first, 's');
    last = send(&later);
    over(last, 'l');
    EQUAL(waitsys2(NULL, NULL, -1), first);
    EQUAL(waitsys2(NULL, NULL, -1), last);
    EQUAL(waitsys2(NULL, NULL, -1), 0);
    close(others[0]);
    close(others[1]);
}

/* Once over, a call is fetched by its cookie, which is the answer. */
static void by_cookie(void)
{
    struct message one = make(SYS_read, MSGF_ASYNC, ends[0], (long)&byte, 1);
    int cookie = send(&one), got;
    CHECK(cookie >= 4096);
    CHECK(write(ends[1], "c", 1) == 1);
    while ((got = waitsys2(NULL, (void *)(long)cookie, 0)) == 0)
        EQUAL(one.usrmsg.umsg.ms_error, EASYNC);
    EQUAL(got, cookie);
    EQUAL(one.usrmsg.umsg.ms_error, 0);
    EQUAL(one.usrmsg.umsg.u.ms_result, 1);
}

/* Who may do little may make asynchronous calls. */
static void without_root(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
        attach();
        by_cookie();
        EQUAL(syslet_detach(), 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    EQUAL(status, 0);
}

static void synchronous(void)
{
    struct message message = make(SYS_getpid, 0, 0, 0, 0), bad;
    fill(&message);
    bad = message;
    EQUAL(send(&message), 0);
    kept(&bad, &message);
    message = make(SYS_getpid, 0, 0, 0, 0);
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
    for (int bit = 0; bit < 32; bit++) {
        int flag = (int)(1u << bit);
        if (flag & (MSGF_ASYNC | MSGF_DONE | MSGF_REPLY1))
            continue;
        message.usrmsg.umsg.ms_flags = flag;
        EQUAL(send(&message), EINVAL);
    }
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
    EQUAL(waitsys2(&message, (void *)4096, 0), ENOTSUP);
    EQUAL(waitsys2(NULL, NULL, 1), ENOSYS);
    EQUAL(waitsys2(NULL, (void *)4096, 0), ENOENT);
    EQUAL(waitsys2(NULL, (void *)1, 0), ENOENT);
    EQUAL(waitsys2(NULL, (void *)-1l, 0), ENOENT);
}

int main(void)
{
    CHECK(pipe(ends) == 0);
    without_root();
    attach();
    synchronous();
    asynchronous();
    as_of_old();
    by_cookie();
    waiting_for_none();
    limits();
    bad_input();
    EQUAL(syslet_detach(), 0);
    return 0;
}
