/* The calls of fibrils. */
#define _GNU_SOURCE
#include "check.h"

#include "historic.h"

#include <sys/mman.h>
#include <syslet/fibrils.h>

SIZE(struct asys_input, 32);
AT(struct asys_input, syscall_nr, 0);
AT(struct asys_input, cookie, 8);
AT(struct asys_input, nr_args, 16);
AT(struct asys_input, args, 24);
SIZE(struct asys_completion, 16);
AT(struct asys_completion, return_code, 0);
AT(struct asys_completion, cookie, 8);

static int ends[2];

/* Completions come in the order in which calls end, each with its cookie. */
static void fibrils(void)
{
    char byte;
    struct asys_completion done;
    unsigned long reading[3] = {(unsigned long)ends[0], (unsigned long)&byte, 1};
    unsigned long closing[1] = {(unsigned long)-1};
    struct asys_input inputs[3] = {
        {SYS_read, 11, 3, reading}, {SYS_getpid, 22, 0, NULL}, {SYS_close, 33, 1, closing}};
    int pid = 0, bad = 0;
    EQUAL(asys_await_completion(&done), -ENOENT);
    EQUAL(asys_submit(NULL, 0), 0);
    EQUAL(asys_submit(inputs, 3), 3);
    for (int n = 0; n < 2; n++) {
        EQUAL(asys_await_completion(&done), 0);
        if (done.cookie == 22)
            pid = (int)done.return_code;
        if (done.cookie == 33)
            bad = (int)done.return_code;
    }
    EQUAL(pid, getpid());
    EQUAL(bad, -EBADF);
    CHECK(write(ends[1], "f", 1) == 1);
    EQUAL(asys_await_completion(&done), 0);
    EQUAL(done.cookie, 11);
    EQUAL(done.return_code, 1);
    EQUAL(asys_await_completion(&done), -ENOENT);
    /* The good ones before a bad one stand. */
    inputs[0] = inputs[1];
    inputs[1].syscall_nr = SYS_fork;
    EQUAL(asys_submit(inputs, 2), 1);
    EQUAL(asys_await_completion(&done), 0);
    EQUAL(asys_submit(inputs + 1, 1), -EPERM);
    inputs[1].syscall_nr = 22222;
    EQUAL(asys_submit(inputs + 1, 1), -ENOSYS);
    inputs[1].syscall_nr = -1;
    EQUAL(asys_submit(inputs + 1, 1), -ENOSYS);
    inputs[1] = inputs[2];
    inputs[1].nr_args = 7;
    EQUAL(asys_submit(inputs + 1, 1), -EINVAL);
    inputs[2].args = NULL;
    EQUAL(asys_submit(inputs + 2, 1), -EFAULT);
    EQUAL(asys_submit(NULL, 1), -EFAULT);
    EQUAL(asys_await_completion(NULL), -EFAULT);
}

/* What ends first is awaited first, whatever came first; cookies are nothing but handed back. */
static void in_the_order_of_their_ends(void)
{
    enum { MANY = 4 };
    static const unsigned long cookies[MANY] = {0, ~0ul, 0, 1ul << 63};
    static const int order[MANY] = {2, 0, 3, 1};
    int pipes[MANY][2];
    char bytes[MANY];
    unsigned long args[MANY][3];
    struct asys_input inputs[MANY];
    struct asys_completion done;
    for (int n = 0; n < MANY; n++) {
        CHECK(pipe(pipes[n]) == 0);
        args[n][0] = (unsigned long)pipes[n][0];
        args[n][1] = (unsigned long)&bytes[n];
        args[n][2] = 1;
        inputs[n] = (struct asys_input){SYS_read, cookies[n], 3, args[n]};
    }
    EQUAL(asys_submit(inputs, MANY), MANY);
    memset(inputs, 0xff, sizeof inputs);
    memset(args, 0xff, sizeof args);
    for (int n = 0; n < MANY; n++) {
        int at = order[n];
        char letter = (char)('a' + at);
        CHECK(write(pipes[at][1], &letter, 1) == 1);
        EQUAL(asys_await_completion(&done), 0);
        EQUAL(done.cookie, cookies[at]);
        EQUAL(done.return_code, 1);
        EQUAL(bytes[at], letter);
        close(pipes[at][0]);
        close(pipes[at][1]);
    }
    EQUAL(asys_await_completion(&done), -ENOENT);
}

/* Calls begin in the order of their requests: so they end, and write, if they are made here. A call that is preempted
 * is handed off, which few are, and meets those after it; in a pool all meet. */
static void in_the_order_of_the_requests(void)
{
    enum { MANY = 4, TIMES = 20 };
    int ordered = 0;
    for (int n = 0; n < TIMES; n++) {
        char text[] = "abcd", written[MANY + 1] = "";
        int file = memfd_create("order", 0), in_order = 1;
        unsigned long args[MANY][3];
        struct asys_input inputs[MANY];
        struct asys_completion done;
        CHECK(file >= 0);
        for (int at = 0; at < MANY; at++) {
            args[at][0] = (unsigned long)file;
            args[at][1] = (unsigned long)&text[at];
            args[at][2] = 1;
            inputs[at] = (struct asys_input){SYS_write, (unsigned long)at, 3, args[at]};
        }
        EQUAL(asys_submit(inputs, MANY), MANY);
        for (int at = 0; at < MANY; at++) {
            EQUAL(asys_await_completion(&done), 0);
            EQUAL(done.return_code, 1);
            in_order &= done.cookie == (unsigned long)at;
        }
        /* Those that meet may write to the same place: nobody locks a memfd's position. */
        CHECK(pread(file, written, MANY, 0) > 0);
        ordered += in_order && strcmp(written, text) == 0;
        close(file);
    }
    CHECK(way_is("pool") || ordered >= TIMES / 2);
}

static void *another_thread(void *unused)
{
    struct asys_completion done;
    EQUAL(asys_await_completion(&done), -ENOENT);
    fibrils();
    return unused;
}

int main(void)
{
    pthread_t thread;
    CHECK(pipe(ends) == 0);
    attach();
    fibrils();
    in_the_order_of_their_ends();
    in_the_order_of_the_requests();
    CHECK(pthread_create(&thread, NULL, another_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EQUAL(syslet_detach(), 0);
    return 0;
}
